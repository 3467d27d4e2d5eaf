// What a stranger can send to the peer port: frames, however cut, and hellos inside of them.
//
// Random bytes never pass the checks of a frame, so the input is a script rather than a stream: the
// first byte of each step says what to do, so that the fuzzer can forge whole frames around
// payloads of its choice or around an edited hello, break them, cut them anywhere, or send raw
// bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/coding.h"
#include "net/frame.h"
#include "net/peer_hello.h"
#include "tests/fuzz/reached.h"

namespace {

using namespace capstan;
using namespace capstan::net;

constexpr std::size_t kFrameMax = 64 * 1024;

// A valid hello with bytes changed: (position, value) pairs.
std::string edited_hello(ByteView edits) {
  Hello hello;
  hello.name = "n1";
  hello.members = {{"n1", "127.0.0.1:2380"}, {"n2", "127.0.0.1:2480"}};
  hello.client_urls = {"http://127.0.0.1:2379"};
  std::string bytes = encode_hello(hello);
  for (; edits.size() >= 2; edits.remove_prefix(2)) {
    bytes[static_cast<std::uint8_t>(edits[0]) % bytes.size()] = edits[1];
  }
  return bytes;
}

// The stream that a script describes.
std::string stream_of(Reader& script) {
  std::string out;
  while (!script.done() && script.ok() && out.size() < 4 * kFrameMax) {
    const std::uint8_t step = script.u8();
    const ByteView bytes = script.raw(script.u8());
    if (step % 4 == 0) {
      out += bytes;
    } else {
      const std::string payload = step % 4 == 3 ? edited_hello(bytes) : std::string(bytes);
      std::string frame = encode_frame(static_cast<FrameKind>(step / 4), ClusterId{step}, payload);
      if (step % 4 == 1 && !bytes.empty()) {
        frame[static_cast<std::uint8_t>(bytes[0]) % frame.size()] ^= bytes.back();
      }
      out += frame;
    }
  }
  return out;
}

test::Reached frames("frames"), hellos("hellos");

void decode_and_compare(ByteView payload) {
  const Result<Hello> hello = decode_hello(payload);
  hellos.saw(hello.has_value());
  if (!hello) return;
  const Result<Hello> again = decode_hello(encode_hello(*hello));
  CAPSTAN_ASSERT(again.has_value());
  CAPSTAN_ASSERT(again->name == hello->name);
  CAPSTAN_ASSERT(again->members == hello->members);
  Hello ours;
  ours.name = "n1";
  for (char c : mismatch(ours, *hello).value_or("")) CAPSTAN_ASSERT(c >= ' ' && c <= '~');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader script(ByteView(reinterpret_cast<const char*>(data), size));
  const std::size_t piece = 1 + script.u8();
  const std::string stream = stream_of(script);
  FrameDecoder decoder(kFrameMax);
  for (ByteView rest = stream; !rest.empty();) {
    decoder.feed(rest.substr(0, piece));
    rest.remove_prefix(std::min(piece, rest.size()));
    for (Frame frame;;) {
      const Result<bool> got = decoder.next(frame);
      if (!got || *got) frames.saw(got.has_value());
      if (!got) return 0;
      if (!*got) break;
      CAPSTAN_ASSERT(reinterpret_cast<std::uintptr_t>(frame.payload.data()) % 8 == 0);
      CAPSTAN_ASSERT(frame_bytes(frame.payload.size()) <= kFrameMax + 8);
      decode_and_compare(frame.payload);
    }
    CAPSTAN_ASSERT(decoder.capacity_bytes() <= 2 * (kFrameMax + piece));
  }
  decode_and_compare(ByteView(reinterpret_cast<const char*>(data), size));
  return 0;
}
