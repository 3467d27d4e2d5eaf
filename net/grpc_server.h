// The etcd v3 API over gRPC: one HTTP/2 connection on nghttp2.
//
//   HEADERS ─► Call (method, timeout, request id) ─► DATA ─► one message ─► Handler
//   HEADERS (capstan-*) ◄─ DATA ◄─ HEADERS (grpc-status)     or one HEADERS when refused
//
// nghttp2 keeps HTTP/2's rules (settings, pings, flow control, header compression, flood limits);
// this file keeps gRPC's: message framing and limits, deadlines, statuses, trailers-only errors.
// Calls are unary. The sketch: about 1 us a put of 256 bytes in nghttp2, protobuf and here, when
// many share a connection; one system call each when they do not.
#pragma once

#include <functional>
#include <memory>

#include "net/session.h"

namespace capstan::net {

inline constexpr std::size_t kGrpcStreamsMax = 4096;

std::shared_ptr<Session> make_grpc_session(DoorContext& context, std::function<void()> wake);

}  // namespace capstan::net
