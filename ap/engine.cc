#include "ap/engine.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "ap/membership.h"
#include "ap/names.h"
#include "ap/packed.h"
#include "ap/replica.h"
#include "ap/request_ids.h"
#include "ap/requests.h"
#include "core/check.h"
#include "core/checkpoint_schedule.h"
#include "core/limits.h"
#include "core/table.h"
#include "core/trace.h"

namespace capstan::ap {
namespace {

constexpr std::uint64_t kIdleBeatFactor = 2;  // x heartbeat interval when nothing changes
constexpr std::size_t kBeatsToAllMax = 8;     // members; above, beats go to a few
constexpr std::size_t kBeatFanOut = 4;
constexpr std::uint64_t kHandOverTicks = 50;  // stop() waits this long for peers

std::vector<MemberId> peers_of(const EngineConfig& config) {
  std::vector<MemberId> out;
  for (const Member& member : config.members) {
    if (member.id != config.self) out.push_back(member.id);
  }
  return out;
}

ReplicaOptions replica_options(const EngineConfig& config, const Disk& disk) {
  ReplicaOptions out;
  out.node = config.node;
  out.incarnation = config.incarnation;
  out.peers = peers_of(config);
  // Only a synced mark is a mark: otherwise the disk may keep the end of one life and lose the
  // beginning of the next.
  out.keeps_actor = disk.durability() == Durability::kSync;
  out.list_keys_max = config.sync_list_keys;
  out.slice_bytes = config.sync_slice_bytes;
  out.table_bytes_max = config.checkpoint_table_bytes + config.checkpoint_table_bytes / 4;
  out.seed = config.seed;
  return out;
}

MembershipOptions membership_options(const EngineConfig& config) {
  MembershipOptions out;
  out.self = config.self;
  out.peers = peers_of(config);
  out.silence_ticks =
      static_cast<std::uint64_t>(std::max<Micros>(config.election_timeout / kTick, 2));
  out.seed = config.seed + 1;
  return out;
}

}  // namespace

struct Engine::State {
  // A write that waits for the disk.
  struct Parked {
    Reply reply;
    Dot dot;
    Answer answer;
  };
  // What one append carries; the disk completes them in order.
  struct Group {
    std::uint64_t ready = 0;
    std::vector<Parked> parked;
    std::vector<std::pair<MemberId, Body>> after_durable;
  };

  State(EngineConfig c, Base& b, Disk& d, Sender& s)
      : config(std::move(c)),
        base(b),
        disk(d),
        sender(s),
        table(b, config.base_failed),
        replica(replica_options(config, d), table),
        membership(membership_options(config)),
        requests(replica, table),
        names(config, table),
        beat_rng(config.seed + 2) {}

  void send(MemberId to, Body body) { sender.send(to, Message{config.epoch, std::move(body)}); }
  void send_all(std::vector<std::pair<MemberId, Body>> messages) {
    for (auto& [to, body] : messages) send(to, std::move(body));
  }

  void follow_membership();
  void beat_if_due();
  void append(Ready ready);
  void on_durable(std::uint64_t position);
  void answer_write(Parked parked);
  void finish_reply(Reply& reply) const;
  void checkpoint_if_due();
  void advance_stop();
  void report(const std::vector<Event>& events);
  ConflictsResult conflicts(const ConflictsRequest& request) const;
  BooksResult books() const;

  EngineConfig config;
  Base& base;
  Disk& disk;
  Sender& sender;
  Table table;
  Replica replica;
  Membership membership;
  Requests requests;
  Names names;
  RequestIds request_ids;
  Rng beat_rng;

  Now now;
  std::uint64_t ticks = 0;
  std::vector<Parked> parked;  // of this turn
  std::deque<Group> groups;    // on their way to disk
  bool beat_now = true;
  std::uint64_t last_beat = 0;
  VersionVector beaten;  // the vector of the last beat

  // Checkpoint: after the frozen part is in the base, the log below the first group that was
  // appended after the freeze is not needed.
  CheckpointSchedule checkpoints{config};
  bool checkpoint_written = false;
  std::size_t groups_before_freeze = 0;
  bool awaits_position = false;
  std::optional<std::uint64_t> release_at;

  std::move_only_function<void()> stop_done;
  std::uint64_t stop_since = 0;
  enum class Stop { kNo, kHandOver, kMark, kMarked, kDone } stop = Stop::kNo;

  // Completions may outlive us.
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

Engine::Engine(EngineConfig config, Base& base, Disk& disk, Sender& sender, Recovered recovered)
    : state_(std::make_unique<State>(std::move(config), base, disk, sender)) {
  State& s = *state_;
  s.names.load();
  s.replica.recover(recovered);
  s.names.learn(s.replica.actor().node, s.config.self);
}

Engine::~Engine() { *state_->alive = false; }

void Engine::begin_turn(Now now) {
  state_->now = now;
  state_->replica.begin_turn(now.wall);
}

void Engine::tick() {
  State& s = *state_;
  ++s.ticks;
  s.membership.tick();
  s.follow_membership();
  s.replica.tick();
  s.advance_stop();
}

void Engine::receive(MemberId from, Message message) {
  State& s = *state_;
  if (message.epoch != s.config.epoch) return;
  if (s.stop >= State::Stop::kMark) return;  // nothing may follow the clean mark
  s.membership.heard(from);
  s.follow_membership();

  // Passed on without having been bytes (the simulator): unpack what came packed only.
  const auto* delta = std::get_if<Delta>(&message.body);
  const auto* slice = std::get_if<SyncSlice>(&message.body);
  const bool only_packed = (delta != nullptr && delta->packed && delta->updates.empty()) ||
                           (slice != nullptr && slice->packed && slice->cells.empty());
  if (only_packed) {
    Result<Body> body =
        unpack(kind_of(message.body), delta != nullptr ? delta->packed : slice->packed);
    if (!body) return;
    message.body = std::move(*body);
  }

  struct Dispatch {
    State& s;
    MemberId from;
    void operator()(Delta& m) { s.replica.receive(from, std::move(m)); }
    void operator()(Beat& m) {
      s.names.learn(m.actor.node, from);
      s.membership.receive(from, m.life, m.views);
      if (s.replica.receive(from, m)) s.beat_now = true;
    }
    void operator()(Ping& m) { s.membership.receive(from, m); }
    void operator()(Pong& m) { s.membership.receive(from, m); }
    void operator()(PingFor& m) { s.membership.receive(from, m); }
    void operator()(SyncRequest& m) { s.replica.receive(from, m); }
    void operator()(SyncMore& m) { s.replica.receive(from, m); }
    void operator()(SyncSlice& m) { s.replica.receive(from, std::move(m)); }
    void operator()(SyncRefused& m) { s.replica.receive(from, m); }
  };
  std::visit(Dispatch{s, from}, message.body);
}

void Engine::peer_connected(MemberId) {
  // A frame of its own is the evidence; ours makes it send one.
  state_->beat_now = true;
}

void Engine::peer_disconnected(MemberId peer) {
  state_->membership.link_closed(peer);
  state_->follow_membership();
}

void Engine::State::follow_membership() {
  for (const MemberId peer : membership.take_changes()) {
    const bool direct = membership.direct(peer);
    replica.peer_heard(peer, direct);
    if (direct) beat_now = true;
    const Liveness liveness = membership.liveness(peer);
    trace(Level::kInfo, "member",
          names.member(peer) + (liveness == Liveness::kUnreachable ? " is unreachable"
                                : liveness == Liveness::kSuspect   ? " is suspected"
                                : direct                           ? " is heard"
                                                                   : " is not heard directly"),
          {{"node", config.name}});
  }
}

// ---- Requests -----------------------------------------------------------------------------------

void Engine::submit(Request request, Answer answer) {
  State& s = *state_;
  if (const auto* conflicts = std::get_if<ConflictsRequest>(&request.body)) {
    Reply reply;
    reply.body = s.conflicts(*conflicts);
    s.finish_reply(reply);
    return answer(std::move(reply));
  }
  if (std::holds_alternative<BooksRequest>(request.body)) {
    Reply reply;
    reply.body = s.books();
    s.finish_reply(reply);
    return answer(std::move(reply));
  }
  if (is_write(request.body)) {
    std::optional<Reply> no;
    if (s.stop != State::Stop::kNo) {
      no = refused(Reason::kShuttingDown,
                   "refused: " + s.config.name + " is stopping. Not applied. Ask another node.");
    } else if (!s.disk.writes_allowed()) {
      no = refused(Reason::kNoSpace, "refused: the disk of " + s.config.name +
                                         " is nearly full. Not applied; reads go on. Free some "
                                         "space and it takes writes again by itself.");
    }
    if (no) {
      s.finish_reply(*no);
      return answer(std::move(*no));
    }
    if (const auto earlier = s.request_ids.find(request.request_id)) {
      // The write of the first attempt stands. Its group is on disk, or ahead of this turn's.
      Reply reply;
      reply.detail = "this request was applied before";
      if (std::holds_alternative<PutRequest>(request.body)) reply.body = PutResult{};
      if (std::holds_alternative<DeleteRangeRequest>(request.body))
        reply.body = DeleteRangeResult{};
      if (std::holds_alternative<TxnRequest>(request.body)) reply.body = TxnResult{true, {}};
      s.parked.push_back({std::move(reply), *earlier, std::move(answer)});
      return;
    }
  }
  Executed done = s.requests.execute(request.body);
  if (!done.wrote) {
    s.finish_reply(done.reply);
    return answer(std::move(done.reply));
  }
  s.request_ids.remember(request.request_id, done.last);
  s.finish_reply(done.reply);
  s.parked.push_back({std::move(done.reply), done.last, std::move(answer)});
}

void Engine::State::finish_reply(Reply& reply) const {
  reply.header.cluster = config.cluster;
  reply.header.member = config.self;
  reply.header.revision = replica.revision();
  reply.header.term = {1};
  reply.epoch = config.epoch;
  reply.durability = disk.durability();
}

// The write is durable here. Whether it will be everywhere soon depends on who is there now.
void Engine::State::answer_write(Parked p) {
  Reply& reply = p.reply;
  reply.write_id = p.dot;
  reply.replicas_all = static_cast<int>(config.members.size());
  reply.replicas_have = 1;
  std::string missing;
  for (const Member& member : config.members) {
    if (member.id == config.self) continue;
    if (replica.held_by(member.id).covers(p.dot)) ++reply.replicas_have;
    if (!membership.reachable(member.id)) missing += (missing.empty() ? "" : " ") + member.name;
  }
  if (!missing.empty()) {
    reply.outcome = Outcome::kOkLocal;
    reply.detail = "ok (local) " + names.id(p.dot) + ", on " + std::to_string(reply.replicas_have) +
                   " of " + std::to_string(reply.replicas_all) + " replicas; " + missing +
                   " unreachable for " +
                   seconds_text(static_cast<Micros>(membership.alone_ticks()) * kTick);
  } else if (reply.detail.empty()) {
    reply.detail = "ok " + names.id(p.dot);
  }
  p.answer(std::move(reply));
}

ConflictsResult Engine::State::conflicts(const ConflictsRequest& request) const {
  ConflictsResult out;
  out.total = replica.books().total();
  out.dropped = replica.books().dropped();
  for (auto& [number, loss] : replica.books().losses(request.after, request.limit)) {
    Conflict c;
    c.number = number;
    c.key = loss.key;
    c.loser_id = names.id(loss.loser.tag.dot);
    c.winner_id = names.id(loss.winner.tag.dot);
    c.loser_value = std::move(loss.loser.value);
    c.winner_value = std::move(loss.winner.value);
    c.loser_deletes = loss.loser.deletes;
    c.winner_deletes = loss.winner.deletes;
    c.loser_wall = loss.loser.tag.stamp.wall();
    c.winner_wall = loss.winner.tag.stamp.wall();
    c.rule = "lww";
    out.conflicts.push_back(std::move(c));
  }
  return out;
}

BooksResult Engine::State::books() const {
  BooksResult out;
  table.scan(Space::kCell, {}, {}, [&](ByteView, ByteView bytes) {
    out.survived.push_back(names.id(decode_cell(bytes).tag.dot));
    return true;
  });
  const Books& books = replica.books();
  books.for_each_collected([&](const Dot& dot) { out.survived.push_back(names.id(dot)); });
  books.for_each_superseded([&](const Dot& dot) { out.superseded.push_back(names.id(dot)); });
  books.for_each_lost([&](const Dot& dot) { out.lost.push_back(names.id(dot)); });
  return out;
}

// ---- End of a turn ------------------------------------------------------------------------------

void Engine::end_turn() {
  State& s = *state_;
  s.follow_membership();
  Ready ready = s.replica.take_ready();
  s.report(ready.events);
  s.send_all(std::move(ready.send_now));
  ready.send_now.clear();
  s.send_all(s.membership.take_messages());
  s.beat_if_due();
  s.append(std::move(ready));
  if (s.stop == State::Stop::kMark) s.stop = State::Stop::kMarked;
  s.checkpoint_if_due();
}

void Engine::State::append(Ready ready) {
  if (ready.records.empty()) {
    // Nothing new for the disk; what is under way must come first.
    if (!groups.empty()) {
      std::ranges::move(parked, std::back_inserter(groups.back().parked));
      std::ranges::move(ready.send_after_durable, std::back_inserter(groups.back().after_durable));
    } else {
      send_all(std::move(ready.send_after_durable));
      for (Parked& p : parked) answer_write(std::move(p));
    }
    parked.clear();
    return;
  }
  groups.push_back({ready.number, std::exchange(parked, {}), std::move(ready.send_after_durable)});
  disk.append(std::move(ready.records), [this, weak = alive](std::uint64_t position) {
    if (*weak) on_durable(position);
  });
}

void Engine::State::on_durable(std::uint64_t position) {
  CAPSTAN_ASSERT(!groups.empty());
  Group group = std::move(groups.front());
  groups.pop_front();
  replica.persisted(group.ready);
  send_all(std::move(group.after_durable));
  for (Parked& p : group.parked) answer_write(std::move(p));
  if (awaits_position) {
    if (groups_before_freeze > 0) {
      --groups_before_freeze;
    } else {
      awaits_position = false;
      release_at = position;
    }
  }
  advance_stop();
}

// Beats go out every interval while our vector moves, at half the rate otherwise, and at once when
// a member comes back.
void Engine::State::beat_if_due() {
  const auto interval =
      static_cast<std::uint64_t>(std::max<Micros>(config.heartbeat_interval / kTick, 1));
  const std::uint64_t since = ticks - last_beat;
  const bool moved = replica.durable_vector() != beaten;
  if (!beat_now && since < (moved ? interval : kIdleBeatFactor * interval)) return;
  beat_now = false;
  last_beat = ticks;
  beaten = replica.durable_vector();
  std::vector<MemberId> to = peers_of(config);
  while (config.members.size() > kBeatsToAllMax && to.size() > kBeatFanOut) {
    to.erase(to.begin() + static_cast<std::ptrdiff_t>(beat_rng.below(to.size())));
  }
  for (const MemberId peer : to) {
    Beat beat = replica.beat(peer);
    beat.life = membership.life();
    beat.views = membership.views();
    send(peer, std::move(beat));
  }
}

void Engine::State::checkpoint_if_due() {
  if (checkpoint_written && release_at) {
    disk.release(*release_at);
    checkpoint_written = false;
    release_at.reset();
  }
  if (table.freezing() || awaits_position || checkpoint_written) return;
  if (!checkpoints.due(table.bytes(), now.monotonic) || table.bytes() == 0) return;
  checkpoints.begun(now.monotonic);
  replica.save();
  names.save();
  // Groups under way hold what is frozen now; the first appended after them does not.
  groups_before_freeze = groups.size();
  awaits_position = true;
  disk.checkpoint(table.freeze(), [this, weak = alive] {
    if (!*weak) return;
    table.thaw_done();
    checkpoint_written = true;
  });
}

void Engine::State::report(const std::vector<Event>& events) {
  for (const Event& event : events) {
    trace(event.alarm ? Level::kError : Level::kInfo, event.name, event.text,
          {{"node", config.name}});
  }
}

// ---- Status and stop ----------------------------------------------------------------------------

void Engine::describe(StatusResult& status) const {
  const State& s = *state_;
  status.role = "replica";
  status.leader = s.config.self;
  status.leader_name = s.config.name;
  status.term = 1;
  status.revision = s.replica.revision();
  status.index = status.committed = status.applied = s.replica.revision().value;
  status.voters = static_cast<int>(s.config.members.size());
  status.quorum = 1;
  status.reachable = 1;
  for (PeerStatus& peer : status.peers) {
    if (peer.id == s.config.self) {
      peer.reachable = true;
      peer.last_heard_ago = 0;
      peer.match = s.replica.vector().of(s.replica.actor()).value;
      continue;
    }
    peer.reachable = s.membership.reachable(peer.id);
    if (peer.reachable) ++status.reachable;
    if (const auto silent = s.membership.silent_ticks(peer.id)) {
      peer.last_heard_ago = static_cast<Micros>(*silent) * kTick;
    }
    peer.match = s.replica.held_by(peer.id).of(s.replica.actor()).value;
  }
  const std::uint64_t alone = s.membership.alone_ticks();
  status.alone_for = alone == 0 ? -1 : static_cast<Micros>(alone) * kTick;
  status.durability = s.disk.durability();
  status.keys = s.replica.keys();
  status.base_bytes = s.base.bytes_used();
  status.base_live_bytes = s.base.bytes_live();
  status.wal_bytes = s.disk.wal_bytes();
  status.table_bytes = s.table.bytes();
  status.conflicts = s.replica.books().total();
  status.vector_text = s.names.text(s.replica.vector());
  status.digest_text = s.names.hex(s.replica.digest().low ^ s.replica.digest().high);
  status.divergence_alarm = s.replica.diverged();
  const SyncBytes& bytes = s.replica.sync_bytes();
  status.sync_bytes_in = bytes.in;
  status.sync_bytes_out = bytes.out;
  status.sync_ident_bytes = bytes.ident;
  status.sync_payload_bytes = bytes.payload;
  if (s.replica.diverged()) {
    status.errors.push_back(
        "equal version vectors with different contents: a copy is damaged; compare the nodes");
  }
}

void Engine::stop(std::move_only_function<void()> done) {
  State& s = *state_;
  s.stop_done = std::move(done);
  s.stop = State::Stop::kHandOver;
  s.stop_since = s.ticks;
}

// First peers get what they lack, for a moment; then the clean mark; then it is over.
void Engine::State::advance_stop() {
  if (stop == Stop::kHandOver) {
    if (!replica.handed_over() && ticks - stop_since < kHandOverTicks) {
      beat_now = true;
      return;
    }
    replica.mark_clean_stop();
    stop = Stop::kMark;  // end_turn() hands it to the disk
  } else if (stop == Stop::kMarked && groups.empty()) {
    stop = Stop::kDone;
    if (stop_done) std::exchange(stop_done, {})();
  }
}

Engine::Fingerprint Engine::fingerprint() const {
  const Replica& replica = state_->replica;
  return {replica.vector(), replica.digest(), replica.ahead_hash()};
}

}  // namespace capstan::ap
