// What one schedule is made of. Every field is drawn from the seed, so that a thousand seeds walk
// through a thousand different worlds (swarm testing): some lose packets, some only pause, some do
// everything at once. A failure prints them.
//
// Source  Groce et al., "Swarm Testing", ISSTA 2012; the option list follows TigerBeetle's VOPR.
#pragma once

#include <cstdint>
#include <string>

#include "core/engine.h"
#include "core/limits.h"
#include "core/random.h"
#include "core/time.h"
#include "core/types.h"
#include "core/watch.h"

namespace capstan::sim {

struct Options {
  Mode mode = Mode::kCp;
  int nodes = 3;
  int clients = 3;
  int keys = 4;

  // Phases: faults strike for `chaos`, then everything is healed and must converge.
  Micros chaos = 8 * kSecond;
  Micros think_max = 60 * kMillisecond;  // of a client between two requests
  Micros client_timeout = 2 * kSecond;
  double reads = 0.4, deletes = 0.1, txns = 0.1, ranges = 0.1;  // shares; the rest are puts
  double compactions = 0;    // share too, before the others; with them come reads of old revisions
  double retries = 0.5;      // of unknown writes, with the same request id
  double request_ids = 0.5;  // of writes

  // Network
  Micros delay_min = 100, delay_max = 2 * kMillisecond;
  double slow = 0;  // share of messages that take up to slow_max
  Micros slow_max = 100 * kMillisecond;
  double loss = 0, duplicates = 0;
  double replays = 0;  // share of messages that arrive once more, up to replay_max later
  Micros replay_max = 2 * kSecond;
  bool ordered = true;  // as over one TCP connection
  bool codec = false;   // every message goes through its bytes
  bool late = false;    // messages of closed connections may still arrive

  // Process: what one turn takes of each source (a peer, the clients, the disk) at most; 0: all
  std::size_t turn_max = 0;

  // Disk
  Micros sync_min = 50, sync_max = 500;
  Micros checkpoint_max = 50 * kMillisecond;
  std::size_t segment_bytes = 64 * 1024;
  std::size_t checkpoint_bytes = 64 * 1024;
  Micros checkpoint_interval = 30 * kSecond;
  std::size_t sync_list_keys = kSyncListKeys;
  std::size_t sync_slice_bytes = kSyncSliceBytes;

  std::size_t sweep_changes = kSweepChanges;
  std::size_t range_slice_keys = kRangeSliceKeys;
  Micros compare_interval = kCompareInterval;
  CompactionRule auto_compaction;

  // Watches (CP)
  int watchers = 2;
  WatchBounds watches;
  Micros watch_pause_max = 50 * kMillisecond;  // of a reader, before it takes the next message

  int lease_holders = 0;  // CP
  bool moves = false;     // CP: the leader is asked to hand over
  bool members = false;   // CP: members come and go
  int spares = 0;         // machines beyond the first members
  bool backups = false;   // CP: somebody takes them
  bool auth = false;      // CP: some keys are guarded, and who may do what changes
  bool alarms = false;    // CP: one is raised by hand, and cleared again

  // Faults: one strikes about every `fault_gap`, of the kinds switched on; where they come in
  // bursts, often a second one right behind it.
  Micros fault_gap = 700 * kMillisecond;
  bool bursts = false;
  bool crash = false, crash_all = false, wipe = false, backup = false, rot = false;
  bool cut = false, one_way = false, isolate = false, bridge = false, flap = false;
  bool pause = false, slow_process = false, clock = false, stall = false, dying = false;
  bool restart = false;
  bool sync_error = false, no_space = false;
  bool hole = false;  // CP
  // CP: the last of the first members is one. What lies on one disk alone for a while, because the
  // witness made the majority, is not promised to outlive that disk: only its own is damaged.
  bool witness = false;
  bool vote_crash = false;  // CP: a voter dies when it has given its vote, and is back at once

  double tick_drift = 0;  // of each node's ticks, at most this share fast or slow
};

Options draw_options(Mode mode, Rng& rng);
std::string to_text(const Options& options);

}  // namespace capstan::sim
