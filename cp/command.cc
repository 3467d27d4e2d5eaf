#include "cp/command.h"

#include <utility>

#include "core/check.h"
#include "core/limits.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::uint8_t kFormatWithWho = 2;  // behind the request id

enum class Kind : std::uint8_t {
  kPut = 1,
  kDelete = 2,
  kTxn = 3,
  kRange = 4,
  kEmpty = 5,
  kCompact = 6,
  kLeaseGrant = 7,
  kLeaseRevoke = 8,
  kLeaseKeepAlive = 9,
  kLeaseTime = 10,
  kLeaseExpiry = 11,
  kAlarm = 12,
  kMemberChange = 13,
  kAuth = 14,
  kOutcome = 15
};

void put_kind(std::string& out, Kind kind) { put_u8(out, static_cast<std::uint8_t>(kind)); }
// Signed numbers are nearly always small and not negative, but must survive if they are.
void put_signed(std::string& out, std::int64_t v) {
  put_varint(out, (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63));
}
std::int64_t read_signed(Reader& in) {
  const std::uint64_t v = in.varint();
  return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1);
}
// A flag byte with only the bits we know.
std::uint8_t read_flags(Reader& in, std::uint8_t known) {
  const std::uint8_t flags = in.u8();
  if ((flags & ~known) != 0) in.reject();
  return flags;
}
template <class E>
E read_enum(Reader& in, E last) {
  const std::uint8_t v = in.u8();
  if (v > static_cast<std::uint8_t>(last)) in.reject();
  return in.ok() ? static_cast<E>(v) : E{};
}

void put_range(std::string& out, const KeyRange& range) {
  put_bytes(out, range.key);
  put_bytes(out, range.end);
}
KeyRange read_range(Reader& in) {
  KeyRange range;
  range.key = in.bytes();
  range.end = in.bytes();
  return range;
}

void encode(std::string& out, const PutView& put) {
  put_bytes(out, put.key);
  put_bytes(out, put.value);
  put_signed(out, put.lease);
  put_u8(out,
         static_cast<std::uint8_t>(put.prev_kv | put.ignore_value << 1 | put.ignore_lease << 2));
}
PutView decode_put(Reader& in) {
  PutView put;
  put.key = in.bytes();
  put.value = in.bytes();
  put.lease = read_signed(in);
  const std::uint8_t flags = read_flags(in, 7);
  put.prev_kv = flags & 1;
  put.ignore_value = flags & 2;
  put.ignore_lease = flags & 4;
  return put;
}

void encode(std::string& out, const DeleteRangeRequest& erase) {
  put_range(out, erase.range);
  put_u8(out, erase.prev_kv);
}
DeleteRangeRequest decode_delete(Reader& in) {
  DeleteRangeRequest erase;
  erase.range = read_range(in);
  erase.prev_kv = read_flags(in, 1);
  return erase;
}

void encode(std::string& out, const RangeRequest& range) {
  put_range(out, range.range);
  put_signed(out, range.limit);
  put_signed(out, range.revision);
  put_u8(out, static_cast<std::uint8_t>(range.sort_order));
  put_u8(out, static_cast<std::uint8_t>(range.sort_target));
  put_u8(out, static_cast<std::uint8_t>(range.serializable | range.keys_only << 1 |
                                        range.count_only << 2));
  put_signed(out, range.min_mod_revision);
  put_signed(out, range.max_mod_revision);
  put_signed(out, range.min_create_revision);
  put_signed(out, range.max_create_revision);
}
RangeRequest decode_range(Reader& in) {
  RangeRequest range;
  range.range = read_range(in);
  range.limit = read_signed(in);
  range.revision = read_signed(in);
  range.sort_order = read_enum(in, SortOrder::kDescend);
  range.sort_target = read_enum(in, SortTarget::kValue);
  const std::uint8_t flags = read_flags(in, 7);
  range.serializable = flags & 1;
  range.keys_only = flags & 2;
  range.count_only = flags & 4;
  range.min_mod_revision = read_signed(in);
  range.max_mod_revision = read_signed(in);
  range.min_create_revision = read_signed(in);
  range.max_create_revision = read_signed(in);
  return range;
}

void encode(std::string& out, const Compare& compare) {
  put_u8(out, static_cast<std::uint8_t>(compare.result));
  put_u8(out, static_cast<std::uint8_t>(compare.target));
  put_range(out, compare.range);
  put_signed(out, compare.number);
  put_bytes(out, compare.value);
}
Compare decode_compare(Reader& in) {
  Compare compare;
  compare.result = read_enum(in, CompareResult::kNotEqual);
  compare.target = read_enum(in, CompareTarget::kLease);
  compare.range = read_range(in);
  compare.number = read_signed(in);
  compare.value = in.bytes();
  return compare;
}

void encode(std::string& out, const TxnRequest& txn);

void encode(std::string& out, const RequestOp& op) {
  if (const auto* range = std::get_if<RangeRequest>(&op.op)) {
    put_kind(out, Kind::kRange);
    encode(out, *range);
  } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
    put_kind(out, Kind::kPut);
    encode(out, view_of(*put));
  } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
    put_kind(out, Kind::kDelete);
    encode(out, *erase);
  } else if (const auto* txn = std::get_if<TxnRequest>(&op.op)) {
    put_kind(out, Kind::kTxn);
    encode(out, *txn);
  } else {
    put_kind(out, Kind::kEmpty);
  }
}

void encode(std::string& out, const TxnRequest& txn) {
  put_varint(out, txn.compare.size());
  for (const Compare& compare : txn.compare) encode(out, compare);
  put_varint(out, txn.success.size());
  for (const RequestOp& op : txn.success) encode(out, op);
  put_varint(out, txn.failure.size());
  for (const RequestOp& op : txn.failure) encode(out, op);
}

TxnRequest decode_txn(Reader& in, std::size_t depth);

RequestOp decode_op(Reader& in, std::size_t depth) {
  switch (static_cast<Kind>(in.u8())) {
    case Kind::kRange:
      return {decode_range(in)};
    case Kind::kPut: {
      const PutView put = decode_put(in);
      return {PutRequest{std::string(put.key), std::string(put.value), put.lease, put.prev_kv,
                         put.ignore_value, put.ignore_lease}};
    }
    case Kind::kDelete:
      return {decode_delete(in)};
    case Kind::kTxn:
      if (depth < kTxnDepthMax) return {decode_txn(in, depth + 1)};
      break;
    case Kind::kEmpty:
      return {};
    case Kind::kCompact:
    case Kind::kLeaseGrant:
    case Kind::kLeaseRevoke:
    case Kind::kLeaseKeepAlive:
    case Kind::kLeaseTime:
    case Kind::kLeaseExpiry:
    case Kind::kAlarm:
    case Kind::kMemberChange:
    case Kind::kAuth:
    case Kind::kOutcome:
      break;  // not within a transaction
  }
  in.reject();
  return {};
}

std::vector<RequestOp> decode_ops(Reader& in, std::size_t depth) {
  const std::uint64_t count = in.varint();
  std::vector<RequestOp> ops;
  if (!in.plausible(count) || count > kTxnOpsMax) {
    in.reject();
    return ops;
  }
  ops.reserve(count);
  while (in.ok() && ops.size() < count) ops.push_back(decode_op(in, depth));
  return ops;
}

TxnRequest decode_txn(Reader& in, std::size_t depth) {
  TxnRequest txn;
  const std::uint64_t compares = in.varint();
  if (!in.plausible(compares, 6) || compares > kTxnOpsMax) {
    in.reject();
    return txn;
  }
  txn.compare.reserve(compares);
  while (in.ok() && txn.compare.size() < compares) txn.compare.push_back(decode_compare(in));
  txn.success = decode_ops(in, depth);
  txn.failure = decode_ops(in, depth);
  return txn;
}

LeaseGrantRequest decode_grant(Reader& in) {
  LeaseGrantRequest grant;
  grant.id = read_signed(in);
  grant.ttl = read_signed(in);
  if (grant.id == 0 || grant.ttl < kLeaseTtlMin || grant.ttl > kLeaseTtlMax) in.reject();
  return grant;
}

LeaseTime decode_time(Reader& in) {
  const std::uint64_t time = in.varint();
  if (time > static_cast<std::uint64_t>(kLeaseTimeMax)) in.reject();
  return {static_cast<Micros>(time)};
}

LeaseExpiry decode_expiry(Reader& in) {
  LeaseExpiry expiry;
  expiry.term = {in.varint()};
  expiry.id = read_signed(in);
  expiry.generation = in.varint();
  return expiry;
}

void encode(std::string& out, const AlarmRequest& alarm) {
  put_u8(out, static_cast<std::uint8_t>(alarm.action));
  put_u64(out, alarm.member.value);
  put_u8(out, static_cast<std::uint8_t>(alarm.type));
  put_u8(out, alarm.by_itself);
}
AlarmRequest decode_alarm(Reader& in) {
  AlarmRequest alarm;
  alarm.action = read_enum(in, AlarmRequest::Action::kClear);
  if (alarm.action == AlarmRequest::Action::kList) in.reject();
  alarm.member = {in.u64()};
  alarm.type = read_enum(in, AlarmType::kCorrupt);
  alarm.by_itself = read_flags(in, 1) != 0;
  return alarm;
}

void encode(std::string& out, const MemberChangeRequest& change) {
  put_u8(out, static_cast<std::uint8_t>(change.action));
  put_u64(out, change.member.value);
  put_bytes(out, change.peer);
  put_u8(out, static_cast<std::uint8_t>(change.learner | change.witness << 1));
}
MemberChangeRequest decode_change(Reader& in) {
  MemberChangeRequest change;
  change.action = read_enum(in, MemberChangeRequest::Action::kPromote);
  change.member = {in.u64()};
  change.peer = in.bytes();
  const std::uint8_t flags = read_flags(in, 3);
  change.learner = (flags & 1) != 0;
  change.witness = (flags & 2) != 0;
  if (!change.member || change.peer.size() > kPeerAddressMax) in.reject();
  return change;
}

void encode(std::string& out, const AuthRequest& auth) {
  put_u8(out, static_cast<std::uint8_t>(auth.action));
  put_bytes(out, auth.user);
  put_bytes(out, auth.role);
  put_bytes(out, auth.secret);
  put_u8(out, static_cast<std::uint8_t>(auth.permission.kind));
  put_range(out, auth.permission.range);
}
AuthRequest decode_auth(Reader& in) {
  AuthRequest auth;
  auth.action = read_enum(in, AuthRequest::Action::kRevokePermission);
  auth.user = in.bytes();
  auth.role = in.bytes();
  auth.secret = in.bytes();
  auth.permission.kind = read_enum(in, Permission::Kind::kReadWrite);
  auth.permission.range = read_range(in);
  return auth;
}

// Of the two ways to name it the other is empty.
void encode(std::string& out, const OutcomeRequest& outcome) {
  put_u64(out, outcome.id.actor.node.value);
  put_varint(out, outcome.id.actor.incarnation);
  put_varint(out, outcome.id.sequence.value);
  put_bytes(out, outcome.of_request);
}
Incarnation read_incarnation(Reader& in) {
  const std::uint64_t incarnation = in.varint();
  if (incarnation > UINT32_MAX) in.reject();
  return static_cast<Incarnation>(incarnation);
}
OutcomeRequest decode_outcome(Reader& in) {
  OutcomeRequest outcome;
  outcome.id.actor.node = {in.u64()};
  outcome.id.actor.incarnation = read_incarnation(in);
  outcome.id.sequence = {in.varint()};
  outcome.of_request = in.bytes();
  if (bool(outcome.id) != outcome.of_request.empty()) in.reject();
  return outcome;
}

void put_head(std::string& out, const WriteId& id, ByteView request_id,
              const std::optional<Principal>& who) {
  put_u8(out, who ? kFormatWithWho : kFormat);
  put_u64(out, id.actor.node.value);
  put_varint(out, id.actor.incarnation);
  put_varint(out, id.sequence.value);
  put_bytes(out, request_id);
  if (!who) return;
  put_bytes(out, who->name);
  put_varint(out, who->since);
}

WriteId read_id(Reader& in, std::uint8_t format) {
  WriteId id;
  if (format != kFormat && format != kFormatWithWho) in.reject();
  id.actor.node = {in.u64()};
  id.actor.incarnation = read_incarnation(in);
  id.sequence = {in.varint()};
  return id;
}

}  // namespace

PutView view_of(const PutRequest& put) {
  return {put.key, put.value, put.lease, put.prev_kv, put.ignore_value, put.ignore_lease};
}

std::string encode_command(const WriteId& id, ByteView request_id, const RequestBody& body,
                           const std::optional<Principal>& who) {
  std::string out;
  const auto* put = std::get_if<PutRequest>(&body);
  if (put != nullptr) out.reserve(48 + request_id.size() + put->key.size() + put->value.size());
  put_head(out, id, request_id, who);
  if (put != nullptr) {
    put_kind(out, Kind::kPut);
    encode(out, view_of(*put));
  } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&body)) {
    put_kind(out, Kind::kDelete);
    encode(out, *erase);
  } else if (const auto* compact = std::get_if<CompactRequest>(&body)) {
    put_kind(out, Kind::kCompact);
    put_signed(out, compact->revision);
  } else if (const auto* alarm = std::get_if<AlarmRequest>(&body)) {
    put_kind(out, Kind::kAlarm);
    encode(out, *alarm);
  } else if (const auto* change = std::get_if<MemberChangeRequest>(&body)) {
    put_kind(out, Kind::kMemberChange);
    encode(out, *change);
  } else if (const auto* auth = std::get_if<AuthRequest>(&body)) {
    put_kind(out, Kind::kAuth);
    encode(out, *auth);
  } else if (const auto* outcome = std::get_if<OutcomeRequest>(&body)) {
    put_kind(out, Kind::kOutcome);
    encode(out, *outcome);
  } else if (const auto* grant = std::get_if<LeaseGrantRequest>(&body)) {
    put_kind(out, Kind::kLeaseGrant);
    put_signed(out, grant->id);
    put_signed(out, grant->ttl);
  } else if (const auto* revoke = std::get_if<LeaseRevokeRequest>(&body)) {
    put_kind(out, Kind::kLeaseRevoke);
    put_signed(out, revoke->id);
  } else if (const auto* keep = std::get_if<LeaseKeepAliveRequest>(&body)) {
    put_kind(out, Kind::kLeaseKeepAlive);
    put_signed(out, keep->id);
  } else {
    const auto* txn = std::get_if<TxnRequest>(&body);
    CAPSTAN_ASSERT(txn != nullptr);
    put_kind(out, Kind::kTxn);
    encode(out, *txn);
  }
  return out;
}

std::string encode_command(const LeaseTime& time) {
  std::string out;
  put_head(out, {}, {}, {});
  put_kind(out, Kind::kLeaseTime);
  put_varint(out, static_cast<std::uint64_t>(time.time));
  return out;
}

std::string encode_command(const LeaseExpiry& expiry) {
  std::string out;
  put_head(out, {}, {}, {});
  put_kind(out, Kind::kLeaseExpiry);
  put_varint(out, expiry.term.value);
  put_signed(out, expiry.id);
  put_varint(out, expiry.generation);
  return out;
}

std::optional<Command> decode_command(ByteView bytes) {
  Reader in(bytes);
  Command command;
  const std::uint8_t format = in.u8();
  command.id = read_id(in, format);
  command.request_id = in.bytes();
  if (format == kFormatWithWho) {
    Principal& who = command.who.emplace();
    who.name = in.bytes();
    who.since = in.varint();
  }
  switch (static_cast<Kind>(in.u8())) {
    case Kind::kPut:
      command.body = decode_put(in);
      break;
    case Kind::kDelete:
      command.body = decode_delete(in);
      break;
    case Kind::kTxn:
      command.body = decode_txn(in, 1);
      break;
    case Kind::kCompact:
      command.body = CompactRequest{.revision = read_signed(in)};
      break;
    case Kind::kLeaseGrant:
      command.body = decode_grant(in);
      break;
    case Kind::kLeaseRevoke:
      command.body = LeaseRevokeRequest{read_signed(in)};
      break;
    case Kind::kLeaseKeepAlive:
      command.body = LeaseKeepAliveRequest{read_signed(in)};
      break;
    case Kind::kLeaseTime:
      command.body = decode_time(in);
      break;
    case Kind::kLeaseExpiry:
      command.body = decode_expiry(in);
      break;
    case Kind::kAlarm:
      command.body = decode_alarm(in);
      break;
    case Kind::kMemberChange:
      command.body = decode_change(in);
      break;
    case Kind::kAuth:
      command.body = decode_auth(in);
      break;
    case Kind::kOutcome:
      command.body = decode_outcome(in);
      break;
    default:
      in.reject();
  }
  if (!in.done()) return std::nullopt;
  return command;
}

std::optional<WriteId> command_id(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t format = in.u8();
  const WriteId id = read_id(in, format);
  if (!in.ok()) return std::nullopt;
  return id;
}

}  // namespace capstan::cp
