#include "lab/plan.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"

namespace capstan::lab {
namespace {

// Draws keys: uniformly, or the i-th hottest with weight 1 / i^0.99 (Zipf).
class KeyDraw {
 public:
  KeyDraw(std::uint32_t keys, bool zipf) : keys_(keys) {
    if (!zipf) return;
    double sum = 0;
    for (std::uint32_t i = 1; i <= keys; ++i) {
      sum += 1.0 / std::pow(i, 0.99);
      reached_.push_back(sum);
    }
  }
  std::string draw(Rng& rng) const {
    std::uint64_t index = 0;
    if (reached_.empty()) {
      index = rng.below(keys_);
    } else {
      const double dice = static_cast<double>(rng.next() >> 11) * 0x1.0p-53 * reached_.back();
      index =
          static_cast<std::uint64_t>(std::ranges::upper_bound(reached_, dice) - reached_.begin());
      index = std::min<std::uint64_t>(index, keys_ - 1);
    }
    std::string digits = std::to_string(index);
    return "k" + std::string(digits.size() < 3 ? 3 - digits.size() : 0, '0') + digits;
  }

 private:
  std::uint32_t keys_;
  std::vector<double> reached_;
};

}  // namespace

PlanOptions quick(PlanOptions options) {
  options.cut_at = kSecond;
  options.heal_at = 3 * kSecond + 500 * kMillisecond;
  options.load_end = 4 * kSecond + 500 * kMillisecond;
  return options;
}

std::vector<PlannedOperation> plan_load(const PlanOptions& options) {
  const KeyDraw keys(options.keys, options.zipf);
  Rng rng{options.seed};
  std::vector<PlannedOperation> plan;
  const auto stream = [&](std::uint32_t node, OpKind kind, std::uint32_t per_second) {
    Rng own = rng.split();
    for (std::int64_t slot = 0;; ++slot) {
      const Micros begin = slot * kSecond / per_second;
      const Micros length = (slot + 1) * kSecond / per_second - begin;
      if (begin >= options.load_end) return;
      plan.push_back({.at = begin + own.between(0, std::max<Micros>(length - 1, 0)),
                      .node = node,
                      .kind = kind,
                      .key = keys.draw(own)});
    }
  };
  for (std::uint32_t node = 0; node < options.nodes; ++node) {
    stream(node, OpKind::kPut, options.writes_per_second);
    stream(node, OpKind::kGet, 2 * options.writes_per_second);
  }
  std::ranges::stable_sort(plan, {}, &PlannedOperation::at);
  std::uint64_t number = 0;
  for (PlannedOperation& op : plan) {
    if (op.kind == OpKind::kPut) op.value = "v" + std::to_string(++number);
  }
  return plan;
}

}  // namespace capstan::lab
