// Result<T>: a value, or an Error that says what the world did to us.
//
// Errors are for difficulties (full disk, bad checksum, malformed frame). What a client is told is
// an Outcome and a Reason in core/request.h; our own mistakes are CAPSTAN_ASSERT.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace capstan {

enum class ErrorCode {
  kIo,          // a system call failed; context holds the call, the path and errno's text
  kNoSpace,     // ENOSPC or EDQUOT
  kCorrupt,     // a checksum, length or chain does not hold
  kMalformed,   // bytes that cannot be decoded
  kTooLarge,    // past a bound of core/limits.h
  kNotFound,
  kExists,
  kMismatch,    // another cluster, node, mode or format version
  kBusy,        // locked by another process
  kInvalid,     // an argument or a configuration that makes no sense
};

struct Error {
  ErrorCode code;
  std::string context;  // "wal 000017 at 4096: group checksum"
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(ErrorCode code, std::string context) {
  return std::unexpected(Error{code, std::move(context)});
}

}  // namespace capstan
