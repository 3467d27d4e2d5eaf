// Simulated clients. Each has at most one operation open, waits for its answer or its own timeout,
// and remembers everything: what it asked, when, of whom, and what it was told. Values are unique,
// so that a value names its write.
//
// A write whose outcome is unknown may be repeated with the same request id, at any node; together
// the attempts are one operation, acknowledged when one of them is.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "lab/history.h"
#include "tests/sim/counters.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace capstan::sim {

// One operation as its client saw it. lab::Operation holds what the lab's checkers judge; `request`
// and `reply` the rest.
struct Asked {
  lab::Operation op;
  Request request;
  Reply reply;             // of the last attempt that was answered
  bool single_key = true;  // op.key says all there is to say; else only `request` does
  bool serializable = false;
  int attempts = 0;
};

class Clients {
 public:
  // Runs in the node's turn, right before the request is submitted (AP: what a write replaces).
  using Witness = std::function<void(std::size_t operation, int node, node::Machine& machine)>;

  Clients(World& world, const Options& options, Counters& counters,
          std::vector<std::unique_ptr<SimNode>>& nodes)
      : world_(world), options_(options), counters_(counters), nodes_(nodes) {}

  void set_witness(Witness witness) { witness_ = std::move(witness); }
  // Operations at most; clients fall silent beyond, so that checking a schedule stays cheap.
  void set_budget(std::size_t operations) { budget_ = operations; }
  void start();
  // No new operations; those that are open go on.
  void stop() { stopped_ = true; }
  std::size_t open() const { return open_; }

  // One operation from outside the clients' loops: the timed scenarios and the final reads.
  using Done = std::move_only_function<void(const Asked&)>;
  std::size_t ask(std::uint32_t client, int node, Request request, Micros timeout, Done done = {});

  const std::vector<std::unique_ptr<Asked>>& all() const { return all_; }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::string key(std::uint64_t number) const { return "k" + std::to_string(number); }

 private:
  void next(std::uint32_t client);
  Request draw();
  std::int64_t draw_old_revision();
  void attempt(std::size_t operation, int node, Micros timeout, Done done);
  struct LongRead;
  void take_slice(const std::shared_ptr<LongRead>& read);
  void finish(std::size_t operation, const Reply& reply, Done done);

  World& world_;
  const Options& options_;
  Counters& counters_;
  std::vector<std::unique_ptr<SimNode>>& nodes_;
  Witness witness_;
  std::vector<std::unique_ptr<Asked>> all_;
  std::size_t budget_ = 400;
  std::size_t open_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t values_ = 0;
  std::uint64_t newest_ = 1;  // revision seen
  bool stopped_ = false;
};

}  // namespace capstan::sim
