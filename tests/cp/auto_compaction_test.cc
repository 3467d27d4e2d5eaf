#include "cp/auto_compaction.h"

#include <doctest/doctest.h>

using namespace capstan;

namespace {

constexpr Micros kMinute = 60 * kSecond;

// One tick a second; a revision a second, from 1 on. What is due is compacted at once.
struct Hours {
  explicit Hours(CompactionRule rule) : compaction(rule) {}
  cp::AutoCompaction compaction;
  std::uint64_t second = 0, compacted = 0;
  int times = 0;
  bool leads = true, works = true;

  void pass(Micros time) {
    for (const std::uint64_t end = second + static_cast<std::uint64_t>(time / kSecond);
         second < end; ++second) {
      const Revision due =
          compaction.due(static_cast<Micros>(second) * kSecond, {1 + second}, {compacted}, leads);
      if (!due) continue;
      ++times;
      if (works) compacted = due.value;
    }
  }
};

}  // namespace

TEST_CASE("auto compaction: without a rule nothing is ever due") {
  Hours hours({});
  hours.pass(600 * kMinute);
  CHECK(hours.times == 0);
}

TEST_CASE("auto compaction: by age, what is younger stays, and it comes every such age") {
  Hours hours({.keep_for = 10 * kMinute});
  hours.pass(10 * kMinute);
  CHECK(hours.times == 0);
  hours.pass(kMinute + 2 * kSecond);
  CHECK(hours.times == 1);
  CHECK(hours.compacted <= hours.second - 600);
  hours.pass(100 * kMinute);
  CHECK(hours.times >= 9);
  CHECK(hours.times <= 11);
  CHECK(hours.compacted <= hours.second - 600);
  CHECK(hours.compacted + 2 * 660 + 2 > hours.second);  // and what is older goes
}

TEST_CASE("auto compaction: of many hours, every hour") {
  Hours hours({.keep_for = 8 * 60 * kMinute});
  hours.pass(8 * 60 * kMinute);
  CHECK(hours.times == 0);
  hours.pass(10 * 60 * kMinute);
  CHECK(hours.times >= 9);
  CHECK(hours.times <= 11);
  CHECK(hours.compacted <= hours.second - 8 * 3600);
}

TEST_CASE("auto compaction: by number, the last so many stay") {
  Hours hours({.keep_revisions = 1000});
  hours.pass(16 * kMinute);
  CHECK(hours.times == 0);
  hours.pass(14 * kMinute);
  CHECK(hours.times == 3);
  CHECK(hours.compacted + 1000 <= hours.second);
  CHECK(hours.compacted + 1000 + 301 > hours.second);
}

TEST_CASE("auto compaction: only the leader asks, and a new one goes on where the old one was") {
  Hours hours({.keep_for = 10 * kMinute});
  hours.leads = false;
  hours.pass(60 * kMinute);
  CHECK(hours.times == 0);
  hours.leads = true;
  hours.pass(2 * kSecond);
  CHECK(hours.times == 1);
}

TEST_CASE("auto compaction: what came to nothing is asked for again, not at once") {
  Hours hours({.keep_for = 10 * kMinute});
  hours.works = false;
  hours.pass(21 * kMinute);
  CHECK(hours.times >= 9);
  CHECK(hours.times <= 11);
}
