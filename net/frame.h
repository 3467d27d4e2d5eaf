// What travels between nodes: frames. docs/formats.md has every byte.
//
//    0  4  magic "CAPF"          20  4  header check: low half of XXH3-64 of bytes 0..19
//    4  1  version, 1            24  8  checksum: XXH3-64 of the payload,
//    5  1  kind                          seeded with the XXH3-64 of bytes 0..19
//    6  2  flags, 0              32  n  payload
//    8  8  cluster id             .  .  zeros up to a multiple of 8
//   16  4  payload length n
//
// Little-endian. The header has a check of its own, so that a broken length is known for what it is
// before anyone waits for bytes that will never come. Frames are multiples of 8 bytes, so payloads
// come out of the decoder 8-byte aligned, as Cap'n Proto wants them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "core/types.h"

namespace capstan::net {

enum class FrameKind : std::uint8_t {
  // the links' own
  kHello = 1,   // who I am; the first frame on a connection, in each direction
  kGo = 2,      // dialler: this connection is the link
  kRefuse = 3,  // why not, as a sentence
  kPing = 4,
  kPong = 5,
  // the engines', opaque here
  kCp = 16,
  kAp = 17,
};
inline constexpr std::size_t kFrameKinds = 18;  // above the highest, for counters by kind
std::string_view to_text(FrameKind kind);       // hello, go, ..., cp, ap

inline constexpr std::uint8_t kFrameVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 32;

inline constexpr std::size_t frame_bytes(std::size_t payload_bytes) {
  return kFrameHeaderBytes + (payload_bytes + 7) / 8 * 8;
}

// The header of a frame with this payload, and how many zero bytes go behind the payload.
//   payload   at most kFrameBytesMax - kFrameHeaderBytes
std::array<char, kFrameHeaderBytes> frame_header(FrameKind kind, ClusterId cluster,
                                                 ByteView payload);
inline std::size_t frame_padding(std::size_t payload_bytes) { return (8 - payload_bytes % 8) % 8; }

// The whole frame as one string; for tests and small frames.
std::string encode_frame(FrameKind kind, ClusterId cluster, ByteView payload);

// False if bytes that begin so are no frames, of any version.
bool may_be_frame(ByteView first);

struct Frame {
  FrameKind kind = FrameKind::kPing;
  ClusterId cluster;
  ByteView payload;  // 8-byte aligned; valid until the decoder is fed again
};

// Bytes in, frames out, however TCP cut them.
//
//     decoder.feed(bytes);
//     for (Frame frame;;) {
//       Result<bool> got = decoder.next(frame);
//       if (!got) ...    close the connection; the decoder stays in error
//       if (!*got) ...   wait for more bytes
//     }
//
// Memory: what was fed and not yet taken, and never room for a length merely announced. A frame
// over `frame_bytes_max` is kTooLarge as soon as its header is there.
//   errors  kMalformed  not our magic, unknown flags, padding that is not zero
//           kMismatch   another version
//           kCorrupt    header check or checksum
//           kTooLarge
class FrameDecoder {
 public:
  explicit FrameDecoder(std::size_t frame_bytes_max = kFrameBytesMax)
      : frame_bytes_max_(frame_bytes_max) {}

  void feed(ByteView bytes);
  Result<bool> next(Frame& frame);  // true: `frame` holds one

  std::size_t buffered_bytes() const { return end_ - begin_; }
  std::size_t capacity_bytes() const { return words_.size() * 8; }
  void set_frame_bytes_max(std::size_t bytes) { frame_bytes_max_ = bytes; }

 private:
  Result<bool> try_next(Frame& frame);
  const char* data() const { return reinterpret_cast<const char*>(words_.data()); }
  char* data() { return reinterpret_cast<char*>(words_.data()); }

  // Bytes [begin_, end_) of words_ are unread; begin_ is a multiple of 8.
  std::vector<std::uint64_t> words_;
  std::size_t begin_ = 0, end_ = 0;
  std::size_t frame_bytes_max_;
  std::optional<Error> broken_;
};

}  // namespace capstan::net
