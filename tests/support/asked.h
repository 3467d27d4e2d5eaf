// How much of something a test is to do, as the suite's environment asks.
//
//   CAPSTAN_SHARE=20             that many per cent of what is usual: in builds that are slow
//   CAPSTAN_MUTATIONS=10000000   inputs for each decoder: for a long walk
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace capstan::test {

inline std::uint64_t number_asked(const char* name, std::uint64_t otherwise) {
  const char* asked = std::getenv(name);
  return asked == nullptr ? otherwise : std::strtoull(asked, nullptr, 10);
}

// At least one.
inline std::uint64_t share_of(std::uint64_t usual) {
  return std::max<std::uint64_t>(1, usual * number_asked("CAPSTAN_SHARE", 100) / 100);
}

inline std::uint64_t mutations(std::uint64_t usual) {
  return number_asked("CAPSTAN_MUTATIONS", share_of(usual));
}

}  // namespace capstan::test
