// What each HTTP path does: health and metrics, etcd's JSON gateway, Capstan's own API. Works on
// whole requests; net/http_server.h has the protocol.
//
//   GET  /health /livez /readyz[?verbose] /version /metrics
//   POST /v3/kv/{range,put,deleterange,txn} /v3/maintenance/status /v3/cluster/member/list
//   POST /api/v1/kv /api/v1/lab   GET /api/v1/{status,members,conflicts,books}
#pragma once

#include <functional>
#include <string>

#include "net/session.h"

namespace capstan::net {

struct HttpRequest {
  std::string method;      // "GET"
  std::string path;        // without the query
  std::string query;       // behind '?'
  std::string request_id;  // Capstan-Request-Id
  std::string body;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string headers = {};  // more of them, each "Name: value\r\n"
  std::string body = {};
};
using HttpAnswer = std::move_only_function<void(HttpReply)>;

// `answer` is called exactly once, now or later, unless the node stops.
void route_http(DoorContext& context, HttpRequest request, HttpAnswer answer);

}  // namespace capstan::net
