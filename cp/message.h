// What members of a CP cluster say to each other. Values: net/codec_cp.cc turns them into bytes and
// back, and what decodes is well formed (entries consecutive, terms never falling, sizes bounded).
// It may still be late, repeated or from an older term.
//
// [Raft §n]  Ongaro & Ousterhout, USENIX ATC 2014, extended version
// [Diss §n]  Ongaro, PhD dissertation, Stanford 2014
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/base.h"
#include "core/request.h"
#include "core/types.h"
#include "cp/config.h"

namespace capstan::cp {

// A read round: numbered per term, never used again in that term. An acknowledgement names the
// round it heard, so that a late one cannot confirm a later read.
using Round = Number<struct RoundTag>;

// The name of a log entry. Compared as one value, the later of two logs is the greater. [Raft
// §5.4.1]
struct EntryId {
  Term term;
  Index index;
  friend auto operator<=>(const EntryId&, const EntryId&) = default;
};

enum class EntryKind : std::uint8_t { kCommands = 0, kConfig = 1 };

struct Entry {
  Term term;
  Index index;
  EntryKind kind = EntryKind::kCommands;
  // Packed commands (cp/command.h), or a configuration (cp/config.h); null: the empty entry of a
  // new leader.
  SharedBytes data;

  EntryId id() const { return {term, index}; }
  std::size_t bytes() const { return data ? data->size() : 0; }
};

// May this member's word be counted? raft.h, "Standing", tells the story.
enum class Standing : std::uint8_t {
  kFresh = 0,     // nothing was ever written here, and the cluster has not been formed with us yet
  kNormal = 1,    // votes, campaigns, is counted
  kImpaired = 2,  // may have promised what it no longer has: follows, is not counted
};

// Which disk, in which of its lives, stands behind a member. It changes when a member comes back
// without what it had, and with nothing else.
struct RollEntry {
  MemberId member;
  Actor life;
  friend auto operator<=>(const RollEntry&, const RollEntry&) = default;
};
using Roll = std::vector<RollEntry>;  // sorted by member

// ---- Bodies -------------------------------------------------------------------------------------

// Who speaks and in what standing; sent on connect and every few heartbeats to every member, so it
// is also what followers hear of each other.
struct Hello {
  Standing standing = Standing::kFresh;
  Actor life;
  Roll roll;
};

struct VoteRequest {
  bool pre = false;       // asks "would you?"; changes nothing at the voter [Diss §9.6]
  bool transfer = false;  // the leader asked for this election: stickiness does not apply
  EntryId last;
};
struct VoteReply {
  bool pre = false;
  bool granted = false;
  Actor life;  // of the voter; with the rolls of the other voters it exposes a vote since forgotten
  Roll roll;
};

struct Append {
  EntryId prev;
  Index commit;
  std::vector<Entry> entries;
};
struct AppendReply {
  bool rejected = false;
  bool counts = true;  // false: the sender is not in normal standing
  Actor life;          // of the sender: what an earlier disk held counts no more
  Index index;         // accepted: everything up to here is durable; rejected: the refused prev
  EntryId hint;        // rejected: our last entry that may match, so both sides jump by terms
};

struct Heartbeat {
  Index commit;
  Round round;
  Index tip;           // the last entry the leader believes to have sent
  MemberId restoring;  // a member being restored, and its life, to be learned; 0: none
  Actor life;
};
// Promises nothing about the log, so it leaves at once: reads do not wait for a disk.
struct HeartbeatReply {
  Round round;
  Index tip;       // as heard
  Index received;  // matches the leader's log up to here, durable or not
  bool counts = true;
  bool learned = false;  // the life of `restoring` is in our durable roll
};

// The leader hands over its office: campaign now. [Diss §3.10]
struct TimeoutNow {};

// The leader declares this life of the receiver restored.
struct Restored {
  Actor life;
};

// Commands of a follower's clients, for the leader of exactly this term. `number` grows per origin;
// the leader takes each number once, so a repeated packet is no second write.
struct Forward {
  Actor origin;
  std::uint64_t number = 0;
  std::vector<std::string> commands;
};
// None of the commands of that number was taken or ever will be.
struct ForwardRefused {
  Actor origin;  // as asked: numbers begin again in each life of a process
  std::uint64_t number = 0;
  Reason reason = Reason::kNone;
  std::string detail;
};

struct ReadRequest {
  Actor origin;
  std::uint64_t number = 0;
};
struct ReadReply {
  Actor origin;
  std::uint64_t number = 0;
  bool refused = false;
  Index index;  // serve once applied up to here
};

// One piece of the state at `last`, in order of `sequence` from 0. The configuration is part of it.
struct SnapshotChunk {
  EntryId last;
  std::uint64_t number = 0;  // of this sending; a new one starts over
  std::uint32_t sequence = 0;
  bool final = false;
  std::vector<Change> changes;
};
struct SnapshotReply {
  EntryId last;
  std::uint64_t number = 0;
  Actor life;                  // as in AppendReply
  std::uint32_t expected = 0;  // the next piece; all before are staged durably
  bool installed = false;
};

// The sender's state once everything up to `index` is applied, as one number.
struct StateDigest {
  Index index;
  std::uint64_t fingerprint = 0;
};

using Body = std::variant<Hello, VoteRequest, VoteReply, Append, AppendReply, Heartbeat,
                          HeartbeatReply, TimeoutNow, Restored, Forward, ForwardRefused,
                          ReadRequest, ReadReply, SnapshotChunk, SnapshotReply, StateDigest>;

struct Message {
  Term term;  // of the sender; of a pre-vote, the term it would campaign in
  Body body;
};

struct Outgoing {
  MemberId to;
  Message message;
};

inline const Actor* find_life(const Roll& roll, MemberId member) {
  const auto at = std::ranges::lower_bound(roll, member, {}, &RollEntry::member);
  return at != roll.end() && at->member == member ? &at->life : nullptr;
}

}  // namespace capstan::cp
