// Calls of a gRPC connection that go on talking: watches, signs of life, backups, locks and
// elections. Each is a GrpcStream, asked for its next message when there is room for one.
#include <algorithm>
#include <cstring>
#include <utility>

#include "net/grpc_backup.h"
#include "net/grpc_keep_alive.h"
#include "net/grpc_service.h"
#include "net/grpc_session.h"
#include "net/grpc_text.h"
#include "net/grpc_watch.h"

namespace capstan::net {

std::function<void()> GrpcSession::ready_of(const Call& call) {
  return [weak = weak_from_this(), stream = call.stream] {
    if (const auto self = weak.lock()) self->go_on(stream);
  };
}

void GrpcSession::open_talk(Call& call) {
  if (call.method == GrpcMethod::kWatch) return open_watch(call);
  if (call.method == GrpcMethod::kSnapshot) {
    return open_talk(call, std::make_unique<GrpcBackup>(asker_of(call), ready_of(call)));
  }
  if (call.method == GrpcMethod::kLeaseKeepAlive) {
    return open_talk(call, std::make_unique<GrpcKeepAlive>(asker_of(call), ready_of(call)));
  }
  if (is_of_services(call.method)) open_service_call(call);
}

void GrpcSession::open_watch(Call& call) {
  WatchOptions options;
  options.require_leader = call.wants_leader;
  options.ready = ready_of(call);
  std::unique_ptr<WatchStream> stream = asker_of(call).watch(std::move(options));
  if (stream == nullptr) return refuse_absent(call);
  open_talk(call, std::make_unique<GrpcWatch>(std::move(stream)));
}

void GrpcSession::open_service_call(Call& call) {
  if (context().options.mode == Mode::kAp) return refuse_absent(call);
  open_talk(call, std::make_unique<GrpcService>(asker_of(call), call.method, ready_of(call)));
}

void GrpcSession::open_talk(Call& call, std::unique_ptr<GrpcStream> talk) {
  call.talk = std::move(talk);
  call.handled = true;
  HeaderBlock headers;
  headers.constant(":status", "200");
  headers.constant("content-type", "application/grpc");
  respond(call, headers, read_talk);
}

void GrpcSession::take_talk(Call& call, ByteView bytes) {
  call.talk->receive(bytes);
  give_back(call);
  const std::size_t kept = call.talk->buffered();
  if (context().take_buffer(kept)) {
    call.budget = kept;
  } else {
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, Reason::kOverloaded);
    call.talk->end({status.code, std::string(status.text), Reason::kOverloaded});
  }
  go_on(call.stream);
}

void GrpcSession::end_talk(Call& call, GrpcStream::End how) {
  call.talk->end(std::move(how));
  give_back(call);
  go_on(call.stream);
}

void GrpcSession::go_on(std::int32_t stream) {
  if (broken_) return;
  nghttp2_session_resume_data(h2_, stream);  // refused if it is not waiting, which is no matter
  wake();
}

ssize_t GrpcSession::read_talk(nghttp2_session* h2, std::int32_t stream, std::uint8_t* to,
                               std::size_t room, std::uint32_t* flags, nghttp2_data_source* source,
                               void* self) {
  Call& call = *static_cast<Call*>(source->ptr);
  auto& session = *static_cast<GrpcSession*>(self);
  if (call.sent == call.out.size()) {
    call.out.clear();
    call.sent = 0;
    if (call.talk->produce(call.out)) {
      session.add_pending(static_cast<std::ptrdiff_t>(call.out.size()));
    } else if (!call.talk->ended()) {
      return NGHTTP2_ERR_DEFERRED;
    }
  }
  const std::size_t bytes = std::min(room, call.out.size() - call.sent);
  std::memcpy(to, call.out.data() + call.sent, bytes);
  call.sent += bytes;
  session.add_pending(-static_cast<std::ptrdiff_t>(bytes));
  if (call.sent == call.out.size() && call.talk->ended()) {
    const GrpcStream::End& end = *call.talk->ended();
    session.count_end(call, end.code);
    const std::string message = percent_encoded(ByteView(end.text).substr(0, kDetailBytesMax));
    const std::string detail = percent_encoded(ByteView(end.detail).substr(0, kDetailBytesMax));
    HeaderBlock trailers;
    trailers.constant("grpc-status", status_text(end.code));
    trailers.add("grpc-message", message);
    if (end.reason != Reason::kNone) trailers.constant("capstan-reason", to_text(end.reason));
    if (!detail.empty()) trailers.add_unique("capstan-detail", detail);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(h2, stream, trailers.data(), trailers.size());
  }
  return static_cast<ssize_t>(bytes);
}

}  // namespace capstan::net
