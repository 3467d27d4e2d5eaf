// The small texts of gRPC over HTTP/2: percent-encoded messages, timeouts, the 5-byte prefix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"
#include "core/types.h"

namespace capstan::net {

// grpc-message: everything but printable ASCII, and '%' itself, becomes %XX.
std::string percent_encoded(std::string_view text);
// Lenient, as the specification asks: a broken escape stays as it is.
std::string percent_decoded(std::string_view text);

// "4991724u", "3S": 1 to 8 digits and H M S m u n. Rounded up to a microsecond; nullopt if
// malformed.
std::optional<Micros> parse_grpc_timeout(std::string_view text);
// At most 8 digits, in the finest unit that fits; never shorter than what was asked.
std::string grpc_timeout_text(Micros timeout);

inline constexpr std::size_t kGrpcPrefixBytes = 5;
// A flag (1: compressed) and a big-endian length.
struct GrpcPrefix {
  bool compressed = false;
  std::uint32_t length = 0;
};
// `bytes` holds at least kGrpcPrefixBytes.
GrpcPrefix parse_grpc_prefix(ByteView bytes);
void write_grpc_prefix(char* to, std::uint32_t length);

}  // namespace capstan::net
