// The figures of a run: what the scorecard, the JSON and the report show, computed from the record
// and from nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/accounts.h"
#include "lab/convergence.h"
#include "lab/linearizable.h"
#include "lab/run_record.h"

namespace capstan::lab {

// What one side of the cut was asked and answered while the cut lasted: operations begun between
// "all nodes confirmed the cut" and "the heal was ordered".
struct SideFigures {
  Side nodes{};
  bool majority = false;
  std::uint64_t writes = 0, accepted = 0, refused = 0, unknown = 0;
  std::uint64_t reads = 0, reads_answered = 0;
  Micros refusal_p99 = -1;     // from request to refusal; -1: none refused
  Micros unknown_max = -1;     // from request to the answer "unknown"; -1: none
  Micros longest_silence = 0;  // without any accepted write
};

struct ModeFigures {
  Mode mode = Mode::kCp;
  std::vector<SideFigures> sides{};  // in the order of the plan
  SideFigures alone{};               // the first of them
  SideFigures together{};            // all others, taken together
  StaleReads stale{};                // during the cut
  std::uint64_t keys_with_two_values = 0;
  Micros write_p50 = 0, write_p99 = 0;  // of accepted writes, the whole run
  Micros read_p50 = 0, read_p99 = 0;
  // From the heal until every node without a majority on its side had accepted a write again; -1:
  // one never did.
  Micros correct_after = -1;
  // Longest silence of the majority's side in the second after the heal; -1: no side had one.
  Micros heal_stall = -1;
  Micros equal_after = -1;
  std::int64_t reconcile_bytes = -1;
  Accounts accounts{};
  LinearizableResult linearizable{};  // AP: judged too, but not promised
  ConvergenceResult convergence{};
};

struct Figures {
  ModeFigures cp, ap;
  // no: the cut separated nobody: nothing was refused in CP and no key differed in AP.
  Verdict cut_was_real = Verdict::kYes;
  // All checks that a mode promises; problems of the run itself make it unknown at best.
  Verdict verdict = Verdict::kYes;
};

Figures figures_of(const RunRecord& record);

// 0, 1 or 5.
int exit_code(Verdict verdict);

}  // namespace capstan::lab
