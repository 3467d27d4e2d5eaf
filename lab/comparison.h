// Runs a comparison: two clusters, one plan, one clock; cuts, heals, watches, and hands back what
// was recorded. Nothing is judged here.
//
//   0 s        the load begins
//   cut_at     the plan's sides are parted, by dropping frames at the peer links (clients are not
//              cut)
//   heal_at    just before: every key is read at every node as clients read
//   load_end   no operation begins any more; the open ones are waited for
//   after      until all nodes hold the same, at most a few seconds
#pragma once

#include <functional>
#include <string>

#include "core/result.h"
#include "lab/run_record.h"

namespace capstan::lab {

struct ComparisonOptions {
  PlanOptions plan;
  std::string executable;                      // of capstan
  std::function<void(const Event&)> on_event;  // as it happens; may be null
  std::vector<std::string> serve_flags{};      // for every node
};

enum class ComparisonEnd { kDone, kInterrupted, kFailed };

struct ComparisonResult {
  ComparisonEnd end = ComparisonEnd::kDone;
  std::string failure;  // kFailed: a sentence
  RunRecord record;
};

// Blocks until it is over: about plan.load_end and a few seconds. SIGINT and SIGTERM end it early.
// Whatever happens, the processes and directories it made are gone when it returns; a second signal
// ends the process at once, and the kernel ends the nodes with it.
ComparisonResult run_comparison(const ComparisonOptions& options);

}  // namespace capstan::lab
