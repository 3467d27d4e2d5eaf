// Compaction: forgetting, and removing what is forgotten.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "cp/mutants.h"
#include "cp/mvcc.h"

namespace capstan::cp {

std::optional<Refusal> Mvcc::compact(std::int64_t revision) {
  const auto wanted = static_cast<std::uint64_t>(revision);
  if (revision <= 0 || wanted <= facts_.compacted.value) {
    return Refusal{Reason::kCompacted, "revision " + std::to_string(revision) +
                                           " has been compacted; history begins at " +
                                           std::to_string(facts_.compacted.value)};
  }
  if (auto refusal = check_revision(revision)) return refusal;
  facts_.compacted = {wanted};
  return std::nullopt;
}

void Mvcc::begin_sweep() {
  CAPSTAN_ASSERT(!sweep_.under_way() && facts_.compacted > sweep_.swept);
  // From the last target on, inclusive: its deletes are still there.
  sweep_.next = {sweep_.swept.value, 0};
  sweep_.target = facts_.compacted;
}

void Mvcc::sweep(SweepBudget budget) {
  CAPSTAN_ASSERT(sweep_.under_way());
  struct Deleted {
    Place place;
    std::string key;
  };
  std::vector<Place> superseded;
  std::vector<Deleted> deleted;
  const Place end{sweep_.target.value + 1, 0};
  bool complete = true;
  table_.scan(Space::kHistory, history_key(sweep_.next), history_key(end),
              [&](ByteView at, ByteView bytes) {
                const Place place = read_history_key(at);
                if (budget.changes == 0 || budget.bytes == 0) {
                  sweep_.next = place;
                  return complete = false;
                }
                --budget.changes;
                budget.bytes -= std::min(budget.bytes, bytes.size());
                const ChangeView change = decode_change(bytes);
                if (change.prev && place.revision > sweep_.swept.value) {
                  superseded.push_back(change.prev);
                }
                const bool goes = place.revision < sweep_.target.value ||
                                  Mutants::on(Mutant::kCompactionDropsNewestDelete);
                if (!change.head && goes) deleted.push_back({place, std::string(change.key)});
                return true;
              });
  for (Place place : superseded) table_.erase(Space::kHistory, history_key(place));
  for (const auto& [place, key] : deleted) {
    table_.erase(Space::kHistory, history_key(place));
    const auto gone = table_.get(Space::kGone, key);
    if (!gone) continue;
    Reader in(*gone);
    if (read_tip(in).at == place) table_.erase(Space::kGone, key);
  }
  if (complete) sweep_.swept = sweep_.target;
}

}  // namespace capstan::cp
