// The inside of a gRPC connection; net/grpc_server.cc (bytes, calls, responses) and
// net/grpc_talk.cc (calls that go on talking) include it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/asker.h"
#include "net/grpc_call.h"
#include "net/grpc_stream.h"
#include "net/session.h"

namespace capstan::net {

inline constexpr std::size_t kDetailBytesMax = 4096;

class GrpcSession final : public Session, public std::enable_shared_from_this<GrpcSession> {
 public:
  GrpcSession(DoorContext& context, std::function<void()> wake);
  ~GrpcSession() override;

  void receive(ByteView bytes) override;
  void produce(std::string& out, std::size_t room) override;
  bool finished() const override;
  void shut() override;
  void tick() override;
  std::size_t requests_in_flight() const override { return live_.size(); }

 private:
  // What nghttp2 calls.
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame*, void* self);
  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                       std::size_t name_bytes, const std::uint8_t* value, std::size_t value_bytes,
                       std::uint8_t flags, void* self);
  static int on_frame(nghttp2_session*, const nghttp2_frame*, void* self);
  static int on_data(nghttp2_session*, std::uint8_t flags, std::int32_t stream,
                     const std::uint8_t* data, std::size_t bytes, void* self);
  static int on_frame_sent(nghttp2_session*, const nghttp2_frame*, void* self);
  static int on_stream_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self);
  using ReadBody = ssize_t(nghttp2_session*, std::int32_t stream, std::uint8_t* to,
                           std::size_t room, std::uint32_t* flags, nghttp2_data_source* source,
                           void* self);
  static ReadBody read_talk;      // as the call goes on
  static ReadBody read_response;  // a message in call.out
  static nghttp2_session_callbacks* callbacks();

  Call* call_of(std::int32_t stream) {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(h2_, stream));
  }
  void watch_silence();
  void open_call(std::int32_t stream);
  void close_call(Call& call);
  static void take_header(Call& call, std::string_view name, std::string_view value);
  void headers_done(Call& call);
  void take_data(Call& call, ByteView bytes);
  void request_done(Call& call);
  void hand_over(Call& call, ByteView message);
  void answer_health(Call& call, ByteView message);
  void respond(Call& call, const HeaderBlock& headers, ReadBody* read);
  void answer(std::int32_t stream, Reply reply);
  void refuse_absent(Call& call);
  void refuse(Call& call, GrpcCode code, std::string_view message, Reply reply);
  void refuse(Call& call, GrpcCode code, std::string_view message, Reason reason) {
    Reply reply;
    reply.outcome = Outcome::kFailed;
    reply.reason = reason;
    refuse(call, code, message, std::move(reply));
  }

  // ---- grpc_talk.cc: calls that go on talking
  void open_talk(Call& call);  // if it is one
  void open_watch(Call& call);
  void open_service_call(Call& call);
  void open_talk(Call& call, std::unique_ptr<GrpcStream> talk);
  std::function<void()> ready_of(const Call& call);
  void take_talk(Call& call, ByteView bytes);
  void end_talk(Call& call, GrpcStream::End how);
  void go_on(std::int32_t stream);  // of a call that may have something to say

  void add_pending(std::ptrdiff_t bytes) {
    pending_out_bytes_ += static_cast<std::size_t>(bytes);
    context().counts.waiting_out_bytes += static_cast<std::uint64_t>(bytes);
  }
  // How the call ended, once.
  void count_end(Call& call, GrpcCode code) {
    if (std::exchange(call.counted, true) || !call.is_grpc) return;
    ++context().counts.grpc_handled[static_cast<std::size_t>(call.method)]
                                   [static_cast<std::size_t>(code)];
  }
  Asker asker_of(const Call& call) { return {context().handler, caller(call.token)}; }
  void give_back(Call& call) { context().give_buffer(std::exchange(call.budget, 0)); }

  nghttp2_session* h2_ = nullptr;
  std::vector<Call*> live_;                   // every open stream's, in no order
  std::vector<std::unique_ptr<Call>> calls_;  // owns all ever made
  std::vector<Call*> spare_;
  std::size_t pending_out_bytes_ = 0;  // of answered calls, not yet produced
  Micros last_heard_;                  // anything at all
  bool ping_sent_ = false;             // since then
  Micros next_deadline_ = 0;           // of live_, or earlier; 0: none
  bool shutting_ = false;
  bool broken_ = false;
};

}  // namespace capstan::net
