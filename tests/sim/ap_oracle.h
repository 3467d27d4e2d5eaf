// What must hold of available nodes:
//
//   level 0      equal vectors mean equal digests: of any two nodes, after each turn, and of any
//                two moments of the run, since a vector names a set of writes
//   accounting   after convergence every acknowledged write is visible, or was overwritten by a
//                write that had seen it, or stands in a conflict log; and all are known to
//                everybody
//   promise      a node that runs takes every read and write
//
// That a write y had seen a write x is known from y's node at the moment y was submitted: its
// vector covered x, or its cell held x's value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ap/engine.h"
#include "tests/sim/clients.h"
#include "tests/sim/faults.h"
#include "tests/sim/world.h"

namespace capstan::sim {

class ApOracle {
 public:
  ApOracle(World& world, Counters& counters, Nodes& nodes)
      : world_(world), counters_(counters), nodes_(nodes), last_(nodes.size()) {}

  void started(int node) { last_[static_cast<std::size_t>(node)].reset(); }
  void turned(int node);
  // In the turn of the node, before the operation is submitted.
  void witness(std::size_t operation, const Asked& asked, node::Machine& machine);

  // All nodes run and hold the same. A disk that was lost in the middle of a sync may leave buckets
  // ahead of the vector for good, everywhere alike; where none was, all are `whole`.
  bool converged(bool whole) const;
  std::string differences() const;

  // After convergence: `books` of every node, `visible` what they all hold.
  void settle(const std::vector<std::unique_ptr<Asked>>& all, const std::vector<BooksResult>& books,
              const std::map<std::string, std::string>& visible);
  void check_promise(const std::vector<std::unique_ptr<Asked>>& all);

 private:
  std::string beside(int node, const ap::Engine::Fingerprint& now);
  struct Before {
    VersionVector vector;
    bool whole = true;
    std::optional<std::string> value;
  };
  // Ids name members; a node that has not heard a disk's member yet writes the disk's number.
  std::string readable(const std::string& id) const;
  bool had_seen(std::size_t later, const Asked& later_asked, const Asked& earlier) const;

  World& world_;
  Counters& counters_;
  Nodes& nodes_;
  std::vector<std::optional<ap::Engine::Fingerprint>> last_;
  std::unordered_map<std::uint64_t, Hash128> digests_;  // by hash of vector and ahead
  std::map<std::size_t, Before> before_;                // by operation
};

}  // namespace capstan::sim
