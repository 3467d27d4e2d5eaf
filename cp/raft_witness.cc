// What a leader tells a witness, and when. The story is in raft.h.
#include <algorithm>
#include <utility>

#include "cp/raft.h"

namespace capstan::cp {
namespace {

// So many election timeouts without a confirmation, and a member is waited for no more; and again
// after as many in which it kept up.
constexpr std::uint64_t kPatience = 2;

}  // namespace

// Leader, each tick.
void Raft::follow_steps() {
  const auto timeout = static_cast<std::uint64_t>(options_.election_ticks);
  if (tick_ - step_mark_tick_ >= timeout) {
    step_mark_ = std::exchange(step_mark_next_, log_.last_index());
    step_mark_tick_ = tick_;
  }
  for (auto& [member, progress] : progress_) {
    if (progress.witness) continue;
    if (progress.match == log_.last_index()) progress.news_tick = tick_;
    const bool there = progress.counts && connected_.contains(member) &&
                       progress.state != Progress::State::kSnapshot &&
                       tick_ - progress.heard_tick < timeout &&
                       tick_ - progress.news_tick < kPatience * timeout;
    // One that comes back is waited for when it has kept up for a while: not before it is caught
    // up, and a disk that is slow now and then does not hold all writes up each time.
    const bool close =
        progress.state == Progress::State::kReplicate && progress.match >= step_mark_;
    if (!there || !close) progress.apart_tick = tick_;
    const bool keeps_up = tick_ - progress.apart_tick >= kPatience * timeout;
    progress.waited_for = there && (progress.waited_for || keeps_up);
  }
}

// The last entry that the witness may hear of. If nobody with data is waited for, our own disk must
// have it: were we to lose it, the witness would have no vote for us either.
Index Raft::witness_limit() const {
  Index limit = log_.last_index();
  if (Mutants::on(Mutant::kWitnessToldEarly)) return limit;
  bool held_by_another = false;
  for (const auto& [member, progress] : progress_) {
    if (!progress.waited_for || !progress.counts || !is_voter(member)) continue;
    limit = std::min(limit, progress.match);
    held_by_another = true;
  }
  if (!held_by_another) limit = std::min(limit, log_.stable());
  return std::max(limit, commit_);
}

}  // namespace capstan::cp
