// The disk's side of the engine: writes in order, checkpoints, snapshots in both directions.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/trace.h"
#include "cp/engine_state.h"
#include "cp/mutants.h"
#include "cp/records.h"

namespace capstan::cp {
namespace {

constexpr Micros kSnapshotResend = 200 * kMillisecond;
constexpr Micros kSnapshotGiveUp = 2 * kSecond;

}  // namespace

// ---- Writes -------------------------------------------------------------------------------------

void Engine::State::write_out(Ready& ready) {
  if (ready.write == 0) return;
  std::vector<Record> records;
  records.reserve(ready.entries.size() + 1);
  if (ready.hard_state) records.push_back(hard_state_record(*ready.hard_state));
  for (const Entry& entry : ready.entries) records.push_back(entry_record(entry));
  last_write = ready.write;
  const Index last = ready.entries.empty() ? Index{} : ready.entries.back().index;
  append(std::move(records), ready.write, last);
}

void Engine::State::append(std::vector<Record> records, std::optional<WriteNumber> write,
                           Index last) {
  disk.append(std::move(records), alive([this, write, last](std::uint64_t position) {
                if (last) positions.emplace_back(last, position);
                if (!write) return;
                durable_write = *write;
                raft->persisted(*write);
                while (!after.empty() && after.front().first <= durable_write) {
                  for (Outgoing& out : after.front().second) {
                    sender.send(out.to, std::move(out.message));
                  }
                  after.pop_front();
                }
              }));
}

void Engine::State::send_after_writes(std::vector<Outgoing> messages) {
  if (messages.empty()) return;
  if (durable_write == last_write) {
    for (Outgoing& out : messages) sender.send(out.to, std::move(out.message));
  } else {
    after.emplace_back(last_write, std::move(messages));
  }
}

// ---- Checkpoints --------------------------------------------------------------------------------

// While a checkpoint is due, nothing is applied that our own disk does not hold yet: the base must
// not get ahead of the log it rests on.
Index Engine::State::apply_limit() const {
  if (!checkpoint_due || Mutants::on(Mutant::kCheckpointAheadOfLog)) return {UINT64_MAX};
  return raft->log().stable();
}

void Engine::State::maybe_checkpoint() {
  const bool scheduled = checkpoints.due(table.bytes(), now.monotonic);
  if (table.freezing() || installing || applied.index == checkpointed.index) return;
  const bool restored = force_checkpoint && raft->standing() == Standing::kNormal;
  // Soon it says on a witness's disk what it is: nothing else there tells it from an empty store.
  const bool says_what_it_is = !checkpointed.index && is_witness();
  if (!checkpoint_due && !scheduled && !restored && !says_what_it_is) return;
  checkpoint_due = true;
  if (applied.index > raft->log().stable() && !Mutants::on(Mutant::kCheckpointAheadOfLog)) return;
  checkpoint_due = false;
  if (restored) force_checkpoint = false;
  checkpoints.begun(now.monotonic);
  const bool newest = Mutants::on(Mutant::kUncommittedConfigSaved);
  StateMachine::Position position{applied,
                                  newest ? raft->config() : raft->config_at(applied.index)};
  const bool apart = Mutants::on(Mutant::kPositionOutsideCheckpoint);
  if (!apart) machine.save(position);
  const Table::Frozen frozen = table.freeze();
  if (apart) machine.save(position);
  if (Mutants::on(Mutant::kLogDroppedEarly)) release_log(applied.index);
  disk.checkpoint(frozen, alive([this, position, compacted = machine.facts().compacted] {
                    checkpoint_done(position, compacted);
                  }));
}

void Engine::State::checkpoint_done(StateMachine::Position position, Revision compacted) {
  table.thaw_done();
  checkpointed = position.applied;
  checkpointed_compacted = compacted;
  raft->checkpointed(checkpointed.index);
  maybe_install();
  release_log(checkpointed.index);
}

// The hard state is written again, so that everything before what is still needed may go.
void Engine::State::release_log(Index upto) {
  disk.append({hard_state_record(raft->hard_state())},
              alive([this, upto](std::uint64_t position_of_state) {
                while (!positions.empty() && positions.front().first <= upto) positions.pop_front();
                std::uint64_t keep = position_of_state;
                if (!positions.empty()) keep = std::min(keep, positions.front().second);
                disk.release(keep);
              }));
}

// ---- Sending a snapshot -------------------------------------------------------------------------

void Engine::State::begin_snapshots() {
  while (!snapshot && !snapshot_wanted.empty()) {
    const MemberId to = *snapshot_wanted.begin();
    snapshot_wanted.erase(snapshot_wanted.begin());
    Result<std::unique_ptr<BaseView>> view = base.view();
    const auto progress = raft->progress().find(to);
    const bool bare = progress != raft->progress().end() && progress->second.witness;
    if (view) snapshot = SnapshotSender::open(to, rng.next(), *std::move(view), bare);
    if (!snapshot) {
      raft->snapshot_failed(to);
      return;  // there is no state to send yet, or no view to be had; asked again in time
    }
    snapshot_news = snapshot_resent = now.monotonic;
    trace(Level::kInfo, "snapshot_begun", config.name + " sends its state to " + name_of(to));
  }
}

void Engine::State::pump_snapshot() {
  if (!raft->is_leader()) {
    snapshot.reset();
    snapshot_wanted.clear();
    return;
  }
  begin_snapshots();
  if (!snapshot) return;
  if (now.monotonic - snapshot_news >= kSnapshotGiveUp) return end_snapshot(false);
  if (now.monotonic - snapshot_resent >= kSnapshotResend) {
    snapshot_resent = now.monotonic;
    for (const SnapshotChunk& chunk : snapshot->unacknowledged()) {
      sender.send(snapshot->to(), {raft->term(), chunk});
    }
  }
  // One piece a turn: the loop has other work.
  Result<std::optional<SnapshotChunk>> chunk = snapshot->next();
  if (!chunk) return end_snapshot(false);
  if (*chunk) sender.send(snapshot->to(), {raft->term(), **std::move(chunk)});
}

void Engine::State::end_snapshot(bool sent) {
  const MemberId to = snapshot->to();
  if (sent) {
    raft->snapshot_sent(to, snapshot->last());
  } else {
    raft->snapshot_failed(to);
  }
  trace(Level::kInfo, sent ? "snapshot_sent" : "snapshot_failed", name_of(to));
  snapshot.reset();
}

void Engine::State::on_snapshot_reply(MemberId from, Term term, const SnapshotReply& reply) {
  if (!raft->is_leader() || term != raft->term() || !snapshot || snapshot->to() != from ||
      snapshot->number() != reply.number || !raft->is_present_life(from, reply.life)) {
    return;
  }
  if (snapshot->acknowledge(reply.expected)) snapshot_news = snapshot_resent = now.monotonic;
  if (reply.installed) end_snapshot(true);
}

// ---- Installing one -----------------------------------------------------------------------------

void Engine::State::on_snapshot_chunk(MemberId from, Term term, SnapshotChunk chunk) {
  if (raft->leader() != from || term != raft->term() || installing) return;
  if (!raft->wants_snapshot(chunk.last)) {
    // All of it is here already, in our log or applied; say so once that is durable.
    SnapshotReply have{chunk.last, chunk.number, raft->hello().life, 0, true};
    return send_after_writes({{from, {raft->term(), have}}});
  }
  if (receiver.is_other(from, chunk) || receiver_term != term) {
    disk.drop_staged();
    receiver.begin(from, chunk);
    receiver_term = term;
  }
  if (receiver.take(chunk) == SnapshotReceiver::Take::kRepeat) {
    sender.send(from, {raft->term(), receiver.reply(raft->hello().life, false)});
    return;
  }
  disk.stage(std::move(chunk.changes),
             alive([this, number = chunk.number] { piece_staged(number); }));
}

void Engine::State::piece_staged(std::uint64_t number) {
  if (!receiver.active() || receiver.number() != number) return;  // of a sending given up since
  receiver.staged();
  sender.send(receiver.from(), {raft->term(), receiver.reply(raft->hello().life, false)});
  maybe_install();
}

// Everything is staged: stop applying, let a checkpoint under way finish, then switch.
void Engine::State::maybe_install() {
  if (installing || !receiver.active() || !receiver.complete() || table.freezing()) return;
  if (!raft->wants_snapshot(receiver.last())) {
    disk.drop_staged();
    receiver.abandon();
    return;
  }
  installing = true;
  watches.hold(true);
  if (!Mutants::on(Mutant::kInstallWhileApplying)) raft->set_installing(true);
  disk.install(alive([this] { installed(); }));
}

void Engine::State::installed() {
  installing = false;
  table.reset();
  const StateMachine::Position position = machine.load();
  CAPSTAN_ASSERT(position.applied == receiver.last());
  checkpointed = applied = position.applied;
  checkpointed_compacted = machine.facts().compacted;
  lease_time_applied();
  answer_physical();
  compare.reset();
  checkpoint_due = false;
  checkpoints.begun(now.monotonic);
  raft->snapshot_installed(applied, position.config);
  watches.hold(false);
  // Which of our writes lie in what we did not see applied, nobody can tell.
  for (auto at = writes.begin(); at != writes.end();) {
    if (!at->second.given) {
      ++at;
      continue;
    }
    Answer answer = std::move(at->second.answer);
    const WriteId id = write_id(at->first);
    const Micros waited = now.monotonic - at->second.since;
    at = writes.erase(at);
    answer(unknown(id, Reason::kLeaderLost, waited));
  }
  // From here on the log is a new one: what the WAL holds before this mark is not part of it.
  const SnapshotReply reply = receiver.reply(raft->hello().life, true);
  const MemberId from = receiver.from();
  receiver.abandon();
  disk.append({restart_record(applied), hard_state_record(raft->hard_state())},
              alive([this, reply, from](std::uint64_t position_of_mark) {
                while (!positions.empty() && positions.front().second < position_of_mark) {
                  positions.pop_front();
                }
                disk.release(position_of_mark);
                sender.send(from, {raft->term(), reply});
              }));
}

}  // namespace capstan::cp
