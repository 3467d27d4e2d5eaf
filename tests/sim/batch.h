// Many seeds, spread over processes, their counters added up.
#pragma once

#include <cstdint>
#include <string>

#include "core/types.h"

namespace capstan::sim {

struct BatchOptions {
  Mode mode = Mode::kCp;
  std::uint64_t seed = 1;
  std::uint64_t count = 1;
  int jobs = 1;
  bool trace = false;  // print every note
  bool twice = false;  // run each seed twice and compare the hashes
  std::string mutant;  // a planted bug: its number (CP) or name (AP)
};

// Runs seeds seed .. seed + count - 1; prints failures with the line that replays them, and the
// counters. The exit code: 0 all green, 1 not.
int run_batch(const BatchOptions& options);

}  // namespace capstan::sim
