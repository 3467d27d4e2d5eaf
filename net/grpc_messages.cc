#include "net/grpc_messages.h"

#include <google/protobuf/arena.h>
#include <google/protobuf/util/json_util.h>
#include "net/schema/health.pb.h"
#include "net/schema/rpc.pb.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/check.h"
#include "core/limits.h"
#include "net/grpc_text.h"

namespace capstan::net {

namespace {

namespace pb = etcdserverpb;
using google::protobuf::Arena;

// ---- Requests -----------------------------------------------------------------------------------

// Enums are open in proto3: a number past the last name is not refused by protobuf.
template <class To>
To bounded_enum(int value, To last, bool& ok) {
  if (value < 0 || value > static_cast<int>(last)) {
    ok = false;
    return To{};
  }
  return static_cast<To>(value);
}

Result<RangeRequest> to_request(pb::RangeRequest& m) {
  bool ok = true;
  RangeRequest r;
  r.range = {std::move(*m.mutable_key()), std::move(*m.mutable_range_end())};
  r.limit = m.limit();
  r.revision = m.revision();
  r.sort_order = bounded_enum(static_cast<int>(m.sort_order()), SortOrder::kDescend, ok);
  r.sort_target = bounded_enum(static_cast<int>(m.sort_target()), SortTarget::kValue, ok);
  r.serializable = m.serializable();
  r.keys_only = m.keys_only();
  r.count_only = m.count_only();
  r.min_mod_revision = m.min_mod_revision();
  r.max_mod_revision = m.max_mod_revision();
  r.min_create_revision = m.min_create_revision();
  r.max_create_revision = m.max_create_revision();
  if (!ok) return fail(ErrorCode::kInvalid, "unknown sort order or sort target");
  return r;
}

PutRequest to_request(pb::PutRequest& m) {
  return {.key = std::move(*m.mutable_key()),
          .value = std::move(*m.mutable_value()),
          .lease = m.lease(),
          .prev_kv = m.prev_kv(),
          .ignore_value = m.ignore_value(),
          .ignore_lease = m.ignore_lease()};
}

DeleteRangeRequest to_request(pb::DeleteRangeRequest& m) {
  return {.range = {std::move(*m.mutable_key()), std::move(*m.mutable_range_end())},
          .prev_kv = m.prev_kv()};
}

Result<Compare> to_compare(pb::Compare& m) {
  bool ok = true;
  Compare c;
  c.result = bounded_enum(static_cast<int>(m.result()), CompareResult::kNotEqual, ok);
  c.target = bounded_enum(static_cast<int>(m.target()), CompareTarget::kLease, ok);
  c.range = {std::move(*m.mutable_key()), std::move(*m.mutable_range_end())};
  // Only the member that belongs to the target counts; another one, or none, is 0 or empty.
  switch (c.target) {
    case CompareTarget::kVersion:
      c.number = m.version();
      break;
    case CompareTarget::kCreate:
      c.number = m.create_revision();
      break;
    case CompareTarget::kMod:
      c.number = m.mod_revision();
      break;
    case CompareTarget::kLease:
      c.number = m.lease();
      break;
    case CompareTarget::kValue:
      if (m.target_union_case() == pb::Compare::kValue) c.value = std::move(*m.mutable_value());
      break;
  }
  if (!ok) return fail(ErrorCode::kInvalid, "unknown compare result or target");
  return c;
}

Result<TxnRequest> to_request(pb::TxnRequest& m, std::size_t depth);

Result<RequestOp> to_op(pb::RequestOp& m, std::size_t depth) {
  RequestOp op;
  switch (m.request_case()) {
    case pb::RequestOp::kRequestRange: {
      auto range = to_request(*m.mutable_request_range());
      if (!range) return std::unexpected(range.error());
      op.op = std::move(*range);
      break;
    }
    case pb::RequestOp::kRequestPut:
      op.op = to_request(*m.mutable_request_put());
      break;
    case pb::RequestOp::kRequestDeleteRange:
      op.op = to_request(*m.mutable_request_delete_range());
      break;
    case pb::RequestOp::kRequestTxn: {
      auto txn = to_request(*m.mutable_request_txn(), depth + 1);
      if (!txn) return std::unexpected(txn.error());
      op.op = std::move(*txn);
      break;
    }
    case pb::RequestOp::REQUEST_NOT_SET:
      break;  // the engine refuses it with etcd's "key not found"
  }
  return op;
}

Result<TxnRequest> to_request(pb::TxnRequest& m, std::size_t depth) {
  if (depth > kTxnDepthMax) {
    return fail(ErrorCode::kInvalid,
                "transactions are nested deeper than " + std::to_string(kTxnDepthMax) + " levels");
  }
  TxnRequest txn;
  txn.compare.reserve(static_cast<std::size_t>(m.compare_size()));
  for (pb::Compare& each : *m.mutable_compare()) {
    auto compare = to_compare(each);
    if (!compare) return std::unexpected(compare.error());
    txn.compare.push_back(std::move(*compare));
  }
  for (auto [from, to] : {std::pair{m.mutable_success(), &txn.success},
                          std::pair{m.mutable_failure(), &txn.failure}}) {
    to->reserve(static_cast<std::size_t>(from->size()));
    for (pb::RequestOp& each : *from) {
      auto op = to_op(each, depth);
      if (!op) return std::unexpected(op.error());
      to->push_back(std::move(*op));
    }
  }
  return txn;
}

WatchRequest to_watch(pb::WatchCreateRequest& m) {
  WatchRequest r;
  r.range = {std::move(*m.mutable_key()), std::move(*m.mutable_range_end())};
  r.id = m.watch_id();
  r.start_revision = m.start_revision();
  r.prev_kv = m.prev_kv();
  r.progress_notify = m.progress_notify();
  r.fragment = m.fragment();
  for (const int filter : m.filters()) {
    r.no_put |= filter == pb::WatchCreateRequest::NOPUT;
    r.no_delete |= filter == pb::WatchCreateRequest::NODELETE;
  }
  return r;
}

template <class T>
Result<RequestBody> as_body(Result<T> result) {
  if (!result) return std::unexpected(result.error());
  return RequestBody{std::move(*result)};
}

// An arena whose first block is reused: a small request costs no allocation of its own but for long
// keys and values, and those are moved into the request.
class ScratchArena {
 public:
  ScratchArena() : arena_(options(block_)) {}
  Arena* get() { return &arena_; }

 private:
  static google::protobuf::ArenaOptions options(std::array<char, 4096>& block) {
    google::protobuf::ArenaOptions out;
    out.initial_block = block.data();
    out.initial_block_size = block.size();
    return out;
  }
  alignas(16) std::array<char, 4096> block_;
  Arena arena_;
};

bool parsed(google::protobuf::Message& message, ByteView bytes) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// JSON is refused with the library's own account of what is wrong.
Status from_json(google::protobuf::Message& message, ByteView json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &message, options);
  if (status.ok()) return {};
  return fail(ErrorCode::kMalformed, std::string(status.message()));
}

Status from_protobuf(google::protobuf::Message& message, ByteView bytes) {
  if (parsed(message, bytes)) return {};
  return fail(ErrorCode::kMalformed, "not a valid " + message.GetDescriptor()->name());
}

using Parse = Status (*)(google::protobuf::Message&, ByteView);

template <class M, class Convert>
Result<RequestBody> decoded(Parse parse, ByteView bytes, Convert convert) {
  ScratchArena arena;
  M* message = Arena::CreateMessage<M>(arena.get());
  if (Status status = parse(*message, bytes); !status) return std::unexpected(status.error());
  return convert(*message);
}

Result<RequestBody> decode(GrpcMethod method, ByteView bytes, Parse parse) {
  switch (method) {
    case GrpcMethod::kRange:
      return decoded<pb::RangeRequest>(parse, bytes,
                                       [](auto& m) { return as_body(to_request(m)); });
    case GrpcMethod::kPut:
      return decoded<pb::PutRequest>(parse, bytes,
                                     [](auto& m) -> Result<RequestBody> { return to_request(m); });
    case GrpcMethod::kDeleteRange:
      return decoded<pb::DeleteRangeRequest>(
          parse, bytes, [](auto& m) -> Result<RequestBody> { return to_request(m); });
    case GrpcMethod::kTxn:
      return decoded<pb::TxnRequest>(parse, bytes,
                                     [](auto& m) { return as_body(to_request(m, 1)); });
    case GrpcMethod::kCompact:
      return decoded<pb::CompactionRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return CompactRequest{m.revision(), m.physical()};
      });
    case GrpcMethod::kHash:
      return decoded<pb::HashRequest>(parse, bytes,
                                      [](auto&) -> Result<RequestBody> { return HashRequest{}; });
    case GrpcMethod::kHashKv:
      return decoded<pb::HashKVRequest>(
          parse, bytes, [](auto& m) -> Result<RequestBody> { return HashRequest{m.revision()}; });
    case GrpcMethod::kLeaseGrant:
      return decoded<pb::LeaseGrantRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return LeaseGrantRequest{m.ttl(), m.id()};
      });
    case GrpcMethod::kLeaseRevoke:
      return decoded<pb::LeaseRevokeRequest>(
          parse, bytes, [](auto& m) -> Result<RequestBody> { return LeaseRevokeRequest{m.id()}; });
    case GrpcMethod::kLeaseKeepAlive:
      return decoded<pb::LeaseKeepAliveRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return LeaseKeepAliveRequest{m.id()};
      });
    case GrpcMethod::kLeaseTimeToLive:
      return decoded<pb::LeaseTimeToLiveRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return LeaseTimeToLiveRequest{m.id(), m.keys()};
      });
    case GrpcMethod::kLeaseLeases:
      return decoded<pb::LeaseLeasesRequest>(
          parse, bytes, [](auto&) -> Result<RequestBody> { return LeasesRequest{}; });
    case GrpcMethod::kMoveLeader:
      return decoded<pb::MoveLeaderRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return MoveLeaderRequest{{m.targetid()}};
      });
    case GrpcMethod::kDefragment:
      return decoded<pb::DefragmentRequest>(
          parse, bytes, [](auto&) -> Result<RequestBody> { return DefragmentRequest{}; });
    case GrpcMethod::kAlarm:
      return decoded<pb::AlarmRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        bool ok = true;
        AlarmRequest r;
        r.action = bounded_enum(static_cast<int>(m.action()), AlarmRequest::Action::kClear, ok);
        r.member = {m.memberid()};
        r.type = bounded_enum(static_cast<int>(m.alarm()), AlarmType::kCorrupt, ok);
        if (!ok) return fail(ErrorCode::kInvalid, "unknown action or type of an alarm");
        return r;
      });
    case GrpcMethod::kStatus:
      return decoded<pb::StatusRequest>(
          parse, bytes, [](auto&) -> Result<RequestBody> { return StatusRequest{}; });
    case GrpcMethod::kMemberList:
      return decoded<pb::MemberListRequest>(
          parse, bytes, [](auto&) -> Result<RequestBody> { return MembersRequest{}; });
    case GrpcMethod::kHealthCheck:
    case GrpcMethod::kWatch:
    case GrpcMethod::kUnknown:
      break;
  }
  constexpr bool kAnswersMethod = false;
  CAPSTAN_ASSERT(kAnswersMethod);
  return fail(ErrorCode::kInvalid, "no such method");
}

// ---- Replies ------------------------------------------------------------------------------------

void fill(pb::ResponseHeader& to, const ReplyHeader& header) {
  to.set_cluster_id(header.cluster.value);
  to.set_member_id(header.member.value);
  to.set_revision(static_cast<std::int64_t>(header.revision.value));
  to.set_raft_term(header.term.value);
}

void fill(mvccpb::KeyValue& to, KeyValue& kv) {
  to.set_key(std::move(kv.key));
  to.set_create_revision(static_cast<std::int64_t>(kv.create_revision.value));
  to.set_mod_revision(static_cast<std::int64_t>(kv.mod_revision.value));
  to.set_version(static_cast<std::int64_t>(kv.version));
  to.set_value(std::move(kv.value));
  to.set_lease(kv.lease);
}

void fill(mvccpb::Event& to, WatchEvent& event) {
  to.set_type(event.deleted ? mvccpb::Event::DELETE : mvccpb::Event::PUT);
  fill(*to.mutable_kv(), event.kv);
  if (event.prev) fill(*to.mutable_prev_kv(), *event.prev);
}

void fill(pb::RangeResponse& to, RangeResult& result) {
  to.mutable_kvs()->Reserve(static_cast<int>(result.kvs.size()));
  for (KeyValue& kv : result.kvs) fill(*to.add_kvs(), kv);
  to.set_more(result.more);
  to.set_count(result.count);
}

void fill(pb::PutResponse& to, PutResult& result) {
  if (result.prev) fill(*to.mutable_prev_kv(), *result.prev);
}

void fill(pb::DeleteRangeResponse& to, DeleteRangeResult& result) {
  to.set_deleted(result.deleted);
  for (KeyValue& kv : result.prevs) fill(*to.add_prev_kvs(), kv);
}

void fill(pb::CompactionResponse&, CompactResult&) {}  // its header says all

void fill(pb::HashResponse& to, HashResult& result) { to.set_hash(result.hash); }

void fill(pb::HashKVResponse& to, HashResult& result) {
  to.set_hash(result.hash);
  to.set_compact_revision(static_cast<std::int64_t>(result.compacted.value));
}

void fill(pb::LeaseGrantResponse& to, LeaseGrantResult& result) {
  to.set_id(result.id);
  to.set_ttl(result.ttl);
}

void fill(pb::LeaseRevokeResponse&, LeaseRevokeResult&) {}

void fill(pb::LeaseKeepAliveResponse& to, LeaseKeepAliveResult& result) {
  to.set_id(result.id);
  to.set_ttl(result.ttl);
}

void fill(pb::LeaseTimeToLiveResponse& to, LeaseTimeToLiveResult& result) {
  to.set_id(result.id);
  to.set_ttl(result.ttl);
  to.set_grantedttl(result.granted_ttl);
  for (std::string& key : result.keys) to.add_keys(std::move(key));
}

void fill(pb::LeaseLeasesResponse& to, LeasesResult& result) {
  for (const std::int64_t id : result.ids) to.add_leases()->set_id(id);
}

void fill(pb::MoveLeaderResponse&, MoveLeaderResult&) {}
void fill(pb::DefragmentResponse&, DefragmentResult&) {}

void fill(pb::AlarmResponse& to, AlarmResult& result) {
  for (const MemberAlarm& alarm : result.alarms) {
    pb::AlarmMember& each = *to.add_alarms();
    each.set_memberid(alarm.member.value);
    each.set_alarm(static_cast<pb::AlarmType>(alarm.type));
  }
}

void fill(pb::TxnResponse& to, TxnResult& result);

void fill(pb::ResponseOp& to, ResponseOp& op) {
  const auto revision = static_cast<std::int64_t>(op.revision.value);
  if (auto* range = std::get_if<RangeResult>(&op.result)) {
    fill(*to.mutable_response_range(), *range);
    to.mutable_response_range()->mutable_header()->set_revision(revision);
  } else if (auto* put = std::get_if<PutResult>(&op.result)) {
    fill(*to.mutable_response_put(), *put);
    to.mutable_response_put()->mutable_header()->set_revision(revision);
  } else if (auto* erased = std::get_if<DeleteRangeResult>(&op.result)) {
    fill(*to.mutable_response_delete_range(), *erased);
    to.mutable_response_delete_range()->mutable_header()->set_revision(revision);
  } else if (auto* txn = std::get_if<TxnResult>(&op.result)) {
    fill(*to.mutable_response_txn(), *txn);
    to.mutable_response_txn()->mutable_header()->set_revision(revision);
  }
}

void fill(pb::TxnResponse& to, TxnResult& result) {
  to.set_succeeded(result.succeeded);
  for (ResponseOp& op : result.responses) fill(*to.add_responses(), op);
}

// "node2 not heard for 4.1 s", of a replica that goes on without some of the others.
std::string missing_text(const StatusResult& status) {
  std::string names;
  for (const PeerStatus& peer : status.peers) {
    if (!peer.self && !peer.reachable) names += (names.empty() ? "" : " ") + peer.name;
  }
  return names + " not heard for " + seconds_text(status.alone_for) +
         ": writes stay here until the heal";
}

// In AP every node is its own leader and the term is 1 (docs/consistency.md); CP says what it
// knows, and etcd's tools want an entry in `errors` when there is no leader. A cut is one in AP
// too: nothing else in etcd's reply could show it.
void fill(pb::StatusResponse& to, StatusResult& status) {
  const bool ap = status.mode == Mode::kAp;
  to.set_version(std::string(kEtcdVersion));
  // What the keys take, as etcd's: the log is allocated ahead and not part of it. etcd's file is
  // never empty, and tools divide by its size.
  const std::uint64_t in_use =
      std::max<std::uint64_t>(status.base_live_bytes + status.table_bytes, 1);
  to.set_dbsize(
      static_cast<std::int64_t>(std::max(status.base_bytes + status.table_bytes, in_use)));
  to.set_dbsizeinuse(static_cast<std::int64_t>(in_use));
  to.set_leader(ap ? status.id.value : status.leader.value);
  to.set_raftindex(ap ? status.revision.value : status.committed);
  to.set_raftterm(ap ? 1 : status.term);
  to.set_raftappliedindex(ap ? status.revision.value : status.applied);
  if (!ap && !status.leader) to.add_errors("etcdserver: no leader");
  if (ap && status.alone_for >= 0) to.add_errors(missing_text(status));
  for (std::string& error : status.errors) to.add_errors(std::move(error));
}

void fill(pb::MemberListResponse& to, MembersResult& result) {
  for (PeerStatus& peer : result.members) {
    pb::Member& member = *to.add_members();
    member.set_id(peer.id.value);
    member.set_name(std::move(peer.name));
    member.add_peerurls("http://" + peer.peer_address);
    for (std::string& url : peer.client_urls) member.add_clienturls(std::move(url));
  }
}

// Appends a gRPC message: prefix and bytes. `bytes` is what ByteSizeLong() has just said.
void append_message(const google::protobuf::Message& message, std::size_t bytes, std::string& out) {
  // protobuf's bound; the engine's bounds are lower
  CAPSTAN_ASSERT(bytes < std::size_t{1} << 31);
  const std::size_t at = out.size();
  out.resize(at + kGrpcPrefixBytes + bytes);
  write_grpc_prefix(out.data() + at, static_cast<std::uint32_t>(bytes));
  message.SerializeWithCachedSizesToArray(
      reinterpret_cast<std::uint8_t*>(out.data() + at + kGrpcPrefixBytes));
}

std::string as_json(const google::protobuf::Message& message) {
  std::string out;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  const auto status = google::protobuf::util::MessageToJsonString(message, &out, options);
  CAPSTAN_ASSERT(status.ok());
  return out;
}

// Calls `use` with the reply as its protobuf message. The body is of the method's kind: the handler
// answers what was asked.
template <class M, class Body, class Use>
void with(Reply& reply, Use use) {
  ScratchArena arena;
  M* message = Arena::CreateMessage<M>(arena.get());
  // etcd 3.4 leaves it out where it says nothing of keys.
  if constexpr (requires { message->mutable_header(); }) {
    fill(*message->mutable_header(), reply.header);
  }
  if (Body* body = std::get_if<Body>(&reply.body)) fill(*message, *body);
  use(*message);
}

template <class Use>
void with_message(GrpcMethod method, Reply& reply, Use use) {
  switch (method) {
    case GrpcMethod::kRange:
      return with<pb::RangeResponse, RangeResult>(reply, use);
    case GrpcMethod::kPut:
      return with<pb::PutResponse, PutResult>(reply, use);
    case GrpcMethod::kDeleteRange:
      return with<pb::DeleteRangeResponse, DeleteRangeResult>(reply, use);
    case GrpcMethod::kTxn:
      return with<pb::TxnResponse, TxnResult>(reply, use);
    case GrpcMethod::kCompact:
      return with<pb::CompactionResponse, CompactResult>(reply, use);
    case GrpcMethod::kHash:
      return with<pb::HashResponse, HashResult>(reply, use);
    case GrpcMethod::kHashKv:
      return with<pb::HashKVResponse, HashResult>(reply, use);
    case GrpcMethod::kLeaseGrant:
      return with<pb::LeaseGrantResponse, LeaseGrantResult>(reply, use);
    case GrpcMethod::kLeaseRevoke:
      return with<pb::LeaseRevokeResponse, LeaseRevokeResult>(reply, use);
    case GrpcMethod::kLeaseKeepAlive:
      return with<pb::LeaseKeepAliveResponse, LeaseKeepAliveResult>(reply, use);
    case GrpcMethod::kLeaseTimeToLive:
      return with<pb::LeaseTimeToLiveResponse, LeaseTimeToLiveResult>(reply, use);
    case GrpcMethod::kLeaseLeases:
      return with<pb::LeaseLeasesResponse, LeasesResult>(reply, use);
    case GrpcMethod::kMoveLeader:
      return with<pb::MoveLeaderResponse, MoveLeaderResult>(reply, use);
    case GrpcMethod::kDefragment:
      return with<pb::DefragmentResponse, DefragmentResult>(reply, use);
    case GrpcMethod::kAlarm:
      return with<pb::AlarmResponse, AlarmResult>(reply, use);
    case GrpcMethod::kStatus:
      return with<pb::StatusResponse, StatusResult>(reply, use);
    case GrpcMethod::kMemberList:
      return with<pb::MemberListResponse, MembersResult>(reply, use);
    case GrpcMethod::kHealthCheck:
    case GrpcMethod::kWatch:
    case GrpcMethod::kUnknown:
      break;
  }
  constexpr bool kAnswersMethod = false;
  CAPSTAN_ASSERT(kAnswersMethod);
}

struct NamedMethod {
  std::string_view path;
  std::string_view gateway;  // behind /v3 or /v3beta
  GrpcMethod method;
};
constexpr NamedMethod kMethods[] = {
    {"/etcdserverpb.KV/Put", "/kv/put", GrpcMethod::kPut},
    {"/etcdserverpb.KV/Range", "/kv/range", GrpcMethod::kRange},
    {"/etcdserverpb.KV/Txn", "/kv/txn", GrpcMethod::kTxn},
    {"/etcdserverpb.KV/DeleteRange", "/kv/deleterange", GrpcMethod::kDeleteRange},
    {"/etcdserverpb.KV/Compact", "/kv/compaction", GrpcMethod::kCompact},
    {"/etcdserverpb.Lease/LeaseGrant", "/lease/grant", GrpcMethod::kLeaseGrant},
    {"/etcdserverpb.Lease/LeaseRevoke", "/lease/revoke", GrpcMethod::kLeaseRevoke},
    {"/etcdserverpb.Lease/LeaseKeepAlive", "/lease/keepalive", GrpcMethod::kLeaseKeepAlive},
    {"/etcdserverpb.Lease/LeaseTimeToLive", "/lease/timetolive", GrpcMethod::kLeaseTimeToLive},
    {"/etcdserverpb.Lease/LeaseLeases", "/lease/leases", GrpcMethod::kLeaseLeases},
    {"/etcdserverpb.Maintenance/MoveLeader", "/maintenance/transfer-leadership",
     GrpcMethod::kMoveLeader},
    {"/etcdserverpb.Maintenance/Alarm", "/maintenance/alarm", GrpcMethod::kAlarm},
    {"/etcdserverpb.Maintenance/Defragment", "/maintenance/defragment", GrpcMethod::kDefragment},
    {"/grpc.health.v1.Health/Check", "", GrpcMethod::kHealthCheck},
    {"/etcdserverpb.Maintenance/Hash", "/maintenance/hash", GrpcMethod::kHash},
    {"/etcdserverpb.Maintenance/HashKV", "", GrpcMethod::kHashKv},
    {"/etcdserverpb.Maintenance/Status", "/maintenance/status", GrpcMethod::kStatus},
    {"/etcdserverpb.Cluster/MemberList", "/cluster/member/list", GrpcMethod::kMemberList},
    {"/etcdserverpb.Watch/Watch", "/watch", GrpcMethod::kWatch},
};

}  // namespace

std::string too_large_text(std::size_t bytes) {
  return "grpc: received message larger than max (" + std::to_string(bytes) + " vs. " +
         std::to_string(kGrpcMessageBytesMax) + ")";
}

GrpcMethod grpc_method_of(std::string_view path) {
  for (const NamedMethod& each : kMethods) {
    if (each.path == path) return each.method;
  }
  return GrpcMethod::kUnknown;
}

GrpcMethod gateway_method_of(std::string_view path) {
  for (const std::string_view root : {"/v3beta", "/v3"}) {
    if (!path.starts_with(root)) continue;
    std::string_view rest = path.substr(root.size());
    if (rest.starts_with("/kv/lease/")) rest.remove_prefix(3);  // an older name of the same
    for (const NamedMethod& each : kMethods) {
      if (!each.gateway.empty() && each.gateway == rest) return each.method;
    }
  }
  return GrpcMethod::kUnknown;
}

Result<RequestBody> decode_etcd_request(GrpcMethod method, ByteView protobuf) {
  return decode(method, protobuf, from_protobuf);
}

Result<RequestBody> decode_etcd_json(GrpcMethod method, ByteView json) {
  return decode(method, json, from_json);
}

void encode_etcd_reply(GrpcMethod method, Reply& reply, std::string& out) {
  with_message(method, reply, [&out](const google::protobuf::Message& message) {
    append_message(message, message.ByteSizeLong(), out);
  });
}

namespace {

Result<WatchAsked> decode_watch(ByteView bytes, Parse parse) {
  ScratchArena arena;
  auto* message = Arena::CreateMessage<pb::WatchRequest>(arena.get());
  if (Status status = parse(*message, bytes); !status) return std::unexpected(status.error());
  switch (message->request_union_case()) {
    case pb::WatchRequest::kCreateRequest:
      return to_watch(*message->mutable_create_request());
    case pb::WatchRequest::kCancelRequest:
      return CancelWatch{message->cancel_request().watch_id()};
    case pb::WatchRequest::kProgressRequest:
      return AskProgress{};
    case pb::WatchRequest::REQUEST_UNION_NOT_SET:
      break;
  }
  return WatchAsked{};
}

void fill(pb::WatchResponse& to, WatchMessage& message) {
  fill(*to.mutable_header(), message.header);
  to.set_watch_id(message.id);
  to.set_created(message.created);
  to.set_canceled(message.canceled);
  to.set_cancel_reason(std::move(message.cancel_reason));
  to.set_compact_revision(static_cast<std::int64_t>(message.compacted.value));
  for (WatchEvent& event : message.events) fill(*to.add_events(), event);
}

}  // namespace

Result<bool> asks_health_of_all(ByteView protobuf) {
  grpc::health::v1::HealthCheckRequest message;
  if (Status status = from_protobuf(message, protobuf); !status) {
    return std::unexpected(status.error());
  }
  return message.service().empty();
}

void encode_health(bool serving, std::string& out) {
  using Response = grpc::health::v1::HealthCheckResponse;
  Response message;
  message.set_status(serving ? Response::SERVING : Response::NOT_SERVING);
  append_message(message, message.ByteSizeLong(), out);
}

Result<WatchAsked> decode_watch_asked(ByteView protobuf) {
  return decode_watch(protobuf, from_protobuf);
}

Result<WatchAsked> decode_watch_json(ByteView json) { return decode_watch(json, from_json); }

std::string encode_watch_json(WatchMessage& message) {
  ScratchArena arena;
  auto* to = Arena::CreateMessage<pb::WatchResponse>(arena.get());
  fill(*to, message);
  return as_json(*to);
}

void encode_watch_message(WatchMessage& message, std::string& out) {
  ScratchArena arena;
  auto* to = Arena::CreateMessage<pb::WatchResponse>(arena.get());
  fill(*to, message);
  const std::size_t bytes = to->ByteSizeLong();
  if (!message.may_split || bytes <= kGrpcMessageBytesMax) return append_message(*to, bytes, out);
  // Events one by one into parts of at most that size; a single one is not divided.
  auto* part = Arena::CreateMessage<pb::WatchResponse>(arena.get());
  *part->mutable_header() = to->header();
  part->set_watch_id(to->watch_id());
  std::size_t part_bytes = 0;
  for (mvccpb::Event& event : *to->mutable_events()) {
    const std::size_t event_bytes = event.ByteSizeLong() + 16;
    if (part->events_size() > 0 && part_bytes + event_bytes > kGrpcMessageBytesMax - 1024) {
      part->set_fragment(true);
      append_message(*part, part->ByteSizeLong(), out);
      part->set_fragment(false);
      part->clear_events();
      part_bytes = 0;
    }
    part_bytes += event_bytes;
    part->add_events()->Swap(&event);
  }
  append_message(*part, part->ByteSizeLong(), out);
}

std::string encode_etcd_json(GrpcMethod method, Reply& reply) {
  std::string out;
  with_message(method, reply,
               [&out](const google::protobuf::Message& message) { out = as_json(message); });
  return out;
}

}  // namespace capstan::net
