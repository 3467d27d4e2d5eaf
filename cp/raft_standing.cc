// Standing: who may be counted. The story and the argument are in raft.h.
#include <utility>

#include "core/check.h"
#include "cp/raft.h"

namespace capstan::cp {

void Raft::set_standing(Standing standing) {
  hard_.standing = standing;
  hard_changed_ = true;
  const auto at = std::ranges::lower_bound(hard_.roll, options_.self, {}, &RollEntry::member);
  if (at != hard_.roll.end() && at->member == options_.self) {
    at->life = hard_.life;
  } else {
    hard_.roll.insert(at, {options_.self, hard_.life});
  }
}

// Lives of one disk are ordered; of two disks, the one we hear of now is the one that lives.
void Raft::learn(MemberId member, const Actor& life) {
  if (hard_.standing == Standing::kFresh || member == options_.self) return;
  const auto at = std::ranges::lower_bound(hard_.roll, member, {}, &RollEntry::member);
  if (at != hard_.roll.end() && at->member == member) {
    if (at->life.node == life.node && at->life.incarnation >= life.incarnation) return;
    at->life = life;
  } else {
    hard_.roll.insert(at, {member, life});
  }
  hard_changed_ = true;
}

void Raft::on_hello(MemberId from, const Hello& hello) {
  hellos_[from] = hello;
  if (hard_.standing == Standing::kFresh) return try_form();
  if (hello.standing == Standing::kFresh) {
    now_.push_back({from, {hard_.term, this->hello()}});  // so that it learns where it stands
  } else {
    learn(from, hello.life);
  }
  const auto at_leader = progress_.find(from);
  if (at_leader == progress_.end()) return;  // we do not lead, or it is no member
  Progress& progress = at_leader->second;
  progress.counts = hello.standing == Standing::kNormal;
  if (hello.standing != Standing::kImpaired) return;
  const auto [at, first] = announced_.emplace(from, hello.life);
  if (!first && at->second == hello.life) return;
  at->second = hello.life;
  // What it acknowledged in another life it may have no more.
  progress.match = {};
  progress.to_probe(next(log_.last_index()));
  progress.verify = true;
}

void Raft::try_form() {
  if (hard_.standing != Standing::kFresh) return;
  Roll roll;
  for (MemberId voter : config().voters) {
    if (voter == options_.self) {
      roll.push_back({voter, hard_.life});
      continue;
    }
    const auto heard = hellos_.find(voter);
    if (heard == hellos_.end()) continue;
    const Hello& hello = heard->second;
    if (hello.standing == Standing::kFresh) {
      roll.push_back({voter, hello.life});
      continue;
    }
    const Actor* us = find_life(hello.roll, options_.self);
    if (us == nullptr && hello.standing == Standing::kImpaired) continue;  // it may have lost us
    if (us != nullptr && *us == hard_.life) {
      hard_.roll = hello.roll;  // formed with this very disk, while we were slow to hear
      set_standing(Standing::kNormal);
      campaign_soon({});
      return say("formed", "the cluster was formed with this disk");
    }
    // A life of its own: others hear of it before our disk has it, and a crash in between makes us
    // fresh again, which must not look like the disk that the cluster was formed with.
    hard_.life = options_.life;
    set_standing(Standing::kImpaired);
    return say("impaired", "the cluster was formed before this disk was written");
  }
  if (roll.size() < config().voters.size() || !is_voter(options_.self)) return;
  hard_.roll = std::move(roll);
  set_standing(Standing::kNormal);
  campaign_soon({});
  say("formed", "every configured member is here and new");
}

// One member is restored at a time. Its round is a read round of its own, begun after we heard of
// the impairment in this term and carrying the life that has to be learned.
void Raft::tick_restoring() {
  if (restoring_ && announced_.contains(restoring_->member) &&
      announced_.at(restoring_->member) != restoring_->life) {
    restoring_.reset();
  }
  if (!restoring_ && established()) {
    for (const auto& [member, life] : announced_) {
      const auto at = progress_.find(member);
      if (at == progress_.end() || at->second.counts || !config().is_member(member)) continue;
      restoring_ = Restoring{member, life, join_read_round(), false, {}};
      learn(member, life);
      break;
    }
  }
  confirm_restoring();
}

void Raft::confirm_restoring() {
  if (!restoring_) return;
  const auto& [member, life] = std::pair{restoring_->member, restoring_->life};
  const auto at = progress_.find(member);
  if (at == progress_.end()) return restoring_.reset();  // removed meanwhile
  const Progress& progress = at->second;
  if (progress.counts) {  // it says so itself: done
    announced_.erase(member);
    restoring_.reset();
    return;
  }
  if (!restoring_->confirmed) {
    const bool learned = has_quorum(config(), [&, &who = member, &its_life = life](MemberId voter) {
      if (voter == options_.self) {
        const Actor* known = find_life(durable_roll_, who);
        return known != nullptr && *known == its_life;
      }
      const Progress& theirs = progress_.at(voter);
      return voter != who && theirs.counts && theirs.learned_round >= restoring_->round;
    });
    if (!learned || round_ < restoring_->round) return;
    restoring_->confirmed = true;
    restoring_->commit = commit_;
  }
  if (progress.match < restoring_->commit) return;
  if (restoring_->told_tick == tick_ && tick_ != 0) return;
  restoring_->told_tick = tick_;
  send(member, Restored{life});
}

void Raft::on_restored(MemberId from, const Restored& restored) {
  if (from != leader_ || hard_.standing != Standing::kImpaired || restored.life != hard_.life)
    return;
  set_standing(Standing::kNormal);
  say("restored", "the log holds all it may ever have acknowledged");
}

}  // namespace capstan::cp
