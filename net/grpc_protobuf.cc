#include "net/grpc_protobuf.h"

#include <google/protobuf/util/json_util.h>

#include <utility>

#include "core/check.h"
#include "net/grpc_text.h"

namespace capstan::net {

Status from_json(google::protobuf::Message& message, ByteView json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &message, options);
  if (status.ok()) return {};
  return fail(ErrorCode::kMalformed, std::string(status.message()));
}

Status from_protobuf(google::protobuf::Message& message, ByteView bytes) {
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return fail(ErrorCode::kMalformed, "not a valid " + message.GetDescriptor()->name());
}

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

void fill(etcdserverpb::ResponseHeader& to, const ReplyHeader& header) {
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

}  // namespace capstan::net
