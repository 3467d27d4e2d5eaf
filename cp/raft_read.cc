// Read rounds: proof that we were the leader at some moment after the read arrived. [Diss §6.4]
//
// One round is under way at a time; reads that come meanwhile join the next. Rounds are numbered
// per term and never reused; a round's index is the commit index when it begins, after its last
// read has joined. An acknowledgement of a later round confirms an earlier one, never the other
// way.
#include "core/check.h"
#include "cp/raft.h"

namespace capstan::cp {

Round Raft::join_read_round() {
  CAPSTAN_ASSERT(is_leader());
  joined_ = next(round_);
  return joined_;
}

void Raft::start_round() {
  if (joined_ <= round_ || confirmed_ < round_) return;
  // Until an entry of our term is committed we do not know what is. [Raft §8]
  if (!established() && !Mutants::on(Mutant::kReadBeforeFirstCommit)) return;
  round_ = joined_;
  if (round_ == Round{1} || !Mutants::on(Mutant::kRoundIndexStale)) round_index_ = commit_;
  if (Mutants::on(Mutant::kRoundReused)) {
    for (auto& [member, progress] : progress_) progress.acked_round = {};
  }
  for (auto& [member, progress] : progress_) send_heartbeat(member, progress);
  confirm_round();
}

bool Raft::round_acknowledged(Round round) const {
  const Round wanted = Mutants::on(Mutant::kRoundReused) ? Round{1} : round;
  return has_quorum(config(), [&](MemberId voter) {
    if (voter == options_.self) return true;
    const Progress& progress = progress_.at(voter);
    return progress.counts && progress.acked_round >= wanted;
  });
}

void Raft::confirm_round() {
  if (confirmed_ >= round_ || !round_acknowledged(round_)) return;
  confirmed_ = round_;
  reads_ = {round_, round_index_};
}

}  // namespace capstan::cp
