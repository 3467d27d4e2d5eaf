// Numbers nobody can guess, from the operating system: seeds of what runs, node ids, salts. Never
// called by a pure machine.
#pragma once

#include <sys/random.h>

#include <cstdint>

#include "core/check.h"

namespace capstan::node {

inline std::uint64_t entropy() {
  std::uint64_t value = 0;
  CAPSTAN_ASSERT(getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

}  // namespace capstan::node
