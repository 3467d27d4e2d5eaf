#include "net/grpc_client_messages.h"

#include <google/protobuf/arena.h>

#include <utility>

#include "core/check.h"
#include "net/grpc_protobuf.h"

namespace capstan::net {

namespace {

namespace pb = etcdserverpb;
using google::protobuf::Arena;

KeyValue to_kv(mvccpb::KeyValue& m) {
  return {.key = std::move(*m.mutable_key()),
          .value = std::move(*m.mutable_value()),
          .create_revision = {static_cast<std::uint64_t>(m.create_revision())},
          .mod_revision = {static_cast<std::uint64_t>(m.mod_revision())},
          .version = static_cast<std::uint64_t>(m.version()),
          .lease = m.lease()};
}

void take(const pb::ResponseHeader& header, GrpcReply& reply) {
  reply.cluster_id = header.cluster_id();
  reply.member_id = header.member_id();
  reply.revision = header.revision();
  reply.raft_term = header.raft_term();
}

void take(pb::RangeResponse& m, GrpcReply& reply) {
  reply.kvs.reserve(static_cast<std::size_t>(m.kvs_size()));
  for (mvccpb::KeyValue& kv : *m.mutable_kvs()) reply.kvs.push_back(to_kv(kv));
  reply.more = m.more();
  reply.count = m.count();
}

void take(pb::PutResponse& m, GrpcReply& reply) {
  if (m.has_prev_kv()) reply.kvs.push_back(to_kv(*m.mutable_prev_kv()));
}

void take(pb::DeleteRangeResponse& m, GrpcReply& reply) {
  reply.count = m.deleted();
  for (mvccpb::KeyValue& kv : *m.mutable_prev_kvs()) reply.kvs.push_back(to_kv(kv));
}

template <class M>
bool decoded(ByteView bytes, GrpcReply& reply) {
  Arena arena;
  M* message = Arena::CreateMessage<M>(&arena);
  if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  take(message->header(), reply);
  take(*message, reply);
  return true;
}

}  // namespace

void encode_etcd_request(const PutRequest& request, std::string& out) {
  static thread_local pb::PutRequest message;  // reused: its strings keep their room
  message.Clear();
  message.set_key(request.key);
  message.set_value(request.value);
  message.set_lease(request.lease);
  message.set_prev_kv(request.prev_kv);
  message.set_ignore_value(request.ignore_value);
  message.set_ignore_lease(request.ignore_lease);
  append_message(message, message.ByteSizeLong(), out);
}

void encode_etcd_request(const RangeRequest& request, std::string& out) {
  static thread_local pb::RangeRequest message;
  message.Clear();
  message.set_key(request.range.key);
  message.set_range_end(request.range.end);
  message.set_limit(request.limit);
  message.set_revision(request.revision);
  message.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(request.sort_order));
  message.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(request.sort_target));
  message.set_serializable(request.serializable);
  message.set_keys_only(request.keys_only);
  message.set_count_only(request.count_only);
  message.set_min_mod_revision(request.min_mod_revision);
  message.set_max_mod_revision(request.max_mod_revision);
  message.set_min_create_revision(request.min_create_revision);
  message.set_max_create_revision(request.max_create_revision);
  append_message(message, message.ByteSizeLong(), out);
}

void encode_etcd_request(const DeleteRangeRequest& request, std::string& out) {
  pb::DeleteRangeRequest message;
  message.set_key(request.range.key);
  message.set_range_end(request.range.end);
  message.set_prev_kv(request.prev_kv);
  append_message(message, message.ByteSizeLong(), out);
}

bool decode_etcd_reply(GrpcMethod method, ByteView protobuf, GrpcReply& reply) {
  switch (method) {
    case GrpcMethod::kPut:
      return decoded<pb::PutResponse>(protobuf, reply);
    case GrpcMethod::kRange:
      return decoded<pb::RangeResponse>(protobuf, reply);
    case GrpcMethod::kDeleteRange:
      return decoded<pb::DeleteRangeResponse>(protobuf, reply);
    default:
      break;
  }
  constexpr bool kCallsMethod = false;
  CAPSTAN_ASSERT(kCallsMethod);
  return false;
}

}  // namespace capstan::net
