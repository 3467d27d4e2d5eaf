// When to compact without being asked, as etcd's --auto-compaction-mode has it:
//
//   periodic   what was superseded longer ago than `keep_for` goes, every `keep_for` or every hour,
//              whichever is less
//   revision   all but the last `keep_revisions` go, every 5 minutes
//
// Every member notes when it saw which revision; only the leader asks. So a new leader goes on
// where the old one was, and after a restart history is kept longer, never shorter.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "core/engine.h"
#include "core/time.h"
#include "core/types.h"

namespace capstan::cp {

class AutoCompaction {
 public:
  explicit AutoCompaction(const CompactionRule& rule) : rule_(rule) {}

  // Once a tick. The revision to compact to, or 0: not now. If it comes to nothing, it is said
  // again a tenth of the interval later.
  Revision due(Micros now, Revision current, Revision compacted, bool leads);

 private:
  Micros interval() const;
  void note(Micros now, Revision current);
  Revision target(Micros now, Revision current) const;

  const CompactionRule rule_;
  std::deque<std::pair<Micros, Revision>> seen_;  // a tenth of keep_for apart, the last 11 or so
  Revision compacted_;
  Micros next_ = -1;
};

}  // namespace capstan::cp
