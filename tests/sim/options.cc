#include "tests/sim/options.h"

#include <initializer_list>

namespace capstan::sim {

namespace {

template <class T>
T one_of(Rng& rng, std::initializer_list<T> values) {
  return values.begin()[rng.below(values.size())];
}

void draw_network(Options& o, Rng& rng) {
  o.delay_min = one_of<Micros>(rng, {20, 100, 500});
  o.delay_max = o.delay_min + one_of<Micros>(rng, {50, 1'000, 5'000, 20'000});
  o.slow = one_of(rng, {0.0, 0.0, 0.01, 0.1});
  o.slow_max = one_of<Micros>(rng, {50, 300, 1'000}) * kMillisecond;
  // Over TCP nothing is lost or doubled inside a connection; the machines must bear it all the
  // same.
  o.ordered = rng.chance(0.4);
  if (!o.ordered) {
    o.loss = one_of(rng, {0.0, 0.01, 0.05, 0.2});
    o.duplicates = one_of(rng, {0.0, 0.02, 0.2});
    o.replays = one_of(rng, {0.0, 0.01, 0.1});
  }
  o.codec = rng.chance(0.3);
  o.late = rng.chance(0.5);
}

void draw_faults(Options& o, Rng& rng) {
  o.fault_gap = one_of<Micros>(rng, {150, 400, 900, 2'000}) * kMillisecond;
  for (bool* fault : {&o.crash, &o.crash_all, &o.cut, &o.one_way, &o.isolate, &o.bridge, &o.flap,
                      &o.pause, &o.slow_process, &o.clock, &o.stall, &o.dying, &o.restart,
                      &o.sync_error, &o.no_space, &o.bursts}) {
    *fault = rng.chance(0.45);
  }
  o.crash_all = o.crash_all && rng.chance(0.5);
  o.wipe = rng.chance(0.25);
  o.backup = o.mode == Mode::kAp && rng.chance(0.25);
  o.rot = o.mode == Mode::kCp && rng.chance(0.25);
  o.tick_drift = one_of(rng, {0.0, 0.0, 0.1});
}

}  // namespace

Options draw_options(Mode mode, Rng& rng) {
  Options o;
  o.mode = mode;
  const bool cp = mode == Mode::kCp;
  o.nodes = one_of(rng, {3, 3, 3, 3, 4, 5});
  o.clients = static_cast<int>(rng.between(2, 6));
  o.keys = one_of(rng, {1, 3, 6, 20});
  o.chaos = cp ? rng.between(3, 10) * kSecond : rng.between(8, 30) * 100 * kMillisecond;
  o.think_max = one_of<Micros>(rng, {5, 30, 120}) * kMillisecond;
  o.client_timeout = one_of<Micros>(rng, {300, 2'000}) * kMillisecond;
  o.reads = cp ? one_of(rng, {0.2, 0.4, 0.6}) : 0.1;
  o.deletes = one_of(rng, {0.0, 0.1, 0.3});
  o.txns = one_of(rng, {0.0, 0.1, 0.3});
  o.ranges = cp ? one_of(rng, {0.0, 0.1, 0.2}) : 0.0;
  o.retries = one_of(rng, {0.0, 0.5, 1.0});
  o.request_ids = cp ? one_of(rng, {0.0, 0.5, 1.0}) : 0.0;
  draw_network(o, rng);
  o.turn_max = one_of<std::size_t>(rng, {0, 0, 1, 8});
  o.sync_min = one_of<Micros>(rng, {20, 100});
  o.sync_max = o.sync_min + one_of<Micros>(rng, {50, 1'000, 10'000, 50'000});
  o.segment_bytes = one_of<std::size_t>(rng, {16, 32, 128}) * 1024;
  o.checkpoint_max = one_of<Micros>(rng, {2, 50, 500}) * kMillisecond;
  o.checkpoint_bytes = one_of<std::size_t>(rng, {512, 4'096, 1 << 20});
  o.checkpoint_interval = one_of<Micros>(rng, {200, 1'000, 30'000}) * kMillisecond;
  draw_faults(o, rng);
  if (!cp && o.fault_gap > 900 * kMillisecond) o.fault_gap = 100 * kMillisecond;
  // So small that a full join's list is read in pieces, which else takes a large store.
  o.sync_list_keys = one_of<std::size_t>(rng, {1, 3, kSyncListKeys});
  o.sync_slice_bytes = one_of<std::size_t>(rng, {1, 100, kSyncSliceBytes});
  if (cp) {
    o.watchers = static_cast<int>(rng.between(0, 4));
    o.watches.message_bytes = one_of<std::size_t>(rng, {1, 300, o.watches.message_bytes});
    o.watches.scan_changes = one_of<std::size_t>(rng, {1, 10, o.watches.scan_changes});
    o.watches.hits = one_of<std::size_t>(rng, {1, 3, o.watches.hits});
    o.watch_pause_max = one_of<Micros>(rng, {1, 50, 1'000}) * kMillisecond;
    o.compactions = one_of(rng, {0.0, 0.02, 0.1});
    o.sweep_changes = one_of<std::size_t>(rng, {5, 50, kSweepChanges});
    switch (rng.below(4)) {
      case 0:
        o.auto_compaction.keep_for = one_of<Micros>(rng, {500, 3'000}) * kMillisecond;
        break;
      case 1:
        o.auto_compaction.keep_revisions = one_of<std::uint64_t>(rng, {1, 20});
        o.auto_compaction.revision_interval = 500 * kMillisecond;
    }
    o.compare_interval = one_of<Micros>(rng, {100, 1'000, 10'000}) * kMillisecond;
    o.lease_holders = one_of(rng, {0, 0, 1, 3});
    o.moves = rng.chance(0.3);
    o.alarms = rng.chance(0.2);
    // The promise of the fault atlas is about a minority of the members, which change then.
    o.members = rng.chance(0.2);
    if (o.members) {
      o.spares = 2;
      o.wipe = o.rot = false;
    }
    o.backups = rng.chance(0.3);
    o.auth = rng.chance(0.25);
    if (rng.chance(0.5)) o.range_slice_keys = 1 + rng.below(4);
    o.hole = rng.chance(0.25);
    o.witness = rng.chance(0.2);
    o.vote_crash = rng.chance(0.2);
  }
  return o;
}

std::string to_text(const Options& o) {
  std::string text;
  const auto number = [&](const char* name, auto value) {
    text += std::string(text.empty() ? "" : " ") + name + "=" + std::to_string(value);
  };
  const auto flag = [&](const char* name, bool on) {
    if (on) text += std::string(" ") + name;
  };
  number("nodes", o.nodes);
  number("clients", o.clients);
  number("keys", o.keys);
  number("chaos_us", o.chaos);
  number("think_us", o.think_max);
  number("client_timeout_us", o.client_timeout);
  number("reads", o.reads);
  number("deletes", o.deletes);
  number("txns", o.txns);
  number("ranges", o.ranges);
  number("compactions", o.compactions);
  number("retries", o.retries);
  number("request_ids", o.request_ids);
  number("delay_min", o.delay_min);
  number("delay_max", o.delay_max);
  number("slow", o.slow);
  number("slow_max", o.slow_max);
  number("loss", o.loss);
  number("duplicates", o.duplicates);
  number("replays", o.replays);
  number("turn_max", o.turn_max);
  number("sync_min", o.sync_min);
  number("sync_max", o.sync_max);
  number("segment_bytes", o.segment_bytes);
  number("checkpoint_max", o.checkpoint_max);
  number("checkpoint_bytes", o.checkpoint_bytes);
  number("checkpoint_interval", o.checkpoint_interval);
  number("sync_list_keys", o.sync_list_keys);
  number("sync_slice_bytes", o.sync_slice_bytes);
  number("sweep_changes", o.sweep_changes);
  number("range_slice_keys", o.range_slice_keys);
  number("compare_interval", o.compare_interval);
  number("auto_keep_for", o.auto_compaction.keep_for);
  number("auto_keep_revisions", o.auto_compaction.keep_revisions);
  number("watchers", o.watchers);
  number("lease_holders", o.lease_holders);
  number("watch_message_bytes", o.watches.message_bytes);
  number("watch_scan_changes", o.watches.scan_changes);
  number("watch_hits", o.watches.hits);
  number("watch_pause_max", o.watch_pause_max);
  number("fault_gap", o.fault_gap);
  number("tick_drift", o.tick_drift);
  flag("ordered", o.ordered);
  flag("codec", o.codec);
  flag("late", o.late);
  flag("crash", o.crash);
  flag("crash_all", o.crash_all);
  flag("wipe", o.wipe);
  flag("backup", o.backup);
  flag("rot", o.rot);
  flag("cut", o.cut);
  flag("one_way", o.one_way);
  flag("isolate", o.isolate);
  flag("bridge", o.bridge);
  flag("flap", o.flap);
  flag("pause", o.pause);
  flag("slow_process", o.slow_process);
  flag("clock", o.clock);
  flag("stall", o.stall);
  flag("dying", o.dying);
  flag("bursts", o.bursts);
  flag("restart", o.restart);
  flag("sync_error", o.sync_error);
  flag("moves", o.moves);
  flag("alarms", o.alarms);
  flag("members", o.members);
  flag("backups", o.backups);
  flag("auth", o.auth);
  flag("no_space", o.no_space);
  flag("hole", o.hole);
  flag("witness", o.witness);
  flag("vote_crash", o.vote_crash);
  return text;
}

}  // namespace capstan::sim
