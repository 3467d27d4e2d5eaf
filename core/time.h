// Time is handed in. Machines see a Now at the start of each turn and count ticks; nobody below
// net/ reads a clock.
#pragma once

#include <cstdint>
#include <string>

namespace capstan {

using Micros = std::int64_t;

inline constexpr Micros kMillisecond = 1'000;
inline constexpr Micros kSecond = 1'000'000;
inline constexpr Micros kTick = 10 * kMillisecond;

// "4.1 s", never more than it was; of durations from 0 on.
std::string seconds_text(Micros duration);

struct Now {
  Micros monotonic = 0;  // CLOCK_BOOTTIME: never steps, counts suspend; the origin means nothing
  Micros wall = 0;       // since 1970; may step either way; only HLCs and people use it
};

}  // namespace capstan
