// HTTP/1.1 on one client connection: http-parser for what comes in, net/http_routes.h for what it
// means. Requests may be pipelined; answers leave in the order of the requests.
//
// Bounded: line, headers, body, requests in the pipe, time for a request to arrive and time a
// connection may idle.
#pragma once

#include <functional>
#include <memory>

#include "net/session.h"

namespace capstan::net {

inline constexpr std::size_t kHttpTargetBytesMax = 8 * 1024;
inline constexpr std::size_t kHttpHeaderBytesMax = 64 * 1024;
inline constexpr std::size_t kHttpBodyBytesMax = 4 * 1024 * 1024;  // 1.5 MiB as base64, and room
inline constexpr std::size_t kHttpPipelineMax = 64;

std::shared_ptr<Session> make_http_session(DoorContext& context, std::function<void()> wake);

}  // namespace capstan::net
