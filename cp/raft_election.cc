// Elections: pre-vote, vote, check-quorum, hand-over, and the short cut on a lost connection.
#include <utility>

#include "core/check.h"
#include "cp/raft.h"

namespace capstan::cp {

void Raft::draw_timeout() {
  const auto base = static_cast<std::uint64_t>(options_.election_ticks);
  timeout_tick_ = tick_ + base + rng_.below(base);
}

// With leases off, a voter that has lost its own connection to the leader owes it nothing more.
bool Raft::hears_leader() const {
  if (is_leader()) return true;
  return leader_ && !leader_cut_ &&
         tick_ - leader_tick_ < static_cast<std::uint64_t>(options_.election_ticks);
}

// All members learn of this at about the same time: they look in the order of their ids, a tick or
// two apart, so that the first has won before the second asks.
void Raft::campaign_soon(MemberId without) {
  std::uint64_t before_us = 0;
  for (MemberId voter : config().voters) {
    const bool asks = voter != without && !is_witness(voter);
    if (asks && voter < options_.self) ++before_us;
  }
  evidence_tick_ = tick_ + 1 + 2 * before_us;
  evidence_lasts_ = true;
}

// A newer term has ended what we were doing, and it was not its leader who told us. Somebody
// campaigns in it and is about to win, or did and has lost: then a timeout would pass before anyone
// asked again. Whoever wins is heard within a heartbeat. After that we ask, once; the old leader
// first, whose log is the best guess, then candidates, who had reason to ask already. It is no
// storm: a term has one leader at most, a candidate learns of each newer term once, and it takes a
// quorum that hears no leader to make another.
void Raft::campaign_if_nobody_won(Role before) {
  if (evidence_tick_ != 0) return;  // we look soon as it is
  std::uint64_t turn = 0;
  if (before != Role::kLeader) {
    turn = 2 + 2 * static_cast<std::uint64_t>(std::ranges::count_if(
                       config().voters, [this](MemberId voter) { return voter < options_.self; }));
  }
  evidence_tick_ = tick_ + static_cast<std::uint64_t>(options_.heartbeat_ticks) + turn;
  evidence_lasts_ = false;
}

void Raft::campaign(bool pre, bool transfer) {
  CAPSTAN_ASSERT(counts());
  if (!pre) {
    hard_.term = next(hard_.term);
    hard_.vote = options_.self;
    hard_changed_ = true;
  }
  role_ = pre ? Role::kPreCandidate : Role::kCandidate;
  reset_for_role();
  evidence_tick_ = 0;
  const VoteRequest ask{pre, transfer, log_.last()};
  const Term term = pre ? next(hard_.term) : hard_.term;
  for (MemberId voter : config().everyone()) {
    // A learner may have been made a voter without having heard of it yet.
    if (voter == options_.self || !is_voter(voter)) continue;
    (pre ? now_ : durable_).push_back({voter, {term, ask}});
  }
  if (pre) {
    // Our own vote counts once it is durable; a pre-vote is none.
    votes_[options_.self] = {true, hard_.life, hard_.roll};
    count_votes();
  }
}

void Raft::on_vote_request(MemberId from, Term term, const VoteRequest& request) {
  if (!counts() || is_witness(from)) return;
  const bool up_to_date = Mutants::on(Mutant::kFreshnessByLength)
                              ? request.last.index >= log_.last_index()
                              : request.last >= log_.last();  // [Raft §5.4.1]
  if (request.pre) {
    const bool granted = up_to_date && term > hard_.term;
    now_.push_back(
        {from, {granted ? term : hard_.term, VoteReply{true, granted, hard_.life, hard_.roll}}});
    if (evidence_tick_ != 0) {
      // Step aside for whoever asked first; step in for one that cannot win against us.
      evidence_tick_ = tick_ + (granted ? 6 : 1);
    }
    return;
  }
  const bool free = hard_.vote == from || (!hard_.vote && !leader_);
  const bool granted = free && up_to_date;
  if (granted) {
    hard_.vote = from;
    draw_timeout();
    if (evidence_tick_ != 0) evidence_tick_ = tick_ + 6;
    if (Mutants::on(Mutant::kVoteNotSynced)) {
      return send(from, VoteReply{false, true, hard_.life, hard_.roll});
    }
    hard_changed_ = true;
  }
  send_durable(from, VoteReply{false, granted, hard_.life, hard_.roll});
}

void Raft::on_vote_reply(MemberId from, Term term, const VoteReply& reply) {
  const Role asked = reply.pre ? Role::kPreCandidate : Role::kCandidate;
  if (role_ != asked) return;
  // A granted pre-vote echoes the term asked about; one from another attempt is stale.
  if (reply.pre && reply.granted && term != next(hard_.term)) return;
  votes_[from] = {reply.granted, reply.life, reply.roll};
  count_votes();
}

// A granted vote of a life that another voter knows to be over may have been given to somebody else
// as well since: it does not count. Any majority that could be misled holds such a voter (raft.h).
bool Raft::vote_is_valid(MemberId voter) const {
  const auto given = votes_.find(voter);
  if (given == votes_.end() || !given->second.granted) return false;
  return std::ranges::none_of(votes_, [&](const auto& other) {
    const Actor* known = other.second.granted ? find_life(other.second.roll, voter) : nullptr;
    return known != nullptr && *known != given->second.life;
  });
}

void Raft::count_votes() {
  if (has_quorum(config(), [this](MemberId voter) { return vote_is_valid(voter); })) {
    if (role_ == Role::kPreCandidate) return campaign(false, false);
    return become_leader();
  }
  const auto may_grant = [this](MemberId voter) {
    const auto given = votes_.find(voter);
    return given == votes_.end() || given->second.granted;
  };
  if (!has_quorum(config(), may_grant)) become_follower(hard_.term, {});
}

void Raft::become_leader() {
  CAPSTAN_ASSERT(role_ == Role::kCandidate);
  CAPSTAN_ASSERT(hard_.vote == options_.self);
  role_ = Role::kLeader;
  reset_for_role();
  evidence_tick_ = 0;
  leader_ = options_.self;
  follow_config();
  term_first_ = next(log_.last_index());
  step_mark_ = step_mark_next_ = log_.last_index();
  step_mark_tick_ = tick_;
  if (Mutants::on(Mutant::kNoEmptyEntry)) {
    term_first_ = {};
  } else {
    // Nothing of older terms is known to be committed until one of ours is. [Raft §5.4.2, §8]
    log_.append({hard_.term, term_first_, EntryKind::kCommands, nullptr});
  }
  say("became_leader", "term " + std::to_string(hard_.term.value));
  broadcast_heartbeat();
}

// A leader that hears no majority may have been replaced: it stops looking like one. [Diss §6.2]
void Raft::check_quorum() {
  std::set<MemberId> heard{options_.self};
  for (auto& [member, progress] : progress_) {
    const bool recent =
        tick_ - progress.heard_tick < static_cast<std::uint64_t>(options_.election_ticks);
    if (recent && progress.counts && is_voter(member)) heard.insert(member);
    // Nothing streams to a member that does not answer; a heartbeat reply starts it again.
    if (!recent && progress.state == Progress::State::kReplicate) {
      progress.to_probe(next(progress.match));
      progress.probe_sent = true;
    }
  }
  if (has_quorum(config(), [&heard](MemberId voter) { return heard.contains(voter); })) return;
  // The engine traces the loss itself, on every member that notices it.
  become_follower(hard_.term, {},
                  "heard " + std::to_string(heard.size()) + " of " +
                      std::to_string(config().voters.size()) + " voters");
}

bool Raft::transfer_leadership(MemberId to) {
  if (!is_leader() || transferee_) return false;
  const Progress* best = nullptr;
  for (const auto& [member, progress] : progress_) {
    const bool recent =
        tick_ - progress.heard_tick < static_cast<std::uint64_t>(options_.election_ticks);
    if (!progress.counts || !progress.heard || !recent || (to && to != member)) continue;
    if (progress.witness) continue;
    if (!std::ranges::binary_search(config().voters, member)) continue;  // or soon no voter
    if (best != nullptr && best->match >= progress.match) continue;
    best = &progress;
    transferee_ = member;
  }
  transfer_tick_ = tick_;
  timeout_now_sent_ = false;
  if (transferee_) say("transfer_begun", "handing over");
  return bool(transferee_);
}

MemberId Raft::tell_to_campaign(MemberId to) {
  if (!is_leader() || transferee_) return {};
  const auto may = [this](const auto& row) {
    return row.second.counts && !row.second.witness &&
           std::ranges::binary_search(config().voters, row.first);
  };
  if (!to) {
    Index most;
    for (const auto& row : progress_) {
      if (!may(row) || !hears(row.first) || (to && row.second.match <= most)) continue;
      to = row.first;
      most = row.second.match;
    }
  }
  const auto at = progress_.find(to);
  if (at == progress_.end() || !may(*at)) return {};
  send(to, TimeoutNow{});
  return to;
}

void Raft::advance_transfer() {
  if (!transferee_ || timeout_now_sent_) return;
  if (progress_.at(transferee_).match != log_.last_index()) return;
  send(transferee_, TimeoutNow{});
  timeout_now_sent_ = true;
}

void Raft::on_timeout_now(MemberId from) {
  if (is_leader() || !counts() || installing_ || from != leader_ || !may_campaign()) return;
  campaign(false, true);
}

void Raft::peer_connected(MemberId peer) {
  connected_.insert(peer);
  if (peer == leader_) {
    leader_cut_ = false;
    evidence_tick_ = 0;
  }
  if (const auto at = progress_.find(peer); at != progress_.end()) at->second.probe_sent = false;
}

void Raft::peer_disconnected(MemberId peer) {
  connected_.erase(peer);
  if (const auto at = progress_.find(peer); at != progress_.end()) {
    at->second.waited_for = false;
    if (at->second.state == Progress::State::kReplicate) {
      at->second.to_probe(next(at->second.match));
      at->second.probe_sent = true;
    }
    return;
  }
  if (peer != leader_) return;
  leader_cut_ = true;
  campaign_soon(peer);
}

}  // namespace capstan::cp
