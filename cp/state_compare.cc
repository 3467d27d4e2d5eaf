#include "cp/state_compare.h"

#include "core/check.h"

namespace capstan::cp {

void StateCompare::applied(Index index, std::uint64_t fingerprint, Micros now) {
  CAPSTAN_ASSERT(ours_.empty() || index == next(last_));
  ours_.push_back(fingerprint);
  if (ours_.size() > kRemembered) ours_.pop_front();
  last_ = index;
  for (auto& [member, other] : others_) {
    if (!other.waiting || other.waiting->index > index) continue;
    compare(other, *std::exchange(other.waiting, std::nullopt), now);
  }
}

void StateCompare::heard(MemberId from, const StateDigest& theirs, Micros now) {
  Other& other = others_[from];
  if (ours_.empty() || theirs.index > last_) {
    other.waiting = theirs;
  } else {
    compare(other, theirs, now);
  }
}

std::optional<std::uint64_t> StateCompare::ours_at(Index index) const {
  const std::uint64_t back = last_.value - index.value;
  if (index > last_ || back >= ours_.size()) return std::nullopt;
  return ours_[ours_.size() - 1 - back];
}

void StateCompare::compare(Other& other, const StateDigest& theirs, Micros now) {
  const std::optional<std::uint64_t> ours = ours_at(theirs.index);
  if (!ours) return;
  if (*ours == theirs.fingerprint) {
    other.equal_at = now;
  } else if (!other.differed_at) {
    other.differed_at = theirs.index;
  }
}

StateCompare::Verdict StateCompare::verdict(MemberId member, Micros now) const {
  const auto at = others_.find(member);
  if (at == others_.end()) return {};
  const Other& other = at->second;
  Verdict verdict{Answer::kUnknown, other.equal_at, other.differed_at};
  if (other.differed_at) {
    verdict.answer = Answer::kDifferent;
  } else if (other.equal_at >= 0 && now - other.equal_at <= kFresh) {
    verdict.answer = Answer::kEqual;
  }
  return verdict;
}

std::string_view to_text(StateCompare::Answer answer) {
  switch (answer) {
    case StateCompare::Answer::kEqual:
      return "equal";
    case StateCompare::Answer::kDifferent:
      return "different";
    case StateCompare::Answer::kUnknown:
      return "unknown";
  }
  CAPSTAN_ASSERT(false && "an answer without a word");
  return {};
}

}  // namespace capstan::cp
