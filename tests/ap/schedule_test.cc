#include "tests/ap/schedule.h"

#include <doctest/doctest.h>

#include "tests/support/asked.h"

namespace capstan::ap::test {
namespace {

void run_all(ScheduleOptions options, std::uint64_t count) {
  Schedule::Counts total;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    options.seed = seed;
    Schedule schedule(options);
    const std::string broken = schedule.run();
    INFO("seed ", seed, " nodes ", options.nodes);
    REQUIRE(broken == "");
    total.writes += schedule.counts().writes;
    total.losses += schedule.counts().losses;
    total.syncs += schedule.counts().syncs;
    total.full_syncs += schedule.counts().full_syncs;
    total.crashes += schedule.counts().crashes;
  }
  // The schedules must really do what they are for.
  CHECK(total.writes > 30 * count);
  CHECK(total.syncs > count);
  MESSAGE("schedules ", count, ", writes ", total.writes, ", losses ", total.losses, ", syncs ",
          total.syncs, " and ", total.full_syncs, " full, crashes ", total.crashes);
}

}  // namespace

TEST_CASE("schedules: three replicas agree and account for every write, whatever is lost") {
  run_all({.nodes = 3}, capstan::test::share_of(600));
}

TEST_CASE("schedules: four replicas do too") {
  run_all({.nodes = 4}, capstan::test::share_of(300));
}

TEST_CASE("schedules: replicas agree although disks are wiped and put back from old copies") {
  run_all({.nodes = 3, .wipes = true}, capstan::test::share_of(600));
}

}  // namespace capstan::ap::test
