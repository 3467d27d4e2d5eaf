// What the CP engine writes to the WAL, and how the WAL becomes Raft's state again at start.
//
//   kHardState  term, vote, standing, life, roll
//   kEntry      term, index, kind; the body is the entry's data
//   kMark       "the log restarts behind (term, index)": a snapshot was installed there
//
// Replay keeps the last hard state and, of the entries, what docs/formats-cp.md leaves: a
// lower index than the last drops the old suffix, a mark drops everything.
#pragma once

#include <cstdint>
#include <vector>

#include "core/disk.h"
#include "core/engine.h"
#include "cp/raft.h"

namespace capstan::cp {

Record hard_state_record(const HardState& hard);
Record entry_record(const Entry& entry);
Record restart_record(EntryId base);

struct Replayed {
  RaftState state;
  // Where each kept entry's group lies, for Disk::release: (index, position), ascending.
  std::vector<std::pair<Index, std::uint64_t>> positions;
};

// `base` is what the base holds; `initial` the configuration of a cluster that has none yet.
Replayed replay(const Recovered& recovered, EntryId base, const Config& config);

}  // namespace capstan::cp
