#include "net/grpc_text.h"

#include "core/check.h"

namespace capstan::net {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string percent_encoded(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e && c != '%') {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
        hex_digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::optional<Micros> parse_grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  Micros value = 0;
  for (char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  switch (text.back()) {
    case 'H':
      return value * 3600 * kSecond;
    case 'M':
      return value * 60 * kSecond;
    case 'S':
      return value * kSecond;
    case 'm':
      return value * kMillisecond;
    case 'u':
      return value;
    case 'n':
      return (value + 999) / 1000;
    default:
      return std::nullopt;
  }
}

std::string grpc_timeout_text(Micros timeout) {
  constexpr Micros kEightDigits = 99'999'999;
  struct Unit {
    Micros length;
    char letter;
  };
  for (const Unit unit :
       {Unit{1, 'u'}, Unit{kMillisecond, 'm'}, Unit{kSecond, 'S'}, Unit{60 * kSecond, 'M'}}) {
    const Micros count = (timeout + unit.length - 1) / unit.length;
    if (count <= kEightDigits) return std::to_string(count < 0 ? 0 : count) + unit.letter;
  }
  return "99999999M";
}

GrpcPrefix parse_grpc_prefix(ByteView bytes) {
  CAPSTAN_ASSERT(bytes.size() >= kGrpcPrefixBytes);
  GrpcPrefix prefix;
  prefix.compressed = bytes[0] != 0;
  for (std::size_t i = 1; i < kGrpcPrefixBytes; ++i) {
    prefix.length = (prefix.length << 8) | static_cast<unsigned char>(bytes[i]);
  }
  return prefix;
}

void write_grpc_prefix(char* to, std::uint32_t length) {
  to[0] = 0;
  to[1] = static_cast<char>(length >> 24);
  to[2] = static_cast<char>(length >> 16);
  to[3] = static_cast<char>(length >> 8);
  to[4] = static_cast<char>(length);
}

}  // namespace capstan::net
