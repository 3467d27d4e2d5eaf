// One gRPC call of a session and the headers of its answer; only net/grpc_server.cc includes it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "core/check.h"
#include "core/time.h"
#include "core/types.h"
#include "net/grpc_messages.h"
#include "net/grpc_stream.h"
#include "net/reasons.h"

namespace capstan::net {

// One request on its stream, from its first header until the stream closes.
struct Call {
  std::int32_t stream = 0;
  std::size_t place = 0;  // in live_
  GrpcMethod method = GrpcMethod::kUnknown;
  bool is_post = false;
  bool is_grpc = false;
  bool request_ended = false;  // the client has said all
  bool handled = false;        // the handler has it
  bool answered = false;       // a response was submitted
  bool writes = false;
  bool counted = false;     // how it ended
  bool bad_header = false;  // a capstan-* or grpc-timeout header that makes no sense
  std::string path;         // only if the method is unknown
  std::string encoding;     // empty: identity
  std::string request_id;
  std::string token;
  Epoch epoch;
  Micros timeout = 0;                // 0: none
  Micros deadline = 0;               // monotonic; 0: none
  std::string body;                  // of the request, prefix included
  std::size_t budget = 0;            // of DoorContext, taken for body
  std::string out;                   // of the response, prefix included
  std::size_t sent = 0;              // of out
  bool wants_leader = false;         // metadata of a watch
  std::unique_ptr<GrpcStream> talk;  // then the response goes on until it ends

  // Back to a fresh one, but for the room of the strings that small messages reuse.
  void clear() {
    constexpr std::size_t kKeep = 16 * 1024;  // a large message must not stay in the pool
    std::string kept_body = std::move(body), kept_out = std::move(out);
    kept_body.clear();
    kept_out.clear();
    *this = Call{};
    if (kept_body.capacity() <= kKeep) body = std::move(kept_body);
    if (kept_out.capacity() <= kKeep) out = std::move(kept_out);
  }
};

// Headers of one response on the stack. Texts given to add() must live until it is submitted;
// nghttp2 copies them unless they are constants.
class HeaderBlock {
 public:
  void constant(std::string_view name, std::string_view value) {
    push(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE);
  }
  void add(std::string_view name, std::string_view value) {
    push(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME);
  }
  // Differs each time: keep it out of the compression table.
  void add_unique(std::string_view name, std::string_view value) {
    push(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX);
  }
  const nghttp2_nv* data() const { return fields_.data(); }
  std::size_t size() const { return size_; }

 private:
  void push(std::string_view name, std::string_view value, unsigned flags) {
    CAPSTAN_ASSERT(size_ < fields_.size());
    fields_[size_++] = {bytes_of(name), bytes_of(value), name.size(), value.size(),
                        static_cast<std::uint8_t>(flags)};
  }
  static std::uint8_t* bytes_of(std::string_view text) {  // nghttp2 takes no pointer to const
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  }
  std::array<nghttp2_nv, 16> fields_;
  std::size_t size_ = 0;
};

inline std::string_view status_text(GrpcCode code) {
  constexpr std::array<std::string_view, 17> kTexts{
      "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};
  return kTexts[static_cast<std::size_t>(code)];
}

}  // namespace capstan::net
