#include "net/http_server.h"

#include <http_parser.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "core/check.h"
#include "net/http_routes.h"

namespace capstan::net {

namespace {

std::string_view status_phrase(int status) {
  switch (status) {
#define CAPSTAN_PHRASE(code, name, phrase) \
  case code:                               \
    return #phrase;
    HTTP_STATUS_MAP(CAPSTAN_PHRASE)
#undef CAPSTAN_PHRASE
    default:
      return "Unknown";
  }
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// "Authorization: TOKEN", as etcd's gateway takes it, or as HTTP means it, "Bearer TOKEN".
std::string token_of(std::string_view value) {
  constexpr std::string_view kBearer = "bearer ";
  if (lower(value.substr(0, kBearer.size())) == kBearer) value.remove_prefix(kBearer.size());
  return std::string(value);
}

class HttpSession final : public Session, public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(DoorContext& context, std::function<void()> wake)
      : Session(context, std::move(wake)), last_active_(this->context().now) {
    http_parser_init(&parser_, HTTP_REQUEST);
    parser_.data = this;
  }
  ~HttpSession() override {
    give_back();
    context().counts.waiting_out_bytes -= waiting_out_bytes_;
  }

  void receive(ByteView bytes) override;
  void produce(std::string& out, std::size_t room) override;
  bool finished() const override;
  void shut() override;
  void tick() override;
  std::size_t requests_in_flight() const override { return pipe_.size(); }

 private:
  // A request that was routed, in order of arrival; `bytes` is its whole answer once it is there,
  // or what is left to send of one that goes on.
  struct Slot {
    std::uint64_t number = 0;
    bool ready = false;
    bool keep_alive = true;
    bool head = false;
    std::string bytes = {};
    std::unique_ptr<HttpStream> stream = {};
    std::unique_ptr<HttpLater> later = {};  // until it is ready
  };

  static const http_parser_settings& settings();
  // What the parser calls; a value other than 0 stops it.
  int take_target(ByteView bytes);
  int take_name(ByteView bytes);
  int take_value(ByteView bytes);
  int headers_done();
  int take_body(ByteView bytes);
  int request_done();
  void header_done();
  int reject(int status, std::string_view why);

  void parse();
  void answer(std::uint64_t number, HttpReply reply);
  void take_later();
  bool take_chunk(Slot& slot);
  void add_waiting(std::size_t bytes) {
    waiting_out_bytes_ += bytes;
    context().counts.waiting_out_bytes += bytes;
  }
  void give_back() { context().give_buffer(std::exchange(budget_, 0)); }
  // The last thing this connection will say.
  void say_and_close(HttpReply reply);
  void push_slot(bool keep_alive);

  http_parser parser_{};
  std::string unparsed_;  // arrived while the pipe was full
  // The request that is arriving.
  std::string target_, name_, value_;
  std::size_t header_bytes_ = 0;
  bool in_value_ = false;
  bool in_request_ = false;
  HttpRequest request_;
  std::size_t budget_ = 0;
  Micros request_since_ = 0;

  std::deque<Slot> pipe_;
  std::uint64_t next_number_ = 1;
  std::string continue_;                 // "100 Continue", ahead of everything
  std::uint64_t waiting_out_bytes_ = 0;  // of ready slots, in the door's count too
  std::size_t sent_ = 0;                 // of pipe_.front().bytes
  Micros last_active_ = 0;
  bool deaf_ = false;  // nothing more is parsed: the last answer is on its way
};

// http-parser's callbacks are C; each finds its session and calls the method of its name.
template <auto method>
int on_bytes(http_parser* parser, const char* at, std::size_t size) {
  return (static_cast<HttpSession*>(parser->data)->*method)(ByteView(at, size));
}
template <auto method>
int on_event(http_parser* parser) {
  return (static_cast<HttpSession*>(parser->data)->*method)();
}

const http_parser_settings& HttpSession::settings() {
  static const http_parser_settings shared = [] {
    http_parser_settings made;
    http_parser_settings_init(&made);
    made.on_url = on_bytes<&HttpSession::take_target>;
    made.on_header_field = on_bytes<&HttpSession::take_name>;
    made.on_header_value = on_bytes<&HttpSession::take_value>;
    made.on_headers_complete = on_event<&HttpSession::headers_done>;
    made.on_body = on_bytes<&HttpSession::take_body>;
    made.on_message_complete = on_event<&HttpSession::request_done>;
    return made;
  }();
  return shared;
}

// ---- Bytes in -----------------------------------------------------------------------------------

void HttpSession::receive(ByteView bytes) {
  if (deaf_) return;
  last_active_ = context().now;
  unparsed_.append(bytes);
  parse();
  // A client that pipelines on and on without reading answers gets no more memory.
  if (unparsed_.size() > kHttpBodyBytesMax + kHttpHeaderBytesMax) {
    ++context().counts.protocol_errors;
    deaf_ = true;
    unparsed_.clear();
  }
  wake();
}

// Parses request by request, the parser pausing after each; stops at a full pipe.
void HttpSession::parse() {
  std::size_t at = 0;
  while (!deaf_ && at < unparsed_.size() && pipe_.size() < kHttpPipelineMax) {
    if (!in_request_) {
      // Empty lines between requests are allowed; they must not start the clock.
      at = std::min(unparsed_.find_first_not_of("\r\n", at), unparsed_.size());
      if (at == unparsed_.size()) break;
      in_request_ = true;
      request_since_ = context().now;
    }
    at += http_parser_execute(&parser_, &settings(), unparsed_.data() + at, unparsed_.size() - at);
    const http_errno error = HTTP_PARSER_ERRNO(&parser_);
    if (error == HPE_PAUSED) {
      http_parser_pause(&parser_, 0);
    } else if (error != HPE_OK) {
      reject(error == HPE_HEADER_OVERFLOW ? 431 : 400, http_errno_description(error));
    }
  }
  unparsed_.erase(0, deaf_ ? unparsed_.size() : at);
}

int HttpSession::take_target(ByteView bytes) {
  if (target_.size() + bytes.size() > kHttpTargetBytesMax) return reject(414, "URI too long");
  target_.append(bytes);
  return 0;
}

int HttpSession::take_name(ByteView bytes) {
  if (in_value_) header_done();
  header_bytes_ += bytes.size();
  if (header_bytes_ > kHttpHeaderBytesMax) return reject(431, "headers too large");
  name_.append(bytes);
  return 0;
}

int HttpSession::take_value(ByteView bytes) {
  in_value_ = true;
  header_bytes_ += bytes.size();
  if (header_bytes_ > kHttpHeaderBytesMax) return reject(431, "headers too large");
  value_.append(bytes);
  return 0;
}

void HttpSession::header_done() {
  const std::string name = lower(name_);
  if (name == "capstan-request-id") request_.request_id = value_.substr(0, kRequestIdBytesMax);
  if (name == "authorization") request_.caller.token = token_of(value_);
  if (name == "expect" && lower(value_) == "100-continue" && pipe_.empty()) {
    continue_ = "HTTP/1.1 100 Continue\r\n\r\n";
  }
  name_.clear();
  value_.clear();
  in_value_ = false;
}

int HttpSession::headers_done() {
  if (in_value_) header_done();
  parser_.upgrade = 0;  // "Upgrade: h2c" is an offer; it is answered in HTTP/1.1
  if ((parser_.flags & F_CONTENTLENGTH) != 0 && parser_.content_length > kHttpBodyBytesMax) {
    return reject(413, "the body is larger than " + std::to_string(kHttpBodyBytesMax) + " bytes");
  }
  return 0;
}

int HttpSession::take_body(ByteView bytes) {
  if (request_.body.size() + bytes.size() > kHttpBodyBytesMax) {
    return reject(413, "the body is larger than " + std::to_string(kHttpBodyBytesMax) + " bytes");
  }
  if (!context().take_buffer(bytes.size())) return reject(503, "too many requests");
  budget_ += bytes.size();
  request_.body.append(bytes);
  return 0;
}

int HttpSession::request_done() {
  give_back();
  const std::size_t question = target_.find('?');
  request_.method = http_method_str(static_cast<http_method>(parser_.method));
  request_.path = target_.substr(0, question);
  if (question != std::string::npos) request_.query = target_.substr(question + 1);
  request_.caller = caller(std::move(request_.caller.token));
  HttpRequest request = std::exchange(request_, {});
  target_.clear();
  header_bytes_ = 0;
  in_request_ = false;
  ++context().counts.http_requests;

  const bool keep_alive = http_should_keep_alive(&parser_) != 0;
  push_slot(keep_alive);
  pipe_.back().head = request.method == "HEAD";
  if (!keep_alive) deaf_ = true;
  const std::uint64_t number = pipe_.back().number;
  if (context().out_is_full()) {
    answer(number, {.status = 503,
                    .content_type = "text/plain; charset=utf-8",
                    .body = "too many replies wait to be read\n"});
    http_parser_pause(&parser_, 1);
    return 0;
  }
  route_http(context(), std::move(request), [weak = weak_from_this(), number](HttpReply reply) {
    if (const auto self = weak.lock()) self->answer(number, std::move(reply));
  });
  http_parser_pause(&parser_, 1);
  return 0;
}

// ---- Bytes out ----------------------------------------------------------------------------------

void HttpSession::push_slot(bool keep_alive) {
  pipe_.push_back({.number = next_number_++, .keep_alive = keep_alive});
}

int HttpSession::reject(int status, std::string_view why) {
  if (deaf_) return 1;
  ++context().counts.protocol_errors;
  say_and_close({.status = status,
                 .content_type = "text/plain; charset=utf-8",
                 .body = std::string(why) + '\n'});
  return 1;
}

void HttpSession::say_and_close(HttpReply reply) {
  give_back();
  request_ = {};
  deaf_ = true;
  push_slot(/*keep_alive=*/false);
  answer(pipe_.back().number, std::move(reply));
}

void HttpSession::answer(std::uint64_t number, HttpReply reply) {
  // Numbers in the pipe are consecutive.
  if (pipe_.empty() || number < pipe_.front().number || number > pipe_.back().number) return;
  Slot& slot = pipe_[static_cast<std::size_t>(number - pipe_.front().number)];
  CAPSTAN_ASSERT(!slot.ready);
  const auto ready = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake();
  };
  if (reply.later != nullptr) {
    slot.later = std::move(reply.later);
    slot.later->on_ready(ready);
    return wake();
  }
  slot.ready = true;
  slot.bytes = "HTTP/1.1 " + std::to_string(reply.status) + ' ';
  slot.bytes += status_phrase(reply.status);
  slot.bytes += "\r\nContent-Type: " + reply.content_type;
  if (reply.stream != nullptr) {
    slot.bytes += "\r\nTransfer-Encoding: chunked\r\n";
  } else {
    slot.bytes += "\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n";
  }
  slot.bytes += reply.headers;
  if (!slot.keep_alive) slot.bytes += "Connection: close\r\n";
  slot.bytes += "\r\n";
  if (!slot.head) slot.bytes += reply.body;
  add_waiting(slot.bytes.size());
  if (reply.stream != nullptr && !slot.head) {
    slot.stream = std::move(reply.stream);
    slot.stream->on_ready(ready);
  }
  wake();
}

// Answers that are there by now.
void HttpSession::take_later() {
  for (Slot& slot : pipe_) {
    if (slot.later == nullptr) continue;
    std::optional<HttpReply> reply = slot.later->take();
    if (!reply) continue;
    slot.later.reset();
    answer(slot.number, std::move(*reply));
  }
}

// The next chunk of an answer that goes on; false: nothing now.
bool HttpSession::take_chunk(Slot& slot) {
  std::optional<std::string> piece = slot.stream->next();
  if (slot.stream->broken()) {
    deaf_ = true;
    pipe_.clear();
    return false;
  }
  if (!piece && !slot.stream->ended()) return false;
  sent_ = 0;
  slot.bytes.clear();
  if (piece && !piece->empty()) {
    char size[20];
    slot.bytes.assign(
        size, static_cast<std::size_t>(std::snprintf(size, sizeof size, "%zx\r\n", piece->size())));
    slot.bytes += *piece + "\r\n";
  }
  if (slot.stream->ended()) {
    slot.bytes += "0\r\n\r\n";
    slot.stream.reset();
  }
  add_waiting(slot.bytes.size());
  return true;
}

void HttpSession::produce(std::string& out, std::size_t room) {
  take_later();
  out += std::exchange(continue_, {});
  const std::size_t end = out.size() + room;
  while (out.size() < end && !pipe_.empty() && pipe_.front().ready) {
    Slot& slot = pipe_.front();
    const ByteView rest = ByteView(slot.bytes).substr(sent_, end - out.size());
    out.append(rest);
    sent_ += rest.size();
    waiting_out_bytes_ -= rest.size();
    context().counts.waiting_out_bytes -= rest.size();
    if (sent_ < slot.bytes.size()) return;
    if (slot.stream != nullptr) {
      if (!take_chunk(slot)) return;
      continue;
    }
    sent_ = 0;
    last_active_ = context().now;
    pipe_.pop_front();
  }
  if (!unparsed_.empty()) parse();  // there is room in the pipe again
}

bool HttpSession::finished() const { return deaf_ && pipe_.empty(); }

void HttpSession::shut() {
  deaf_ = true;
  unparsed_.clear();
  give_back();
  for (Slot& slot : pipe_) {
    slot.keep_alive = false;
    if (slot.stream != nullptr) slot.stream->stop();
    if (slot.later != nullptr) slot.later->stop();
  }
  wake();
}

void HttpSession::tick() {
  const Micros now = context().now;
  const DoorOptions& options = context().options;
  if (deaf_) return;
  if (in_request_ && pipe_.size() < kHttpPipelineMax &&
      now - request_since_ > options.http_request_timeout) {
    reject(408, "the request took too long to arrive");
  } else if (!in_request_ && pipe_.empty() && now - last_active_ > options.http_idle_timeout) {
    deaf_ = true;
    wake();
  }
}

}  // namespace

std::shared_ptr<Session> make_http_session(DoorContext& context, std::function<void()> wake) {
  return std::make_shared<HttpSession>(context, std::move(wake));
}

}  // namespace capstan::net
