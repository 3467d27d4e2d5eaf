// When the table is due for its checkpoint: at so many bytes, or so long after the last one.
//
// Members take the same writes. Left alike they would all write their checkpoints at one moment,
// and then even a quorum waits for a busy disk. So the first ones are spread: member r of n (from
// 0, by id) takes its first at (r + 1)/n of both bounds, and from there on each keeps its own step.
#pragma once

#include <algorithm>
#include <cstddef>

#include "core/engine.h"
#include "core/time.h"

namespace capstan {

class CheckpointSchedule {
 public:
  explicit CheckpointSchedule(const EngineConfig& config)
      : bytes_(config.checkpoint_table_bytes), interval_(config.checkpoint_interval) {
    const auto self = std::ranges::find(config.members, config.self, &Member::id);
    if (self == config.members.end()) return;
    count_ = config.members.size();
    share_ = static_cast<std::size_t>(self - config.members.begin()) + 1;
  }

  bool due(std::size_t table_bytes, Micros now) {
    if (last_ < 0) last_ = now;
    return table_bytes >= bytes_ / count_ * share_ ||
           now - last_ >= interval_ / static_cast<Micros>(count_) * static_cast<Micros>(share_);
  }
  void begun(Micros now) {
    last_ = now;
    share_ = count_;
  }

 private:
  std::size_t bytes_;
  Micros interval_;
  std::size_t share_ = 1, count_ = 1;
  Micros last_ = -1;
};

}  // namespace capstan
