// The words everyone uses: ids, positions and bytes, each a type of its own so that a term cannot be
// passed where an index is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace capstan {

// A 64-bit number that only compares with its own kind.
template <class Tag>
struct Number {
  std::uint64_t value = 0;
  friend auto operator<=>(const Number&, const Number&) = default;
  explicit operator bool() const { return value != 0; }
};

using ClusterId = Number<struct ClusterIdTag>;  // from the cluster's token and member list; 0: none
using MemberId = Number<struct MemberIdTag>;    // a place in the member list; 0: nobody
using NodeId = Number<struct NodeIdTag>;        // 64 random bits, drawn once, bound to a disk
using Term = Number<struct TermTag>;            // Raft's; grows, starts at 0
using Index = Number<struct IndexTag>;          // a position in Raft's log; the first entry is 1
using Revision = Number<struct RevisionTag>;    // etcd's: one a change; an empty store is at 1
using Epoch = Number<struct EpochTag>;          // of a keyspace rule; grows at each change of mode
using Sequence = Number<struct SequenceTag>;    // counts the writes of one actor, from 1

template <class Tag>
constexpr Number<Tag> next(Number<Tag> n) {
  return {n.value + 1};
}

// How many times this disk has been started without a clean stop before (AP) or at all (CP), from 1.
using Incarnation = std::uint32_t;

// Who may issue write ids: a disk in one of its lives. Never used twice, so that (actor, sequence)
// names one write for ever. `contract.md` calls it node:incarnation.
struct Actor {
  NodeId node;
  Incarnation incarnation = 0;
  friend auto operator<=>(const Actor&, const Actor&) = default;
};

// The durable identity of one write, in both modes; in AP it is the dot. People see it as
// NAME:INCARNATION:SEQUENCE, e.g. n1:3:1204.
struct WriteId {
  Actor actor;
  Sequence sequence;
  friend auto operator<=>(const WriteId&, const WriteId&) = default;
  explicit operator bool() const { return sequence.value != 0; }
};

inline std::string to_text(const WriteId& id, std::string_view node_name) {
  return std::string(node_name) + ':' + std::to_string(id.actor.incarnation) + ':' +
         std::to_string(id.sequence.value);
}

enum class Mode : std::uint8_t { kCp = 1, kAp = 2 };
inline std::string_view to_text(Mode mode) { return mode == Mode::kCp ? "cp" : "ap"; }

// What an acknowledged write has behind it on the node that answered.
enum class Durability : std::uint8_t {
  kSync = 0,      // fdatasync returned before the reply
  kInterval = 1,  // written; synced within the interval (default 100 ms)
  kNone = 2,      // written; synced when the kernel likes
};
inline std::string_view to_text(Durability d) {
  return d == Durability::kSync ? "sync" : d == Durability::kInterval ? "interval" : "none";
}

using ByteView = std::string_view;

// Immutable bytes shared by the log, the network and the state machine: encoded once, copied never.
using SharedBytes = std::shared_ptr<const std::string>;
inline SharedBytes shared_bytes(std::string bytes) {
  return std::make_shared<const std::string>(std::move(bytes));
}

}  // namespace capstan

template <class Tag>
struct std::hash<capstan::Number<Tag>> {
  std::size_t operator()(capstan::Number<Tag> n) const { return std::hash<std::uint64_t>{}(n.value); }
};
