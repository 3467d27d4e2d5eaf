#include "cp/raft.h"

#include <utility>

#include "core/check.h"

namespace capstan::cp {

std::string_view to_text(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kPreCandidate:
      return "candidate";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
  }
  return "";
}

Raft::Raft(RaftOptions options, RaftState state, Rng rng)
    : options_(options),
      rng_(rng),
      hard_(std::move(state.hard)),
      log_(state.base, std::move(state.entries)),
      commit_(state.applied),
      handed_out_(state.applied),
      checkpointed_(state.applied) {
  CAPSTAN_ASSERT(state.applied >= log_.base().index);
  CAPSTAN_ASSERT(state.applied <= log_.last_index());
  CAPSTAN_ASSERT(options_.election_ticks > options_.heartbeat_ticks);
  configs_.emplace_back(state.applied, std::move(state.config));
  for (Index i = next(state.applied); i <= log_.last_index(); i = next(i)) take_config(log_.at(i));
  if (Mutants::on(Mutant::kVoteForgotten)) hard_.vote = {};
  durable_roll_ = hard_.roll;
  if (hard_.standing == Standing::kFresh) {
    hard_.life = {options_.life.node, 0};  // the same until something is written
    if (state.impaired) hard_.life = options_.life;
  }
  if (state.impaired) {
    hard_.life = options_.life;
    set_standing(Standing::kImpaired);
  }
  draw_timeout();
  try_form();
}

void Raft::say(std::string name, std::string text) {
  events_.push_back({std::move(name), std::move(text)});
}

void Raft::become_follower(Term term, MemberId leader, const std::string& why) {
  CAPSTAN_ASSERT(term >= hard_.term);
  if (is_leader()) {
    say("stepped_down",
        "term " + std::to_string(hard_.term.value) + (why.empty() ? "" : ", " + why));
    leader_tick_ = tick_;
  }
  const bool new_term = term > hard_.term;
  if (new_term) {
    hard_.term = term;
    hard_.vote = {};
    hard_changed_ = hard_changed_ || !Mutants::on(Mutant::kTermNotPersisted);
  }
  if (role_ != Role::kFollower || new_term) {
    role_ = Role::kFollower;
    reset_for_role();
  }
  leader_ = leader;
}

// What belongs to one role in one term.
void Raft::reset_for_role() {
  leader_ = {};
  leader_cut_ = false;
  verified_ = {};
  ack_.reset();
  votes_.clear();
  own_vote_write_ = 0;
  own_vote_counted_ = false;
  progress_.clear();
  if (!leaving_.empty()) ++config_version_;
  leaving_.clear();
  announced_.clear();
  restoring_.reset();
  transferee_ = {};
  uncommitted_bytes_ = 0;
  round_ = joined_ = confirmed_ = {};
  reads_.reset();
  draw_timeout();
}

void Raft::step(MemberId from, const Message& message) {
  // A member we do not know may be one that came while we were away: who speaks at all is decided
  // where links are made, and only the configuration says who counts.
  if (from == options_.self) return;
  if (const Hello* hello = std::get_if<Hello>(&message.body)) return on_hello(from, *hello);
  if (message.term < hard_.term) return step_lower_term(from, message);
  if (message.term > hard_.term) {
    if (const VoteRequest* ask = std::get_if<VoteRequest>(&message.body)) {
      // While we hear a leader, an election would only disturb [Raft §6]; unless it is the leader
      // itself that asks, in a later term than the one it led.
      if (!ask->transfer && hears_leader() && from != leader_) return;
      if (!ask->pre) become_follower(message.term, {});
    } else if (const VoteReply* reply = std::get_if<VoteReply>(&message.body);
               reply != nullptr && reply->pre && reply->granted) {
      // The term is the one we asked about; nobody is in it yet.
    } else {
      const Role before = role_;
      become_follower(message.term, {});
      if (before != Role::kFollower) campaign_if_nobody_won(before);
    }
  }
  dispatch(from, message);
}

void Raft::step_lower_term(MemberId from, const Message& message) {
  if (const VoteRequest* ask = std::get_if<VoteRequest>(&message.body)) {
    if (counts()) send(from, VoteReply{ask->pre, false, hard_.life, {}});
  } else if (std::holds_alternative<Append>(message.body) ||
             std::holds_alternative<Heartbeat>(message.body) ||
             std::holds_alternative<SnapshotChunk>(message.body)) {
    // A leader of the past, or one that a member with a higher term could never follow again:
    // our term makes it step down, and the next election settles it.
    send(from, HeartbeatReply{{}, {}, {}, counts(), false});
  }
}

void Raft::dispatch(MemberId from, const Message& message) {
  const Body& body = message.body;
  if (const auto* ask = std::get_if<VoteRequest>(&body)) {
    on_vote_request(from, message.term, *ask);
  } else if (const auto* vote = std::get_if<VoteReply>(&body)) {
    on_vote_reply(from, message.term, *vote);
  } else if (const auto* append = std::get_if<Append>(&body)) {
    on_append(from, *append);
  } else if (const auto* ack = std::get_if<AppendReply>(&body)) {
    on_append_reply(from, *ack);
  } else if (const auto* heartbeat = std::get_if<Heartbeat>(&body)) {
    on_heartbeat(from, *heartbeat);
  } else if (const auto* reply = std::get_if<HeartbeatReply>(&body)) {
    on_heartbeat_reply(from, *reply);
  } else if (std::holds_alternative<TimeoutNow>(body)) {
    on_timeout_now(from);
  } else if (const auto* restored = std::get_if<Restored>(&body)) {
    on_restored(from, *restored);
  } else if (std::holds_alternative<SnapshotChunk>(body)) {
    if (!is_leader()) heard_leader(from);
  } else if (std::holds_alternative<SnapshotReply>(body)) {
    const auto at = progress_.find(from);
    if (at != progress_.end()) heard_from(from, at->second.counts);
  }
}

void Raft::tick() {
  ++tick_;
  if (is_leader()) {
    check_quorum();
    if (!is_leader()) return;
    if (transferee_ && tick_ - transfer_tick_ > std::uint64_t(options_.election_ticks)) {
      say("transfer_failed", "no answer within an election timeout");
      transferee_ = {};
    }
    see_off();
    follow_steps();
    if (tick_ >= heartbeat_tick_) {
      tick_restoring();
      broadcast_heartbeat();
    }
    return;
  }
  const bool evidence = evidence_tick_ != 0 && tick_ >= evidence_tick_;
  if (!evidence && tick_ < timeout_tick_) return;
  if (!counts() || installing_ || !may_campaign()) return draw_timeout();
  campaign(true, false);
  // A connection that broke is asked about again soon: the others may not have seen it break yet.
  const bool again = evidence && evidence_lasts_ && role_ == Role::kPreCandidate;
  evidence_tick_ = again ? tick_ + 4 : 0;
}

Result<Index> Raft::propose(SharedBytes commands) {
  if (!is_leader() || transferee_) return fail(ErrorCode::kInvalid, "not the leader");
  const std::size_t bytes = commands->size();
  if (uncommitted_bytes_ > 0 && uncommitted_bytes_ + bytes > options_.uncommitted_bytes_max) {
    return fail(ErrorCode::kTooLarge, "too much is uncommitted");
  }
  uncommitted_bytes_ += bytes;
  log_.append({hard_.term, next(log_.last_index()), EntryKind::kCommands, std::move(commands)});
  if (Mutants::on(Mutant::kLeaderCountsItselfEarly)) advance_commit();
  return log_.last_index();
}

void Raft::persisted(WriteNumber number) {
  CAPSTAN_ASSERT(number <= last_write_);
  durable_write_ = std::max(durable_write_, number);
  log_.written(number);
  while (!written_rolls_.empty() && written_rolls_.front().first <= number) {
    durable_roll_ = std::move(written_rolls_.front().second);
    written_rolls_.pop_front();
  }
  if (role_ == Role::kCandidate && !own_vote_counted_ && own_vote_write_ != 0 &&
      own_vote_write_ <= number) {
    own_vote_counted_ = true;
    votes_[options_.self] = {true, hard_.life, hard_.roll};
    count_votes();
  }
  if (is_leader()) {
    advance_commit();
    confirm_restoring();
  }
}

Ready Raft::take_ready(Index apply_max) {
  if (is_leader()) {
    start_round();
    advance_config();
    for (auto& [member, progress] : progress_) replicate(member, progress);
    advance_transfer();
  }
  Ready out;
  if (ack_) {
    ack_->counts = counts();
    ack_->life = hard_.life;
    auto& queue = Mutants::on(Mutant::kFollowerAcksEarly) ? now_ : durable_;
    queue.push_back({leader_, {hard_.term, *ack_}});
    ack_.reset();
  }
  out.entries = log_.take_unwritten(last_write_ + 1);
  if (hard_changed_ || !out.entries.empty()) out.write = ++last_write_;
  if (hard_changed_) {
    out.hard_state = hard_;
    hard_changed_ = false;
    written_rolls_.emplace_back(out.write, hard_.roll);
    if (role_ == Role::kCandidate && own_vote_write_ == 0) own_vote_write_ = out.write;
  }
  const Index upto = std::min(commit_, apply_max);
  if (!installing_ && handed_out_ < upto) {
    out.committed = log_.slice(next(handed_out_), upto, SIZE_MAX);
    handed_out_ = upto;
  }
  out.send_now = std::exchange(now_, {});
  out.send_after_durable = std::exchange(durable_, {});
  out.reads = std::exchange(reads_, std::nullopt);
  out.need_snapshot = std::exchange(need_snapshot_, {});
  out.events = std::exchange(events_, {});
  return out;
}

void Raft::checkpointed(Index index) {
  CAPSTAN_ASSERT(index <= handed_out_);
  checkpointed_ = std::max(checkpointed_, index);
  while (configs_.size() > 1 && configs_[1].first <= checkpointed_)
    configs_.erase(configs_.begin());
  log_.compact(checkpointed_, options_.log_window_bytes);
}

}  // namespace capstan::cp
