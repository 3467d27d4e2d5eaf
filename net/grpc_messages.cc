#include "net/grpc_messages.h"

#include <google/protobuf/arena.h>
#include "net/schema/auth.pb.h"
#include "net/schema/health.pb.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/check.h"
#include "core/limits.h"
#include "net/grpc_arena.h"
#include "net/grpc_protobuf.h"

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

// A member has one peer address. What is none comes out empty, and is refused as such.
template <class Urls>
std::string peer_of(const Urls& urls) {
  if (urls.size() != 1) return {};
  std::string_view url = urls[0];
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!url.starts_with(scheme)) continue;
    url.remove_prefix(scheme.size());
    if (url.ends_with('/')) url.remove_suffix(1);
    return std::string(url);
  }
  return {};
}

template <class M, class Convert>
Result<RequestBody> decoded(ParseMessage parse, ByteView bytes, Convert convert) {
  ScratchArena arena;
  M* message = Arena::CreateMessage<M>(arena.get());
  if (Status status = parse(*message, bytes); !status) return std::unexpected(status.error());
  return convert(*message);
}

Result<Permission> to_permission(pb::Permission& m) {
  bool ok = true;
  Permission p;
  p.kind = bounded_enum(static_cast<int>(m.permtype()), Permission::Kind::kReadWrite, ok);
  p.range = {std::move(*m.mutable_key()), std::move(*m.mutable_range_end())};
  if (!ok) return fail(ErrorCode::kInvalid, "unknown type of a permission");
  return p;
}

// What of it a message does not speak of stays empty.
template <class M>
Result<RequestBody> auth(AuthRequest::Action action, ParseMessage parse, ByteView bytes) {
  return decoded<M>(parse, bytes, [action](M& m) -> Result<RequestBody> {
    AuthRequest r;
    r.action = action;
    const bool of_role =
        action == AuthRequest::Action::kAddRole || action == AuthRequest::Action::kGrantPermission;
    if constexpr (requires { m.name(); }) (of_role ? r.role : r.user) = m.name();
    if constexpr (requires { m.user(); }) r.user = m.user();
    if constexpr (requires { m.role(); }) r.role = m.role();
    if constexpr (requires { m.password(); }) r.secret = m.password();
    if constexpr (requires { m.options(); }) {
      if (m.options().no_password()) r.secret.clear();
    }
    if constexpr (requires { m.perm(); }) {
      Result<Permission> permission = to_permission(*m.mutable_perm());
      if (!permission) return std::unexpected(permission.error());
      r.permission = std::move(*permission);
    }
    if constexpr (requires { m.range_end(); }) {
      r.permission.range = {std::move(*m.mutable_key()), std::move(*m.mutable_range_end())};
    }
    return r;
  });
}

Result<RequestBody> decode(GrpcMethod method, ByteView bytes, ParseMessage parse) {
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
    case GrpcMethod::kMemberAdd:
      return decoded<pb::MemberAddRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return MemberChangeRequest{
            MemberChangeRequest::Action::kAdd, {}, peer_of(m.peerurls()), m.islearner()};
      });
    case GrpcMethod::kMemberRemove:
      return decoded<pb::MemberRemoveRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return MemberChangeRequest{MemberChangeRequest::Action::kRemove, {m.id()}};
      });
    case GrpcMethod::kMemberUpdate:
      return decoded<pb::MemberUpdateRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return MemberChangeRequest{
            MemberChangeRequest::Action::kUpdate, {m.id()}, peer_of(m.peerurls())};
      });
    case GrpcMethod::kMemberPromote:
      return decoded<pb::MemberPromoteRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return MemberChangeRequest{MemberChangeRequest::Action::kPromote, {m.id()}};
      });
    case GrpcMethod::kAuthenticate:
      return decoded<pb::AuthenticateRequest>(parse, bytes, [](auto& m) -> Result<RequestBody> {
        return AuthenticateRequest{m.name(), m.password()};
      });
    case GrpcMethod::kAuthEnable:
      return auth<pb::AuthEnableRequest>(AuthRequest::Action::kEnable, parse, bytes);
    case GrpcMethod::kAuthDisable:
      return auth<pb::AuthDisableRequest>(AuthRequest::Action::kDisable, parse, bytes);
    case GrpcMethod::kAuthStatus:
      return auth<pb::AuthStatusRequest>(AuthRequest::Action::kStatus, parse, bytes);
    case GrpcMethod::kUserAdd:
      return auth<pb::AuthUserAddRequest>(AuthRequest::Action::kAddUser, parse, bytes);
    case GrpcMethod::kUserGet:
      return auth<pb::AuthUserGetRequest>(AuthRequest::Action::kUser, parse, bytes);
    case GrpcMethod::kUserList:
      return auth<pb::AuthUserListRequest>(AuthRequest::Action::kUsers, parse, bytes);
    case GrpcMethod::kUserDelete:
      return auth<pb::AuthUserDeleteRequest>(AuthRequest::Action::kDeleteUser, parse, bytes);
    case GrpcMethod::kUserChangePassword:
      return auth<pb::AuthUserChangePasswordRequest>(AuthRequest::Action::kSetPassword, parse,
                                                     bytes);
    case GrpcMethod::kUserGrantRole:
      return auth<pb::AuthUserGrantRoleRequest>(AuthRequest::Action::kGrantRole, parse, bytes);
    case GrpcMethod::kUserRevokeRole:
      return auth<pb::AuthUserRevokeRoleRequest>(AuthRequest::Action::kRevokeRole, parse, bytes);
    case GrpcMethod::kRoleAdd:
      return auth<pb::AuthRoleAddRequest>(AuthRequest::Action::kAddRole, parse, bytes);
    case GrpcMethod::kRoleGet:
      return auth<pb::AuthRoleGetRequest>(AuthRequest::Action::kRole, parse, bytes);
    case GrpcMethod::kRoleList:
      return auth<pb::AuthRoleListRequest>(AuthRequest::Action::kRoles, parse, bytes);
    case GrpcMethod::kRoleDelete:
      return auth<pb::AuthRoleDeleteRequest>(AuthRequest::Action::kDeleteRole, parse, bytes);
    case GrpcMethod::kRoleGrantPermission:
      return auth<pb::AuthRoleGrantPermissionRequest>(AuthRequest::Action::kGrantPermission, parse,
                                                      bytes);
    case GrpcMethod::kRoleRevokePermission:
      return auth<pb::AuthRoleRevokePermissionRequest>(AuthRequest::Action::kRevokePermission,
                                                       parse, bytes);
    case GrpcMethod::kHealthCheck:
    case GrpcMethod::kWatch:
    case GrpcMethod::kSnapshot:
    case GrpcMethod::kUnknown:
    case GrpcMethod::kLock:
    case GrpcMethod::kUnlock:
    case GrpcMethod::kCampaign:
    case GrpcMethod::kProclaim:
    case GrpcMethod::kResign:
    case GrpcMethod::kLeader:
    case GrpcMethod::kObserve:
      break;
  }
  constexpr bool kAnswersMethod = false;
  CAPSTAN_ASSERT(kAnswersMethod);
  return fail(ErrorCode::kInvalid, "no such method");
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
    {"/etcdserverpb.Cluster/MemberAdd", "/cluster/member/add", GrpcMethod::kMemberAdd},
    {"/etcdserverpb.Cluster/MemberRemove", "/cluster/member/remove", GrpcMethod::kMemberRemove},
    {"/etcdserverpb.Cluster/MemberUpdate", "/cluster/member/update", GrpcMethod::kMemberUpdate},
    {"/etcdserverpb.Cluster/MemberPromote", "/cluster/member/promote", GrpcMethod::kMemberPromote},
    {"/etcdserverpb.Cluster/MemberList", "/cluster/member/list", GrpcMethod::kMemberList},
    {"/etcdserverpb.Auth/Authenticate", "/auth/authenticate", GrpcMethod::kAuthenticate},
    {"/etcdserverpb.Auth/AuthEnable", "/auth/enable", GrpcMethod::kAuthEnable},
    {"/etcdserverpb.Auth/AuthDisable", "/auth/disable", GrpcMethod::kAuthDisable},
    {"/etcdserverpb.Auth/AuthStatus", "/auth/status", GrpcMethod::kAuthStatus},
    {"/etcdserverpb.Auth/UserAdd", "/auth/user/add", GrpcMethod::kUserAdd},
    {"/etcdserverpb.Auth/UserGet", "/auth/user/get", GrpcMethod::kUserGet},
    {"/etcdserverpb.Auth/UserList", "/auth/user/list", GrpcMethod::kUserList},
    {"/etcdserverpb.Auth/UserDelete", "/auth/user/delete", GrpcMethod::kUserDelete},
    {"/etcdserverpb.Auth/UserChangePassword", "/auth/user/changepw",
     GrpcMethod::kUserChangePassword},
    {"/etcdserverpb.Auth/UserGrantRole", "/auth/user/grant", GrpcMethod::kUserGrantRole},
    {"/etcdserverpb.Auth/UserRevokeRole", "/auth/user/revoke", GrpcMethod::kUserRevokeRole},
    {"/etcdserverpb.Auth/RoleAdd", "/auth/role/add", GrpcMethod::kRoleAdd},
    {"/etcdserverpb.Auth/RoleGet", "/auth/role/get", GrpcMethod::kRoleGet},
    {"/etcdserverpb.Auth/RoleList", "/auth/role/list", GrpcMethod::kRoleList},
    {"/etcdserverpb.Auth/RoleDelete", "/auth/role/delete", GrpcMethod::kRoleDelete},
    {"/etcdserverpb.Auth/RoleGrantPermission", "/auth/role/grant",
     GrpcMethod::kRoleGrantPermission},
    {"/etcdserverpb.Auth/RoleRevokePermission", "/auth/role/revoke",
     GrpcMethod::kRoleRevokePermission},
    {"/etcdserverpb.Maintenance/Snapshot", "/maintenance/snapshot", GrpcMethod::kSnapshot},
    {"/etcdserverpb.Watch/Watch", "/watch", GrpcMethod::kWatch},
    {"/v3lockpb.Lock/Lock", "/lock/lock", GrpcMethod::kLock},
    {"/v3lockpb.Lock/Unlock", "/lock/unlock", GrpcMethod::kUnlock},
    {"/v3electionpb.Election/Campaign", "/election/campaign", GrpcMethod::kCampaign},
    {"/v3electionpb.Election/Proclaim", "/election/proclaim", GrpcMethod::kProclaim},
    {"/v3electionpb.Election/Resign", "/election/resign", GrpcMethod::kResign},
    {"/v3electionpb.Election/Leader", "/election/leader", GrpcMethod::kLeader},
    {"/v3electionpb.Election/Observe", "/election/observe", GrpcMethod::kObserve},
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

std::string_view grpc_path_of(GrpcMethod method) {
  for (const NamedMethod& each : kMethods) {
    if (each.method == method) return each.path;
  }
  return "";
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

namespace {

Result<WatchAsked> decode_watch(ByteView bytes, ParseMessage parse) {
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

}  // namespace

Result<bool> asks_health_of_all(ByteView protobuf) {
  grpc::health::v1::HealthCheckRequest message;
  if (Status status = from_protobuf(message, protobuf); !status) {
    return std::unexpected(status.error());
  }
  return message.service().empty();
}

Status decode_snapshot_request(ByteView protobuf) {
  pb::SnapshotRequest message;
  return from_protobuf(message, protobuf);
}

Result<WatchAsked> decode_watch_asked(ByteView protobuf) {
  return decode_watch(protobuf, from_protobuf);
}

Result<WatchAsked> decode_watch_json(ByteView json) { return decode_watch(json, from_json); }

}  // namespace capstan::net
