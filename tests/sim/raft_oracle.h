// Raft's five properties and what our own machine adds to them, held over all nodes after each
// turn:
//
//   one leader a term            a leader's log only grows          a leader has all that is
//   committed logs match where terms do    everybody applies the same entry at the same index
//   committed never changes; commit never falls in one life; applied <= commit <= last
//   a checkpoint never holds what the own log may still lose
//   the same applied index, the same state (digest of every change since revision 1), the same
//   configuration
//   what a leader commits lies, durably, with a majority of each half of its configuration
//
// It remembers every committed entry of the run, also across crashes: what was once committed
// anywhere is committed for ever.
//
// [Raft §5, figure 3]  Ongaro & Ousterhout, USENIX ATC 2014, extended version
#pragma once

#include <map>
#include <vector>

#include "cp/engine.h"
#include "tests/sim/faults.h"
#include "tests/sim/world.h"

namespace capstan::sim {

class RaftOracle {
 public:
  RaftOracle(World& world, Counters& counters, Nodes& nodes)
      : world_(world), counters_(counters), nodes_(nodes), seen_(nodes.size()) {}

  void started(int node);
  void turned(int node);
  // Every pair of logs; dear, so only now and then.
  void compare_logs();

  std::uint64_t committed() const { return committed_.size() - 1; }
  std::uint64_t elections() const { return leaders_.size(); }

 private:
  struct Fact {
    Term term;
    std::uint64_t bytes = 0;  // hash of the entry
    Term committed_by;        // no later term than this committed it
  };
  // What we saw of a node after its last turn, in one life.
  struct Seen {
    std::uint64_t life = 0;
    Index commit, last, applied;
    Term term;
    bool leader = false;
    cp::Config config;
  };

  cp::Engine* engine_of(int node);
  void check_leader(int node, const cp::Raft& raft, Seen& before);
  void check_commit(int node, const cp::Raft& raft, const Seen& before);
  void check_majority(int node, const cp::Raft& raft, const Seen& before);
  void check_config(int node, const cp::Engine& engine);
  void check_state(int node, const cp::Engine& engine, const Seen& before);
  void take(int node, const cp::Entry& entry, const char* how);
  // As a witness holds it; then it can only be compared by its term.
  bool has_no_commands(int node, const cp::Entry& entry);
  void fail(const char* oracle, int node, const std::string& what);

  World& world_;
  Counters& counters_;
  Nodes& nodes_;
  std::vector<Seen> seen_;
  std::map<Term, std::pair<int, std::uint64_t>> leaders_;  // node and its life
  std::vector<Fact> committed_{{}};                        // by index; 0 is nothing
  std::map<Index, std::uint64_t> digests_;
  std::map<Index, cp::Config> configs_;
};

}  // namespace capstan::sim
