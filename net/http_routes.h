// What each HTTP path does: health and metrics, etcd's JSON gateway, Capstan's own API. Works on
// whole requests; net/http_server.h has the protocol.
//
//   GET  /health /livez /readyz[?verbose] /version /metrics
//   POST /v3/kv/{range,put,deleterange,txn} /v3/auth/... /v3/maintenance/status
//   /v3/cluster/member/list POST /v3/lock/{lock,unlock}
//   /v3/election/{campaign,proclaim,leader,observe,resign} /v3/watch POST /api/v1/kv /api/v1/lab
//   GET /api/v1/{status,members,conflicts,books}
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/request.h"
#include "net/session.h"

namespace capstan::net {

struct HttpRequest {
  std::string method;      // "GET"
  std::string path;        // without the query
  std::string query;       // behind '?'
  std::string request_id;  // Capstan-Request-Id
  Caller caller;           // Authorization
  std::string body;
};

// A body that goes on. It is pulled, so that a client that does not read costs no memory.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  // Its next piece; nullopt: nothing now, or nothing any more.
  virtual std::optional<std::string> next() = 0;
  virtual bool ended() const = 0;
  // It cannot be completed: the connection must break, or what came would pass for the whole.
  virtual bool broken() const { return false; }
  // The node stops: one last piece may say so.
  virtual void stop() = 0;
  // `ready` takes a note that next() may have something. What came before is asked for anyway.
  virtual void on_ready(std::function<void()> ready) = 0;
};

struct HttpReply;

// An answer that takes as long as it takes. Dropped before it came, its client has gone.
class HttpLater {
 public:
  virtual ~HttpLater() = default;
  // Nullopt: not yet.
  virtual std::optional<HttpReply> take() = 0;
  // The node stops: take() will say so.
  virtual void stop() = 0;
  // As HttpStream's.
  virtual void on_ready(std::function<void()> ready) = 0;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string headers = {};  // more of them, each "Name: value\r\n"
  std::string body = {};
  std::unique_ptr<HttpStream> stream = {};  // in place of a body
  std::unique_ptr<HttpLater> later = {};    // in place of all the rest
};
using HttpAnswer = std::move_only_function<void(HttpReply)>;

// `answer` is called exactly once, now or later, unless the node stops.
void route_http(DoorContext& context, HttpRequest request, HttpAnswer answer);

}  // namespace capstan::net
