// Two schedules that chance hardly ever draws, written by hand; each returns what it found broken.
#pragma once

#include <string>

#include "tests/ap/schedule.h"

namespace capstan::ap::test {

// C's write is held on its way to A; B and C have acknowledged A's later delete. A must keep its
// tombstone until the write has met it.
inline std::string late_write_meets_tombstone() {
  Schedule s({.nodes = 3});
  s.write(2, "a", "old");
  s.hold(2, 0);
  s.deliver(2, 1);
  s.pass(10);
  s.write(0, "a", std::nullopt);
  s.deliver(0, 1);
  s.deliver(0, 2);
  for (const std::size_t from : {1u, 2u}) {
    s.beat(from, 0);
    s.deliver(from, 0);
  }
  s.drop(0, 1);  // whatever A asked for
  s.drop(0, 2);
  s.tick(0, 5);
  if (s.replica(0).tombstones() != 1) return "collected too early";
  s.release();
  s.deliver(2, 0);
  if (s.value(0, "a")) return "a deleted value came back";
  s.heal();
  if (s.replica(0).tombstones() != 0) return "never collected";
  return s.check_end();
}

// A's disk is put back from a copy made before a delete that everybody has forgotten since.
inline std::string old_copy_returns() {
  Schedule s({.nodes = 3, .wipes = true});
  s.write(1, "a", "v");
  s.heal();
  s.back_up(0);
  s.write(1, "a", std::nullopt);
  s.heal();
  if (s.replica(1).tombstones() != 0) return "never collected";
  s.restore(0);
  if (s.value(0, "a") != "v") return "the copy is not what it was";
  s.heal();
  if (s.value(0, "a") || s.value(1, "a")) return "a deleted value came back";
  return s.check_end();
}

// A comes back on an empty disk and with a clock that is behind, and writes before it hears
// anybody: earlier than a delete that B has forgotten and C, for want of a beat, has not.
inline std::string early_write_meets_forgotten_delete() {
  Schedule s({.nodes = 3, .wipes = true});
  s.write(1, "a", "v");
  s.heal();
  s.pass(100);
  s.write(1, "a", std::nullopt);
  for (const std::size_t to : {0u, 2u}) {
    s.deliver(1, to);
    s.beat(to, 1);
    s.deliver(to, 1);
  }
  s.tick(1, 5);
  if (s.replica(1).tombstones() != 0 || s.replica(2).tombstones() != 1) return "not as described";
  s.wipe(0);
  s.set_behind(0, 1'000);
  s.write(0, "a", "early");
  s.heal();
  if (s.value(0, "a") != "early") return "the write is lost";
  return s.check_end();
}

// C has lost its disk and is in the middle of a full join from B, which has forgotten a delete; A,
// put back from a copy made before it, asks C.
inline std::string half_a_full_join_serves() {
  Schedule s({.nodes = 3, .wipes = true});
  for (const std::string& key : Schedule::keys()) s.write(1, key, "v");
  s.heal();
  s.back_up(0);
  const std::string& key = Schedule::keys().front();
  const Dot gone = s.write(1, key, std::nullopt);
  s.heal();
  if (s.replica(1).tombstones() != 0) return "never collected";
  s.wipe(2);
  const auto knows = [&](std::size_t node) {
    return s.replica(node).bucket_vector(bucket_of(key)).covers(gone);
  };
  for (int round = 0; round < 20 && !knows(2); ++round) {
    s.beat(1, 2);
    s.deliver(1, 2);
    s.beat(2, 1);
    s.deliver(2, 1);
    s.tick(2, 5);
  }
  if (!knows(2) || s.replica(2).vector().covers(gone)) return "not as described";
  s.drop(1, 2);
  s.drop(2, 1);
  s.restore(0);
  s.write(2, "d", "something to ask for");
  s.drop(2, 0);
  for (int round = 0; round < 40 && !knows(0); ++round) {
    s.beat(2, 0);
    s.deliver(2, 0);
    s.beat(0, 2);
    s.deliver(0, 2);
    s.tick(0, 15);
  }
  if (!knows(0)) return "never served";
  if (s.value(0, key)) return "covers the delete and shows what it deleted";
  s.heal();
  return s.check_end();
}

}  // namespace capstan::ap::test
