// One copy of the data as a pure machine: what it knows, and how two copies become equal.
//
//   client ─► write()                     ┐                  ┌─► records    make durable, in order
//   peer   ─► receive(delta, beat, sync)  ├─► take_ready() ──┼─► send_now   may leave at once
//   timer  ─► tick()                      │                  ├─► send_after_durable   once they are
//   disk   ─► persisted()                 ┘                  └─► events     for people
//
// What it knows. Every write has a dot (actor, sequence). The vector says, for each actor, up to
// which dot this node has seen; a bucket (1/256 of the keys) may be ahead of it in the middle of a
// sync and then has a vector of its own. A cell holds the present content of a key and its dot.
//
//   I1  a dot names one write for ever: an unclean start takes a new actor
//   I2  two nodes with equal vectors hold equal live cells; their digests prove it at every beat
//   I3  a vector covers a dot only if the cells hold it, or what came over it
//   I4  a bucket that is ahead carries its own vector until the node's covers it
//   I5  a delta is applied only when what it depends on is covered (the causal gate). So whether a
//       write had seen another can be read off vectors, and a conflict is told exactly
//   I6  a delete is a tombstone, in the change index until stable
//   I7  a tombstone goes only when stable: every member has it durably, and we have everything that
//       any member had when it said so. Never by age. What a member's disk lost in a crash may
//       still be on its way from its life before; once the new life has been heard, that is refused
//   I8  a peer whose vector does not cover what was trimmed here gets whole buckets, not changes
//   I9  a write is later than every delete that was forgotten without it. Only a life that has lost
//       what its disk once held can break this, before it hears anybody; it then writes such keys
//       anew (replica_exposed.cc)
//
// How a write travels. Its origin pushes it to every peer it hears, in order, once. A delta that
// came too early waits a moment in the pen. Whatever is still missing after that (a cut, a lost
// frame, a peer that cannot hear the origin) is pulled: one request with the vector, answered by
// the present state of just the cells that lack. Nothing is kept for a peer that is away.
//
// Cells and the conflict log live in the table; everything else is in memory, is saved with each
// checkpoint and comes back from it and from the log. The code stands in replica.cc (writes, gate,
// apply), replica_push.cc, replica_sync.cc, replica_stable.cc, replica_exposed.cc and
// replica_recover.cc.
//
// The rules were found with a model that breaks them one by one; ap/mutants.h keeps the breakages.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ap/books.h"
#include "ap/cell.h"
#include "ap/change_index.h"
#include "ap/message.h"
#include "core/disk.h"
#include "core/engine.h"
#include "core/hlc.h"
#include "core/random.h"
#include "core/table.h"

namespace capstan::ap {

struct Event {
  bool alarm = false;  // an invariant or an assumption does not hold; otherwise just news
  std::string name;    // stable, for the trace
  std::string text;
};

struct Ready {
  std::uint64_t number = 0;  // for persisted(); 0: there are no records
  std::vector<Record> records;
  std::vector<std::pair<MemberId, Body>> send_now;
  // Once these records and all before are durable. What tells others of our state beyond our own
  // writes (slices) must not be forgotten by us after they have built on it; and who asks for more
  // of a sync has what came on disk, so the disk sets the pace.
  std::vector<std::pair<MemberId, Body>> send_after_durable;
  std::vector<Event> events;
};

struct ReplicaOptions {
  NodeId node;
  Incarnation incarnation = 1;  // of this start, never used before
  std::vector<MemberId> peers;  // all other members
  bool keeps_actor = true;      // a clean mark can be trusted to be on disk
  std::size_t slice_bytes = kSyncSliceBytes;
  // A sync asks for no more while the table holds more than this for the next checkpoint.
  std::size_t table_bytes_max = kCheckpointTableBytes + kCheckpointTableBytes / 4;
  std::size_t list_keys_max = kSyncListKeys;  // of a full join's list read in one turn
  std::uint64_t seed = 0;
};

// Counted where messages are packed; docs/results has what the frames add.
struct SyncBytes {
  std::uint64_t in = 0, out = 0;  // whole messages of level 1
  std::uint64_t ident = 0;        // sent to find out what is missing: requests and vectors
  std::uint64_t payload = 0;      // keys and values sent
};

class Replica {
 public:
  Replica(ReplicaOptions options, Table& table);

  // Once, before anything else: reads the base through the table and replays the log.
  void recover(const Recovered& recovered);

  void begin_turn(Micros wall) { wall_ = wall; }
  // 10 ms have passed.
  void tick();

  // Writes `value` (nullopt: a tombstone) under `key`; visible at once, durable with the next
  // take_ready(). Writes of one turn travel as one batch.
  //   cost  one look-up, two hashes, one insertion into the table
  Dot write(const std::string& key, std::optional<std::string> value);
  // Between requests, or where a long one may be parted: ends a batch that has grown large.
  void cut_if_large();

  // The cell, tombstones included.
  std::optional<Cell> load(ByteView key) const;

  void receive(MemberId from, Delta delta);
  // True: of a life not heard before, which waits to hear that it was.
  bool receive(MemberId from, const Beat& beat);
  void receive(MemberId from, const SyncRequest& request);
  void receive(MemberId from, const SyncMore& more);
  void receive(MemberId from, SyncSlice slice);
  void receive(MemberId from, const SyncRefused& refused);
  // Whether frames from and to this peer pass, as far as membership knows.
  void peer_heard(MemberId peer, bool direct);

  // All there is to do since the previous call.
  Ready take_ready();
  // The records of Ready `number`, and all before, are durable.
  void persisted(std::uint64_t number);

  // Puts what lives in memory into the table, to go with a checkpoint.
  void save();
  // No more writes: the next take_ready() has the mark that lets the next start keep the actor.
  void mark_clean_stop();
  // Every reachable peer has said that it holds all our writes durably.
  bool handed_over() const;

  // The replica's part of a beat to `to`: what is durable here.
  Beat beat(MemberId to) const;
  const VersionVector& durable_vector() const { return durable_.vector; }
  Actor actor() const { return actor_; }
  const VersionVector& vector() const { return vector_; }
  VersionVector bucket_vector(Bucket bucket) const { return known_vector(bucket); }
  bool whole() const { return ahead_.empty(); }
  std::uint64_t ahead_hash() const;
  Hash128 digest() const { return digest_.sum(); }
  Revision revision() const { return revision_; }
  std::uint64_t keys() const { return keys_; }
  std::uint64_t tombstones() const { return tombstones_; }
  std::size_t index_size() const { return index_.size(); }
  const VersionVector& trimmed() const { return trimmed_; }
  bool diverged() const { return !diverged_.empty(); }
  const SyncBytes& sync_bytes() const { return sync_bytes_; }
  bool pulling() const { return pull_.has_value(); }
  Books& books() { return books_; }
  const Books& books() const { return books_; }
  // What `peer` has said it holds durably.
  VersionVector held_by(MemberId peer) const;

 private:
  // A peer as this replica sees it. Never a queue: a cursor, and what it has said.
  struct Peer {
    bool direct = false;
    bool returned = false;                   // just came back: its next beat is compared at once
    Actor actor;                             // who it writes as
    std::set<Actor> past;                    // and wrote as before
    VersionVector vector;                    // of its last beat
    bool heard = false;                      // in our life
    bool compared = false;                   // it has heard us, and what it had forgotten is heeded
    VersionVector settled;                   // of the last beat whose vector ours has come to cover
    std::optional<VersionVector> candidate;  // waits to be covered
    // Lag: what we lacked when we first noticed, and since when.
    std::optional<VersionVector> lacking;
    std::uint64_t lacking_since = 0;  // tick
    std::uint64_t ahead_hash = 0;     // of its last beat
    std::uint64_t ahead_since = 0;    // its buckets differ from ours, and nothing else; 0: no
    // Push: next own dot to send; sent and not yet in its vector.
    Sequence next;
    std::deque<std::pair<Sequence, std::size_t>> in_flight;
    std::size_t in_flight_bytes = 0;
    std::uint64_t acked_tick = 0;
    std::uint64_t served = 0;  // the last session of its pulls that was sent to the end
  };

  // Every key the table holds, by bucket; read in pieces, since no turn may get long. Keys that
  // come while it is in use are added, see note_new(); those that go are passed over.
  struct Listing {
    std::array<std::vector<std::string>, kBuckets> keys;
    std::string from;  // the next key to read
    bool done = false;
  };

  // A sync this node asked for.
  struct Pull {
    std::uint64_t session = 0;
    MemberId peer;
    bool full = false;
    bool asked = false;          // full: the request goes once our keys are listed
    bool begun = false;          // a slice has come
    VersionVector first_vector;  // of the first slice: what the whole session covers
    VersionVector vector;        // of the last that brought one
    std::uint32_t run = 0;
    std::uint32_t next_number = 0;
    std::uint16_t next_bucket = 0;
    std::vector<SyncSlice> unfinished;
    int owed = 0;                // slices taken that no more have been asked for yet
    std::uint64_t progress = 0;  // tick
    Listing ours;                // full: at the start
  };

  // A sync this node answers.
  struct Serve {
    std::uint64_t session = 0;
    SyncRequest request;
    std::uint32_t run = 0;
    std::uint32_t next_number = 0;
    std::uint16_t next_bucket = 0;
    bool in_bucket = false;  // `keys` are of next_bucket, partly sent
    bool whole = false;      // and all of its keys are among them
    std::deque<std::string> keys;
    VersionVector gathered_at;  // of the bucket when `keys` were gathered
    std::optional<VersionVector> sent_vector;
    VersionVector sent_trimmed;
    int credit = 0;
    std::uint64_t progress = 0;
    Listing all;  // full
  };

  struct Held {
    Delta delta;
    MemberId from;
    std::uint64_t tick = 0;
  };

  // What one bucket knows: the node's vector and, in the middle of a sync, its own.
  struct Known {
    const VersionVector& node;
    const VersionVector* bucket;
    bool covers(const Dot& dot) const {
      return node.covers(dot) || (bucket != nullptr && bucket->covers(dot));
    }
    bool covers(const VersionVector& vector) const {
      for (const auto& [actor, sequence] : vector.entries()) {
        if (!covers({actor, sequence})) return false;
      }
      return true;
    }
  };
  Known known(Bucket bucket) const;
  VersionVector known_vector(Bucket bucket) const;

  // replica.cc
  void close_batch();
  bool admits(const Delta& delta) const;
  void apply(const Delta& delta);
  using Saw = std::function<bool(const Dot&)>;
  enum class Source { kDelta, kSlice };
  void merge(Source source, Bucket bucket, const std::string& key, Cell incoming, const Saw& saw);
  void store(Bucket bucket, const std::string& key, Cell cell, const std::optional<Cell>& old);
  void erase(Bucket bucket, const std::string& key, const Cell& old);
  void drain_pen();
  void strip_ahead();
  void check_usurped(const VersionVector& seen);
  bool begins_life(MemberId id, Peer& peer, const Actor& actor);
  bool from_past_life(MemberId from, const Actor& origin) const;
  void event(bool alarm, std::string name, std::string text);
  void log_record(RecordType type, std::string head, SharedBytes body);

  // replica_push.cc
  void push();
  void push_to(MemberId id, Peer& peer);
  void acknowledged(Peer& peer);

  // replica_sync.cc
  void notice_lag(Peer& peer);
  bool lacks_relayed(const Peer& peer) const;
  void consider_pull();
  void expire_sessions();
  void start_pull(MemberId peer, bool full);
  void ask();
  void list_some(Listing& listing);
  void go_on_listing();
  void note_new(Bucket bucket, const std::string& key);
  void end_pull();
  void ask_more(bool after_durable);
  void take_slices(std::vector<SyncSlice> slices);
  std::vector<std::pair<std::string, Dot>> gone(const std::vector<SyncSlice>& slices) const;
  struct SliceContext {
    VersionVector vector;                            // the sender's at this slice
    std::vector<std::pair<std::string, Dot>> drops;  // cells of ours that it had and has no more
    VersionVector cover;                             // the session is complete: all of this
    VersionVector trimmed;
    Stamp forgotten;
  };
  void apply(const SyncSlice& slice, const SliceContext& context);
  void serve(MemberId to, Serve& session);
  SyncSlice next_slice(Serve& session);
  bool gather(Serve& session, Bucket bucket);
  void send_sync(MemberId to, Body body, bool after_durable = false);

  // replica_stable.cc
  VersionVector stable() const;
  void settle(Peer& peer);
  void settle_candidate(Peer& peer);
  void collect();

  // replica_exposed.cc
  void note_exposed(const LwwTag& tag);
  bool held_back(const Peer& peer) const;
  void heed(Peer& peer, const Beat& beat);
  void write_anew(const Beat& beat);

  // replica_recover.cc
  void replay(const RecoveredRecord& record, bool behind_gap);
  void rebuild_index();
  void choose_actor(const Recovered& recovered);

  ReplicaOptions options_;
  Table& table_;
  Rng rng_;
  Micros wall_ = 0;
  std::uint64_t ticks_ = 0;

  // What it knows. sequence_ is the last dot of actor_ and equals vector_.of(actor_).
  Actor actor_;
  VersionVector vector_;
  std::map<Bucket, VersionVector> ahead_;
  Hlc clock_;
  ChangeIndex index_;
  VersionVector trimmed_;  // what left the index; grows
  Stamp forgotten_;        // of the latest delete whose tombstone is gone; grows
  std::array<Digest, kBuckets> bucket_digests_;
  Digest digest_;
  Revision revision_{1};
  std::uint64_t keys_ = 0, tombstones_ = 0;
  Books books_;

  // What we wrote in lives that may have forgotten deletes: up to which, of each own actor.
  VersionVector exposed_;
  Stamp exposed_from_;  // of the earliest
  Actor sound_;         // the actor whose writes are not exposed any more

  // The batch of this turn, not yet a record.
  std::optional<Delta> open_;
  std::size_t open_bytes_ = 0;

  // Own batches, for peers whose window was full; bounded, oldest first.
  std::deque<std::shared_ptr<const Delta>> recent_;
  std::size_t recent_bytes_ = 0;
  bool may_push_ = true;

  std::map<MemberId, Peer> peers_;
  std::map<Actor, std::map<Sequence, Held>> pen_;
  std::size_t pen_bytes_ = 0;

  std::optional<Pull> pull_;
  std::uint64_t pull_patience_ = 0;  // ticks without a slice; 0: the usual
  std::map<MemberId, Serve> serves_;
  std::uint64_t next_pull_tick_ = 0;
  SyncBytes sync_bytes_;
  std::map<MemberId, bool> diverged_;

  // Outputs in the making.
  Ready ready_;
  std::uint64_t ready_number_ = 0;
  bool replaying_ = false;

  // What is durable: snapshots by Ready number until the disk has answered.
  struct Snapshot {
    VersionVector vector;
    Hash128 digest;
    std::uint64_t ahead_hash = 0;
    Stamp forgotten;
  };
  Snapshot snapshot() const;
  std::deque<std::pair<std::uint64_t, Snapshot>> pending_;
  Snapshot durable_;
  std::uint64_t start_mark_ = 0;  // Ready number whose durability lets pushes begin
  std::vector<std::pair<SyncSlice, SliceContext>> replayed_parts_;  // of a bucket, not yet whole
  bool clean_at_end_ = false;  // replay: the last record was a clean mark
  Dot clean_mark_;
  Incarnation clean_start_ = 0;  // the start that wrote it
};

}  // namespace capstan::ap
