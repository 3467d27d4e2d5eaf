// The messages of etcd's lock and election services, as protobuf and as JSON, to and from the
// vocabulary of net/service_call.h; beside net/grpc_messages.h, and as strict.
#pragma once

#include <string>

#include "core/result.h"
#include "core/types.h"
#include "net/grpc_messages.h"
#include "net/service_call.h"

namespace capstan::net {

// `method` is one of those services'.
//   errors  kMalformed  not such a message
Result<ServiceRequest> decode_service_request(GrpcMethod method, ByteView protobuf);
Result<ServiceRequest> decode_service_json(GrpcMethod method, ByteView json);

// Takes keys and values out of `reply`. The first appends a whole gRPC message, prefix included.
void encode_service_reply(GrpcMethod method, ServiceReply& reply, std::string& out);
std::string encode_service_json(GrpcMethod method, ServiceReply& reply);

}  // namespace capstan::net
