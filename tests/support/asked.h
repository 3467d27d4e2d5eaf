// How much of something a test is to do: as the suite's environment asks, or what is usual.
//
//   CAPSTAN_MUTATIONS      inputs for each decoder: 10000000 for a long walk
//   CAPSTAN_AP_SCHEDULES   schedules of AP; fewer where each takes long
#pragma once

#include <cstdint>
#include <cstdlib>

namespace capstan::test {

inline std::uint64_t asked(const char* name, std::uint64_t usual) {
  const char* wanted = std::getenv(name);
  return wanted == nullptr ? usual : std::strtoull(wanted, nullptr, 10);
}

inline std::uint64_t mutations(std::uint64_t usual) { return asked("CAPSTAN_MUTATIONS", usual); }
inline std::uint64_t ap_schedules(std::uint64_t usual) {
  return asked("CAPSTAN_AP_SCHEDULES", usual);
}

}  // namespace capstan::test
