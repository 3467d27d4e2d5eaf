// Simulated owners of leases: they put keys under them, give signs of life at any node, ask what
// remains, and at some point give up or revoke. What they were told must hold:
//
//   not early      a lease ends no sooner than its time to live after the sending of the last sign
//                  of life that was answered, but for a revoke
//   not immortal   when nobody gives signs any more, it ends
//   once           what has ended is found by nobody any more, and what lives by everybody
//   together       its keys, and no others, go in one revision
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cp/engine.h"
#include "tests/sim/cluster.h"
#include "tests/sim/history_check.h"

namespace capstan::sim {

class LeaseHolders {
 public:
  explicit LeaseHolders(Cluster& cluster);

  void start();
  void node_turned(int node, const cp::Engine& engine);
  // Nobody gives a sign of life from here on.
  void stop() { stopped_ = true; }

  // The first contradiction as a sentence, or nothing.
  std::string check(const AskedList& all, const Truth& truth) const;

 private:
  struct Holder {
    std::uint32_t client = 0;
    std::int64_t lease = 0;  // 0: none
    bool silent = false;     // gives no sign of life any more
  };
  struct Lease {
    std::int64_t ttl = 0;
    Index held;        // the first one at which a node was seen to hold it; 0: none was
    Micros ended = 0;  // when a node that had come at least as far held it no more; 0: none does
  };

  void next(Holder& holder);
  RequestBody draw(Holder& holder);
  PutRequest put_under(Holder& holder);
  std::string check_one(const Asked& asked) const;
  std::string check_early(const AskedList& all) const;
  std::string check_together(const Truth& truth) const;

  Cluster& cluster_;
  Rng& rng_;
  std::vector<std::unique_ptr<Holder>> holders_;
  std::map<std::int64_t, Lease> leases_;  // every one that was asked for
  std::map<int, std::uint64_t> digests_;  // of each node's leases, when last looked at
  std::uint64_t values_ = 0;
  bool stopped_ = false;
};

}  // namespace capstan::sim
