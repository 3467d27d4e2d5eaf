// Any bytes at the gRPC side of the front door, preface given: HTTP/2, gRPC framing, protobuf. The
// first byte says how the input is cut into reads.
#include <cstdint>

#include "core/check.h"
#include "net/grpc_server.h"
#include "tests/support/fake_handler.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan;
  if (size == 0) return 0;
  const std::size_t step = std::size_t{data[0]} + 1;
  ByteView rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  test::FakeHandler handler;
  handler.defer_answers = (data[0] & 1) != 0;
  const net::DoorOptions options;
  net::DoorContext context{handler, options, {}, 1};
  auto session = net::make_grpc_session(context, [] {});
  session->receive("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  while (!rest.empty() && !session->finished()) {
    session->receive(rest.substr(0, step));
    rest.remove_prefix(std::min(step, rest.size()));
    std::string out;
    session->produce(out, 64 * 1024);
  }
  handler.answer_waiting();
  std::string out;
  session->produce(out, 64 * 1024);
  session.reset();
  CAPSTAN_ASSERT(context.counts.buffered_bytes == 0);
  return 0;
}
