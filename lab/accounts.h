// The accounts of a run: every acknowledged write in exactly one of
//
//   survived     it is what the nodes hold now
//   superseded   overwritten by a write that had seen it
//   lost         AP: a concurrent write won; its body is in a conflict log
//   merged, expired   0 for registers without a time to live
//
// and `unaccounted` for what is in none: acknowledged, and gone without a trace. Nothing here is a
// remainder: a write counts as superseded only on evidence.
//
// Evidence that y had seen x, both writes of one key, strongest first:
//   replaced   y's reply said that it replaced x's value (writes that ask for the previous value)
//   revision   CP: one history for all, and y's revision is higher
//   given      the caller knows (the simulator sees more than a client does): Evidence::seen
//   same life  only where y did not say what it replaced and no conflict log names x: both ids
//              are of the same node and incarnation, and y's sequence is higher. It is the weakest:
//              x may have lost to a third write before y came
// A write that was replaced by one who had seen it and is also named in a conflict log is
// superseded: its client's value was replaced on purpose, and what lost the race is the successor.
//
// In CP the writer of the final value must be known too: a value that nobody wrote, or that only a
// failed write wrote, is a broken promise of its own.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/types.h"
#include "lab/convergence.h"
#include "lab/history.h"

namespace capstan::lab {

struct Evidence {
  // Ids of writes known by other means to have been seen and overwritten.
  std::set<std::string> seen;
};

struct Accounts {
  std::uint64_t acknowledged = 0;
  std::uint64_t survived = 0, superseded = 0, merged = 0, lost = 0, expired = 0;
  std::uint64_t unaccounted = 0;
  // Not found anywhere, but a write of unknown outcome to the same key may have overwritten it.
  std::uint64_t undecided = 0;

  // Writes whose outcome the client never learned.
  std::uint64_t unknown = 0, unknown_applied = 0, unknown_not_applied = 0, unknown_undecided = 0;

  // Everything acknowledged is accounted for; no: something is not, or a node holds a value that no
  // write of the history could have put there; unknown: only undecided ones are left.
  Verdict verdict = Verdict::kYes;
  std::string detail;  // the first few failures, one a line; empty when yes
  std::vector<Operation> lost_writes;
  std::vector<Operation> unaccounted_writes;

  std::uint64_t accounted() const { return survived + superseded + merged + lost + expired; }
};

// All nodes of `nodes` must have ended equal for the result to mean anything: settle after
// check_convergence said yes; otherwise each write is looked up in the first node's dump only.
Accounts settle_accounts(Mode mode, const History& history, std::span<const FinalState> nodes,
                         const Evidence& evidence = {});

// Gets answered ok during [from, to) that returned something older than a write acknowledged before
// the get began: the value read was itself overwritten, in real time, by that write.
struct StaleReads {
  std::uint64_t reads = 0;
  std::uint64_t stale = 0;
};
StaleReads count_stale_reads(const History& history, Micros from, Micros to);

}  // namespace capstan::lab
