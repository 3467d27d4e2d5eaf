// Engine: one of the two ways to hold a key. cp/engine.h and ap/engine.h implement it; node/ routes
// by keyspace rule; net/ feeds it; tests/sim runs the same code on simulated time, disk and
// network.
//
// A shell drives it in turns. Nothing leaves between begin_turn() and end_turn(): all commands of a
// turn share one log entry and one group on disk, all frames to a peer one write.
//
//   begin_turn(now)  ->  receive()*  submit()*  disk completions*  tick()?  ->  end_turn()
//
// Everything runs on one thread; the only clock is Now.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/backup.h"
#include "core/disk.h"
#include "core/limits.h"
#include "core/request.h"
#include "core/result.h"
#include "core/time.h"
#include "core/types.h"
#include "core/watch.h"

namespace capstan {

// What people and links need to know of a member; the protocols look at ids only.
struct Member {
  MemberId id;
  std::string name;                           // empty until it has been heard
  std::string peer = {};                      // host:port
  std::vector<std::string> client_urls = {};  // as it announces them
  bool witness = false;                       // CP: votes, holds no data (cp/config.h)
  friend bool operator==(const Member&, const Member&) = default;
};

// CP: when history is compacted without being asked (cp/auto_compaction.h); at most one of the two.
struct CompactionRule {
  Micros keep_for = 0;               // 0: not by age
  std::uint64_t keep_revisions = 0;  // 0: not by number
  Micros revision_interval = 300 * kSecond;
};

// What an engine is told about its node and cluster at start.
struct EngineConfig {
  ClusterId cluster;
  MemberId self;
  std::string name;             // of this member, as people wrote it
  NodeId node;                  // this disk
  Incarnation incarnation = 1;  // of this start; the identity file counts every one
  std::vector<Member> members;  // all configured, itself included, sorted by id
  bool joins = false;           // CP: the cluster was formed without this member
  Epoch epoch{1};
  Micros heartbeat_interval = kHeartbeatInterval;
  Micros election_timeout = kElectionTimeout;  // E
  std::size_t checkpoint_table_bytes = kCheckpointTableBytes;
  Micros checkpoint_interval = kCheckpointInterval;
  std::size_t log_window_bytes = kLogWindowBytes;  // CP: entries kept in memory behind a checkpoint
  std::size_t sync_list_keys = kSyncListKeys;      // AP: listed in one turn for a full join
  std::size_t sync_slice_bytes = kSyncSliceBytes;  // AP: of keys and values, about
  WatchBounds watches;
  CompactionRule auto_compaction;
  std::uint64_t quota_bytes = 0;                   // CP: of what the keys take; 0: none
  Micros token_ttl = kTokenTtl;                    // CP: of those who logged in
  Micros compare_interval = kCompareInterval;      // CP: between words on the own state
  std::size_t sweep_changes = kSweepChanges;       // CP: looked at in one go after a compaction
  std::size_t range_slice_keys = kRangeSliceKeys;  // CP: looked at in one turn, for a long range
  std::uint64_t seed = 0;                          // of everything it draws
  // The base cannot be read. Called instead of answering wrongly; must not return.
  std::function<void(const Error&)> base_failed;
  // CP: there is work for a turn that begins at once. Without it the next tick will do.
  std::function<void()> wants_turn;
};

// What the disk gave back at start.
struct Recovered {
  std::vector<RecoveredRecord> records;  // of the WAL, oldest first
  bool fresh = true;                     // nothing was ever written here
  std::string impaired;                  // not empty: records are missing (core/wal.h), and why
  std::uint64_t impaired_position = 0;   // `records` below it came before what is missing
  std::uint64_t impaired_last = 0;       // `records` from it on came after all that is missing
  // From what is missing: not to be applied, only remembered.
  std::vector<RecoveredRecord> salvaged;
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual void begin_turn(Now now) = 0;

  // Every 10 ms of time, after what was waiting in the sockets: a stalled process must see the
  // heartbeats it slept through before it counts them as missing.
  virtual void tick() = 0;

  // Takes a Range, Put, DeleteRange, Txn, Compact, Hash, Conflicts or Books request. `answer` is
  // called exactly once, now or in a later turn; never after the engine is destroyed.
  virtual void submit(Request request, Answer answer) = 0;

  // Opens a stream of watches; nullptr where this engine has none.
  virtual std::unique_ptr<WatchStream> watch(WatchOptions options) = 0;

  // The state as of now, or a little later, as a backup; nullptr where this engine makes none. One
  // at a time. `ready` takes a note only.
  virtual std::unique_ptr<BackupStream> backup(const Caller& caller,
                                               std::function<void()> ready) = 0;

  // Evidence from the transport: a connection to this member (re)opened, or closed or reset. A
  // close is a hint to look sooner, never a proof.
  virtual void peer_connected(MemberId peer) = 0;
  virtual void peer_disconnected(MemberId peer) = 0;

  // Carries out what the turn decided: frames to the sender, records to the disk, answers.
  virtual void end_turn() = 0;

  // Fills the engine's part of `status` (role, term, revision, peers' reachability, ...). The
  // node has filled names, addresses and ids of `status.peers` before.
  virtual void describe(StatusResult& status) const = 0;

  // True when the engine can do its mode's work now: CP, a write could commit; AP, it is open.
  virtual bool ready() const = 0;

  // Orderly stop: refuse new work, hand over what can be handed over, leave a clean mark. `done` is
  // called in a later turn, at most about 1 s away.
  virtual void stop(std::move_only_function<void()> done) = 0;
};

}  // namespace capstan
