#include "net/frame.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::net {

namespace {

constexpr std::string_view kMagicText = "CAPF";
constexpr std::uint32_t kMagic = 0x46504143;  // the same, as it is read
constexpr std::size_t kCheckedBytes = 20;     // of the header, by the header check
constexpr std::size_t kKeepBytes =
    256 * 1024;  // a buffer larger than this is given back when empty

}  // namespace

std::string_view to_text(FrameKind kind) {
  switch (kind) {
    case FrameKind::kHello:
      return "hello";
    case FrameKind::kGo:
      return "go";
    case FrameKind::kRefuse:
      return "refuse";
    case FrameKind::kPing:
      return "ping";
    case FrameKind::kPong:
      return "pong";
    case FrameKind::kCp:
      return "cp";
    case FrameKind::kAp:
      return "ap";
  }
  return "unknown";
}

std::array<char, kFrameHeaderBytes> frame_header(FrameKind kind, ClusterId cluster,
                                                 ByteView payload) {
  CAPSTAN_ASSERT(payload.size() <= kFrameBytesMax - kFrameHeaderBytes);
  std::array<char, kFrameHeaderBytes> out{};
  const auto put = [&](std::size_t at, auto value) {
    std::memcpy(out.data() + at, &value, sizeof value);
  };
  put(0, kMagic);
  put(4, kFrameVersion);
  put(5, static_cast<std::uint8_t>(kind));
  put(8, cluster.value);
  put(16, static_cast<std::uint32_t>(payload.size()));
  const std::uint64_t seed = xxh3({out.data(), kCheckedBytes});
  put(kCheckedBytes, static_cast<std::uint32_t>(seed));
  put(24, xxh3(payload, seed));
  return out;
}

std::string encode_frame(FrameKind kind, ClusterId cluster, ByteView payload) {
  const std::array<char, kFrameHeaderBytes> header = frame_header(kind, cluster, payload);
  std::string out(header.data(), header.size());
  out.append(payload);
  out.append(frame_padding(payload.size()), '\0');
  return out;
}

void FrameDecoder::feed(ByteView bytes) {
  if (bytes.empty() || broken_) return;
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (words_.size() * 8 > kKeepBytes) words_ = {};
  }
  if (end_ + bytes.size() > words_.size() * 8) {
    // First to the front, then, if that is not enough, to a larger place.
    if (begin_ != end_) std::memmove(data(), data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
    const std::size_t words = (end_ + bytes.size() + 7) / 8;
    if (words > words_.size()) words_.resize(std::max(words, words_.size() * 3 / 2));
  }
  std::memcpy(data() + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
}

Result<bool> FrameDecoder::next(Frame& frame) {
  if (!broken_) {
    Result<bool> got = try_next(frame);
    if (got) return got;
    broken_ = got.error();
  }
  return std::unexpected(*broken_);
}

bool may_be_frame(ByteView first) {
  const std::size_t size = std::min(first.size(), kMagicText.size());
  return first.substr(0, size) == kMagicText.substr(0, size);
}

Result<bool> FrameDecoder::try_next(Frame& frame) {
  if (end_ - begin_ < kFrameHeaderBytes) return false;
  const ByteView header(data() + begin_, kFrameHeaderBytes);
  Reader in(header);
  if (in.u32() != kMagic) return fail(ErrorCode::kMalformed, "frame: not a peer of Capstan");
  const std::uint8_t version = in.u8();
  // Before the check: another version may check something else.
  if (version != kFrameVersion) {
    return fail(ErrorCode::kMismatch, "frame: version " + std::to_string(version) + ", ours is " +
                                          std::to_string(kFrameVersion));
  }
  const std::uint8_t kind = in.u8();
  const ByteView flags = in.raw(2);
  const ClusterId cluster{in.u64()};
  const std::size_t size = in.u32();
  const std::uint64_t seed = xxh3(header.substr(0, kCheckedBytes));
  if (in.u32() != static_cast<std::uint32_t>(seed)) {
    return fail(ErrorCode::kCorrupt, "frame: header check");
  }
  if (flags != ByteView("\0\0", 2)) return fail(ErrorCode::kMalformed, "frame: unknown flags");
  if (size > frame_bytes_max_ - kFrameHeaderBytes) {
    return fail(ErrorCode::kTooLarge, "frame: " + std::to_string(size) + " bytes");
  }
  if (end_ - begin_ < frame_bytes(size)) return false;
  const ByteView payload(data() + begin_ + kFrameHeaderBytes, size);
  if (in.u64() != xxh3(payload, seed)) return fail(ErrorCode::kCorrupt, "frame: checksum");
  const ByteView padding(payload.data() + size, frame_padding(size));
  if (padding.find_first_not_of('\0') != ByteView::npos) {
    return fail(ErrorCode::kMalformed, "frame: padding");
  }
  frame = {.kind = static_cast<FrameKind>(kind), .cluster = cluster, .payload = payload};
  begin_ += frame_bytes(size);
  return true;
}

}  // namespace capstan::net
