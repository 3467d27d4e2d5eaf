#include "net/grpc_client.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "net/grpc_client_messages.h"
#include "net/grpc_text.h"
#include "net/reasons.h"
#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "net/uv_timer.h"

namespace capstan::net {

namespace {

constexpr std::uint32_t kStreamWindowBytes = 4 * 1024 * 1024;
constexpr std::int32_t kConnectionWindowBytes = 64 * 1024 * 1024;
constexpr std::size_t kReplyBytesMax = std::size_t{1} << 30;
constexpr std::size_t kProduceBytes = 256 * 1024;
constexpr int kNoStatus = -1;

struct Call {
  std::int32_t stream = 0;
  std::size_t place = 0;  // in live_
  GrpcMethod method = GrpcMethod::kUnknown;
  bool left = false;    // at least its headers are with the kernel or on their way there
  Micros deadline = 0;  // monotonic; 0: none
  GrpcCallback done;
  std::string out;       // the request
  std::size_t sent = 0;  // of out
  std::string in;        // the reply
  // From headers and trailers.
  int status = kNoStatus;
  std::string message, detail, write_id, replicas;
  std::string outcome, reason;

  void clear() {
    std::string kept_out = std::move(out), kept_in = std::move(in);
    *this = Call{};
    constexpr std::size_t kKeep = 16 * 1024;
    if (kept_out.capacity() <= kKeep) out = std::move(kept_out);
    if (kept_in.capacity() <= kKeep) in = std::move(kept_in);
    out.clear();
    in.clear();
  }
};

constexpr std::string_view path_of(GrpcMethod method) {
  switch (method) {
    case GrpcMethod::kPut:
      return "/etcdserverpb.KV/Put";
    case GrpcMethod::kRange:
      return "/etcdserverpb.KV/Range";
    default:
      return "/etcdserverpb.KV/DeleteRange";
  }
}

nghttp2_nv header(std::string_view name, std::string_view value, bool constant) {
  const auto bytes = [](std::string_view text) {  // nghttp2 takes no pointer to const
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  };
  const unsigned flags =
      NGHTTP2_NV_FLAG_NO_COPY_NAME | (constant ? unsigned{NGHTTP2_NV_FLAG_NO_COPY_VALUE} : 0u);
  return {bytes(name), bytes(value), name.size(), value.size(), static_cast<std::uint8_t>(flags)};
}

// What a finished call means; the rules are in grpc_client.h.
Outcome outcome_of(const Call& call, Reason reason) {
  for (const Outcome each :
       {Outcome::kOk, Outcome::kOkLocal, Outcome::kFailed, Outcome::kUnknown}) {
    if (call.outcome == to_text(each)) return each;
  }
  if (call.status == 0) return Outcome::kOk;
  // An etcd. A read that was answered with an error has done nothing; of a write only some errors
  // say so.
  const auto code = static_cast<GrpcCode>(call.status);
  const bool certain = call.method == GrpcMethod::kRange || certainly_not_applied(reason) ||
                       reason == Reason::kOverloaded || code == GrpcCode::kUnimplemented ||
                       code == GrpcCode::kUnauthenticated || code == GrpcCode::kPermissionDenied;
  return certain ? Outcome::kFailed : Outcome::kUnknown;
}

void take_replicas(std::string_view text, GrpcReply& reply) {
  const char* const end = text.data() + text.size();
  const auto have = std::from_chars(text.data(), end, reply.replicas_have);
  if (have.ec == std::errc{} && have.ptr != end && *have.ptr == '/') {
    std::from_chars(have.ptr + 1, end, reply.replicas_all);
  }
}

GrpcReply reply_of(Call& call) {
  GrpcReply reply;
  reply.grpc_status = call.status;
  reply.message = percent_decoded(call.message);
  reply.detail = percent_decoded(call.detail);
  reply.write_id = std::move(call.write_id);
  reply.reason = reason_of_word(call.reason);
  if (reply.reason == Reason::kNone) reply.reason = reason_of_etcd_text(reply.message);
  reply.outcome = outcome_of(call, reply.reason);
  take_replicas(call.replicas, reply);
  if (call.status != 0) return reply;
  const ByteView in = call.in;
  const bool whole =
      in.size() >= kGrpcPrefixBytes && parse_grpc_prefix(in).length == in.size() - kGrpcPrefixBytes;
  if (!whole || !decode_etcd_reply(call.method, in.substr(kGrpcPrefixBytes), reply)) {
    reply.outcome = Outcome::kUnknown;
    reply.grpc_status = static_cast<int>(GrpcCode::kInternal);
    reply.message = "the reply cannot be decoded";
  }
  return reply;
}

class GrpcClientImpl final : public GrpcClient, public StreamEvents, public TurnUser {
 public:
  GrpcClientImpl(Loop& loop, std::string host, std::uint16_t port,
                 std::move_only_function<void(State, const std::string&)> on_state,
                 std::shared_ptr<TlsContext> tls);
  ~GrpcClientImpl() override;

  void put(const PutRequest& request, GrpcCallOptions options, GrpcCallback done) override {
    start(GrpcMethod::kPut, request, std::move(options), std::move(done));
  }
  void range(const RangeRequest& request, GrpcCallOptions options, GrpcCallback done) override {
    start(GrpcMethod::kRange, request, std::move(options), std::move(done));
  }
  void delete_range(const DeleteRangeRequest& request, GrpcCallOptions options,
                    GrpcCallback done) override {
    start(GrpcMethod::kDeleteRange, request, std::move(options), std::move(done));
  }
  State state() const override { return state_; }
  std::size_t in_flight() const override { return live_.size(); }
  void close() override { end("closed by this side"); }

  void on_connect() override;
  void on_bytes(ByteView bytes) override;
  void on_close(CloseReason why, const std::string& text) override;
  void on_drained() override { flush(); }
  void begin_turn(Now now) override {
    now_ = now.monotonic;
    in_turn_ = true;
  }
  void end_turn() override {
    flush();
    in_turn_ = false;
  }

 private:
  static nghttp2_session_callbacks* callbacks();
  static ssize_t read_request(nghttp2_session*, std::int32_t stream, std::uint8_t* to,
                              std::size_t room, std::uint32_t* flags, nghttp2_data_source* source,
                              void* self);
  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                       std::size_t name_bytes, const std::uint8_t* value, std::size_t value_bytes,
                       std::uint8_t flags, void* self);
  static int on_data(nghttp2_session*, std::uint8_t flags, std::int32_t stream,
                     const std::uint8_t* data, std::size_t bytes, void* self);
  static int on_stream_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self);
  static int on_frame_sent(nghttp2_session*, const nghttp2_frame*, void* self);

  template <class Request>
  void start(GrpcMethod method, const Request& request, GrpcCallOptions options, GrpcCallback done);
  void submit(Call& call, const GrpcCallOptions& options);
  void finish(Call& call, GrpcReply reply);
  GrpcReply unanswered(const Call& call, Reason reason, std::string why) const;
  void deliver();
  void deliver_later();
  void expire_at(Micros deadline);
  void expire();
  void flush();
  void end(const std::string& why);
  Call* call_of(std::int32_t stream) {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(h2_, stream));
  }

  Loop& loop_;
  const std::string authority_;
  const std::string_view scheme_;
  std::move_only_function<void(State, const std::string&)> on_state_;
  nghttp2_session* h2_ = nullptr;
  std::unique_ptr<TcpStream> stream_;
  Timer timer_;
  State state_ = State::kConnecting;
  std::vector<Call*> live_;
  std::vector<std::unique_ptr<Call>> calls_;  // owns all ever made
  std::vector<Call*> spare_;
  // Finished, and their callers not yet told: they are told outside of nghttp2.
  std::vector<std::pair<GrpcCallback, GrpcReply>> finished_;
  // Callbacks may destroy this client; the token outlives it.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Micros now_ = 0;
  Micros expires_at_ = 0;  // what timer_ is armed for; 0: nothing
  bool in_turn_ = false;
  bool flush_deferred_ = false;
};

GrpcClientImpl::GrpcClientImpl(Loop& loop, std::string host, std::uint16_t port,
                               std::move_only_function<void(State, const std::string&)> on_state,
                               std::shared_ptr<TlsContext> tls)
    : loop_(loop),
      authority_(host + ':' + std::to_string(port)),
      scheme_(tls ? "https" : "http"),
      on_state_(std::move(on_state)),
      timer_(loop),
      now_(loop.now().monotonic) {
  CAPSTAN_ASSERT(nghttp2_session_client_new(&h2_, callbacks(), this) == 0);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
  };
  CAPSTAN_ASSERT(nghttp2_submit_settings(h2_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) ==
                 0);
  CAPSTAN_ASSERT(nghttp2_session_set_local_window_size(h2_, NGHTTP2_FLAG_NONE, 0,
                                                       kConnectionWindowBytes) == 0);
  loop_.add_turn_user(*this);
  stream_ = TcpStream::connect(loop, host, port, *this, std::move(tls));
}

GrpcClientImpl::~GrpcClientImpl() {
  *alive_ = false;
  loop_.remove_turn_user(*this);
  nghttp2_session_del(h2_);
}

nghttp2_session_callbacks* GrpcClientImpl::callbacks() {
  static nghttp2_session_callbacks* const shared = [] {
    nghttp2_session_callbacks* made = nullptr;
    CAPSTAN_ASSERT(nghttp2_session_callbacks_new(&made) == 0);
    nghttp2_session_callbacks_set_on_header_callback(made, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, on_frame_sent);
    return made;
  }();
  return shared;
}

// ---- Calls --------------------------------------------------------------------------------------

template <class Request>
void GrpcClientImpl::start(GrpcMethod method, const Request& request, GrpcCallOptions options,
                           GrpcCallback done) {
  if (spare_.empty()) {
    calls_.push_back(std::make_unique<Call>());
    spare_.push_back(calls_.back().get());
  }
  Call& call = *spare_.back();
  spare_.pop_back();
  call.method = method;
  call.done = std::move(done);
  call.place = live_.size();
  live_.push_back(&call);
  if (state_ == State::kClosed) {
    finish(call, unanswered(call, Reason::kUnreachable, "the connection is closed"));
    return deliver_later();
  }
  encode_etcd_request(request, call.out);
  if (options.deadline > 0) {
    call.deadline = (in_turn_ ? now_ : loop_.now().monotonic) + options.deadline;
    expire_at(call.deadline);
  }
  submit(call, options);
  if (!in_turn_ && !flush_deferred_) {
    flush_deferred_ = true;
    loop_.defer([this, alive = alive_] {
      if (!*alive) return;
      flush_deferred_ = false;
      flush();
    });
  }
}

void GrpcClientImpl::submit(Call& call, const GrpcCallOptions& options) {
  std::array<nghttp2_nv, 10> headers;
  std::size_t count = 0;
  headers[count++] = header(":method", "POST", true);
  headers[count++] = header(":scheme", scheme_, true);
  headers[count++] = header(":path", path_of(call.method), true);
  headers[count++] = header(":authority", authority_, false);
  headers[count++] = header("content-type", "application/grpc", true);
  headers[count++] = header("te", "trailers", true);
  headers[count++] = header("user-agent", "capstan/0.1", true);
  const std::string timeout = options.deadline > 0 ? grpc_timeout_text(options.deadline) : "";
  if (!timeout.empty()) headers[count++] = header("grpc-timeout", timeout, false);
  if (!options.request_id.empty()) {
    headers[count++] = header("capstan-request-id", options.request_id, false);
  }
  nghttp2_data_provider provider{};
  provider.read_callback = read_request;
  call.stream = nghttp2_submit_request(h2_, nullptr, headers.data(), count, &provider, &call);
  if (call.stream < 0) {  // stream ids are used up, or memory is
    finish(call, unanswered(call, Reason::kUnreachable, nghttp2_strerror(call.stream)));
    deliver_later();
  }
}

GrpcReply GrpcClientImpl::unanswered(const Call& call, Reason reason, std::string why) const {
  GrpcReply reply;
  reply.outcome = call.left ? Outcome::kUnknown : Outcome::kFailed;
  reply.reason = reason;
  reply.grpc_status = kNoStatus;
  reply.message = std::move(why);
  return reply;
}

void GrpcClientImpl::finish(Call& call, GrpcReply reply) {
  finished_.emplace_back(std::move(call.done), std::move(reply));
  live_[call.place] = live_.back();
  live_[call.place]->place = call.place;
  live_.pop_back();
  if (call.stream > 0) nghttp2_session_set_stream_user_data(h2_, call.stream, nullptr);
  call.clear();
  spare_.push_back(&call);
}

void GrpcClientImpl::deliver() {
  const std::shared_ptr<bool> alive = alive_;
  while (*alive && !finished_.empty()) {
    std::vector<std::pair<GrpcCallback, GrpcReply>> batch = std::exchange(finished_, {});
    for (auto& [done, reply] : batch) {
      if (*alive && done) done(std::move(reply));
    }
    // Keep the room for the next batch.
    if (*alive && finished_.empty()) {
      batch.clear();
      finished_ = std::move(batch);
      return;
    }
  }
}

void GrpcClientImpl::deliver_later() {
  loop_.defer([this, alive = alive_] {
    if (*alive) deliver();
  });
}

// Looks at the deadlines no later than at `deadline`.
void GrpcClientImpl::expire_at(Micros deadline) {
  if (expires_at_ != 0 && expires_at_ <= deadline) return;
  expires_at_ = deadline;
  timer_.start(std::max<Micros>(deadline - loop_.now().monotonic, 0), [this] { expire(); });
}

void GrpcClientImpl::expire() {
  const Micros now = loop_.now().monotonic;
  Micros next = 0;
  for (std::size_t i = 0; i < live_.size();) {
    Call& call = *live_[i];
    if (call.deadline == 0 || now < call.deadline) {
      if (call.deadline != 0 && (next == 0 || call.deadline < next)) next = call.deadline;
      ++i;
      continue;
    }
    // Even one that waits for its turn is cancelled: it must not leave after its caller was told.
    nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, call.stream, NGHTTP2_CANCEL);
    GrpcReply late = unanswered(call, Reason::kTimeout, "no answer within the deadline");
    late.grpc_status = static_cast<int>(GrpcCode::kDeadlineExceeded);
    finish(call, std::move(late));  // puts another call in its place
  }
  expires_at_ = 0;
  if (next != 0) expire_at(next);
  deliver();
}

// ---- The connection -----------------------------------------------------------------------------

void GrpcClientImpl::on_connect() {
  state_ = State::kReady;
  if (on_state_) on_state_(state_, "");
}

void GrpcClientImpl::on_bytes(ByteView bytes) {
  const ssize_t taken = nghttp2_session_mem_recv(
      h2_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) return end(nghttp2_strerror(static_cast<int>(taken)));
  // After a GOAWAY no new call gets through here: finish what is under way, then close.
  if (nghttp2_session_want_read(h2_) == 0 && nghttp2_session_want_write(h2_) == 0) {
    return end("the server closed the connection");
  }
  deliver();
}

void GrpcClientImpl::on_close(CloseReason, const std::string& text) { end(text); }

void GrpcClientImpl::end(const std::string& why) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  while (!live_.empty()) {
    Call& call = *live_.back();
    finish(call, unanswered(call, Reason::kUnreachable, why));
  }
  timer_.cancel();
  loop_.defer([this, alive = alive_, why] {
    if (!*alive) return;
    stream_.reset();
    deliver();
    if (*alive && on_state_) on_state_(State::kClosed, why);
  });
}

void GrpcClientImpl::flush() {
  if (state_ != State::kReady) return;
  while (stream_->queued_bytes() < kProduceBytes) {
    std::string out;
    const std::uint8_t* data = nullptr;
    ssize_t bytes = 0;
    while (out.size() < kProduceBytes && (bytes = nghttp2_session_mem_send(h2_, &data)) > 0) {
      out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(bytes));
    }
    if (out.empty()) return;
    stream_->write(std::move(out));
    if (bytes <= 0) return;
  }
  stream_->want_drained(kProduceBytes);
}

// ---- nghttp2 ------------------------------------------------------------------------------------

ssize_t GrpcClientImpl::read_request(nghttp2_session*, std::int32_t stream, std::uint8_t* to,
                                     std::size_t room, std::uint32_t* flags, nghttp2_data_source*,
                                     void* self) {
  // Found by its stream: one that expired half sent is already another call.
  Call* call = static_cast<GrpcClientImpl*>(self)->call_of(stream);
  if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const std::size_t bytes = std::min(room, call->out.size() - call->sent);
  std::memcpy(to, call->out.data() + call->sent, bytes);
  call->sent += bytes;
  if (call->sent == call->out.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(bytes);
}

int GrpcClientImpl::on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  if (Call* call = static_cast<GrpcClientImpl*>(self)->call_of(frame->hd.stream_id)) {
    call->left = true;
  }
  return 0;
}

int GrpcClientImpl::on_header(nghttp2_session*, const nghttp2_frame* frame,
                              const std::uint8_t* name_at, std::size_t name_bytes,
                              const std::uint8_t* value_at, std::size_t value_bytes, std::uint8_t,
                              void* self) {
  Call* call = static_cast<GrpcClientImpl*>(self)->call_of(frame->hd.stream_id);
  if (call == nullptr) return 0;
  const std::string_view name(reinterpret_cast<const char*>(name_at), name_bytes);
  const std::string_view value(reinterpret_cast<const char*>(value_at), value_bytes);
  if (name == "grpc-status") {
    std::from_chars(value.data(), value.data() + value.size(), call->status);
  } else if (name == "grpc-message") {
    call->message = value;
  } else if (name.starts_with("capstan-")) {
    const std::string_view what = name.substr(8);
    if (what == "outcome") call->outcome = value;
    if (what == "reason") call->reason = value;
    if (what == "detail") call->detail = value;
    if (what == "write-id") call->write_id = value;
    if (what == "replicas") call->replicas = value;
  }
  return 0;
}

int GrpcClientImpl::on_data(nghttp2_session* h2, std::uint8_t, std::int32_t stream,
                            const std::uint8_t* data, std::size_t bytes, void* self) {
  Call* call = static_cast<GrpcClientImpl*>(self)->call_of(stream);
  if (call == nullptr) return 0;
  if (call->in.size() + bytes > kReplyBytesMax) {
    return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
  }
  call->in.append(reinterpret_cast<const char*>(data), bytes);
  return 0;
}

int GrpcClientImpl::on_stream_close(nghttp2_session*, std::int32_t stream, std::uint32_t code,
                                    void* self) {
  auto& client = *static_cast<GrpcClientImpl*>(self);
  Call* call = client.call_of(stream);
  if (call == nullptr) return 0;
  if (call->status != kNoStatus) {
    client.finish(*call, reply_of(*call));
    return 0;
  }
  // Refused streams, those behind a GOAWAY among them, were never looked at.
  if (code == NGHTTP2_REFUSED_STREAM) call->left = false;
  client.finish(*call,
                client.unanswered(*call, Reason::kUnreachable,
                                  "stream ended: " + std::string(nghttp2_http2_strerror(code))));
  return 0;
}

}  // namespace

std::unique_ptr<GrpcClient> GrpcClient::connect(
    Loop& loop, std::string host, std::uint16_t port,
    std::move_only_function<void(State, const std::string& why)> on_state,
    std::shared_ptr<TlsContext> tls) {
  return std::make_unique<GrpcClientImpl>(loop, std::move(host), port, std::move(on_state),
                                          std::move(tls));
}

}  // namespace capstan::net
