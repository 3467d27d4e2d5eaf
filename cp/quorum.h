// The one place that says what a majority is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "core/types.h"
#include "cp/mutants.h"

namespace capstan::cp {

// How many of `voters` make a majority; 0 for no voters.
inline std::size_t quorum_of(std::size_t voters) {
  if (Mutants::on(Mutant::kQuorumIsHalf)) return std::max<std::size_t>(voters / 2, 1);
  return voters == 0 ? 0 : voters / 2 + 1;
}

// The largest index a majority holds; one entry a voter, 0 where nothing is known. Takes its
// argument by value: sorts it.
inline Index majority_index(std::vector<Index> matched) {
  if (matched.empty()) return {};
  std::ranges::sort(matched, std::greater<>{});
  return matched[quorum_of(matched.size()) - 1];
}

}  // namespace capstan::cp
