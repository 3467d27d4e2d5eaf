// The server's half of net/grpc_messages.h: answers as protobuf and as JSON.
#include "net/schema/auth.pb.h"
#include "net/schema/health.pb.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "net/grpc_arena.h"
#include "net/grpc_messages.h"
#include "net/grpc_protobuf.h"

namespace capstan::net {

namespace {

namespace pb = etcdserverpb;

using google::protobuf::io::CodedOutputStream;
using net::fill;

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

void fill(pb::Member& to, const PeerStatus& peer, bool tls) {
  to.set_id(peer.id.value);
  to.set_name(peer.name);
  to.add_peerurls((tls ? "https://" : "http://") + peer.peer_address);
  // Etcd's clients, which ask whoever is listed, are not sent to one that would refuse them all.
  if (!peer.witness) {
    for (const std::string& url : peer.client_urls) to.add_clienturls(url);
  }
  to.set_islearner(peer.learner);
}

void fill(pb::MemberListResponse& to, MembersResult& result) {
  for (const PeerStatus& peer : result.members) {
    fill(*to.add_members(), peer, result.peer_tls);
  }
}

// The four answers to a change; only that to an addition names the member.
template <class M>
  requires requires(M& to) { to.add_members(); }
void fill(M& to, MemberChangeResult& result) {
  for (const PeerStatus& peer : result.members) {
    fill(*to.add_members(), peer, result.peer_tls);
    if constexpr (requires { to.mutable_member(); }) {
      if (peer.id == result.member) fill(*to.mutable_member(), peer, result.peer_tls);
    }
  }
}

void fill(pb::AuthenticateResponse& to, AuthenticateResult& result) {
  to.set_token(std::move(result.token));
}

// The answers to what is asked of users and roles; to a change, its header says all.
template <class M>
void fill(M& to, AuthResult& result) {
  if constexpr (requires { to.add_users(); }) {
    for (std::string& name : result.names) to.add_users(std::move(name));
  }
  if constexpr (requires { to.add_roles(); }) {
    for (std::string& name : result.names) to.add_roles(std::move(name));
  }
  if constexpr (requires { to.add_perm(); }) {
    for (Permission& permission : result.permissions) {
      pb::Permission& each = *to.add_perm();
      each.set_permtype(static_cast<pb::Permission::Type>(permission.kind));
      each.set_key(std::move(permission.range.key));
      each.set_range_end(std::move(permission.range.end));
    }
  }
  if constexpr (requires { to.set_enabled(true); }) {
    to.set_enabled(result.enabled);
    to.set_authrevision(result.revision);
  }
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
    case GrpcMethod::kMemberAdd:
      return with<pb::MemberAddResponse, MemberChangeResult>(reply, use);
    case GrpcMethod::kMemberRemove:
      return with<pb::MemberRemoveResponse, MemberChangeResult>(reply, use);
    case GrpcMethod::kMemberUpdate:
      return with<pb::MemberUpdateResponse, MemberChangeResult>(reply, use);
    case GrpcMethod::kMemberPromote:
      return with<pb::MemberPromoteResponse, MemberChangeResult>(reply, use);
    case GrpcMethod::kMemberList:
      return with<pb::MemberListResponse, MembersResult>(reply, use);
    case GrpcMethod::kAuthenticate:
      return with<pb::AuthenticateResponse, AuthenticateResult>(reply, use);
    case GrpcMethod::kAuthEnable:
      return with<pb::AuthEnableResponse, AuthResult>(reply, use);
    case GrpcMethod::kAuthDisable:
      return with<pb::AuthDisableResponse, AuthResult>(reply, use);
    case GrpcMethod::kAuthStatus:
      return with<pb::AuthStatusResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserAdd:
      return with<pb::AuthUserAddResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserGet:
      return with<pb::AuthUserGetResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserList:
      return with<pb::AuthUserListResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserDelete:
      return with<pb::AuthUserDeleteResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserChangePassword:
      return with<pb::AuthUserChangePasswordResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserGrantRole:
      return with<pb::AuthUserGrantRoleResponse, AuthResult>(reply, use);
    case GrpcMethod::kUserRevokeRole:
      return with<pb::AuthUserRevokeRoleResponse, AuthResult>(reply, use);
    case GrpcMethod::kRoleAdd:
      return with<pb::AuthRoleAddResponse, AuthResult>(reply, use);
    case GrpcMethod::kRoleGet:
      return with<pb::AuthRoleGetResponse, AuthResult>(reply, use);
    case GrpcMethod::kRoleList:
      return with<pb::AuthRoleListResponse, AuthResult>(reply, use);
    case GrpcMethod::kRoleDelete:
      return with<pb::AuthRoleDeleteResponse, AuthResult>(reply, use);
    case GrpcMethod::kRoleGrantPermission:
      return with<pb::AuthRoleGrantPermissionResponse, AuthResult>(reply, use);
    case GrpcMethod::kRoleRevokePermission:
      return with<pb::AuthRoleRevokePermissionResponse, AuthResult>(reply, use);
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

// How much is to come is not known while it is walked; etcd's clients do not ask.
void fill(pb::SnapshotResponse& to, const ReplyHeader& header, const std::string& blob) {
  fill(*to.mutable_header(), header);
  to.set_blob(blob);
}

}  // namespace

void encode_snapshot_piece(const ReplyHeader& header, const std::string& blob, std::string& out) {
  ScratchArena arena;
  auto* to = Arena::CreateMessage<pb::SnapshotResponse>(arena.get());
  fill(*to, header, blob);
  append_message(*to, to->ByteSizeLong(), out);
}

std::string encode_snapshot_json(const ReplyHeader& header, const std::string& blob) {
  ScratchArena arena;
  auto* to = Arena::CreateMessage<pb::SnapshotResponse>(arena.get());
  fill(*to, header, blob);
  return as_json(*to);
}

bool encode_etcd_reply(GrpcMethod method, Reply& reply, std::string& out) {
  bool fits = true;
  with_message(method, reply, [&out, &fits](const google::protobuf::Message& message) {
    const std::size_t bytes = message.ByteSizeLong();
    if ((fits = bytes < std::size_t{1} << 31)) append_message(message, bytes, out);
  });
  return fits;
}

// ---- A range in parts ---------------------------------------------------------------------------

std::string range_head(const ReplyHeader& header) {
  pb::RangeResponse message;
  fill(*message.mutable_header(), header);
  return message.SerializeAsString();
}

// A field of kvs: tag 2 of type 2, length, message.
std::size_t range_row_bytes(KeyValue& kv) {
  ScratchArena arena;
  auto* row = Arena::CreateMessage<mvccpb::KeyValue>(arena.get());
  fill(*row, kv);
  const std::size_t bytes = row->ByteSizeLong();
  return 1 + CodedOutputStream::VarintSize64(bytes) + bytes;
}

void append_range_row(KeyValue& kv, std::string& out) {
  ScratchArena arena;
  auto* row = Arena::CreateMessage<mvccpb::KeyValue>(arena.get());
  fill(*row, kv);
  put_u8(out, pb::RangeResponse::kKvsFieldNumber << 3 | 2);
  put_varint(out, row->ByteSizeLong());
  row->AppendToString(&out);
}

std::string range_tail(bool more, std::int64_t count) {
  pb::RangeResponse message;
  message.set_more(more);
  message.set_count(count);
  return message.SerializeAsString();
}

std::string range_head_json(const ReplyHeader& header) {
  pb::RangeResponse message;
  fill(*message.mutable_header(), header);
  std::string out = as_json(message);
  out.pop_back();  // its brace
  return out;
}

std::string range_row_json(KeyValue& kv) {
  ScratchArena arena;
  auto* row = Arena::CreateMessage<mvccpb::KeyValue>(arena.get());
  fill(*row, kv);
  return as_json(*row);
}

std::string range_tail_json(bool more, std::int64_t count) {
  pb::RangeResponse message;
  message.set_more(more);
  message.set_count(count);
  std::string out = as_json(message);
  if (out == "{}") return "}";
  out.front() = ',';  // for its brace
  return out;
}

void encode_health(bool serving, std::string& out) {
  using Response = grpc::health::v1::HealthCheckResponse;
  Response message;
  message.set_status(serving ? Response::SERVING : Response::NOT_SERVING);
  append_message(message, message.ByteSizeLong(), out);
}

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
