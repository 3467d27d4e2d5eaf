// What a leader tells a witness, and when. The story is in raft.h.
#include <algorithm>

#include "cp/raft.h"

namespace capstan::cp {
namespace {

// So many election timeouts without a confirmation, and a member is waited for no more.
constexpr std::uint64_t kPatience = 2;

}  // namespace

// Leader, each tick.
void Raft::follow_steps() {
  const auto timeout = static_cast<std::uint64_t>(options_.election_ticks);
  for (auto& [member, progress] : progress_) {
    if (progress.witness) continue;
    if (progress.match == log_.last_index()) progress.news_tick = tick_;
    const bool there = progress.counts && connected_.contains(member) &&
                       progress.state != Progress::State::kSnapshot &&
                       tick_ - progress.heard_tick < timeout &&
                       tick_ - progress.news_tick < kPatience * timeout;
    // One that comes back is waited for once all there is has been sent to it: the rest comes soon.
    const bool close =
        progress.state == Progress::State::kReplicate && progress.next > log_.last_index();
    progress.in_step = there && (progress.in_step || close);
  }
}

// The last entry that the witness may hear of. Our own disk must have it, too: were we to lose it,
// the witness would have no vote for us either.
Index Raft::witness_limit() const {
  if (Mutants::on(Mutant::kWitnessToldEarly)) return log_.last_index();
  Index limit = log_.stable();
  for (const auto& [member, progress] : progress_) {
    const bool waited_for = progress.in_step && progress.counts && is_voter(member);
    if (waited_for) limit = std::min(limit, progress.match);
  }
  return std::max(limit, commit_);
}

}  // namespace capstan::cp
