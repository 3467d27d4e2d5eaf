// A scripted HTTP/2 client against a gRPC session: writes frames by hand, well formed or not, and
// reads what comes back frame by frame.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/grpc_server.h"
#include "tests/support/fake_handler.h"

struct nghttp2_hd_inflater;

namespace capstan::test {

enum H2Type : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kResetStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
inline constexpr std::uint8_t kAck = 1, kEndStream = 1, kEndHeaders = 4;
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

using Headers = std::vector<std::pair<std::string, std::string>>;

struct H2Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string payload;
  std::map<std::string, std::string> headers;  // of a HEADERS frame, decoded
  std::uint32_t number(std::size_t at) const;  // big-endian, of the payload
};

std::string h2_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                     std::string_view payload);
std::string h2_number(std::uint32_t value);
// Literals without compression.
std::string h2_headers(const Headers& headers);
// A gRPC message: prefix and bytes.
std::string grpc_message(std::string_view bytes);
// Headers of a call of `path`, with `more` at the end.
Headers call_headers(std::string_view path, const Headers& more = {});
// A whole unary call: HEADERS, then DATA of up to 16 KiB each, the last with END_STREAM.
std::string h2_call(std::uint32_t stream, std::string_view path, std::string_view message,
                    const Headers& more = {});

// Protobuf by hand, so that nothing of ours checks itself.
std::string pb_bytes(unsigned field, std::string_view bytes);
std::string pb_number(unsigned field, std::uint64_t value);

class H2Script {
 public:
  H2Script();
  ~H2Script();

  FakeHandler handler;
  net::DoorOptions options;
  net::DoorContext context{handler, options, {}, 1000};
  std::shared_ptr<net::Session> session;

  // Preface and empty SETTINGS with the server's answer taken off.
  void greet();
  // What the server has to say now.
  std::vector<H2Frame> hear();
  std::vector<H2Frame> say(std::string_view bytes) {
    session->receive(bytes);
    return hear();
  }

 private:
  nghttp2_hd_inflater* inflater_ = nullptr;
};

// The frames of one stream, and of those the last HEADERS (the trailers).
std::vector<H2Frame> of_stream(const std::vector<H2Frame>& frames, std::uint32_t stream);
// Points into `frames`, which must therefore have a name.
const H2Frame* first_of(const std::vector<H2Frame>& frames, std::uint8_t type);
const H2Frame* first_of(std::vector<H2Frame>&&, std::uint8_t) = delete;
// grpc-status of the stream's end; "" if it has not ended in order.
std::string status_of(const std::vector<H2Frame>& frames, std::uint32_t stream);

}  // namespace capstan::test
