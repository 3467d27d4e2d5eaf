// What a comparison is going to do, all of it decided by the seed before anything starts: when the
// network is cut and healed, and every operation of the load with its moment, node, key and value.
// Both clusters get the same plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/time.h"
#include "lab/history.h"
#include "lab/sides.h"

namespace capstan::lab {

struct PlanOptions {
  std::uint64_t seed = 7;
  std::uint32_t nodes = 3;
  std::uint32_t keys = 500;
  std::uint32_t writes_per_second = 200;  // at each node; twice as many reads
  bool zipf = false;                      // some keys far hotter than others; else all alike
  Sides sides = first_alone(3);           // of the cut; every node is on one
  // From the start of the load. The load goes on for a while after the heal.
  Micros cut_at = 3 * kSecond;
  Micros heal_at = 11 * kSecond;
  Micros load_end = 14 * kSecond;
};

// The whole about 20 s, or with --quick about 6 s, set-up and settling included.
PlanOptions quick(PlanOptions options);

struct PlannedOperation {
  Micros at = 0;
  std::uint32_t node = 0;
  OpKind kind = OpKind::kGet;
  std::string key;
  std::string value{};  // put: unique in the plan
  friend bool operator==(const PlannedOperation&, const PlannedOperation&) = default;
};

// Ordered by time. Each node's writes are one to a slot of 1 / writes_per_second, at a random
// moment of it: the counts are exact, the moments do not march in step.
std::vector<PlannedOperation> plan_load(const PlanOptions& options);

}  // namespace capstan::lab
