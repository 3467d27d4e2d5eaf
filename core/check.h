// CAPSTAN_ASSERT: what must be true of our own code, in every build.
//
// It is for mistakes of the program, never for the world (a full disk, a bad frame, a late packet):
// those are Result<T>. One condition an assert; it stays on in release builds, since a replica that
// goes on after a broken invariant is worse than one that stops.
#pragma once

#include <source_location>

namespace capstan {

// Prints `file:line: assertion failed: text` to stderr and aborts.
[[noreturn]] void assertion_failed(const char* text, std::source_location where);

}  // namespace capstan

#define CAPSTAN_ASSERT(condition)                                                               \
  (static_cast<bool>(condition)                                                                 \
       ? void(0)                                                                                \
       : ::capstan::assertion_failed(#condition, std::source_location::current()))
