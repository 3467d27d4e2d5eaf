// What a stranger can send to the gRPC side of the front door: HTTP/2, HPACK, gRPC framing and
// protobuf.
//
// Random bytes are no HTTP/2, so the input is a script: frames of any kind, whole calls of a known
// method around a message of the fuzzer's choice or an edited valid one, and raw bytes between.
#include <cstdint>
#include <string>

#include "core/coding.h"
#include "net/grpc_messages.h"
#include "net/grpc_server.h"
#include "net/grpc_service_messages.h"
#include "tests/fuzz/door_talk.h"
#include "tests/fuzz/reached.h"
#include "tests/net/h2_script.h"

namespace {

using namespace capstan;
using namespace capstan::test;

constexpr std::string_view kWatchPath = "/etcdserverpb.Watch/Watch";

struct Call {
  const char* path;
  net::GrpcMethod method;
  std::string message;
};

const Call& call_of(std::uint8_t number) {
  static const std::string put = pb_bytes(1, "key") + pb_bytes(2, "value") + pb_number(4, 1);
  static const std::string compare =
      pb_number(1, 0) + pb_number(2, 3) + pb_bytes(3, "key") + pb_bytes(7, "value");
  static const std::string leader =
      pb_bytes(1, "l") + pb_bytes(2, "l/8") + pb_number(3, 2) + pb_number(4, 8);
  static const Call calls[] = {
      {"/etcdserverpb.KV/Put", net::GrpcMethod::kPut, put},
      {"/etcdserverpb.KV/Range", net::GrpcMethod::kRange,
       pb_bytes(1, "a") + pb_bytes(2, "b") + pb_number(3, 7) + pb_number(5, 2) + pb_number(6, 4)},
      {"/etcdserverpb.KV/Txn", net::GrpcMethod::kTxn,
       pb_bytes(1, compare) + pb_bytes(2, pb_bytes(2, put)) +
           pb_bytes(3, pb_bytes(4, pb_bytes(2, pb_bytes(3, pb_bytes(1, "key")))))},
      {"/etcdserverpb.KV/DeleteRange", net::GrpcMethod::kDeleteRange,
       pb_bytes(1, "a") + pb_bytes(2, "b")},
      {"/etcdserverpb.KV/Compact", net::GrpcMethod::kCompact, pb_number(1, 7) + pb_number(2, 1)},
      {"/etcdserverpb.Lease/LeaseGrant", net::GrpcMethod::kLeaseGrant,
       pb_number(1, 60) + pb_number(2, 7)},
      {"/etcdserverpb.Lease/LeaseRevoke", net::GrpcMethod::kLeaseRevoke, pb_number(1, 7)},
      {"/etcdserverpb.Lease/LeaseKeepAlive", net::GrpcMethod::kLeaseKeepAlive, pb_number(1, 7)},
      {"/etcdserverpb.Lease/LeaseTimeToLive", net::GrpcMethod::kLeaseTimeToLive,
       pb_number(1, 7) + pb_number(2, 1)},
      {"/etcdserverpb.Lease/LeaseLeases", net::GrpcMethod::kLeaseLeases, ""},
      {"/etcdserverpb.Maintenance/MoveLeader", net::GrpcMethod::kMoveLeader, pb_number(1, 7)},
      {"/etcdserverpb.Maintenance/Alarm", net::GrpcMethod::kAlarm,
       pb_number(1, 1) + pb_number(2, 7) + pb_number(3, 1)},
      {"/etcdserverpb.Maintenance/Defragment", net::GrpcMethod::kDefragment, ""},
      {"/etcdserverpb.Maintenance/HashKV", net::GrpcMethod::kHashKv, pb_number(1, 7)},
      {"/etcdserverpb.Maintenance/Status", net::GrpcMethod::kStatus, ""},
      {"/etcdserverpb.Cluster/MemberAdd", net::GrpcMethod::kMemberAdd,
       pb_bytes(1, "http://127.0.0.1:2380") + pb_number(2, 1)},
      {"/etcdserverpb.Cluster/MemberRemove", net::GrpcMethod::kMemberRemove, pb_number(1, 7)},
      {"/etcdserverpb.Cluster/MemberUpdate", net::GrpcMethod::kMemberUpdate,
       pb_number(1, 7) + pb_bytes(2, "http://127.0.0.1:2380")},
      {"/etcdserverpb.Cluster/MemberPromote", net::GrpcMethod::kMemberPromote, pb_number(1, 7)},
      {"/etcdserverpb.Cluster/MemberList", net::GrpcMethod::kMemberList, pb_number(1, 1)},
      {"/etcdserverpb.Auth/Authenticate", net::GrpcMethod::kAuthenticate,
       pb_bytes(1, "u") + pb_bytes(2, "p")},
      {"/etcdserverpb.Auth/UserAdd", net::GrpcMethod::kUserAdd,
       pb_bytes(1, "u") + pb_bytes(2, "p") + pb_bytes(3, pb_number(1, 1))},
      {"/etcdserverpb.Auth/RoleGrantPermission", net::GrpcMethod::kRoleGrantPermission,
       pb_bytes(1, "r") + pb_bytes(2, pb_number(1, 2) + pb_bytes(2, "k") + pb_bytes(3, "l"))},
      {"/etcdserverpb.Auth/RoleGet", net::GrpcMethod::kRoleGet, pb_bytes(1, "r")},
      {"/v3lockpb.Lock/Lock", net::GrpcMethod::kLock, pb_bytes(1, "l") + pb_number(2, 7)},
      {"/v3lockpb.Lock/Lock", net::GrpcMethod::kLock, pb_bytes(1, "l")},
      {"/v3lockpb.Lock/Unlock", net::GrpcMethod::kUnlock, pb_bytes(1, "l/7")},
      {"/v3electionpb.Election/Campaign", net::GrpcMethod::kCampaign,
       pb_bytes(1, "l") + pb_number(2, 8) + pb_bytes(3, "v")},
      {"/v3electionpb.Election/Proclaim", net::GrpcMethod::kProclaim,
       pb_bytes(1, leader) + pb_bytes(2, "w")},
      {"/v3electionpb.Election/Leader", net::GrpcMethod::kLeader, pb_bytes(1, "l")},
      {"/v3electionpb.Election/Observe", net::GrpcMethod::kObserve, pb_bytes(1, "l")},
      {"/v3electionpb.Election/Resign", net::GrpcMethod::kResign, pb_bytes(1, leader)},
  };
  return calls[number % std::size(calls)];
}

Reached messages("protobuf"), watches("watch messages");

// The message alone, without HTTP/2 around it.
void decode(const Call& call, ByteView message) {
  messages.saw(net::is_of_services(call.method)
                   ? net::decode_service_request(call.method, message).has_value()
                   : net::decode_etcd_request(call.method, message).has_value());
}

std::string edited(std::string message, Reader& script) {
  for (unsigned edits = script.u8() % 8; edits > 0 && !message.empty(); --edits) {
    message[script.u8() % message.size()] = static_cast<char>(script.u8());
  }
  return message;
}

// A message of a client that watches.
std::string watch_message(Reader& script) {
  static const std::string create = pb_bytes(
      1, pb_bytes(1, "a") + pb_bytes(2, "b") + pb_number(3, 2) + pb_number(5, 1) + pb_number(8, 1));
  const std::uint8_t kind = script.u8();
  std::string message = kind % 4 == 0   ? std::string(script.raw(script.u8()))
                        : kind % 4 == 1 ? pb_bytes(2, pb_number(1, kind))
                        : kind % 4 == 2 ? pb_bytes(3, "")
                                        : edited(create, script);
  watches.saw(net::decode_watch_asked(message).has_value());
  return message;
}

// The stream that a script describes.
std::string stream_of(Reader& script) {
  std::string out(kPreface);
  out += h2_frame(kSettings, 0, 0, "");
  std::uint32_t stream = 1;
  while (!script.done() && script.ok() && out.size() < 256 * 1024) {
    const std::uint8_t step = script.u8();
    switch (step % 5) {
      case 0:
        out += script.raw(script.u8());
        break;
      case 1: {
        const std::uint8_t type = script.u8() % 11, flags = script.u8(), on = script.u8();
        out += h2_frame(type, flags, on, script.raw(script.u8()));
        break;
      }
      case 2: {  // a call that goes on: later DATA frames of the script may be its
        out += h2_frame(kHeaders, kEndHeaders, stream, h2_headers(call_headers(kWatchPath)));
        for (unsigned more = step / 5 % 4 + 1; more > 0; --more) {
          out += h2_frame(kData, 0, stream, grpc_message(watch_message(script)));
        }
        stream += 2;
        break;
      }
      default: {
        const Call& call = call_of(step / 5);
        const std::string message =
            step % 5 == 3 ? std::string(script.raw(script.u8())) : edited(call.message, script);
        decode(call, message);
        out += h2_call(stream, call.path, message);
        stream += 2;
      }
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  Reader script(ByteView(reinterpret_cast<const char*>(data) + 1, size - 1));
  const std::size_t piece = std::size_t{data[0]} * 8 + 1;
  test::talk(net::make_grpc_session, stream_of(script), piece, (data[0] & 1) != 0);
  return 0;
}
