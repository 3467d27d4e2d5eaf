#include "net/http_routes.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/range_stream.h"
#include "net/absent.h"
#include "net/asker.h"
#include "net/backup_call.h"
#include "net/grpc_messages.h"
#include "net/grpc_service_messages.h"
#include "net/json_api.h"
#include "net/reasons.h"
#include "net/reply_text.h"

namespace capstan::net {

namespace {

HttpReply text_reply(int status, std::string body) {
  return {.status = status, .content_type = "text/plain; charset=utf-8", .body = std::move(body)};
}

// ---- Probes -------------------------------------------------------------------------------------

// As Kubernetes' own: one line a check with ?verbose, "ok" without, the failing ones always.
HttpReply probe(const Health& health, bool passed, std::string_view name, bool verbose) {
  std::string body;
  for (const HealthCheck& check : health.checks) {
    if (check.ok && !verbose) continue;
    body += check.ok ? "[+]" : "[-]";
    body += check.name;
    body += check.ok ? " ok" : " failed: " + check.detail;
    body += '\n';
  }
  if (passed) {
    if (!verbose) return text_reply(200, "ok\n");
    return text_reply(200, body + std::string(name) + " check passed\n");
  }
  return text_reply(503, body + std::string(name) + " check failed\n");
}

HttpReply version(const DoorContext& context) {
  return {.body = nlohmann::ordered_json{{"etcdserver", kEtcdVersion},
                                         {"etcdcluster", "3.4.0"},
                                         {"capstan", context.options.version}}
                      .dump()};
}

// ---- etcd's gateway -----------------------------------------------------------------------------

HttpReply gateway_error(GrpcCode code, std::string_view message) {
  const nlohmann::ordered_json json{
      {"error", message}, {"message", message}, {"code", static_cast<int>(code)}};
  return {.status = http_status_of(code),
          .body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

HttpReply absent(const DoorContext& context, GrpcMethod method) {
  const Absence absence = absence_of(grpc_path_of(method), context.options.mode);
  return gateway_error(absence.code, absence.sentence);
}

// An empty body is an empty message.
ByteView json_of(const HttpRequest& request) {
  return request.body.empty() ? ByteView("{}") : ByteView(request.body);
}

// Header values must stay on one line and in ASCII.
std::string header_safe(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return out;
}

std::string capstan_headers(const Reply& reply, bool writes, const Handler& handler) {
  const ReplyText text(reply, writes, handler);
  std::string out = "Capstan-Outcome: " + std::string(to_text(reply.outcome)) + "\r\n";
  if (reply.reason != Reason::kNone) {
    out += "Capstan-Reason: " + std::string(to_text(reply.reason)) + "\r\n";
  }
  if (!text.write_id.empty()) out += "Capstan-Write-Id: " + header_safe(text.write_id) + "\r\n";
  return out;
}

Asker asker_of(DoorContext& context, const HttpRequest& request) {
  return {context.handler, request.caller};
}

// A note that something is ready, to somebody who is named later.
class ReadyNote {
 public:
  std::function<void()> giver() const {
    return [to = to_] { (*to)(); };
  }
  void give_to(std::function<void()> ready) { *to_ = std::move(ready); }

 private:
  std::shared_ptr<std::function<void()>> to_ = std::make_shared<std::function<void()>>([] {});
};

// ---- Ranges too long to be held -----------------------------------------------------------------

class RangeBody final : public HttpStream {
 public:
  // How it is written: head, "kvs" with a row for each key, tail.
  struct Form {
    std::string head;
    bool names_none;  // "kvs":[] where there are none; else nothing
    std::string (*row)(KeyValue& kv);
    std::string (*tail)(bool more, std::int64_t count);
  };

  RangeBody(ReadyNote note, std::shared_ptr<RangeStream> range, Form form)
      : note_(std::move(note)), range_(std::move(range)), form_(std::move(form)) {}

  std::optional<std::string> next() override {
    if (range_ == nullptr) return std::nullopt;
    auto slice = range_->next();
    if (!slice) return std::nullopt;
    if (!*slice) {
      stop();
      return std::nullopt;
    }
    std::string out = std::exchange(form_.head, {});
    constexpr std::string_view kOpen = ",\"kvs\":[";
    for (KeyValue& kv : (*slice)->kvs) {
      out += std::exchange(any_, true) ? "," : kOpen;
      out += form_.row(kv);
    }
    if ((*slice)->last) {
      if (!any_ && form_.names_none) out += kOpen;
      if (any_ || form_.names_none) out += ']';
      out += form_.tail((*slice)->more, (*slice)->count);
      range_.reset();
    }
    return out;
  }
  bool ended() const override { return range_ == nullptr; }
  bool broken() const override { return broken_; }
  void stop() override {
    broken_ = range_ != nullptr;
    range_.reset();
  }
  void on_ready(std::function<void()> ready) override { note_.give_to(std::move(ready)); }

 private:
  ReadyNote note_;
  std::shared_ptr<RangeStream> range_;
  Form form_;
  bool any_ = false;
  bool broken_ = false;
};

GrpcStatus stopping() { return grpc_status_of(Outcome::kFailed, Reason::kShuttingDown); }

// Messages as lines, as etcd's gateway writes them.
class Lines : public HttpStream {
 public:
  explicit Lines(ReadyNote note) : note_(std::move(note)) {}

  std::optional<std::string> next() final {
    if (!over_) {
      if (std::optional<std::string> json = message()) return "{\"result\":" + *json + "}\n";
    }
    return std::exchange(last_, std::nullopt);
  }
  bool ended() const final { return over_ && !last_; }
  void stop() final {
    if (!over_) end(stopping().code, stopping().text);
  }
  void on_ready(std::function<void()> ready) final { note_.give_to(std::move(ready)); }

 protected:
  // The next message as JSON; nullopt: nothing now, or end() was called.
  virtual std::optional<std::string> message() = 0;
  // Nothing more is wanted.
  virtual void close() = 0;

  void end() {
    over_ = true;
    close();
  }
  void end(GrpcCode code, std::string_view text) {
    const nlohmann::ordered_json error{{"grpc_code", static_cast<int>(code)},
                                       {"http_code", http_status_of(code)},
                                       {"message", text}};
    last_ = nlohmann::ordered_json{{"error", error}}.dump(
                -1, ' ', false, nlohmann::json::error_handler_t::replace) +
            '\n';
    end();
  }

 private:
  ReadyNote note_;
  std::optional<std::string> last_;
  bool over_ = false;
};

class WatchLines final : public Lines {
 public:
  WatchLines(ReadyNote note, std::unique_ptr<WatchStream> stream)
      : Lines(std::move(note)), stream_(std::move(stream)) {}

 private:
  std::optional<std::string> message() override {
    std::optional<WatchMessage> message = stream_->next();
    if (!message) return std::nullopt;
    if (message->end) {
      const GrpcStatus status = grpc_status_of(Outcome::kFailed, message->end->reason);
      end(status.code, status.text);
      return std::nullopt;
    }
    if (message->canceled) end();  // it was the only one
    return encode_watch_json(*message);
  }
  void close() override { stream_.reset(); }

  std::unique_ptr<WatchStream> stream_;
};

// One watch a request: what else etcd's stream takes needs a client that goes on talking.
void route_watch(DoorContext& context, const HttpRequest& request, HttpAnswer answer) {
  Result<WatchAsked> asked = decode_watch_json(request.body);
  if (!asked) return answer(gateway_error(GrpcCode::kInvalidArgument, asked.error().context));
  auto* create = std::get_if<WatchRequest>(&*asked);
  if (create == nullptr) {
    return answer(
        gateway_error(GrpcCode::kInvalidArgument, "a watch over HTTP/1.1 is one create_request"));
  }
  const ReadyNote note;
  std::unique_ptr<WatchStream> stream = asker_of(context, request).watch({.ready = note.giver()});
  if (stream == nullptr) return answer(absent(context, GrpcMethod::kWatch));
  stream->create(std::move(*create));
  HttpReply reply;
  reply.stream = std::make_unique<WatchLines>(note, std::move(stream));
  answer(std::move(reply));
}

// ---- Backups ------------------------------------------------------------------------------------

class BackupLines final : public Lines {
 public:
  BackupLines(ReadyNote note, std::unique_ptr<BackupStream> stream)
      : Lines(std::move(note)), call_(std::move(stream)) {}

 private:
  std::optional<std::string> message() override {
    auto piece = call_->next();
    if (!piece) return std::nullopt;
    if (*piece) return encode_snapshot_json((*piece)->header, (*piece)->blob);
    if (piece->error().code == GrpcCode::kOk) {
      end();
    } else {
      end(piece->error().code, piece->error().text);
    }
    return std::nullopt;
  }
  void close() override { call_.reset(); }

  std::optional<BackupCall> call_;
};

void route_backup(DoorContext& context, const HttpRequest& request, HttpAnswer answer) {
  const ReadyNote note;
  std::unique_ptr<BackupStream> stream = asker_of(context, request).backup(note.giver());
  if (stream == nullptr) return answer(absent(context, GrpcMethod::kSnapshot));
  HttpReply reply;
  reply.stream = std::make_unique<BackupLines>(note, std::move(stream));
  answer(std::move(reply));
}

// ---- Locks and elections ------------------------------------------------------------------------

class ObserveLines final : public Lines {
 public:
  ObserveLines(ReadyNote note, std::unique_ptr<ServiceCall> call)
      : Lines(std::move(note)), call_(std::move(call)) {}

 private:
  std::optional<std::string> message() override {
    std::optional<ServiceMessage> message = call_->next();
    if (!message) return std::nullopt;
    if (*message) return encode_service_json(GrpcMethod::kObserve, **message);
    end(message->error().code, message->error().text);
    return std::nullopt;
  }
  void close() override { call_.reset(); }

  std::unique_ptr<ServiceCall> call_;
};

// The one reply of a call, in its time.
class ServiceLater final : public HttpLater {
 public:
  ServiceLater(GrpcMethod method, ReadyNote note, std::unique_ptr<ServiceCall> call)
      : method_(method), note_(std::move(note)), call_(std::move(call)) {}

  std::optional<HttpReply> take() override {
    if (call_ == nullptr) return gateway_error(stopping().code, stopping().text);
    std::optional<ServiceMessage> message = call_->next();
    if (!message) return std::nullopt;
    if (*message) return HttpReply{.body = encode_service_json(method_, **message)};
    HttpReply out = gateway_error(message->error().code, message->error().text);
    out.headers = "Capstan-Reason: " + std::string(to_text(message->error().reason)) + "\r\n";
    return out;
  }
  void stop() override { call_.reset(); }
  void on_ready(std::function<void()> ready) override { note_.give_to(std::move(ready)); }

 private:
  const GrpcMethod method_;
  ReadyNote note_;
  std::unique_ptr<ServiceCall> call_;
};

void route_service(DoorContext& context, GrpcMethod method, const HttpRequest& request,
                   HttpAnswer answer) {
  if (context.options.mode == Mode::kAp) return answer(absent(context, method));
  Result<ServiceRequest> asked = decode_service_json(method, json_of(request));
  if (!asked) return answer(gateway_error(GrpcCode::kInvalidArgument, asked.error().context));
  const ReadyNote note;
  auto call = open_service(asker_of(context, request), std::move(*asked), note.giver());
  HttpReply reply;
  if (method == GrpcMethod::kObserve) {
    reply.stream = std::make_unique<ObserveLines>(note, std::move(call));
  } else {
    reply.later = std::make_unique<ServiceLater>(method, note, std::move(call));
  }
  answer(std::move(reply));
}

void route_gateway(DoorContext& context, GrpcMethod method, HttpRequest request,
                   HttpAnswer answer) {
  if (method == GrpcMethod::kWatch) return route_watch(context, request, std::move(answer));
  if (method == GrpcMethod::kSnapshot) return route_backup(context, request, std::move(answer));
  if (is_of_services(method)) return route_service(context, method, request, std::move(answer));
  if (method == GrpcMethod::kUnknown) {
    return answer(gateway_error(GrpcCode::kUnimplemented, "not in this build"));
  }
  Result<RequestBody> body = decode_etcd_json(method, json_of(request));
  if (!body) return answer(gateway_error(GrpcCode::kInvalidArgument, body.error().context));
  const bool writes = is_write(*body);
  const ReadyNote note;
  context.handler.handle(
      {.body = std::move(*body),
       .request_id = std::move(request.request_id),
       .caller = std::move(request.caller),
       .more_ready = note.giver()},
      [method, writes, note, &handler = context.handler,
       answer = std::move(answer)](Reply reply) mutable {
        HttpReply out;
        if (reply.range != nullptr) {
          out.headers = capstan_headers(reply, writes, handler);
          out.stream =
              std::make_unique<RangeBody>(note, std::move(reply.range),
                                          RangeBody::Form{range_head_json(reply.header), false,
                                                          range_row_json, range_tail_json});
        } else if (reply.outcome == Outcome::kOk || reply.outcome == Outcome::kOkLocal) {
          out.headers = capstan_headers(reply, writes, handler);
          out.body = encode_etcd_json(method, reply);
          // One message of what is a stream over gRPC.
          if (method == GrpcMethod::kLeaseKeepAlive) out.body = "{\"result\":" + out.body + "}\n";
        } else {
          out = gateway_error(grpc_status_of(reply.outcome, reply.reason).code,
                              grpc_message_of(reply));
          out.headers = capstan_headers(reply, writes, handler);
        }
        answer(std::move(out));
      });
}

// ---- Capstan's API ------------------------------------------------------------------------------

HttpReply api_error(Reason reason, std::string detail, int status = 0) {
  const nlohmann::ordered_json json{
      {"v", 1}, {"outcome", "failed"}, {"reason", to_text(reason)}, {"detail", detail}};
  return {.status = status != 0 ? status : http_status_of(Outcome::kFailed, reason),
          .body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

// "limit" in "after=3&limit=7" -> 7; absent or no number -> otherwise.
std::uint64_t query_number(std::string_view query, std::string_view name, std::uint64_t otherwise) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view field = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (!field.starts_with(name) || field.size() <= name.size() || field[name.size()] != '=') {
      continue;
    }
    const std::string_view digits = field.substr(name.size() + 1);
    std::uint64_t value = 0;
    const auto got = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (got.ec == std::errc{} && got.ptr == digits.data() + digits.size()) return value;
  }
  return otherwise;
}

Request asking(RequestBody body, const HttpRequest& by) {
  Request request;
  request.body = std::move(body);
  request.caller = by.caller;
  return request;
}

void ask(DoorContext& context, Request request, HttpAnswer answer) {
  const bool writes = is_write(request.body);
  const ReadyNote note;
  request.more_ready = note.giver();
  context.handler.handle(std::move(request), [writes, note, &handler = context.handler,
                                              answer = std::move(answer)](Reply reply) mutable {
    HttpReply out{.status = http_status_of(reply.outcome, reply.reason),
                  .headers = capstan_headers(reply, writes, handler)};
    if (reply.range == nullptr) {
      out.body = encode_api_reply(reply, handler);
    } else {
      out.stream = std::make_unique<RangeBody>(
          note, std::move(reply.range),
          RangeBody::Form{range_head_api(reply, handler), true, range_row_api, range_tail_api});
    }
    answer(std::move(out));
  });
}

void route_lab(DoorContext& context, const HttpRequest& request, HttpAnswer answer) {
  Result<LabCommand> command = decode_api_lab(request.body);
  if (!command) return answer(api_error(Reason::kInvalid, command.error().context));
  context.handler.lab(std::move(*command), [answer = std::move(answer)](LabReply reply) mutable {
    answer({.status = http_status_of(reply.outcome, reply.reason), .body = encode_api_lab(reply)});
  });
}

void route_api(DoorContext& context, std::string_view path, HttpRequest request,
               HttpAnswer answer) {
  const bool get = request.method == "GET", post = request.method == "POST";
  const bool asks = path == "status" || path == "members" || path == "conflicts" || path == "books";
  if (path != "kv" && path != "lab" && !asks) {
    return answer(api_error(Reason::kInvalid, "no such path: /api/v1/" + std::string(path), 404));
  }
  if (asks ? !get : !post) {
    return answer(api_error(
        Reason::kInvalid, std::string(asks ? "GET" : "POST") + " is the method of this path", 405));
  }
  if (path == "lab") return route_lab(context, request, std::move(answer));
  if (path == "status") return ask(context, asking(StatusRequest{}, request), std::move(answer));
  if (path == "members") return ask(context, asking(MembersRequest{}, request), std::move(answer));
  if (path == "books") return ask(context, asking(BooksRequest{}, request), std::move(answer));
  if (path == "conflicts") {
    const ConflictsRequest body{.after = query_number(request.query, "after", 0),
                                .limit = query_number(request.query, "limit", 1000)};
    return ask(context, asking(body, request), std::move(answer));
  }
  Result<Request> decoded = decode_api_request(request.body);
  if (!decoded) return answer(api_error(Reason::kInvalid, decoded.error().context));
  decoded->caller = std::move(request.caller);
  if (decoded->request_id.empty()) decoded->request_id = std::move(request.request_id);
  ask(context, std::move(*decoded), std::move(answer));
}

bool has_flag(std::string_view query, std::string_view name) {
  return query == name || query.starts_with(std::string(name) + '=') ||
         query.starts_with(std::string(name) + '&') ||
         query.find('&' + std::string(name)) != std::string_view::npos;
}

}  // namespace

void route_http(DoorContext& context, HttpRequest request, HttpAnswer answer) {
  const std::string path = request.path;
  constexpr std::string_view kApi = "/api/v1/";
  if (path.starts_with(kApi)) {
    return route_api(context, std::string_view(path).substr(kApi.size()), std::move(request),
                     std::move(answer));
  }
  if (path.starts_with("/v3/") || path.starts_with("/v3beta/")) {
    if (request.method != "POST") return answer(text_reply(405, "Method Not Allowed\n"));
    return route_gateway(context, gateway_method_of(path), std::move(request), std::move(answer));
  }
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool probes = path == "/health" || path == "/livez" || path == "/readyz";
  if (!probes && path != "/version" && path != "/metrics") {
    return answer(text_reply(404, "404 page not found\n"));
  }
  if (!reads) return answer(text_reply(405, "Method Not Allowed\n"));
  if (path == "/version") return answer(version(context));
  if (path == "/metrics") {
    return answer({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                   .body = context.handler.metrics_text()});
  }
  const Health health = context.handler.health();
  if (path == "/health") {
    // etcd's: one may look away from an alarm.
    const bool any_space = request.query.find("exclude=NOSPACE") != std::string::npos;
    const bool ready = std::ranges::all_of(health.checks, [any_space](const HealthCheck& check) {
      return check.ok || (any_space && check.name == "space");
    });
    // A string, as etcd writes it.
    return answer({.status = ready ? 200 : 503,
                   .body = ready ? R"({"health":"true"})" : R"({"health":"false"})"});
  }
  const bool live = path == "/livez";
  answer(probe(health, live ? health.live : health.ready, live ? "livez" : "readyz",
               has_flag(request.query, "verbose")));
}

}  // namespace capstan::net
