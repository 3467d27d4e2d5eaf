#include "cp/auto_compaction.h"

#include <algorithm>

namespace capstan::cp {
namespace {

constexpr Micros kHour = 3600 * kSecond;
constexpr Micros kSteps = 10;

}  // namespace

Micros AutoCompaction::interval() const {
  return rule_.keep_for > 0 ? std::min(rule_.keep_for, kHour) : rule_.revision_interval;
}

void AutoCompaction::note(Micros now, Revision current) {
  if (!seen_.empty() && now - seen_.back().first < rule_.keep_for / kSteps) return;
  seen_.emplace_back(now, current);
  // The newest that is old enough stays, and all behind it.
  while (seen_.size() > 1 && now - seen_[1].first >= rule_.keep_for) seen_.pop_front();
}

Revision AutoCompaction::target(Micros now, Revision current) const {
  if (rule_.keep_for > 0) {
    const bool old = !seen_.empty() && now - seen_.front().first >= rule_.keep_for;
    return old ? seen_.front().second : Revision{};
  }
  return {current.value - std::min(current.value, rule_.keep_revisions)};
}

Revision AutoCompaction::due(Micros now, Revision current, Revision compacted, bool leads) {
  if (rule_.keep_for <= 0 && rule_.keep_revisions == 0) return {};
  if (rule_.keep_for > 0) note(now, current);
  if (next_ < 0 || compacted != std::exchange(compacted_, compacted)) next_ = now + interval();
  if (!leads || now < next_) return {};
  const Revision to = target(now, current);
  if (to <= compacted) return {};
  next_ = now + interval() / kSteps;
  return to;
}

}  // namespace capstan::cp
