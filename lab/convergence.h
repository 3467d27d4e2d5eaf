// Are all nodes equal at the end? Equal means: the same keys with the same values in a full dump of
// each node, and in AP also equal version vectors and equal digests.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/types.h"
#include "lab/history.h"

namespace capstan::lab {

struct Stored {
  std::string value;
  std::uint64_t mod_revision = 0;  // CP: compared between nodes; AP: local, not compared
  friend bool operator==(const Stored&, const Stored&) = default;
};
using Dump = std::map<std::string, Stored>;

// What one node holds when a run is over.
struct FinalState {
  std::string name;
  Dump dump{};
  std::string vector_text{}, digest_text{};  // AP; empty in CP
  std::set<std::string> survived_ids{};      // AP: its books: the writes visible in its cells
  std::set<std::string> lost_ids{};          // AP: its conflict log: losers, bodies kept
  // AP: the bodies kept in its conflict log, by the loser's id. Empty: not asked for.
  std::map<std::string, std::string> lost_bodies{};
};

struct ConvergenceResult {
  Verdict verdict = Verdict::kYes;
  std::uint64_t differing_keys = 0;  // keys that are not the same on every node
  std::string detail;                // the first difference, for people; empty when yes
};
ConvergenceResult check_convergence(Mode mode, std::span<const FinalState> nodes);

// How many keys do not have the same value in both (absent is a value).
std::uint64_t differing_keys(const Dump& a, const Dump& b);

}  // namespace capstan::lab
