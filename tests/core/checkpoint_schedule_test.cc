#include "core/checkpoint_schedule.h"

#include <doctest/doctest.h>

#include <vector>

using namespace capstan;

namespace {

EngineConfig member(std::uint64_t self, std::size_t count) {
  EngineConfig config;
  for (std::uint64_t id = 1; id <= count; ++id) config.members.push_back({{id}, ""});
  config.self = {self};
  config.checkpoint_table_bytes = 900;
  config.checkpoint_interval = 90;
  return config;
}

}  // namespace

TEST_CASE("checkpoints: members that take the same writes never begin one together") {
  std::vector<CheckpointSchedule> schedules;
  for (std::uint64_t id = 1; id <= 3; ++id) schedules.emplace_back(member(id, 3));
  std::vector<std::size_t> table(3, 0);
  std::vector<int> begun(3, 0);
  for (int step = 0; step < 90; ++step) {
    int now_begun = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      table[i] += 100;
      if (!schedules[i].due(table[i], 0)) continue;
      schedules[i].begun(0);
      table[i] = 0;
      ++begun[i];
      ++now_begun;
    }
    CHECK(now_begun <= 1);
  }
  CHECK(begun == std::vector<int>{10, 10, 10});
}

TEST_CASE("checkpoints: without many writes time makes one due, counted from the first look") {
  CheckpointSchedule last(member(3, 3));
  CHECK(!last.due(1, 1000));
  CHECK(!last.due(1, 1089));
  CHECK(last.due(1, 1090));
  last.begun(1090);
  CHECK(!last.due(899, 1179));
  CHECK(last.due(900, 1179));
  CHECK(last.due(1, 1180));
  CheckpointSchedule first(member(1, 3));
  CHECK(!first.due(1, 1000));
  CHECK(first.due(1, 1030));
}
