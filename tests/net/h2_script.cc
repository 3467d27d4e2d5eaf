#include "tests/net/h2_script.h"

#include <nghttp2/nghttp2.h>

#include "core/check.h"

namespace capstan::test {

namespace {

// An HPACK integer with a prefix of 7 bits, the eighth clear.
std::string hpack_string(std::string_view text) {
  std::string out;
  std::size_t size = text.size();
  if (size < 127) {
    out.push_back(static_cast<char>(size));
  } else {
    out.push_back(127);
    for (size -= 127; size >= 128; size /= 128) out.push_back(static_cast<char>(size % 128 + 128));
    out.push_back(static_cast<char>(size));
  }
  return out.append(text);
}

}  // namespace

std::uint32_t H2Frame::number(std::size_t at) const {
  CAPSTAN_ASSERT(at + 4 <= payload.size());
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = (value << 8) | static_cast<std::uint8_t>(payload[at + i]);
  }
  return value;
}

std::string h2_number(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

std::string h2_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                     std::string_view payload) {
  std::string out = h2_number(static_cast<std::uint32_t>(payload.size())).substr(1);
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  return out.append(h2_number(stream)).append(payload);
}

std::string h2_headers(const Headers& headers) {
  std::string out;
  for (const auto& [name, value] : headers) {
    out.push_back(0);
    out += hpack_string(name);
    out += hpack_string(value);
  }
  return out;
}

std::string grpc_message(std::string_view bytes) {
  return std::string(1, '\0')
      .append(h2_number(static_cast<std::uint32_t>(bytes.size())))
      .append(bytes);
}

Headers call_headers(std::string_view path, const Headers& more) {
  Headers headers{{":method", "POST"},
                  {":scheme", "http"},
                  {":path", std::string(path)},
                  {":authority", "127.0.0.1:2379"},
                  {"content-type", "application/grpc"},
                  {"te", "trailers"}};
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}

std::string h2_call(std::uint32_t stream, std::string_view path, std::string_view message,
                    const Headers& more) {
  constexpr std::size_t kFrameBytesMax = 16384;
  std::string out = h2_frame(kHeaders, kEndHeaders, stream, h2_headers(call_headers(path, more)));
  const std::string body = grpc_message(message);
  for (std::size_t at = 0; at < body.size(); at += kFrameBytesMax) {
    const bool last = at + kFrameBytesMax >= body.size();
    out += h2_frame(kData, last ? kEndStream : 0, stream, body.substr(at, kFrameBytesMax));
  }
  return out;
}

std::string pb_number(unsigned field, std::uint64_t value) {
  std::string out(1, static_cast<char>(field << 3));
  for (; value >= 128; value /= 128) out.push_back(static_cast<char>(value % 128 + 128));
  out.push_back(static_cast<char>(value));
  return out;
}

std::string pb_bytes(unsigned field, std::string_view bytes) {
  std::string out = pb_number(field, bytes.size());
  out[0] = static_cast<char>((field << 3) | 2);
  return out.append(bytes);
}

H2Script::H2Script() {
  session = net::make_grpc_session(context, [] {});
  CAPSTAN_ASSERT(nghttp2_hd_inflate_new(&inflater_) == 0);
}

H2Script::~H2Script() { nghttp2_hd_inflate_del(inflater_); }

void H2Script::greet() {
  say(std::string(kPreface) + h2_frame(kSettings, 0, 0, ""));
  say(h2_frame(kSettings, kAck, 0, ""));
}

std::vector<H2Frame> H2Script::hear() {
  std::string out;
  for (std::size_t before = 1; before != out.size();) {
    before = out.size();
    session->produce(out, 64 * 1024);
  }
  std::vector<H2Frame> frames;
  for (std::size_t at = 0; at < out.size();) {
    CAPSTAN_ASSERT(at + 9 <= out.size());
    const auto byte = [&](std::size_t i) {
      return static_cast<std::uint32_t>(static_cast<std::uint8_t>(out[at + i]));
    };
    const std::size_t size = (byte(0) << 16) | (byte(1) << 8) | byte(2);
    H2Frame frame;
    frame.type = static_cast<std::uint8_t>(byte(3));
    frame.flags = static_cast<std::uint8_t>(byte(4));
    frame.stream = (byte(5) << 24) | (byte(6) << 16) | (byte(7) << 8) | byte(8);
    CAPSTAN_ASSERT(at + 9 + size <= out.size());
    frame.payload = out.substr(at + 9, size);
    at += 9 + size;
    const auto* in = reinterpret_cast<const std::uint8_t*>(frame.payload.data());
    std::size_t left = frame.type == kHeaders ? frame.payload.size() : 0;
    while (left > 0) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t taken = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, in, left, 1);
      CAPSTAN_ASSERT(taken >= 0);
      in += taken;
      left -= static_cast<std::size_t>(taken);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        frame.headers[{reinterpret_cast<const char*>(field.name), field.namelen}] = {
            reinterpret_cast<const char*>(field.value), field.valuelen};
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater_);
        break;
      }
    }
    frames.push_back(std::move(frame));
  }
  return frames;
}

std::vector<H2Frame> of_stream(const std::vector<H2Frame>& frames, std::uint32_t stream) {
  std::vector<H2Frame> out;
  for (const H2Frame& frame : frames) {
    if (frame.stream == stream && frame.type != kWindowUpdate) out.push_back(frame);
  }
  return out;
}

const H2Frame* first_of(const std::vector<H2Frame>& frames, std::uint8_t type) {
  for (const H2Frame& frame : frames) {
    if (frame.type == type) return &frame;
  }
  return nullptr;
}

std::string status_of(const std::vector<H2Frame>& frames, std::uint32_t stream) {
  for (const H2Frame& frame : of_stream(frames, stream)) {
    const auto status = frame.headers.find("grpc-status");
    if ((frame.flags & kEndStream) != 0 && status != frame.headers.end()) return status->second;
  }
  return "";
}

}  // namespace capstan::test
