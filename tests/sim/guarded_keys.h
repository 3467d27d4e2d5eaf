// Keys behind auth, while everything else strikes: an administrator who gives a user a role and
// takes it back, switches auth off and on, changes the password and makes the user anew, asking
// another node each time; and the user, who writes and reads at any node and says what it was told.
// Everybody else in the simulator is root.
//
//   taken back   what was answered as taken back before a request was sent, and not asked for again
//                until it was answered, is not there, at whatever node
//   given        likewise
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace capstan::sim {

class GuardedKeys {
 public:
  explicit GuardedKeys(Cluster& cluster) : cluster_(cluster), rng_(cluster.world.rng.auth) {}

  void start();
  // Nobody asks for anything more, and auth is left as it is.
  void stop() { stopped_ = true; }
  // The first contradiction as a sentence, or nothing.
  std::string check() const;

 private:
  // From the answer to one change until the next is sent it is certain what the user may do.
  struct Certain {
    bool may = false;
    Micros from = 0, to = 0;
  };
  struct Told {
    std::string what;
    bool was_allowed = false;
    Micros sent = 0, answered = 0;
  };

  void change(std::vector<AuthRequest> steps, bool may);
  void change_step(std::shared_ptr<std::vector<AuthRequest>> steps, std::size_t at,
                   std::string request_id, bool may);
  void next_change();
  void next_use();
  void use(Request request);
  int any_node();

  Cluster& cluster_;
  Rng& rng_;
  bool enabled_ = false, granted_ = false;  // once what is under way is done
  std::uint64_t ids_ = 0;
  std::string token_;
  std::vector<Certain> certain_;
  std::vector<Told> told_;
  bool stopped_ = false;
};

}  // namespace capstan::sim
