#include "tests/ap/schedule.h"

#include <doctest/doctest.h>

#include <cstdlib>

namespace capstan::ap::test {
namespace {

// CAPSTAN_AP_SCHEDULES=N runs N of each kind instead.
std::uint64_t schedules(std::uint64_t usual) {
  const char* asked = std::getenv("CAPSTAN_AP_SCHEDULES");
  return asked == nullptr ? usual : std::strtoull(asked, nullptr, 10);
}

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
  run_all({.nodes = 3}, schedules(600));
}

TEST_CASE("schedules: four replicas do too") { run_all({.nodes = 4}, schedules(300)); }

TEST_CASE("schedules: replicas agree although disks are wiped and put back from old copies") {
  run_all({.nodes = 3, .wipes = true}, schedules(600));
}

}  // namespace capstan::ap::test
