// What follows a compaction on this node: removing what it frees, in slices of a tick, and
// answering those who wait for that.
#include <utility>

#include "cp/engine_state.h"

namespace capstan::cp {
namespace {

// How long a watch that is behind what was compacted may hold up the removal. One that keeps up is
// behind for a turn or two only, and is not canceled for that.
constexpr Micros kSweepPatience = kSecond;

}  // namespace

void Engine::State::hold_physical(Write write, Reply reply) {
  physical.emplace(write.physical, Physical{std::move(write.answer), std::move(reply), write.since,
                                            write.physical_by});
}

bool Engine::State::sweep_may_begin() {
  const Revision compacted = machine.facts().compacted;
  if (compacted <= machine.mvcc().sweep_state().swept) return false;
  if (sweep_wanted_at < 0) sweep_wanted_at = now.monotonic;
  return now.monotonic - sweep_wanted_at >= kSweepPatience || !watches.any_behind(compacted);
}

void Engine::State::sweep() {
  answer_physical();
  if (installing) return;
  if (!machine.mvcc().sweep_state().under_way()) {
    if (!sweep_may_begin()) return;
    sweep_wanted_at = -1;
    machine.begin_sweep();
  }
  // The keeper has not come behind: what is removed meanwhile would only fill the memory.
  if (table.freezing() && table.bytes() > config.checkpoint_table_bytes) return;
  machine.sweep({.changes = config.sweep_changes});
  swept_unsaved = true;
}

void Engine::State::answer_physical(bool at_the_end) {
  for (auto at = physical.begin(); at != physical.end();) {
    Physical& waiting = at->second;
    const bool gone = at->first <= swept_on_disk;
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
