// The client's half of etcd's messages: requests out, replies in.
#pragma once

#include <string>

#include "core/request.h"
#include "core/result.h"
#include "net/grpc_client.h"
#include "net/grpc_messages.h"

namespace capstan::net {

// Each appends a whole gRPC message, prefix included.
void encode_etcd_request(const PutRequest& request, std::string& out);
void encode_etcd_request(const RangeRequest& request, std::string& out);
void encode_etcd_request(const DeleteRangeRequest& request, std::string& out);

// Fills what the message holds (header, pairs, counts) into `reply`. False: not such a message.
bool decode_etcd_reply(GrpcMethod method, ByteView protobuf, GrpcReply& reply);

}  // namespace capstan::net
