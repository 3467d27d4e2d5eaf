#include "cp/quorum.h"

#include <doctest/doctest.h>

#include "core/random.h"

using namespace capstan;
using namespace capstan::cp;

TEST_CASE("quorum: the committed index is the largest one a majority holds") {
  struct Row {
    std::vector<Index> matched;
    Index want;
  };
  const Row rows[] = {
      {{}, {0}},                         // nobody to ask
      {{{7}}, {7}},                      // alone, we are the majority
      {{{7}, {3}}, {3}},                 // two members need both
      {{{9}, {9}, {1}}, {9}},            // one may lag
      {{{9}, {9}, {1}, {1}}, {1}},       // half is not a majority
      {{{9}, {9}, {1}, {1}, {1}}, {1}},  // a fast minority commits nothing
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    CHECK(majority_index(row.matched) == row.want);
  }
}

TEST_CASE("quorum: it agrees with counting, for every index and any members") {
  Rng rng{7};
  for (int i = 0; i < 2000; ++i) {
    std::vector<Index> matched(1 + rng.below(9));
    for (Index& index : matched) index = {rng.below(12)};
    // The slow twin: try each index from above.
    Index want;
    for (std::uint64_t index = 12; index > 0 && !want; --index) {
      std::size_t holders = 0;
      for (Index m : matched) holders += m.value >= index;
      if (2 * holders > matched.size()) want = {index};
    }
    CHECK(majority_index(matched) == want);
  }
}

TEST_CASE("quorum: any two majorities meet") {
  for (std::size_t n = 1; n <= 32; ++n) CHECK(2 * quorum_of(n) > n);
}
