#include "net/grpc_server.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "core/check.h"
#include "net/absent.h"
#include "net/grpc_messages.h"
#include "net/grpc_range.h"
#include "net/grpc_session.h"
#include "net/grpc_text.h"
#include "net/reasons.h"
#include "net/reply_text.h"

namespace capstan::net {

namespace {

constexpr std::size_t kPathBytesKept = 256;  // of unknown methods, for the message
constexpr std::uint32_t kStreamWindowBytes = 1024 * 1024;
constexpr std::uint32_t kConnectionWindowBytes = 4 * 1024 * 1024;
constexpr std::uint32_t kHeaderListBytesMax = 64 * 1024;
constexpr Micros kSilenceBeforePing = 120 * kSecond;
constexpr Micros kPingTimeout = 20 * kSecond;
// Cancelling is a normal end of a call; thousands a second are an attack (CVE-2023-44487).
constexpr std::uint64_t kResetsBurst = 4096;
constexpr std::uint64_t kResetsPerSecond = 1000;

}  // namespace

GrpcSession::GrpcSession(DoorContext& context, std::function<void()> wake)
    : Session(context, std::move(wake)), last_heard_(this->context().now) {
  nghttp2_option* option = nullptr;
  CAPSTAN_ASSERT(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_stream_reset_rate_limit(option, kResetsBurst, kResetsPerSecond);
  nghttp2_option_set_no_closed_streams(option, 1);
  // etcdctl's `endpoint status` and `endpoint health` send the endpoint as it was typed for
  // :authority, "http://localhost:2379", which nghttp2 would reset. What of HTTP matters for a gRPC
  // call is looked at in headers_done().
  nghttp2_option_set_no_http_messaging(option, 1);
  CAPSTAN_ASSERT(nghttp2_session_server_new2(&h2_, callbacks(), this, option) == 0);
  nghttp2_option_del(option);
  // Clients wait for our SETTINGS before they call the connection ready: they go out at once.
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kGrpcStreamsMax},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderListBytesMax},
  };
  CAPSTAN_ASSERT(nghttp2_submit_settings(h2_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) ==
                 0);
  CAPSTAN_ASSERT(nghttp2_session_set_local_window_size(h2_, NGHTTP2_FLAG_NONE, 0,
                                                       kConnectionWindowBytes) == 0);
}

GrpcSession::~GrpcSession() {
  for (Call* call : live_) {
    count_end(*call, GrpcCode::kCanceled);
    give_back(*call);
  }
  add_pending(-static_cast<std::ptrdiff_t>(pending_out_bytes_));
  nghttp2_session_del(h2_);
}

nghttp2_session_callbacks* GrpcSession::callbacks() {
  static nghttp2_session_callbacks* const shared = [] {
    nghttp2_session_callbacks* made = nullptr;
    CAPSTAN_ASSERT(nghttp2_session_callbacks_new(&made) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
    return made;
  }();
  return shared;
}

// ---- Bytes --------------------------------------------------------------------------------------

void GrpcSession::receive(ByteView bytes) {
  if (broken_) return;
  last_heard_ = context().now;
  ping_sent_ = false;
  const ssize_t taken = nghttp2_session_mem_recv(
      h2_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  // Most violations are answered by nghttp2 with a GOAWAY of its own; what remains is beyond words.
  if (taken < 0) {
    broken_ = true;
    ++context().counts.protocol_errors;
  }
  wake();
}

void GrpcSession::produce(std::string& out, std::size_t room) {
  const std::size_t end = out.size() + room;
  while (out.size() < end) {
    const std::uint8_t* data = nullptr;
    const ssize_t bytes = nghttp2_session_mem_send(h2_, &data);
    if (bytes < 0) broken_ = true;
    if (bytes <= 0) return;
    out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(bytes));
  }
}

bool GrpcSession::finished() const {
  if (broken_) return true;
  if (nghttp2_session_want_write(h2_) != 0) return false;
  return nghttp2_session_want_read(h2_) == 0 || (shutting_ && live_.empty());
}

void GrpcSession::shut() {
  if (shutting_ || broken_) return;
  shutting_ = true;
  // Streams above the last one we saw were never looked at: clients may repeat them elsewhere.
  nghttp2_submit_goaway(h2_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  for (Call* call : live_) {
    if (!call->talk) continue;
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, Reason::kShuttingDown);
    end_talk(*call, {status.code, std::string(status.text), Reason::kShuttingDown});
  }
  wake();
}

// A client that vanished without a word would hold its place for ever: after a while of silence it
// is asked for a sign of life.
void GrpcSession::watch_silence() {
  const Micros silence = context().now - last_heard_;
  if (silence < kSilenceBeforePing) return;
  if (!ping_sent_) {
    ping_sent_ = true;
    nghttp2_submit_ping(h2_, NGHTTP2_FLAG_NONE, nullptr);
    wake();
  } else if (silence > kSilenceBeforePing + kPingTimeout) {
    broken_ = true;
    wake();
  }
}

void GrpcSession::tick() {
  watch_silence();
  if (next_deadline_ == 0 || context().now < next_deadline_) return;
  next_deadline_ = 0;
  for (Call* call : live_) {
    if (call->deadline == 0 || (call->answered && !call->talk)) continue;
    if (context().now < call->deadline) {
      if (next_deadline_ == 0 || call->deadline < next_deadline_) next_deadline_ = call->deadline;
      continue;
    }
    if (call->talk) {
      end_talk(*call, {GrpcCode::kDeadlineExceeded, "context deadline exceeded", Reason::kTimeout});
      continue;
    }
    // The handler's answer may still come; nobody will be there to hear it.
    Reply late;
    late.outcome = call->handled && call->writes ? Outcome::kUnknown : Outcome::kFailed;
    late.reason = Reason::kTimeout;
    refuse(*call, GrpcCode::kDeadlineExceeded, "context deadline exceeded", std::move(late));
  }
  wake();
}

// ---- Calls --------------------------------------------------------------------------------------

void GrpcSession::open_call(std::int32_t stream) {
  if (spare_.empty()) {
    calls_.push_back(std::make_unique<Call>());
    spare_.push_back(calls_.back().get());
  }
  Call* call = spare_.back();
  spare_.pop_back();
  call->stream = stream;
  call->place = live_.size();
  live_.push_back(call);
  nghttp2_session_set_stream_user_data(h2_, stream, call);
}

void GrpcSession::close_call(Call& call) {
  count_end(call, GrpcCode::kCanceled);  // before it was answered
  give_back(call);
  add_pending(-static_cast<std::ptrdiff_t>(call.out.size() - call.sent));
  live_[call.place] = live_.back();
  live_[call.place]->place = call.place;
  live_.pop_back();
  call.clear();
  spare_.push_back(&call);
}

void GrpcSession::take_header(Call& call, std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 5:
      if (name == ":path") {
        call.method = grpc_method_of(value);
        if (call.method == GrpcMethod::kUnknown) call.path = value.substr(0, kPathBytesKept);
      }
      if (name == "token") call.token = value;
      break;
    case 7:
      if (name == ":method") call.is_post = value == "POST";
      break;
    case 9:
      if (name == "hasleader") call.wants_leader = value == "true";
      break;
    case 12:
      if (name == "content-type") {
        constexpr std::string_view kGrpc = "application/grpc";
        call.is_grpc =
            value.starts_with(kGrpc) && (value.size() == kGrpc.size() ||
                                         value[kGrpc.size()] == '+' || value[kGrpc.size()] == ';');
      } else if (name == "grpc-timeout") {
        const auto timeout = parse_grpc_timeout(value);
        call.bad_header |= !timeout;
        // A timeout of nothing has passed on arrival.
        call.timeout = timeout ? std::max<Micros>(*timeout, 1) : 0;
      }
      break;
    case 13:
      if (name == "authorization" && call.token.empty()) call.token = value;
      if (name == "grpc-encoding" && value != "identity") call.encoding = value.substr(0, 64);
      if (name == "capstan-epoch") {
        const auto end = value.data() + value.size();
        const auto got = std::from_chars(value.data(), end, call.epoch.value);
        call.bad_header |= got.ec != std::errc{} || got.ptr != end;
      }
      break;
    case 18:
      if (name == "capstan-request-id") {
        call.bad_header |= value.size() > kRequestIdBytesMax;
        call.request_id = value.substr(0, kRequestIdBytesMax);
      }
      break;
    default:
      break;
  }
}

void GrpcSession::headers_done(Call& call) {
  if (!call.is_post || !call.is_grpc) {
    nghttp2_submit_rst_stream(h2_, NGHTTP2_FLAG_NONE, call.stream, NGHTTP2_PROTOCOL_ERROR);
    call.answered = true;
    return;
  }
  ++context().counts.grpc_requests;
  if (call.timeout != 0) {
    call.deadline = context().now + call.timeout;
    if (next_deadline_ == 0 || call.deadline < next_deadline_) next_deadline_ = call.deadline;
  }
  if (call.bad_header) {
    return refuse(call, GrpcCode::kInternal, "malformed grpc-timeout or capstan-* metadata",
                  Reason::kInvalid);
  }
  if (call.method == GrpcMethod::kUnknown) return refuse_absent(call);
  if (!call.encoding.empty()) {
    return refuse(call, GrpcCode::kUnimplemented,
                  "grpc: Decompressor is not installed for grpc-encoding \"" + call.encoding + "\"",
                  Reason::kInvalid);
  }
  if (pending_out_bytes_ > kClientWriteQueueBytesMax || context().out_is_full()) {
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, Reason::kOverloaded);
    return refuse(call, status.code, status.text, Reason::kOverloaded);
  }
  open_talk(call);
}

void GrpcSession::take_data(Call& call, ByteView bytes) {
  if (call.talk) return take_talk(call, bytes);
  if (call.answered || bytes.empty()) return;
  if (!context().take_buffer(bytes.size())) {
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, Reason::kOverloaded);
    return refuse(call, status.code, status.text, Reason::kOverloaded);
  }
  call.budget += bytes.size();
  call.body.append(bytes);
  if (call.body.size() < kGrpcPrefixBytes) return;
  const GrpcPrefix prefix = parse_grpc_prefix(call.body);
  if (prefix.length > kGrpcMessageBytesMax) {
    refuse(call, GrpcCode::kResourceExhausted, too_large_text(prefix.length), Reason::kTooLarge);
  } else if (call.body.size() > kGrpcPrefixBytes + prefix.length) {
    refuse(call, GrpcCode::kInternal, "more than one message in a unary request", Reason::kInvalid);
  }
}

void GrpcSession::request_done(Call& call) {
  call.request_ended = true;
  if (call.talk) return call.talk->half_closed();
  if (call.answered || call.handled) return;
  if (call.body.size() < kGrpcPrefixBytes) {
    return refuse(call, GrpcCode::kInternal, "the request holds no message", Reason::kInvalid);
  }
  const GrpcPrefix prefix = parse_grpc_prefix(call.body);
  if (call.body.size() != kGrpcPrefixBytes + prefix.length) {
    return refuse(call, GrpcCode::kInternal, "the message ends before its length",
                  Reason::kInvalid);
  }
  if (prefix.compressed) {
    return refuse(call, GrpcCode::kInternal, "compressed message without grpc-encoding",
                  Reason::kInvalid);
  }
  hand_over(call, ByteView(call.body).substr(kGrpcPrefixBytes));
}

void GrpcSession::hand_over(Call& call, ByteView message) {
  if (call.method == GrpcMethod::kHealthCheck) return answer_health(call, message);
  Result<RequestBody> body = decode_etcd_request(call.method, message);
  give_back(call);
  call.body.clear();
  if (!body) {
    const bool malformed = body.error().code == ErrorCode::kMalformed;
    return refuse(call, malformed ? GrpcCode::kInternal : GrpcCode::kInvalidArgument,
                  malformed ? "grpc: error unmarshalling request: " + body.error().context
                            : body.error().context,
                  Reason::kInvalid);
  }
  call.handled = true;
  call.writes = is_write(*body);
  Request request{.body = std::move(*body),
                  .request_id = std::move(call.request_id),
                  .timeout = call.timeout,
                  .epoch = call.epoch,
                  .caller = caller(std::move(call.token))};
  const auto* range = std::get_if<RangeRequest>(&request.body);
  if (range != nullptr && !range->range.end.empty()) request.more_ready = ready_of(call);
  context().handler.handle(std::move(request),
                           [weak = weak_from_this(), stream = call.stream](Reply reply) {
                             if (const auto self = weak.lock())
                               self->answer(stream, std::move(reply));
                           });
}

void GrpcSession::refuse_absent(Call& call) {
  const bool known = call.method != GrpcMethod::kUnknown;
  const Absence absence =
      absence_of(known ? grpc_path_of(call.method) : call.path, context().options.mode);
  refuse(call, absence.code, absence.sentence, absence.reason);
}

// ---- Responses ----------------------------------------------------------------------------------

void GrpcSession::answer(std::int32_t stream, Reply reply) {
  Call* call = call_of(stream);
  if (call == nullptr || call->answered || broken_) return;  // cancelled, or past its deadline
  wake();
  if (reply.outcome != Outcome::kOk && reply.outcome != Outcome::kOkLocal) {
    const std::string message = grpc_message_of(reply);
    const GrpcCode code = grpc_status_of(reply.outcome, reply.reason).code;
    return refuse(*call, code, message, std::move(reply));
  }
  const ReplyText text(reply, call->writes, context().handler);
  HeaderBlock headers;
  headers.constant(":status", "200");
  headers.constant("content-type", "application/grpc");
  headers.constant("capstan-outcome", to_text(reply.outcome));
  headers.add("capstan-epoch", text.epoch.view());
  if (call->writes) {
    headers.constant("capstan-durability", to_text(reply.durability));
    headers.add_unique("capstan-write-id", text.write_id);
    headers.add("capstan-replicas", text.replicas.view());
  }
  if (reply.age_at_least >= 0) headers.add_unique("capstan-age-micros", text.age.view());

  if (reply.range != nullptr) {
    call->talk = std::make_unique<GrpcRange>(reply.header, std::move(reply.range));
    return respond(*call, headers, read_talk);
  }
  if (!encode_etcd_reply(call->method, reply, call->out)) {
    reply.reason = Reason::kTooLarge;
    return refuse(*call, GrpcCode::kResourceExhausted, "the answer is larger than 2 GiB",
                  std::move(reply));
  }
  count_end(*call, GrpcCode::kOk);
  respond(*call, headers, read_response);
}

// With the message, or what of it there is, in call.out.
void GrpcSession::respond(Call& call, const HeaderBlock& headers, ReadBody* read) {
  call.answered = true;
  add_pending(static_cast<std::ptrdiff_t>(call.out.size()));
  nghttp2_data_provider provider{};
  provider.source.ptr = &call;
  provider.read_callback = read;
  nghttp2_submit_response(h2_, call.stream, headers.data(), headers.size(), &provider);
}

void GrpcSession::answer_health(Call& call, ByteView message) {
  const Result<bool> known = asks_health_of_all(message);
  if (!known) {
    return refuse(call, GrpcCode::kInternal,
                  "grpc: error unmarshalling request: " + known.error().context, Reason::kInvalid);
  }
  if (!*known) return refuse(call, GrpcCode::kNotFound, "unknown service", Reason::kInvalid);
  give_back(call);
  call.body.clear();
  HeaderBlock headers;
  headers.constant(":status", "200");
  headers.constant("content-type", "application/grpc");
  encode_health(context().handler.health().ready, call.out);
  count_end(call, GrpcCode::kOk);
  respond(call, headers, read_response);
}

// Trailers-only: one HEADERS frame that ends the stream.
void GrpcSession::refuse(Call& call, GrpcCode code, std::string_view message, Reply reply) {
  CAPSTAN_ASSERT(!call.answered);
  call.answered = true;
  count_end(call, code);
  give_back(call);
  call.body.clear();
  const ReplyText text(reply, call.writes, context().handler);
  const std::string encoded = percent_encoded(message.substr(0, kDetailBytesMax));
  const std::string detail = percent_encoded(ByteView(reply.detail).substr(0, kDetailBytesMax));
  HeaderBlock headers;
  headers.constant(":status", "200");
  headers.constant("content-type", "application/grpc");
  headers.constant("grpc-status", status_text(code));
  headers.add("grpc-message", encoded);
  headers.constant("capstan-outcome", to_text(reply.outcome));
  headers.constant("capstan-reason", to_text(reply.reason));
  if (!detail.empty() && reply.detail != message) headers.add_unique("capstan-detail", detail);
  if (!text.write_id.empty()) headers.add_unique("capstan-write-id", text.write_id);
  nghttp2_submit_response(h2_, call.stream, headers.data(), headers.size(), nullptr);
}

ssize_t GrpcSession::read_response(nghttp2_session* h2, std::int32_t stream, std::uint8_t* to,
                                   std::size_t room, std::uint32_t* flags,
                                   nghttp2_data_source* source, void* self) {
  Call& call = *static_cast<Call*>(source->ptr);
  const std::size_t bytes = std::min(room, call.out.size() - call.sent);
  std::memcpy(to, call.out.data() + call.sent, bytes);
  call.sent += bytes;
  static_cast<GrpcSession*>(self)->add_pending(-static_cast<std::ptrdiff_t>(bytes));
  if (call.sent == call.out.size()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    HeaderBlock trailers;
    trailers.constant("grpc-status", "0");
    trailers.constant("grpc-message", "");
    nghttp2_submit_trailer(h2, stream, trailers.data(), trailers.size());
  }
  return static_cast<ssize_t>(bytes);
}

// ---- nghttp2 ------------------------------------------------------------------------------------

int GrpcSession::on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    static_cast<GrpcSession*>(self)->open_call(frame->hd.stream_id);
  }
  return 0;
}

int GrpcSession::on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                           std::size_t name_bytes, const std::uint8_t* value,
                           std::size_t value_bytes, std::uint8_t, void* self) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Call* call = static_cast<GrpcSession*>(self)->call_of(frame->hd.stream_id);
  if (call == nullptr) return 0;
  take_header(*call, {reinterpret_cast<const char*>(name), name_bytes},
              {reinterpret_cast<const char*>(value), value_bytes});
  return 0;
}

int GrpcSession::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto& session = *static_cast<GrpcSession*>(self);
  const bool headers = frame->hd.type == NGHTTP2_HEADERS;
  if (!headers && frame->hd.type != NGHTTP2_DATA) return 0;
  Call* call = session.call_of(frame->hd.stream_id);
  if (call == nullptr) return 0;
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  call->request_ended |= ends;
  if (headers && frame->headers.cat == NGHTTP2_HCAT_REQUEST) session.headers_done(*call);
  if (ends) session.request_done(*call);
  return 0;
}

int GrpcSession::on_data(nghttp2_session*, std::uint8_t, std::int32_t stream,
                         const std::uint8_t* data, std::size_t bytes, void* self) {
  auto& session = *static_cast<GrpcSession*>(self);
  if (Call* call = session.call_of(stream)) {
    session.take_data(*call, {reinterpret_cast<const char*>(data), bytes});
  }
  return 0;
}

// A refusal may end the stream before the client has said all. The rest is of no interest, and
// without a reset the stream would wait for its end. Not earlier: a reset that is queued keeps
// nghttp2 from sending the refusal.
int GrpcSession::on_frame_sent(nghttp2_session* h2, const nghttp2_frame* frame, void* self) {
  if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
    return 0;
  }
  const Call* call = static_cast<GrpcSession*>(self)->call_of(frame->hd.stream_id);
  if (call == nullptr || call->request_ended) return 0;
  return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
}

int GrpcSession::on_stream_close(nghttp2_session*, std::int32_t stream, std::uint32_t, void* self) {
  auto& session = *static_cast<GrpcSession*>(self);
  if (Call* call = session.call_of(stream)) session.close_call(*call);
  return 0;
}

std::shared_ptr<Session> make_grpc_session(DoorContext& context, std::function<void()> wake) {
  return std::make_shared<GrpcSession>(context, std::move(wake));
}

}  // namespace capstan::net
