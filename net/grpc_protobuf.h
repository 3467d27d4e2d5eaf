// What the codecs of etcd's messages share: reading and writing a message, and the parts that occur
// in many. For net/grpc_*.cc.
#pragma once

#include <string>

#include "core/request.h"
#include "core/result.h"
#include "core/types.h"
#include "net/schema/kv.pb.h"
#include "net/schema/rpc.pb.h"

namespace capstan::net {

// errors  kMalformed  with what is wrong; JSON with the library's own account of it
using ParseMessage = Status (*)(google::protobuf::Message&, ByteView);
Status from_protobuf(google::protobuf::Message& message, ByteView bytes);
Status from_json(google::protobuf::Message& message, ByteView json);

// Appends a gRPC message: prefix and bytes. `bytes` is what ByteSizeLong() has just said.
void append_message(const google::protobuf::Message& message, std::size_t bytes, std::string& out);
std::string as_json(const google::protobuf::Message& message);

void fill(etcdserverpb::ResponseHeader& to, const ReplyHeader& header);
void fill(mvccpb::KeyValue& to, KeyValue& kv);  // takes key and value out of it

}  // namespace capstan::net
