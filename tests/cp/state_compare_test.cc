#include "cp/state_compare.h"

#include <doctest/doctest.h>

using namespace capstan;
using namespace capstan::cp;

namespace {

constexpr MemberId kOther{2};

struct Ours {
  StateCompare compare;
  Micros now = 100 * kSecond;
  void apply(std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t index = from; index <= to; ++index) {
      compare.applied({index}, 1000 + index, now);
    }
  }
  void hear(std::uint64_t index, std::uint64_t fingerprint) {
    compare.heard(kOther, {{index}, fingerprint}, now);
  }
  std::string_view answer(Micros later = 0) const {
    return to_text(compare.verdict(kOther, now + later).answer);
  }
};

}  // namespace

TEST_CASE("states: equal is what was compared, and only for a minute") {
  Ours ours;
  CHECK(ours.answer() == "unknown");
  ours.apply(5, 9);
  CHECK(ours.answer() == "unknown");
  ours.hear(7, 1007);
  CHECK(ours.answer() == "equal");
  CHECK(ours.answer(60 * kSecond) == "equal");
  CHECK(ours.answer(61 * kSecond) == "unknown");
  CHECK(ours.compare.verdict(kOther, ours.now).equal_at == ours.now);
}

TEST_CASE("states: a word ahead of us waits until we come there") {
  Ours ours;
  ours.hear(12, 1012);
  ours.apply(5, 11);
  CHECK(ours.answer() == "unknown");
  ours.apply(12, 12);
  CHECK(ours.answer() == "equal");
}

TEST_CASE("states: different stands, whatever is heard later") {
  Ours ours;
  ours.apply(1, 9);
  ours.hear(9, 1);
  CHECK(ours.answer() == "different");
  CHECK(ours.compare.verdict(kOther, ours.now).differed_at == Index{9});
  ours.hear(8, 1008);
  CHECK(ours.answer(600 * kSecond) == "different");
}

TEST_CASE("states: what is not remembered is not guessed") {
  Ours ours;
  ours.apply(1, StateCompare::kRemembered + 10);
  ours.hear(10, 1);
  CHECK(ours.answer() == "unknown");
  ours.hear(11, 1011);
  CHECK(ours.answer() == "equal");
  // A snapshot jumps over what was waited for.
  ours.hear(StateCompare::kRemembered + 20, 7);
  ours.compare.reset();
  ours.apply(StateCompare::kRemembered + 30, StateCompare::kRemembered + 31);
  CHECK(ours.answer() == "equal");
  ours.hear(StateCompare::kRemembered + 29, 7);
  CHECK(ours.answer() == "equal");
}
