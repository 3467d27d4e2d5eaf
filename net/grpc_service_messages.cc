#include "net/grpc_service_messages.h"

#include <utility>

#include "core/check.h"
#include "net/grpc_arena.h"
#include "net/grpc_protobuf.h"
#include "net/schema/election.pb.h"
#include "net/schema/lock.pb.h"

namespace capstan::net {

namespace {

namespace locks = v3lockpb;
namespace elections = v3electionpb;

// ---- Requests -----------------------------------------------------------------------------------

template <class M>
std::optional<LeaderKey> leader_of(M& m) {
  if (!m.has_leader()) return std::nullopt;  // asked first: mutable_leader() makes one
  elections::LeaderKey& leader = *m.mutable_leader();
  return LeaderKey{.name = std::move(*leader.mutable_name()),
                   .key = std::move(*leader.mutable_key()),
                   .revision = leader.rev(),
                   .lease = leader.lease()};
}

template <class M, class Convert>
Result<ServiceRequest> decoded(ParseMessage parse, ByteView bytes, Convert convert) {
  ScratchArena arena;
  M* message = Arena::CreateMessage<M>(arena.get());
  if (Status status = parse(*message, bytes); !status) return std::unexpected(status.error());
  return convert(*message);
}

Result<ServiceRequest> decode(GrpcMethod method, ByteView bytes, ParseMessage parse) {
  switch (method) {
    case GrpcMethod::kLock:
      return decoded<locks::LockRequest>(parse, bytes, [](auto& m) {
        return LockRequest{.name = std::move(*m.mutable_name()), .lease = m.lease()};
      });
    case GrpcMethod::kUnlock:
      return decoded<locks::UnlockRequest>(
          parse, bytes, [](auto& m) { return UnlockRequest{.key = std::move(*m.mutable_key())}; });
    case GrpcMethod::kCampaign:
      return decoded<elections::CampaignRequest>(parse, bytes, [](auto& m) {
        return CampaignRequest{.name = std::move(*m.mutable_name()),
                               .lease = m.lease(),
                               .value = std::move(*m.mutable_value())};
      });
    case GrpcMethod::kProclaim:
      return decoded<elections::ProclaimRequest>(parse, bytes, [](auto& m) {
        return ProclaimRequest{.leader = leader_of(m), .value = std::move(*m.mutable_value())};
      });
    case GrpcMethod::kResign:
      return decoded<elections::ResignRequest>(
          parse, bytes, [](auto& m) { return ResignRequest{.leader = leader_of(m)}; });
    case GrpcMethod::kLeader:
      return decoded<elections::LeaderRequest>(parse, bytes, [](auto& m) {
        return LeaderRequest{.name = std::move(*m.mutable_name())};
      });
    case GrpcMethod::kObserve:
      return decoded<elections::LeaderRequest>(parse, bytes, [](auto& m) {
        return ObserveRequest{.name = std::move(*m.mutable_name())};
      });
    default:
      break;
  }
  constexpr bool kIsOfTheServices = false;
  CAPSTAN_ASSERT(kIsOfTheServices);
  return fail(ErrorCode::kInvalid, "no such method");
}

// ---- Replies ------------------------------------------------------------------------------------

void fill_own(locks::LockResponse& to, ServiceReply& reply) {
  to.set_key(std::move(reply.claim.key));
}

void fill_own(elections::CampaignResponse& to, ServiceReply& reply) {
  to.mutable_leader()->set_name(std::move(reply.claim.name));
  to.mutable_leader()->set_key(std::move(reply.claim.key));
  to.mutable_leader()->set_rev(reply.claim.revision);
  to.mutable_leader()->set_lease(reply.claim.lease);
}

void fill_own(elections::LeaderResponse& to, ServiceReply& reply) {
  fill(*to.mutable_kv(), reply.kv);
}

// Calls `use` with the reply as its protobuf message.
template <class M, class Use>
void with(ServiceReply& reply, Use use) {
  ScratchArena arena;
  M* message = Arena::CreateMessage<M>(arena.get());
  fill(*message->mutable_header(), reply.header);
  if constexpr (requires { fill_own(*message, reply); }) fill_own(*message, reply);
  use(*message);
}

template <class Use>
void with_message(GrpcMethod method, ServiceReply& reply, Use use) {
  switch (method) {
    case GrpcMethod::kLock:
      return with<locks::LockResponse>(reply, use);
    case GrpcMethod::kUnlock:
      return with<locks::UnlockResponse>(reply, use);
    case GrpcMethod::kCampaign:
      return with<elections::CampaignResponse>(reply, use);
    case GrpcMethod::kProclaim:
      return with<elections::ProclaimResponse>(reply, use);
    case GrpcMethod::kResign:
      return with<elections::ResignResponse>(reply, use);
    case GrpcMethod::kLeader:
    case GrpcMethod::kObserve:
      return with<elections::LeaderResponse>(reply, use);
    default:
      break;
  }
  constexpr bool kIsOfTheServices = false;
  CAPSTAN_ASSERT(kIsOfTheServices);
}

}  // namespace

Result<ServiceRequest> decode_service_request(GrpcMethod method, ByteView protobuf) {
  return decode(method, protobuf, from_protobuf);
}

Result<ServiceRequest> decode_service_json(GrpcMethod method, ByteView json) {
  return decode(method, json, from_json);
}

void encode_service_reply(GrpcMethod method, ServiceReply& reply, std::string& out) {
  with_message(method, reply, [&out](const google::protobuf::Message& message) {
    append_message(message, message.ByteSizeLong(), out);
  });
}

std::string encode_service_json(GrpcMethod method, ServiceReply& reply) {
  std::string out;
  with_message(method, reply,
               [&out](const google::protobuf::Message& message) { out = as_json(message); });
  return out;
}

}  // namespace capstan::net
