#include "cp/engine.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/trace.h"
#include "cp/engine_state.h"
#include "cp/records.h"

namespace capstan::cp {
namespace {

constexpr std::uint64_t kHelloTicks = 10;
constexpr Micros kLeaderlessWatch = 3;  // election timeouts

// Of a cluster that is being formed; of one that was, whoever joins takes itself for nobody until
// the log says what it is.
Config initial_config(const EngineConfig& config) {
  Config out;
  for (const Member& member : config.members) {
    if (config.joins && member.id == config.self) continue;
    out.voters.push_back(member.id);
    out.members.push_back(member);
  }
  std::ranges::sort(out.voters);
  std::ranges::sort(out.members, {}, &Member::id);
  return out;
}

int ticks_of(Micros duration, int least) {
  return std::max(least, static_cast<int>((duration + kTick - 1) / kTick));
}

}  // namespace

Engine::State::State(EngineConfig c, Base& b, Disk& d, Sender& s, const Recovered& recovered)
    : config(std::move(c)),
      actor{config.node, config.incarnation},
      base(b),
      disk(d),
      sender(s),
      table(b, config.base_failed),
      machine(table),
      rng(config.seed ^ config.self.value) {
  StateMachine::Position position = machine.load();
  if (position.config.voters.empty()) position.config = initial_config(config);
  // A build before records were kept wrote the voters alone.
  if (position.config.members.empty()) position.config.members = initial_config(config).members;
  checkpointed = applied = position.applied;
  checkpointed_compacted = machine.facts().compacted;
  lease_time = machine.leases().facts().time;

  Replayed replayed = replay(recovered, applied, position.config);
  for (const auto& [index, at] : replayed.positions) {
    if (!positions.empty() && positions.back().second == at) {
      positions.back().first = index;
    } else {
      positions.emplace_back(index, at);
    }
  }
  RaftOptions options;
  options.self = config.self;
  options.life = actor;
  options.log_window_bytes = config.log_window_bytes;
  options.heartbeat_ticks = ticks_of(config.heartbeat_interval, 1);
  options.election_ticks = ticks_of(config.election_timeout, options.heartbeat_ticks + 1);
  raft.emplace(options, std::move(replayed.state), rng.split());
  for (const Member& member : config.members) {
    names[member.id] = member.name;
    if (member.id == config.self) describes_itself(member.id, member.name, member.client_urls);
  }
  follow_members();
  // What is rotten stays in the WAL until a checkpoint has gone past it.
  force_checkpoint = !recovered.impaired.empty();
}

void Engine::State::receive(MemberId from, Message message) {
  heard_at[from] = now.monotonic;
  raft->step(from, message);
  if (raft->leader() == from) leader_heard_at = now.monotonic;
  const Term term = message.term;
  if (auto* forward = std::get_if<Forward>(&message.body)) {
    on_forward(from, term, *forward);
  } else if (auto* refused = std::get_if<ForwardRefused>(&message.body)) {
    on_forward_refused(*refused);
  } else if (auto* request = std::get_if<ReadRequest>(&message.body)) {
    on_read_request(from, term, *request);
  } else if (auto* answer = std::get_if<ReadReply>(&message.body)) {
    on_read_reply(*answer);
  } else if (auto* chunk = std::get_if<SnapshotChunk>(&message.body)) {
    on_snapshot_chunk(from, term, std::move(*chunk));
  } else if (auto* staged = std::get_if<SnapshotReply>(&message.body)) {
    on_snapshot_reply(from, term, *staged);
  } else if (auto* digest = std::get_if<StateDigest>(&message.body)) {
    compare.heard(from, *digest, now.monotonic);
  }
}

void Engine::State::say_hello() {
  for (MemberId member : others) sender.send(member, {raft->term(), raft->hello()});
}

void Engine::State::tick() {
  ++ticks;
  if (started_at < 0) started_at = now.monotonic;
  raft->tick();
  count_lease_time();
  if (raft->is_leader()) leader_heard_at = now.monotonic;  // what it has is not old yet
  if (ticks % kHelloTicks == 1) say_hello();
  if (removed || quorum_in_reach()) {
    lost_since = -1;
  } else if (lost_since < 0) {
    lost_since = now.monotonic;
    const bool had_one = raft->standing() != Standing::kFresh;
    trace(had_one ? Level::kWarn : Level::kInfo, had_one ? "quorum_lost" : "waiting",
          no_quorum_text());
  }
  const std::size_t reached = in_reach();
  if (raft->leader() || lost_since >= 0) {
    leaderless_since = -1;
  } else if (leaderless_since < 0 || reached > reached_before) {
    leaderless_since = now.monotonic;  // who is heard anew brings a new chance
  }
  reached_before = reached;
  expire();
  watch_time();
  compare_states();
  resend_forwards(false);
  pump_snapshot();
  compact_by_rule();
  watch_quota();
  sweep();
  look_after_members();
  maybe_checkpoint();
  watch_grey();
  finish_stop();
}

// Everybody's word on the state, and an alarm for whatever is not equal.
void Engine::State::compare_states() {
  const auto every = static_cast<std::uint64_t>(ticks_of(config.compare_interval, 1));
  if (is_witness()) return;
  if (ticks % every == 0 && applied.index && !installing) {
    for (MemberId member : others) {
      sender.send(member, {raft->term(), StateDigest{applied.index, machine.fingerprint()}});
    }
  }
  for (MemberId member : others) {
    const std::string alarm = state_alarm(member);
    if (alarm.empty()) {
      state_alarms.erase(member);
    } else if (state_alarms.insert(member).second) {
      trace(Level::kError, "state_alarm", alarm);
    }
  }
}

std::string Engine::State::state_alarm(MemberId member) const {
  if (is_witness() || witnesses.contains(member)) return {};
  const StateCompare::Verdict verdict = compare.verdict(member, now.monotonic);
  const Micros silent = now.monotonic - std::max({verdict.equal_at, started_at, Micros{0}});
  if (verdict.answer == StateCompare::Answer::kDifferent) {
    return "the states of " + config.name + " and " + name_of(member) +
           " differ since at least index " + std::to_string(verdict.differed_at.value) +
           ": one of them is damaged. See which differs from the others, stop it, and start it "
           "again on an empty directory.";
  }
  if (verdict.answer == StateCompare::Answer::kEqual || silent <= StateCompare::kFresh) return {};
  return "whether " + name_of(member) + " holds the same state has been unknown for " +
         seconds_text(silent) + ".";
}

void Engine::State::describe_states(StatusResult& status) const {
  if (is_witness()) return;
  for (PeerStatus& peer : status.peers) {
    if (peer.id == config.self || witnesses.contains(peer.id)) continue;
    const StateCompare::Verdict verdict = compare.verdict(peer.id, now.monotonic);
    peer.state = to_text(verdict.answer);
    if (verdict.answer == StateCompare::Answer::kDifferent) status.divergence_alarm = true;
    if (std::string alarm = state_alarm(peer.id); !alarm.empty()) {
      status.errors.push_back(std::move(alarm));
    }
  }
}

void Engine::State::watch_time() {
  watches.tick(now.monotonic);
  const Micros since = std::max(leader_heard_at, started_at);
  if (hears_leader() || now.monotonic - since < kLeaderlessWatch * election_timeout()) return;
  watches.end_leaderless({Reason::kNoLeader, config.name + " has heard no leader for " +
                                                 seconds_text(now.monotonic - since) +
                                                 ". Watch again, here or at another node."});
}

void Engine::State::end_turn() {
  if (raft->leader() != known_leader || raft->term() != known_term) {
    if (raft->term() != known_term) forwards.clear();
    known_leader = raft->leader();
    known_term = raft->term();
    requeue_reads();
  }
  look_after_move();
  look_after_backup();
  give_work();
  carry_out(raft->take_ready(apply_limit()));
  follow_members();
  look_after_auth();
  watches.advance();
  serve_reads();
  maybe_checkpoint();
  pump_snapshot();
}

void Engine::State::carry_out(Ready ready) {
  write_out(ready);
  for (Outgoing& out : ready.send_now) sender.send(out.to, std::move(out.message));
  send_after_writes(std::move(ready.send_after_durable));
  for (const Entry& entry : ready.committed) apply(entry);
  if (ready.reads) {
    const auto [round, index] = *ready.reads;
    while (!round_reads.empty() && round_reads.begin()->first <= round) {
      for (Read& read : round_reads.begin()->second.reads) {
        indexed_reads.emplace(index, std::move(read));
      }
      round_reads.erase(round_reads.begin());
    }
    while (!round_requests.empty() && round_requests.begin()->first <= round) {
      for (const auto& [from, request] : round_requests.begin()->second) {
        sender.send(from, {raft->term(), ReadReply{request.origin, request.number, false, index}});
        // The follower must learn that this much is committed, or it could not serve.
        sender.send(from, {raft->term(), Heartbeat{raft->commit(), {}, {}, {}, {}}});
      }
      round_requests.erase(round_requests.begin());
    }
  }
  for (MemberId member : ready.need_snapshot) snapshot_wanted.insert(member);
  for (const Event& event : ready.events) {
    trace(Level::kInfo, event.name, config.name + ": " + event.text);
    if (event.name == "restored" || event.name == "formed") say_hello();
  }
}

bool Engine::State::reaches(MemberId member) const {
  if (member == config.self) return true;
  const auto at = heard_at.find(member);
  return at != heard_at.end() && now.monotonic - at->second < election_timeout();
}

std::size_t Engine::State::in_reach() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      raft->config().voters, [this](MemberId voter) { return reaches(voter); }));
}

bool Engine::State::hears_leader() const {
  if (raft->is_leader()) return true;
  return raft->leader() && leader_heard_at >= 0 &&
         now.monotonic - leader_heard_at < election_timeout();
}

// A leader that is heard has a quorum, or will soon cease to be one.
bool Engine::State::quorum_in_reach() const {
  return has_quorum(raft->config(), [this](MemberId voter) { return reaches(voter); }) ||
         (!raft->is_leader() && hears_leader());
}

const std::string& Engine::State::name_of(MemberId member) const {
  static const std::string kNobody;
  const auto at = names.find(member);
  return at == names.end() ? kNobody : at->second;
}

void Engine::State::describe(StatusResult& status) const {
  const bool normal = raft->standing() == Standing::kNormal && !installing;
  status.role = removed                                  ? "removed"
                : !normal                                ? "recovering"
                : raft->config().is_learner(config.self) ? "learner"
                : is_witness()                           ? "witness"
                                                         : std::string(to_text(raft->role()));
  status.leader = raft->leader();
  status.leader_name = name_of(raft->leader());
  status.term = raft->term().value;
  status.index = raft->log().last_index().value;
  status.committed = raft->commit().value;
  status.applied = applied.index.value;
  status.revision = machine.revision();
  status.compacted = machine.facts().compacted;
  status.voters = static_cast<int>(raft->config().voters.size());
  status.quorum = static_cast<int>(raft->quorum());
  status.reachable = static_cast<int>(in_reach());
  status.alone_for = lost_since < 0 ? -1 : now.monotonic - lost_since;
  status.durability = disk.durability();
  status.keys = machine.facts().keys;
  status.table_bytes = table.bytes();
  status.base_bytes = base.bytes_used();
  status.base_live_bytes = base.bytes_live();
  status.wal_bytes = disk.wal_bytes();
  for (PeerStatus& peer : status.peers) {
    if (peer.id == config.self) {
      peer.reachable = true;
      peer.last_heard_ago = 0;
      peer.match = raft->log().stable().value;
      continue;
    }
    if (const auto at = heard_at.find(peer.id); at != heard_at.end()) {
      peer.last_heard_ago = now.monotonic - at->second;
    }
    peer.reachable = reaches(peer.id);
    const auto progress = raft->progress().find(peer.id);
    if (progress != raft->progress().end()) peer.match = progress->second.match.value;
  }
  describe_states(status);
  for (const MemberAlarm& alarm : machine.alarms().list({}, AlarmType::kNone).alarms) {
    status.errors.push_back(alarm_text(alarm));
  }
  if (removed) {
    status.errors.push_back(removed_text());
  } else if (lost_since >= 0) {
    status.errors.push_back(no_quorum_text());
  }
  if (const auto trouble = own_trouble()) status.errors.push_back(*trouble);
  std::ranges::move(peer_troubles(), std::back_inserter(status.errors));
  status.commit_stall = commit_stall();
  status.disk_stall = disk_stall();
  if (raft->standing() == Standing::kImpaired) {
    status.errors.push_back(config.name +
                            " lost part of its log and is being restored; it does not vote yet");
  }
}

bool Engine::State::ready() const {
  if (installing || stopping || removed || raft->standing() != Standing::kNormal) return false;
  return raft->is_leader() ? raft->established() : hears_leader();
}

void Engine::State::finish_stop() {
  if (!stopping || !stopped) return;
  const bool idle = writes.empty() && !raft->is_leader();
  const bool alone = raft->is_leader() && !raft->transferring() && writes.empty();
  if (!idle && !alone && now.monotonic < stop_deadline) return;
  for (auto& [sequence, write] : std::exchange(writes, {})) {
    const bool given = bool(write.given);
    write.answer(
        given ? unknown(write_id(sequence), Reason::kShuttingDown, now.monotonic - write.since)
              : refusal(Reason::kShuttingDown,
                        "refused: " + config.name + " is stopping. Not applied; safe to retry."));
  }
  answer_physical(true);
  look_after_move();
  queue.clear();
  std::exchange(stopped, nullptr)();
}

// ---- The face -----------------------------------------------------------------------------------

Engine::Engine(EngineConfig config, Base& base, Disk& disk, Sender& sender, Recovered recovered)
    : state_(std::make_unique<State>(std::move(config), base, disk, sender, recovered)) {}
Engine::~Engine() = default;

void Engine::begin_turn(Now now) {
  state_->now = now;
  state_->wake_range();
}
void Engine::receive(MemberId from, Message message) { state_->receive(from, std::move(message)); }
void Engine::tick() { state_->tick(); }
void Engine::submit(Request request, Answer answer) {
  state_->submit(std::move(request), std::move(answer));
}
std::unique_ptr<WatchStream> Engine::watch(WatchOptions options) {
  return state_->open_watches(std::move(options));
}
std::unique_ptr<BackupStream> Engine::backup(const Caller& caller, std::function<void()> ready) {
  return state_->open_backup(caller, std::move(ready));
}
void Engine::peer_connected(MemberId peer) {
  state_->connected.insert(peer);
  state_->raft->peer_connected(peer);
  state_->sender.send(peer, {state_->raft->term(), state_->raft->hello()});
  state_->connected_while_stuck(peer);
  if (peer == state_->raft->leader()) state_->resend_forwards(true);
}
void Engine::peer_disconnected(MemberId peer) {
  state_->connected.erase(peer);
  state_->raft->peer_disconnected(peer);
}
void Engine::end_turn() { state_->end_turn(); }
void Engine::describe(StatusResult& status) const { state_->describe(status); }
bool Engine::ready() const { return state_->ready(); }
std::optional<std::string> Engine::trouble() const { return state_->own_trouble(); }
Micros Engine::disk_stall() const { return state_->disk_stall(); }

void Engine::stop(std::move_only_function<void()> done) {
  state_->stopping = true;
  state_->stopped = std::move(done);
  state_->stop_deadline = state_->now.monotonic + kSecond;
  state_->raft->transfer_leadership();
}

const Raft& Engine::raft() const { return *state_->raft; }
Index Engine::applied() const { return state_->applied.index; }
Index Engine::checkpointed() const { return state_->checkpointed.index; }
Revision Engine::revision() const { return state_->machine.revision(); }
std::uint64_t Engine::state_digest() const { return state_->machine.facts().digest; }
const Mvcc& Engine::mvcc() const { return state_->machine.mvcc(); }
const Leases& Engine::leases() const { return state_->machine.leases(); }
const Alarms& Engine::alarms() const { return state_->machine.alarms(); }
const Auth& Engine::auth() const { return state_->machine.auth(); }
std::size_t Engine::watches() const { return state_->watches.count(); }
bool Engine::is_witness() const { return state_->is_witness(); }
std::uint64_t Engine::members_version() const { return state_->members_version; }
std::vector<Member> Engine::linked() const { return state_->linked(); }
void Engine::describes_itself(MemberId member, std::string name,
                              std::vector<std::string> client_urls) {
  state_->describes_itself(member, std::move(name), std::move(client_urls));
}
void Engine::on_apply(std::function<void(const Entry&)> observer) {
  state_->observer = std::move(observer);
}

}  // namespace capstan::cp
