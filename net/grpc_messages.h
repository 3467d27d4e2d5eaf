// etcd's messages, as protobuf and as JSON, to and from the vocabulary of core/request.h. The one
// place of the server that names protobuf; the JSON side is protobuf's own mapping, which is also
// what etcd's gateway speaks (bytes in base64, 64-bit numbers as strings, zero values left out).
//
// Decoding never trusts a length, is bounded in depth, skips unknown fields of protobuf and refuses
// unknown fields of JSON, as etcd does.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "core/limits.h"
#include "core/request.h"
#include "core/result.h"
#include "core/types.h"
#include "core/watch.h"

namespace capstan::net {

// etcd's own bound on what it receives: the request limit and half a MiB for everything around it.
inline constexpr std::size_t kGrpcMessageBytesMax = kRequestBytesMax + 512 * 1024;

// grpc's own words for a message of more.
std::string too_large_text(std::size_t bytes);

enum class GrpcMethod : std::uint8_t {
  kUnknown,
  kRange,
  kPut,
  kDeleteRange,
  kTxn,
  kCompact,
  kHash,
  kHashKv,
  kLeaseGrant,
  kLeaseRevoke,
  kLeaseTimeToLive,
  kLeaseLeases,
  kMoveLeader,
  kDefragment,
  kAlarm,
  kStatus,
  kMemberList,
  kMemberAdd,
  kMemberRemove,
  kMemberUpdate,
  kMemberPromote,
  kAuthenticate,
  kAuthEnable,
  kAuthDisable,
  kAuthStatus,
  kUserAdd,
  kUserGet,
  kUserList,
  kUserDelete,
  kUserChangePassword,
  kUserGrantRole,
  kUserRevokeRole,
  kRoleAdd,
  kRoleGet,
  kRoleList,
  kRoleDelete,
  kRoleGrantPermission,
  kRoleRevokePermission,
  kHealthCheck,     // of gRPC itself; answered by the door
  kWatch,           // a stream; net/grpc_watch.h
  kSnapshot,        // a stream; net/grpc_backup.h
  kLeaseKeepAlive,  // a stream of what follows; net/grpc_keep_alive.h
  // of the services of locks and elections; net/grpc_service.h
  kLock,
  kUnlock,
  kCampaign,
  kProclaim,
  kResign,
  kLeader,
  kObserve,  // a stream
};

// "/etcdserverpb.KV/Put" -> kPut.
GrpcMethod grpc_method_of(std::string_view path);
std::string_view grpc_path_of(GrpcMethod method);  // "" of kUnknown
// "/v3/kv/put" (or /v3beta/...) -> kPut.
GrpcMethod gateway_method_of(std::string_view path);

inline constexpr std::size_t kGrpcMethods = static_cast<std::size_t>(GrpcMethod::kObserve) + 1;
constexpr bool is_of_services(GrpcMethod method) { return method >= GrpcMethod::kLock; }

// `method` is one whose requests are answered one by one: any that this build knows but kWatch,
// kSnapshot, kHealthCheck and those of the services.
//   errors  kMalformed  not such a message
//           kInvalid    a message that asks for what cannot be: the context is the sentence
Result<RequestBody> decode_etcd_request(GrpcMethod method, ByteView protobuf);
Result<RequestBody> decode_etcd_json(GrpcMethod method, ByteView json);

// The answer of a reply that is ok. Takes keys and values out of `reply` rather than copy them.
// The first appends a whole gRPC message, prefix included. False: it would be larger than protobuf
// can write, 2 GiB.
bool encode_etcd_reply(GrpcMethod method, Reply& reply, std::string& out);
std::string encode_etcd_json(GrpcMethod method, Reply& reply);

// The answer to a range in parts, without a prefix: a head, a row for each key, a tail. A
// row takes key and value out of `kv`.
std::string range_head(const ReplyHeader& header);
std::size_t range_row_bytes(KeyValue& kv);
void append_range_row(KeyValue& kv, std::string& out);
std::string range_tail(bool more, std::int64_t count);
std::string range_head_json(const ReplyHeader& header);
std::string range_row_json(KeyValue& kv);
std::string range_tail_json(bool more, std::int64_t count);

// A request of Maintenance.Snapshot says nothing; what comes back are pieces.
Status decode_snapshot_request(ByteView protobuf);  // kMalformed
void encode_snapshot_piece(const ReplyHeader& header, const std::string& blob, std::string& out);
std::string encode_snapshot_json(const ReplyHeader& header, const std::string& blob);

// gRPC's health protocol: there is one service, "". False: the message asks for another.
Result<bool> asks_health_of_all(ByteView protobuf);  // kMalformed
void encode_health(bool serving, std::string& out);

// What a client says on a stream of watches.
struct CancelWatch {
  std::int64_t id = 0;
};
struct AskProgress {};
using WatchAsked = std::variant<std::monostate, WatchRequest, CancelWatch, AskProgress>;
Result<WatchAsked> decode_watch_asked(ByteView protobuf);  // kMalformed
Result<WatchAsked> decode_watch_json(ByteView json);       // likewise
// Appends one gRPC message or, if it may be split and is larger than kGrpcMessageBytesMax, several.
void encode_watch_message(WatchMessage& message, std::string& out);
std::string encode_watch_json(WatchMessage& message);

// The version etcd's tools want to see; Capstan's own is in /version and in `capstan status`.
inline constexpr std::string_view kEtcdVersion = "3.4.23";

}  // namespace capstan::net
