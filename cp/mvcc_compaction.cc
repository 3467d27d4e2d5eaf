// Compaction: forgetting, and removing what is forgotten.
#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/check.h"
#include "cp/mutants.h"
#include "cp/mvcc.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;

std::string encode(const Mvcc::Sweep& sweep) {
  std::string out;
  put_u8(out, kFormat);
  put_varint(out, sweep.swept.value);
  put_varint(out, sweep.target.value);
  put_place(out, sweep.next);
  return out;
}

Mvcc::Sweep decode_sweep(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t format = in.u8();
  CAPSTAN_ASSERT(format == kFormat);
  Mvcc::Sweep sweep;
  sweep.swept = {in.varint()};
  sweep.target = {in.varint()};
  sweep.next = read_place(in);
  CAPSTAN_ASSERT(in.done());
  return sweep;
}

Result<std::optional<std::string>> row_of(const BaseView& base, Space space, ByteView key) {
  std::optional<std::string> found;
  const Status scanned = base.scan(space, key, [&](ByteView at, ByteView value) {
    if (at == key) found = value;
    return false;
  });
  if (!scanned) return std::unexpected(scanned.error());
  return found;
}

}  // namespace

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

void Mvcc::load_sweep() {
  const auto bytes = table_.get(Space::kMeta, kSweepKey);
  sweep_ = bytes ? decode_sweep(*bytes) : Sweep{};
}

void Mvcc::begin_sweep(Revision target) {
  CAPSTAN_ASSERT(!sweep_.under_way() && target > sweep_.swept && target <= facts_.compacted);
  // From the last target on, inclusive: its deletes are still there.
  sweep_.next = {sweep_.swept.value, 0};
  sweep_.target = target;
}

Result<Mvcc::SweepSlice> Mvcc::sweep_slice(const BaseView& base, const Sweep& from,
                                           SweepBudget budget) {
  CAPSTAN_ASSERT(from.under_way());
  SweepSlice slice{from, {}};
  const auto erase = [&](Space space, std::string key) {
    slice.changes.push_back({space, std::move(key), std::nullopt});
  };
  struct Deleted {
    Place place;
    std::string key;
  };
  std::vector<Deleted> deleted;
  bool complete = true;
  const Status walked =
      base.scan(Space::kHistory, history_key(from.next), [&](ByteView at, ByteView bytes) {
        const Place place = read_history_key(at);
        if (place.revision > from.target.value) return false;
        if (budget.changes == 0 || budget.bytes == 0) {
          slice.after.next = place;
          return complete = false;
        }
        --budget.changes;
        budget.bytes -= std::min(budget.bytes, bytes.size());
        const ChangeView change = decode_change(bytes);
        if (change.prev && place.revision > from.swept.value) {
          erase(Space::kHistory, history_key(change.prev));
        }
        const bool goes =
            place.revision < from.target.value || Mutants::on(Mutant::kCompactionDropsNewestDelete);
        if (!change.head && goes) deleted.push_back({place, std::string(change.key)});
        return true;
      });
  if (!walked) return std::unexpected(walked.error());
  for (auto& [place, key] : deleted) {
    erase(Space::kHistory, history_key(place));
    const Result<std::optional<std::string>> gone = row_of(base, Space::kGone, key);
    if (!gone) return std::unexpected(gone.error());
    if (!*gone) continue;
    Reader in(**gone);
    if (read_tip(in).at == place) erase(Space::kGone, std::move(key));
  }
  if (complete) slice.after.swept = from.target;
  slice.changes.push_back({Space::kMeta, std::string(kSweepKey), encode(slice.after)});
  const auto place_of = [](const Change& change) { return std::tie(change.space, change.key); };
  std::ranges::sort(slice.changes, {}, place_of);
  const auto twice = std::ranges::unique(slice.changes, {}, place_of);
  slice.changes.erase(twice.begin(), twice.end());
  return slice;
}

}  // namespace capstan::cp
