// Replication: appends, acknowledgements, heartbeats, commit.
#include <utility>

#include "core/check.h"
#include "cp/raft.h"

namespace capstan::cp {
namespace {

constexpr std::uint64_t kFarBehind = 100;  // entries: no write waits until they are sent

}  // namespace

// ---- Follower -----------------------------------------------------------------------------------

void Raft::heard_leader(MemberId from) {
  CAPSTAN_ASSERT(!is_leader());  // two leaders in one term
  if (role_ != Role::kFollower || leader_ != from) {
    become_follower(hard_.term, from);
    verified_ = {};
    say("follows", "term " + std::to_string(hard_.term.value));
  }
  leader_tick_ = tick_;
  leader_cut_ = false;
  evidence_tick_ = 0;
  draw_timeout();
}

void Raft::on_append(MemberId from, const Append& append) {
  if (is_leader()) return;
  heard_leader(from);
  if (installing_) return;
  if (log_.holds(append.prev) || append.prev.index < commit_) return accept(append);
  const Index hint = log_.last_not_after(append.prev.term, append.prev.index);
  AppendReply reply;
  reply.rejected = true;
  reply.counts = counts();
  reply.life = hard_.life;
  reply.index = append.prev.index;
  reply.hint = {*log_.term_at(hint), hint};
  send_durable(from, reply);
}

void Raft::accept(const Append& append) {
  // What is committed here is what the leader has; it need not be compared (nor can it be, below
  // the window).
  const Index last{std::max(commit_.value, append.prev.index.value + append.entries.size())};
  const bool always = Mutants::on(Mutant::kTruncateOnEveryAppend);
  if (always && !append.entries.empty()) {
    const Index from{std::max(commit_, append.prev.index).value + 1};
    if (from <= log_.last_index()) log_.truncate(from);
  }
  for (const Entry& entry : append.entries) {
    if (entry.index <= commit_ || log_.holds(entry.id())) continue;
    if (entry.index <= log_.last_index()) {
      // Only a real conflict drops anything: a late duplicate must not. [Raft §5.3]
      log_.truncate(entry.index);
      drop_configs_from(entry.index);
    }
    log_.append(entry);
    take_config(entry);
  }
  verified_ = std::max(verified_, last);
  commit_to(std::min(append.commit, last));
  if (!ack_) ack_.emplace();
  ack_->index = std::max(ack_->index, last);
}

void Raft::on_heartbeat(MemberId from, const Heartbeat& heartbeat) {
  if (is_leader()) return;
  heard_leader(from);
  const Index known = Mutants::on(Mutant::kHeartbeatCommitsAll) ? log_.last_index() : verified_;
  if (!installing_) commit_to(std::min(heartbeat.commit, known));
  HeartbeatReply reply{heartbeat.round, heartbeat.tip, verified_, counts(), false};
  if (heartbeat.restoring && heartbeat.restoring != options_.self) {
    learn(heartbeat.restoring, heartbeat.life);
    const Actor* known = find_life(durable_roll_, heartbeat.restoring);
    reply.learned = known != nullptr && *known == heartbeat.life;
  }
  send(from, reply);
}

// ---- Leader -------------------------------------------------------------------------------------

Progress* Raft::heard_from(MemberId from, bool counted) {
  const auto at = progress_.find(from);
  if (at == progress_.end()) return nullptr;
  Progress& progress = at->second;
  progress.heard = true;
  progress.heard_tick = tick_;
  progress.counts = counted;
  return &progress;
}

void Raft::on_append_reply(MemberId from, const AppendReply& reply) {
  if (!is_present_life(from, reply.life)) return;  // it speaks of a disk that is gone
  Progress* progress = heard_from(from, reply.counts);
  if (progress == nullptr) return;
  if (!reply.rejected) {
    if (reply.index > log_.last_index()) return;
    if (reply.index > progress->match) progress->news_tick = tick_;
    progress->match = std::max(progress->match, reply.index);
    if (progress->state != Progress::State::kReplicate) {
      if (progress->state == Progress::State::kSnapshot && progress->match < log_.base().index)
        return;
      progress->to_replicate();
    }
    progress->next = std::max(progress->next, next(progress->match));
    progress->inflight.acknowledge(progress->match);
    advance_commit();
    confirm_restoring();
    return;
  }
  const bool stale =
      progress->state == Progress::State::kSnapshot || reply.index <= progress->match ||
      (progress->state == Progress::State::kProbe && reply.index.value + 1 != progress->next.value);
  if (stale) return;
  // Below the window the member needs the state itself; else both sides jump whole terms.
  const Index meet = reply.hint.index < log_.base().index
                         ? reply.hint.index
                         : log_.last_not_after(reply.hint.term, reply.hint.index);
  if (meet.value + kFarBehind < log_.last_index().value) progress->waited_for = false;
  progress->to_probe(std::min(next(meet), reply.index));
}

void Raft::on_heartbeat_reply(MemberId from, const HeartbeatReply& reply) {
  Progress* progress = heard_from(from, reply.counts);
  if (progress == nullptr) return;
  progress->acked_round = std::max(progress->acked_round, reply.round);
  if (reply.learned) progress->learned_round = std::max(progress->learned_round, reply.round);
  // It does not know yet that its log is ours, so it cannot commit: an empty append tells it.
  progress->verify = progress->verify || reply.received < reply.tip;
  if (progress->state == Progress::State::kProbe) {
    progress->probe_sent = false;
  } else if (progress->state == Progress::State::kReplicate && reply.received < reply.tip) {
    // Sent before that heartbeat and not there: lost on the way. Send it again.
    progress->next = next(std::max(progress->match, reply.received));
    progress->inflight.clear();
  }
  confirm_round();
  confirm_restoring();
}

void Raft::advance_commit() {
  const Index index = quorum_index(config(), [this](MemberId voter) {
    if (voter == options_.self) {
      const bool early = Mutants::on(Mutant::kLeaderCountsItselfEarly);
      return early ? log_.last_index() : log_.stable();
    }
    const Progress& progress = progress_.at(voter);
    return progress.counts ? progress.match : Index{};
  });
  // An entry of an older term is committed only by one of ours behind it. [Raft §5.4.2]
  const bool ours = log_.term_at(index) == hard_.term || Mutants::on(Mutant::kOlderTermCounted);
  if (index > commit_ && ours) commit_to(index);
}

void Raft::commit_to(Index index) {
  if (index <= commit_) return;
  CAPSTAN_ASSERT(index <= log_.last_index());
  if (is_leader()) {
    for (Index i = next(commit_); i <= index; i = next(i)) {
      uncommitted_bytes_ -= std::min(uncommitted_bytes_, log_.at(i).bytes());
    }
  }
  const Index before = std::exchange(commit_, index);
  const auto passed = [&](const auto& c) { return c.first > before && c.first <= index; };
  if (std::ranges::any_of(configs_, passed)) config_committed();
}

void Raft::replicate(MemberId to, Progress& progress) {
  const bool recent =
      progress.heard && tick_ - progress.heard_tick < std::uint64_t(options_.election_ticks);
  const Index upto = progress.witness ? witness_limit() : log_.last_index();
  while (progress.may_send() && (progress.verify || progress.next <= upto)) {
    const Index prev{progress.next.value - 1};
    if (prev < log_.base().index) {
      if (!recent) return;
      progress.state = Progress::State::kSnapshot;
      need_snapshot_.push_back(to);
      return;
    }
    Append append;
    append.prev = {*log_.term_at(prev), prev};
    append.commit = commit_;
    append.entries = log_.slice(progress.next, upto, options_.append_bytes_max);
    std::size_t bytes = 0;
    for (Entry& entry : append.entries) {
      if (progress.witness && entry.kind == EntryKind::kCommands) entry.data = nullptr;
      bytes += entry.bytes();
    }
    const Index last{prev.value + append.entries.size()};
    progress.commit_sent = commit_;
    progress.verify = false;
    if (progress.state == Progress::State::kProbe) {
      progress.probe_sent = true;
    } else if (last > prev) {
      progress.inflight.add(last, bytes);
      progress.next = next(last);
    }
    send(to, std::move(append));
  }
  // With nothing under way to carry it, the commit index travels alone, at once.
  if (progress.state == Progress::State::kReplicate && progress.commit_sent < commit_ &&
      progress.inflight.empty()) {
    send_heartbeat(to, progress);
  }
}

void Raft::send_heartbeat(MemberId to, Progress& progress) {
  Heartbeat heartbeat{commit_, round_, {progress.next.value - 1}, {}, {}};
  if (Mutants::on(Mutant::kRoundReused)) heartbeat.round = Round{1};
  if (restoring_) {
    heartbeat.restoring = restoring_->member;
    heartbeat.life = restoring_->life;
  }
  progress.commit_sent = commit_;
  send(to, heartbeat);
}

void Raft::broadcast_heartbeat() {
  heartbeat_tick_ = tick_ + static_cast<std::uint64_t>(options_.heartbeat_ticks);
  for (auto& [member, progress] : progress_) {
    // Nothing was acknowledged since the last one, though something is under way: the word may have
    // been lost, and with nothing new to send nobody would say it again. An empty append asks.
    const bool waits = next(progress.match) < progress.next;
    if (waits && progress.match == progress.match_before) progress.verify = true;
    progress.match_before = progress.match;
    send_heartbeat(member, progress);
  }
}

}  // namespace capstan::cp
