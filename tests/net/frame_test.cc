#include "net/frame.h"

#include <doctest/doctest.h>

#include <algorithm>

#include <optional>
#include <string>
#include <vector>

#include "core/random.h"
#include "tests/support/asked.h"

namespace capstan::net {
namespace {

constexpr ClusterId kCluster{0x1122334455667788};

struct Taken {
  FrameKind kind;
  std::string payload;
  friend bool operator==(const Taken&, const Taken&) = default;
};

// Everything a decoder gives for `bytes`, fed in pieces of random size up to `piece_max`.
struct Decoded {
  std::vector<Taken> frames;
  std::optional<ErrorCode> error;
  std::size_t capacity = 0;
};
Decoded decode(ByteView bytes, Rng& rng, std::size_t piece_max,
               FrameDecoder decoder = FrameDecoder()) {
  Decoded out;
  while (!bytes.empty() && !out.error) {
    const std::size_t size = std::min<std::size_t>(bytes.size(), 1 + rng.below(piece_max));
    decoder.feed(bytes.substr(0, size));
    bytes.remove_prefix(size);
    for (Frame frame;;) {
      const Result<bool> got = decoder.next(frame);
      if (!got) {
        out.error = got.error().code;
        break;
      }
      if (!*got) break;
      if (reinterpret_cast<std::uintptr_t>(frame.payload.data()) % 8 != 0) FAIL("not aligned");
      if (frame.cluster != kCluster) FAIL("another cluster");
      out.frames.push_back({frame.kind, std::string(frame.payload)});
    }
    out.capacity = std::max(out.capacity, decoder.capacity_bytes());
  }
  return out;
}

std::string random_bytes(Rng& rng, std::size_t size) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(rng.next());
  return out;
}

TEST_CASE("frame: the bytes are those of the document") {
  const std::string frame = encode_frame(FrameKind::kCp, kCluster, "capstan");
  CHECK(frame.size() == 40);
  CHECK(frame.substr(0, 20) == std::string("CAPF\x01\x10\0\0"
                                           "\x88\x77\x66\x55\x44\x33\x22\x11"
                                           "\x07\0\0\0",
                                           20));
  CHECK(frame.substr(32) == std::string("capstan\0", 8));
  CHECK(frame_bytes(0) == 32);
  CHECK(frame_bytes(8) == 40);
  CHECK(frame_bytes(9) == 48);
}

TEST_CASE("frame: whatever is sent comes back, however TCP cuts it, 8-byte aligned") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    std::vector<Taken> sent;
    std::string wire;
    for (std::size_t i = 0; i < 20; ++i) {
      const std::size_t size = rng.chance(0.1) ? rng.below(100'000) : rng.below(100);
      sent.push_back(
          {rng.chance(0.5) ? FrameKind::kCp : FrameKind::kPing, random_bytes(rng, size)});
      wire += encode_frame(sent.back().kind, kCluster, sent.back().payload);
    }
    const std::size_t piece_max = rng.chance(0.3) ? 7 : rng.chance(0.5) ? 200 : 128 * 1024;
    const Decoded got = decode(wire, rng, piece_max);
    CHECK(!got.error);
    CHECK((got.frames == sent));
  }
}

TEST_CASE("frame: no truncation yields a frame or an error, only a wait") {
  Rng rng(3);
  const std::string frame = encode_frame(FrameKind::kAp, kCluster, random_bytes(rng, 61));
  for (std::size_t size = 0; size < frame.size(); ++size) {
    CAPTURE(size);
    const Decoded got = decode(ByteView(frame).substr(0, size), rng, 16);
    CHECK(got.frames.empty());
    CHECK(!got.error);
  }
}

TEST_CASE("frame: every flipped bit is found, and in the header at once") {
  Rng rng(4);
  const std::string frame = encode_frame(FrameKind::kAp, kCluster, random_bytes(rng, 61));
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    CAPTURE(bit);
    std::string bad = frame;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const Decoded got = decode(bad, rng, 1000);
    CHECK(got.frames.empty());
    CHECK(got.error);
    // A broken length must not make anyone wait for bytes that never come.
    if (bit / 8 < 24) CHECK(decode(ByteView(bad).substr(0, 32), rng, 1000).error);
  }
}

TEST_CASE("frame: what is wrong is told apart") {
  Rng rng(5);
  const std::string frame = encode_frame(FrameKind::kAp, kCluster, "payload");
  const auto error_of = [&](std::string bytes) { return decode(bytes, rng, 1000).error.value(); };
  std::string other = frame;
  other[4] = 2;
  CHECK(error_of(other) == ErrorCode::kMismatch);
  CHECK(error_of("GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n") == ErrorCode::kMalformed);
  other = frame;
  other[32] ^= 1;
  CHECK(error_of(other) == ErrorCode::kCorrupt);
  other = frame;
  other.back() = 1;  // padding
  CHECK(error_of(other) == ErrorCode::kMalformed);

  const std::string large = encode_frame(FrameKind::kHello, kCluster, std::string(1000, 'x'));
  CHECK(decode(large.substr(0, 32), rng, 100, FrameDecoder(1000)).error == ErrorCode::kTooLarge);
  CHECK(decode(large, rng, 100, FrameDecoder(1032)).frames.size() == 1);
}

TEST_CASE("frame: after an error the decoder stays in it") {
  FrameDecoder decoder;
  Frame frame;
  decoder.feed("this is not a frame, it is a sentence");
  CHECK(!decoder.next(frame));
  decoder.feed(encode_frame(FrameKind::kAp, kCluster, "too late"));
  CHECK(!decoder.next(frame));
}

TEST_CASE("frame: a length merely announced reserves nothing") {
  Rng rng(6);
  const std::string frame =
      encode_frame(FrameKind::kAp, kCluster, std::string(kFrameBytesMax - kFrameHeaderBytes, 'x'));
  FrameDecoder decoder;
  Frame out;
  decoder.feed(ByteView(frame).substr(0, 1000));
  CHECK(decoder.next(out).value() == false);
  CHECK(decoder.capacity_bytes() <= 1008);
  decoder.feed(ByteView(frame).substr(1000));
  CHECK(decoder.next(out).value() == true);
  decoder.feed("CAPF");  // and a large buffer is given back once it is empty
  CHECK(decoder.capacity_bytes() <= 64);
}

// Bytes of valid frames, mutated: bits flipped, pieces cut out, repeated, swapped, made up.
std::string mutated(std::string wire, Rng& rng) {
  for (std::uint64_t n = 1 + rng.below(4); n > 0 && !wire.empty(); --n) {
    const std::size_t at = rng.below(wire.size());
    const std::size_t size = std::min<std::size_t>(rng.below(40), wire.size() - at);
    switch (rng.below(6)) {
      case 0:
        wire[at] = static_cast<char>(wire[at] ^ (1 << rng.below(8)));
        break;
      case 1:
        wire[at] = static_cast<char>(rng.next());
        break;
      case 2:
        wire.erase(at, size);
        break;
      case 3:
        wire.insert(at, wire.substr(at, size));
        break;
      case 4:
        wire.insert(at, random_bytes(rng, size));
        break;
      case 5:
        wire.resize(at);
        break;
    }
  }
  return wire;
}

TEST_CASE("frame: 100 000 mutated streams do no harm, and only frames that were sent come out") {
  Rng rng(20'26);
  std::vector<Taken> sent;
  std::vector<std::string> wires;
  for (std::size_t i = 0; i < 16; ++i) {
    sent.push_back({static_cast<FrameKind>(1 + i), random_bytes(rng, rng.below(300))});
    wires.push_back(encode_frame(sent.back().kind, kCluster, sent.back().payload));
  }
  const std::size_t runs = test::mutations(100'000);
  std::size_t frames = 0, errors = 0, forged = 0, capacity = 0;
  for (std::size_t run = 0; run < runs; ++run) {
    std::string wire;
    for (std::uint64_t n = 1 + rng.below(3); n > 0; --n) wire += wires[rng.below(wires.size())];
    const Decoded got = decode(mutated(std::move(wire), rng), rng, 1 + rng.below(400));
    for (const Taken& frame : got.frames) {
      ++frames;
      if (std::find(sent.begin(), sent.end(), frame) == sent.end()) ++forged;
    }
    errors += got.error ? 1 : 0;
    capacity = std::max(capacity, got.capacity);
  }
  CHECK(forged == 0);
  CHECK(frames > runs / 10);  // the mutations leave something to decode ...
  CHECK(errors > runs / 10);  // ... and something to find
  CHECK(capacity <= 4096);
}

}  // namespace
}  // namespace capstan::net
