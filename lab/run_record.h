// Everything one comparison recorded, before anything is judged: plain data, filled by the running
// lab, or by hand in a test. All times count from the start of the load.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/time.h"
#include "core/types.h"
#include "lab/convergence.h"
#include "lab/history.h"
#include "lab/plan.h"

namespace capstan::lab {

// A line of the story, said when it happened.
struct Event {
  Micros at = 0;
  std::string who{};  // "load", "CUT", "HEAL", "CP", "AP"
  std::string text{};
};

// How far the nodes' states were apart: keys that did not have the same value on all nodes. In CP
// the nodes' own states are compared, which clients do not get to see unless they ask for them.
struct DivergenceSample {
  Micros at = 0;
  std::uint64_t keys = 0;
};

// One cluster of the two.
struct ModeRun {
  Mode mode = Mode::kCp;
  History history{};

  // Every node had confirmed the cut by cut_at; the heal was ordered at heal_at.
  Micros cut_at = 0;
  Micros heal_at = 0;
  Micros load_end = 0;

  std::vector<DivergenceSample> divergence{};
  // Just before the heal every key was read at every node, as clients read: keys for which two
  // nodes answered with two values.
  std::uint64_t keys_with_two_values = 0;
  // From the heal until every node held everything written before it; -1: not within the wait.
  Micros equal_after = -1;
  // What the nodes sent each other about what was missing, from the heal until they were equal.
  std::int64_t reconcile_bytes = -1;  // -1: not counted

  std::vector<FinalState> finals{};   // one a node, after the last write was answered and settled
  std::vector<Conflict> conflicts{};  // AP: the conflict logs of all nodes, one after the other
  std::string leader_at_cut{};        // CP; empty: none known
  std::string durability{};
  std::vector<std::string> problems{};  // a node died, a sample failed: sentences
};

struct RunRecord {
  PlanOptions plan{};
  std::string version{};
  std::string machine{};  // for people: cores, system
  ModeRun cp{.mode = Mode::kCp};
  ModeRun ap{.mode = Mode::kAp};
  std::vector<Event> events{};
};

}  // namespace capstan::lab
