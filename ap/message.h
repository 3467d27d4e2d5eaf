// What AP nodes say to each other. Values only; net/codec_ap.h turns them into bytes, ap/packed.h
// lays out the big ones, and docs/formats-ap.md has every byte.
//
//     writer ── Delta ──────────────────► every peer     each own batch once, in order
//     all    ── Beat ───────────────────► every peer     vector, digest, clock, who is alive
//     prober ── Ping ─► peer ── Pong ───► prober         or through a third: PingFor
//     behind ── SyncRequest ────────────► ahead          "this is what I have"
//     behind ◄─ SyncSlice, SyncSlice ... ahead           current state of the cells that lack
//     behind ── SyncMore ───────────────► ahead          one more slice may come
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/hash.h"
#include "core/hlc.h"
#include "core/types.h"
#include "crdt/version_vector.h"

namespace capstan::ap {

// Top byte of xxh3(key): the grain at which causality is known (ap/replica.h).
using Bucket = std::uint8_t;
// Buckets that know more than their node's vector does; sorted by bucket.
using AheadVectors = std::vector<std::pair<Bucket, VersionVector>>;

// Null where the bucket is not ahead.
inline const VersionVector* find_ahead(const AheadVectors& ahead, Bucket bucket) {
  const auto at =
      std::ranges::lower_bound(ahead, bucket, {}, &std::pair<Bucket, VersionVector>::first);
  return at != ahead.end() && at->first == bucket ? &at->second : nullptr;
}

// One write to one key; its dot is (the delta's origin, sequence).
struct Update {
  std::string key;
  std::string value;     // empty when it deletes
  bool deletes = false;  // a tombstone
  Stamp stamp;
  Sequence sequence;
  friend bool operator==(const Update&, const Update&) = default;
};

// One batch of one origin, atomic: its updates have the dots first..last, each once, in order.
struct Delta {
  Actor origin;
  Sequence first, last;
  // What the origin had seen when it wrote them, without its own dots from `first` on; `ahead`:
  // more for single buckets. A receiver that has seen less waits (the causal gate).
  VersionVector deps;
  AheadVectors ahead;
  std::vector<Update> updates;
  // The same, packed; made once and shared by the log and every peer. Null: not packed yet. A
  // sender may leave `updates` empty where this is set; the receiving engine unpacks.
  SharedBytes packed;
};

enum class Liveness : std::uint8_t { kAlive = 0, kSuspect = 1, kUnreachable = 2 };

// The sender's opinion of one member, as in SWIM: a higher life outranks, then a worse liveness.
struct MemberView {
  MemberId member;
  std::uint32_t life = 0;  // raised by the member itself to refute a suspicion
  Liveness liveness = Liveness::kAlive;
  friend bool operator==(const MemberView&, const MemberView&) = default;
};

struct Beat {
  Actor actor;           // of the sender now
  VersionVector vector;  // durable at the sender
  // Of the buckets that are ahead of `vector`, and how far; 0: none. Where both are equal, the
  // digests must be.
  std::uint64_t ahead_hash = 0;
  Hash128 digest;  // of all live cells at `vector`
  Stamp clock;
  Stamp forgotten;         // of the latest delete whose tombstone is gone at the sender
  Actor you;               // whom the receiver writes as, as far as the sender has heard
  bool exposed = false;    // its life may have forgotten deletes that it once agreed to
  std::uint32_t life = 0;  // the sender's own
  std::vector<MemberView> views;
  friend bool operator==(const Beat&, const Beat&) = default;
};

struct Ping {
  std::uint64_t number = 0;
  friend bool operator==(const Ping&, const Ping&) = default;
};
struct Pong {
  std::uint64_t number = 0;
  MemberId about;  // who answered; not the sender when a third passes the answer on
  friend bool operator==(const Pong&, const Pong&) = default;
};
// "Ping `target` for me, I cannot hear it."
struct PingFor {
  std::uint64_t number = 0;
  MemberId target;
  friend bool operator==(const PingFor&, const PingFor&) = default;
};

struct SyncRequest {
  std::uint64_t session = 0;  // drawn by the requester; replies carry it
  VersionVector vector;
  AheadVectors ahead;
  // Full join: whole buckets instead of what changed since `vector`. One digest a bucket, so that
  // equal ones need not travel.
  bool full = false;
  std::vector<Hash128> digests;
  friend bool operator==(const SyncRequest&, const SyncRequest&) = default;
};

// The requester holds the slice on disk; one more may be sent.
struct SyncMore {
  std::uint64_t session = 0;
  friend bool operator==(const SyncMore&, const SyncMore&) = default;
};

// The present state of one key.
struct CellState {
  std::string key;
  std::string value;
  bool deletes = false;
  Stamp stamp;
  Dot dot;
  friend bool operator==(const CellState&, const CellState&) = default;
};

// All that `first_bucket` .. `end_bucket - 1` hold that the request lacks, as of one read.
struct SyncSlice {
  std::uint64_t session = 0;
  // Drawn by the sender: a request that was repeated on the way may be answered twice, and the two
  // answers are of different moments.
  std::uint32_t run = 0;
  std::uint32_t number = 0;  // from 0, one more each slice of the run
  std::uint16_t first_bucket = 0, end_bucket = 0;
  bool unfinished = false;  // more of the same buckets follows: keep, do not apply yet
  bool last = false;        // of the session
  bool full = false;        // buckets in `whole_buckets` list every cell: what lacks here is gone
  std::vector<Bucket> whole_buckets;
  VersionVector vector;  // the sender's at this read
  AheadVectors ahead;    // of buckets within the slice
  // Below it the sender has forgotten what changed when; empty: as in the slice before.
  VersionVector trimmed;
  Stamp forgotten;  // as in its beat; with the last, when all that was forgotten is covered
  std::vector<CellState> cells;
  SharedBytes packed;  // as Delta::packed
};

struct SyncRefused {
  enum class Why : std::uint8_t {
    kNeedFull = 0,        // the sender no longer knows what changed since the request's vector
    kUnknownSession = 1,  // the sender restarted or gave the session up
  };
  std::uint64_t session = 0;
  Why why = Why::kNeedFull;
  friend bool operator==(const SyncRefused&, const SyncRefused&) = default;
};

using Body =
    std::variant<Delta, Beat, Ping, Pong, PingFor, SyncRequest, SyncMore, SyncSlice, SyncRefused>;

struct Message {
  Epoch epoch{1};
  Body body;
};

}  // namespace capstan::ap
