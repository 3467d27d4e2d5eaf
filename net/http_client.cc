#include "net/http_client.h"

#include <http_parser.h>

#include <algorithm>
#include <map>
#include <utility>

#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "net/uv_timer.h"

namespace capstan::net {

namespace {

constexpr std::size_t kResponseBytesMax = 64 * 1024 * 1024;
constexpr std::size_t kHeaderBytesMax = 256 * 1024;
constexpr std::size_t kIdleAnAddress = 8;

// What a kept connection may be used for again.
struct Address {
  std::string host;
  std::uint16_t port;
  std::shared_ptr<TlsContext> tls;
  friend auto operator<=>(const Address&, const Address&) = default;
};

class Link;

class HttpClientImpl final : public HttpClient {
 public:
  explicit HttpClientImpl(Loop& loop) : loop_(loop) {}

  void call(HttpCall call, HttpCallback done) override;

  Loop& loop() { return loop_; }
  // The link has done its call: kept for the next one, or ended. Removed in a later turn, since
  // it may be the caller.
  void release(Link& link, bool reusable);

 private:
  std::unique_ptr<Link> take_idle(const Address& address);
  void dispose(std::unique_ptr<Link> link);

  Loop& loop_;
  std::map<Link*, std::unique_ptr<Link>> busy_;
  std::map<Address, std::vector<std::unique_ptr<Link>>> idle_;
};

// One connection: idle, or with one call on it.
class Link final : public StreamEvents {
 public:
  Link(HttpClientImpl& owner, Address address)
      : owner_(owner), address_(std::move(address)), timer_(owner.loop()) {}

  void start(HttpCall call, HttpCallback done);
  bool open() const { return stream_ && stream_->connected(); }
  const Address& address() const { return address_; }

  void on_connect() override { connected_ = true; }
  void on_bytes(ByteView bytes) override;
  void on_close(CloseReason why, const std::string& text) override;

 private:
  static const http_parser_settings& settings();
  int take_name(ByteView bytes);
  int take_value(ByteView bytes);
  int take_body(ByteView bytes);
  int headers_done();
  int response_done();
  int bounded(std::size_t bytes);
  void write_request();
  void fail_call(ErrorCode code, std::string context);
  void finish(Result<HttpResponse> result, bool reusable);

  HttpClientImpl& owner_;
  const Address address_;
  Timer timer_;
  std::unique_ptr<TcpStream> stream_;
  bool connected_ = false;
  bool reused_ = false;  // the server may have closed it just before we wrote

  HttpCall call_;
  HttpCallback done_;  // null: idle
  http_parser parser_{};
  HttpResponse response_;
  std::string name_, value_;
  std::size_t bytes_in_ = 0;
  bool in_value_ = false;
  bool complete_ = false;
};

template <auto method>
int on_piece(http_parser* parser, const char* at, std::size_t size) {
  return (static_cast<Link*>(parser->data)->*method)(ByteView(at, size));
}
template <auto method>
int on_mark(http_parser* parser) {
  return (static_cast<Link*>(parser->data)->*method)();
}

const http_parser_settings& Link::settings() {
  static const http_parser_settings shared = [] {
    http_parser_settings made;
    http_parser_settings_init(&made);
    made.on_header_field = on_piece<&Link::take_name>;
    made.on_header_value = on_piece<&Link::take_value>;
    made.on_headers_complete = on_mark<&Link::headers_done>;
    made.on_body = on_piece<&Link::take_body>;
    made.on_message_complete = on_mark<&Link::response_done>;
    return made;
  }();
  return shared;
}

void Link::start(HttpCall call, HttpCallback done) {
  call_ = std::move(call);
  done_ = std::move(done);
  response_ = {};
  name_.clear();
  value_.clear();
  bytes_in_ = 0;
  in_value_ = complete_ = false;
  http_parser_init(&parser_, HTTP_RESPONSE);
  parser_.data = this;
  timer_.start(call_.timeout, [this] {
    fail_call(ErrorCode::kBusy, connected_ ? "no answer within the time given"
                                           : "no connection within the time given");
  });
  reused_ = stream_ != nullptr;
  if (!stream_)
    stream_ = TcpStream::connect(owner_.loop(), address_.host, address_.port, *this, address_.tls);
  write_request();
}

void Link::write_request() {
  std::string out = call_.method + ' ' + call_.path + " HTTP/1.1\r\nHost: " + address_.host + ':' +
                    std::to_string(address_.port) + "\r\n";
  for (const auto& [name, value] : call_.headers) out += name + ": " + value + "\r\n";
  if (!call_.body.empty()) out += "Content-Type: application/json\r\n";
  if (!call_.body.empty() || call_.method == "POST") {
    out += "Content-Length: " + std::to_string(call_.body.size()) + "\r\n";
  }
  out += "\r\n";
  out += call_.body;
  stream_->write(std::move(out));
}

void Link::on_bytes(ByteView bytes) {
  if (!done_) return finish(fail(ErrorCode::kMalformed, "an answer nobody asked for"), false);
  const std::size_t taken = http_parser_execute(&parser_, &settings(), bytes.data(), bytes.size());
  const http_errno error = HTTP_PARSER_ERRNO(&parser_);
  if (complete_) {
    const bool reusable =
        http_should_keep_alive(&parser_) != 0 && error == HPE_PAUSED && taken == bytes.size();
    return finish(std::move(response_), reusable);
  }
  if (error != HPE_OK) {
    const bool large = bytes_in_ > kResponseBytesMax;
    fail_call(large ? ErrorCode::kTooLarge : ErrorCode::kMalformed,
              large ? "the answer is too large" : http_errno_description(error));
  }
}

void Link::on_close(CloseReason why, const std::string& text) {
  if (why == CloseReason::kCannotConnect) return fail_call(ErrorCode::kNotFound, text);
  const bool no_tls = why == CloseReason::kNoTls || why == CloseReason::kPlaintext;
  if (no_tls && done_) return finish(fail(ErrorCode::kMismatch, text), false);
  if (!done_) return finish(fail(ErrorCode::kIo, text), false);
  // A response without a length ends with the connection.
  if (why == CloseReason::kEnd) http_parser_execute(&parser_, &settings(), nullptr, 0);
  if (complete_) return finish(std::move(response_), false);
  // A kept connection that the server had closed meanwhile, the usual race of keep-alive: one more
  // try on a fresh one. Not for what may change data: nobody knows that the server never saw it.
  if (reused_ && bytes_in_ == 0 && call_.method == "GET") {
    stream_.reset();
    connected_ = false;
    return start(std::move(call_), std::move(done_));
  }
  fail_call(ErrorCode::kIo, text);
}

int Link::bounded(std::size_t bytes) {
  bytes_in_ += bytes;
  return bytes_in_ > kResponseBytesMax ? 1 : 0;
}

int Link::take_name(ByteView bytes) {
  if (in_value_) headers_done();
  for (char c : bytes) {
    name_.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  }
  return bounded(bytes.size());
}

int Link::take_value(ByteView bytes) {
  in_value_ = true;
  value_.append(bytes);
  return bounded(bytes.size());
}

int Link::headers_done() {
  if (in_value_)
    response_.headers.emplace_back(std::exchange(name_, {}), std::exchange(value_, {}));
  in_value_ = false;
  return bytes_in_ > kHeaderBytesMax ? 1 : 0;
}

int Link::take_body(ByteView bytes) {
  response_.body.append(bytes);
  return bounded(bytes.size());
}

int Link::response_done() {
  if (parser_.status_code == 100) {  // an invitation to go on; the answer follows
    response_ = {};
    return 0;
  }
  response_.status = static_cast<int>(parser_.status_code);
  complete_ = true;
  http_parser_pause(&parser_, 1);
  return 0;
}

void Link::fail_call(ErrorCode code, std::string context) {
  finish(
      fail(code, address_.host + ':' + std::to_string(address_.port) + ": " + std::move(context)),
      false);
}

// Last: the owner may dispose of this link.
void Link::finish(Result<HttpResponse> result, bool reusable) {
  timer_.cancel();
  HttpCallback done = std::exchange(done_, nullptr);
  if (!reusable) stream_.reset();
  owner_.release(*this, reusable);
  if (done) done(std::move(result));
}

// ---- The client ---------------------------------------------------------------------------------

void HttpClientImpl::call(HttpCall call, HttpCallback done) {
  const Address address{call.host, call.port, call.tls};
  std::unique_ptr<Link> link = take_idle(address);
  if (!link) link = std::make_unique<Link>(*this, address);
  Link& started = *link;
  busy_.emplace(&started, std::move(link));
  started.start(std::move(call), std::move(done));
}

std::unique_ptr<Link> HttpClientImpl::take_idle(const Address& address) {
  auto& links = idle_[address];
  if (links.empty()) return nullptr;
  std::unique_ptr<Link> link = std::move(links.back());
  links.pop_back();
  return link;
}

void HttpClientImpl::dispose(std::unique_ptr<Link> link) {
  loop_.defer([link = std::move(link)]() mutable { link.reset(); });
}

void HttpClientImpl::release(Link& link, bool reusable) {
  auto& idle = idle_[link.address()];
  std::unique_ptr<Link> owned;
  if (const auto at = busy_.find(&link); at != busy_.end()) {
    owned = std::move(at->second);
    busy_.erase(at);
  } else {
    const auto place =
        std::ranges::find_if(idle, [&](const auto& each) { return &link == each.get(); });
    if (place == idle.end()) return;
    owned = std::move(*place);
    idle.erase(place);
  }
  if (reusable && link.open() && idle.size() < kIdleAnAddress) {
    idle.push_back(std::move(owned));
  } else {
    dispose(std::move(owned));
  }
}

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::unique_ptr<HttpClient> HttpClient::create(Loop& loop) {
  return std::make_unique<HttpClientImpl>(loop);
}

}  // namespace capstan::net
