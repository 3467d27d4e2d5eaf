// The one place that says what a majority is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "core/types.h"
#include "cp/config.h"
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

// True if those for whom `holds(member)` is true decide: a majority of the voters and, in a joint
// configuration, one of the outgoing voters as well. [Diss §4.3]
template <class Holds>
bool has_quorum(const Config& config, const Holds& holds) {
  const auto half = [&holds](const std::vector<MemberId>& voters) {
    std::size_t count = 0;
    for (MemberId voter : voters) count += holds(voter) ? 1 : 0;
    return count >= quorum_of(voters.size());
  };
  if (Mutants::on(Mutant::kJointBySingleMajority)) return half(config.voters);
  return half(config.voters) && half(config.outgoing);
}

// The largest index that both halves hold; `matched(member)` is how far a member's log is known to
// go, durably.
template <class Matched>
Index quorum_index(const Config& config, const Matched& matched) {
  const auto half = [&matched](const std::vector<MemberId>& voters) {
    std::vector<Index> known;
    known.reserve(voters.size());
    for (MemberId voter : voters) known.push_back(matched(voter));
    return majority_index(std::move(known));
  };
  if (Mutants::on(Mutant::kLearnerCounted) && !config.learners.empty()) {
    std::vector<MemberId> all = config.everyone();
    return half(all);
  }
  const Index incoming = half(config.voters);
  if (Mutants::on(Mutant::kJointBySingleMajority)) return incoming;
  return config.joint() ? std::min(incoming, half(config.outgoing)) : incoming;
}

}  // namespace capstan::cp
