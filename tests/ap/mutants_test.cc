// Each rule of the replica is broken once and must be missed. Only in a build with CAPSTAN_MUTANTS.
#ifdef CAPSTAN_MUTANTS

#include "ap/mutants.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/ap/directed.h"

namespace capstan::ap::test {
namespace {

class Planted {
 public:
  explicit Planted(bool& bug) : bug_(bug) { bug_ = true; }
  ~Planted() { bug_ = false; }

 private:
  bool& bug_;
};

// The first seed that notices, 0 if none of `count` does.
std::uint64_t first_broken(ScheduleOptions options, std::uint64_t count) {
  for (options.seed = 1; options.seed <= count; ++options.seed) {
    if (!Schedule(options).run().empty()) return options.seed;
  }
  return 0;
}

}  // namespace

TEST_CASE("mutants: every broken rule of the replica is caught") {
  struct Row {
    const char* name;
    bool* bug;
    std::uint64_t schedules;
  };
  const Row rows[] = {
      {"reuse_actor", &mutants::reuse_actor, 50},
      {"no_removal_index", &mutants::no_removal_index, 50},
      {"early_cover", &mutants::early_cover, 50},
      {"forget_ahead", &mutants::forget_ahead, 400},
      {"fifo_only", &mutants::fifo_only, 400},
      {"gc_unsafe", &mutants::gc_unsafe, 50},
  };
  for (const Row& row : rows) {
    INFO(std::string(row.name));
    const Planted planted(*row.bug);
    const std::uint64_t seed = first_broken({.nodes = 3}, row.schedules);
    CHECK(seed > 0);
    MESSAGE(std::string(row.name), " caught by seed ", seed);
  }
  {
    const Planted planted(mutants::gc_ack_only);
    CHECK(late_write_meets_tombstone() != "");
  }
  {
    const Planted planted(mutants::no_horizon);
    CHECK(old_copy_returns() != "");
  }
  {
    const Planted planted(mutants::keep_exposed);
    CHECK(early_write_meets_forgotten_delete() != "");
  }
  CHECK(late_write_meets_tombstone() == "");
  CHECK(old_copy_returns() == "");
  CHECK(early_write_meets_forgotten_delete() == "");
}

}  // namespace capstan::ap::test

#endif  // CAPSTAN_MUTANTS
