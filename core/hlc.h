// Hybrid logical clock: one 64-bit stamp that follows wall time and never contradicts causality.
//
//   48 bits of milliseconds, then a 16-bit counter. A stamp drawn here exceeds every stamp drawn or
//   observed here before; a wall clock that stands still or goes back only makes the counter count.
//   A full counter borrows the next millisecond.
//
// Source  Kulkarni et al., "Logical Physical Clocks", OPODIS 2014.
#pragma once

#include <compare>
#include <cstdint>

#include "core/time.h"

namespace capstan {

struct Stamp {
  std::uint64_t value = 0;
  friend auto operator<=>(const Stamp&, const Stamp&) = default;
  Micros wall() const { return static_cast<Micros>(value >> 16) * kMillisecond; }
};

class Hlc {
 public:
  explicit Hlc(Stamp last = {}) : last_(last) {}

  // A fresh stamp, above all before it.
  Stamp draw(Micros wall) {
    const Stamp physical = at(wall);
    last_ = physical > last_ ? physical : Stamp{last_.value + 1};
    return last_;
  }
  // Another node's stamp was applied here: the next draw() will exceed it.
  void observe(Stamp other) {
    if (other > last_) last_ = other;
  }
  Stamp last() const { return last_; }

  static Stamp at(Micros wall) {
    return {static_cast<std::uint64_t>(wall < 0 ? 0 : wall / kMillisecond) << 16};
  }

 private:
  Stamp last_;
};

}  // namespace capstan
