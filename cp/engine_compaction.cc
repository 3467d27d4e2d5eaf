// Compaction on this node: asking for it by rule, having the keeper remove what it frees, slice by
// slice, and answering those who wait for that.
#include <utility>

#include "core/trace.h"
#include "cp/engine_state.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

// How long a watch that is behind what was compacted may hold up the removal. One that keeps up is
// behind for a turn or two only, and is not canceled for that.
constexpr Micros kSweepPatience = kSecond;
// After each slice the disk is left to others for this many times as long as the slice took; not if
// the next compaction waits already, or history would grow for ever.
constexpr Micros kSweepRest = 3;

}  // namespace

void Engine::State::hold_physical(Write write, Reply reply) {
  physical.emplace(write.physical, Physical{std::move(write.answer), std::move(reply), write.since,
                                            write.physical_by});
}

void Engine::State::compact_by_rule() {
  const bool leads = raft->is_leader() && raft->established() && !stopping;
  const Revision to =
      auto_compaction.due(now.monotonic, machine.revision(), machine.facts().compacted, leads);
  if (!to) return;
  trace(Level::kInfo, "auto_compaction",
        config.name + " asks for a compaction up to revision " + std::to_string(to.value));
  Request request;
  request.caller.node_itself = true;
  request.body = CompactRequest{.revision = static_cast<std::int64_t>(to.value)};
  submit(std::move(request), [](const Reply&) {});  // what comes to nothing is asked for again
}

void Engine::State::begin_sweep() {
  const Revision swept = machine.mvcc().sweep_state().swept;
  if (machine.facts().compacted <= swept) return;
  if (sweep_wanted_at < 0) sweep_wanted_at = now.monotonic;
  const Revision known =
      Mutants::on(Mutant::kSweepAheadOfBase) ? machine.facts().compacted : checkpointed_compacted;
  if (known <= swept) {
    if (!table.freezing()) checkpoint_due = true;  // soon, rather than at its time
    return;
  }
  const bool patient = now.monotonic - sweep_wanted_at < kSweepPatience;
  if (patient && watches.any_behind(known)) return;
  if (ranges_need(known)) return;
  sweep_wanted_at = -1;
  machine.begin_sweep(known);
}

void Engine::State::sweep() {
  answer_physical();
  if (installing || sweeping || now.monotonic < sweep_rests_until) return;
  if (!machine.mvcc().sweep_state().under_way()) begin_sweep();
  if (!machine.mvcc().sweep_state().under_way()) return;
  sweeping = true;
  const auto after = std::make_shared<Mvcc::Sweep>();
  disk.amend(
      [from = machine.mvcc().sweep_state(), changes = config.sweep_changes,
       after](const BaseView& base) -> Result<std::vector<Change>> {
        Result<Mvcc::SweepSlice> slice = Mvcc::sweep_slice(base, from, {.changes = changes});
        if (!slice) return std::unexpected(slice.error());
        *after = slice->after;
        return std::move(slice->changes);
      },
      alive([this, after, since = now.monotonic] {
        sweeping = false;
        const bool behind = machine.facts().compacted > machine.mvcc().sweep_state().target;
        sweep_rests_until = now.monotonic + (behind ? 0 : kSweepRest * (now.monotonic - since));
        machine.swept(*after);
        answer_physical();
      }));
}

void Engine::State::answer_physical(bool at_the_end) {
  for (auto at = physical.begin(); at != physical.end();) {
    Physical& waiting = at->second;
    const bool gone = at->first <= machine.mvcc().sweep_state().swept;
    const bool late = waiting.by != 0 && now.monotonic >= waiting.by;
    if (!gone && !late && !at_the_end) {
      ++at;
      continue;
    }
    Physical done = std::move(waiting);
    const Revision revision = at->first;
    at = physical.erase(at);
    if (gone) {
      done.answer(std::move(done.reply));
      continue;
    }
    done.reply.outcome = Outcome::kUnknown;
    done.reply.reason = late ? Reason::kTimeout : Reason::kShuttingDown;
    done.reply.body = std::monostate{};
    done.reply.detail = "unknown: compacted up to revision " + std::to_string(revision.value) +
                        ", but " + config.name + " had not removed all of it within " +
                        seconds_text(now.monotonic - done.since) + "; it goes on by itself.";
    done.answer(std::move(done.reply));
  }
}

}  // namespace capstan::cp
