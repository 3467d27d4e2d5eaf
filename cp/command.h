// Commands as they stand in log entries: packed bytes, decoded only where they are applied.
//
//   entry data   commands one after another, each length-prefixed (varint)
//   command      format u8, write id, request id, (who asks,) kind u8, body; docs/formats-cp.md
//
// A put is decoded to views into the entry, since it is nearly every command there is.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "core/coding.h"
#include "core/overloaded.h"
#include "core/request.h"
#include "core/time.h"
#include "core/types.h"

namespace capstan::cp {

struct PutView {
  ByteView key;
  ByteView value;
  std::int64_t lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

// What only a leader puts into its own log, under no client's id (cp/lease.h).
struct LeaseTime {
  Micros time = 0;  // at most kLeaseTimeMax
};
inline constexpr Micros kLeaseTimeMax = Micros{1} << 62;
struct LeaseExpiry {
  Term term;  // of the leader that found it over
  std::int64_t id = 0;
  std::uint64_t generation = 0;
};

// Who asks, where auth is on: a user as it was since a revision of auth (cp/auth.h) or, by its
// certificate, whoever has that name; without a name, a node of its own accord.
struct Principal {
  std::string name;
  std::uint64_t since = 0;  // 0: by certificate
  bool is_node() const { return name.empty(); }
  friend bool operator==(const Principal&, const Principal&) = default;
};

// Views into the bytes it was decoded from. A change of members only travels so, from the node that
// was asked to the leader; what the log gets is the configuration that follows.
struct Command {
  WriteId id;
  ByteView request_id;
  std::optional<Principal> who = {};
  std::variant<PutView, DeleteRangeRequest, TxnRequest, CompactRequest, LeaseGrantRequest,
               LeaseRevokeRequest, LeaseKeepAliveRequest, LeaseTime, LeaseExpiry, AlarmRequest,
               MemberChangeRequest, AuthRequest, OutcomeRequest>
      body;
};

// True if a branch holds a put.
bool puts_something(const TxnRequest& txn);

// `body` is a write (core/request.h, is_write; asserted), of a lease's grant with its id and a time
// to live within the limits. Whether a compaction is physical is no part of it: that concerns only
// the node that was asked.
std::string encode_command(const WriteId& id, ByteView request_id, const RequestBody& body,
                           const std::optional<Principal>& who = {});
std::string encode_command(const LeaseTime& time);
std::string encode_command(const LeaseExpiry& expiry);

// A request, or the body of a command: what a node with no room for more refuses.
template <class Body>
bool takes_space(const Body& body) {
  return std::visit(
      Overloaded{[](const PutView&) { return true; }, [](const PutRequest&) { return true; },
                 [](const LeaseGrantRequest&) { return true; },
                 [](const TxnRequest& txn) { return puts_something(txn); },
                 [](const auto&) { return false; }},
      body);
}
// What makes a lease last from now on: the log must know what time it is.
template <class Body>
bool tells_life(const Body& body) {
  return std::holds_alternative<LeaseGrantRequest>(body) ||
         std::holds_alternative<LeaseKeepAliveRequest>(body);
}

// nullopt: not a command. Never reads past the end, never recurses past kTxnDepthMax.
std::optional<Command> decode_command(ByteView bytes);

// The id alone, without decoding the rest.
std::optional<WriteId> command_id(ByteView bytes);

PutView view_of(const PutRequest& put);

}  // namespace capstan::cp
