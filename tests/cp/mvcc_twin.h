// A store with its table and base, and the obvious one to hold against it.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "core/key_range.h"
#include "core/random.h"
#include "cp/mvcc.h"
#include "tests/support/memory_base.h"

namespace capstan::test {

using namespace capstan::cp;

// The obvious store: every revision is a whole copy.
struct Twin {
  std::vector<std::map<std::string, KeyValue>> at{{}, {}};  // revision 1 is empty

  std::uint64_t revision() const { return at.size() - 1; }
  void put(const std::string& key, const std::string& value) {
    auto state = at.back();
    KeyValue& kv = state[key];
    if (kv.version == 0) kv.create_revision = {at.size()};
    kv.key = key;
    kv.value = value;
    kv.mod_revision = {at.size()};
    ++kv.version;
    at.push_back(std::move(state));
  }
  std::int64_t erase(const KeyBounds& bounds) {
    auto state = at.back();
    const auto deleted =
        std::erase_if(state, [&](auto& row) { return bounds.contains(row.first); });
    if (deleted > 0) at.push_back(std::move(state));
    return static_cast<std::int64_t>(deleted);
  }
  std::vector<KeyValue> range(const KeyBounds& bounds, std::uint64_t revision) const {
    std::vector<KeyValue> out;
    for (const auto& [key, kv] : at[revision]) {
      if (bounds.contains(key)) out.push_back(kv);
    }
    return out;
  }
};

struct Store {
  test::MemoryBase base;
  Table table{base};
  Mvcc mvcc{table};

  Revision put(std::string_view key, std::string_view value) {
    mvcc.begin();
    mvcc.put({key, value, 0, false, false, false});
    return mvcc.end();
  }
  std::int64_t erase(const KeyRange& range) {
    mvcc.begin();
    const auto out = mvcc.erase({range, false}).deleted;
    mvcc.end();
    return out;
  }
  // One slice of a sweep, as the keeper does it.
  void sweep(Mvcc::SweepBudget budget) {
    Mvcc::Sweep after;
    REQUIRE(base.amend([&](const BaseView& view) -> Result<std::vector<Change>> {
                  auto slice = Mvcc::sweep_slice(view, mvcc.sweep_state(), budget);
                  REQUIRE(slice);
                  after = slice->after;
                  return std::move(slice->changes);
                })
                .has_value());
    mvcc.swept(after);
  }
  void begin_sweep() {
    checkpoint();
    mvcc.begin_sweep(mvcc.facts().compacted);
  }
  // Everything in memory goes down, as by a checkpoint.
  void checkpoint() {
    const Table::Frozen frozen = table.freeze();
    REQUIRE(base.commit(*frozen).has_value());
    table.thaw_done();
  }
};

// Keys that lie badly: with zero bytes, prefixes of one another, and the highest byte.
inline const std::string kKeys[] = {std::string("\0", 1),
                                    "a",
                                    std::string("a\0", 2),
                                    std::string("a\0\0", 3),
                                    "ab",
                                    std::string("a\0\xff", 3),
                                    std::string("a\0\1", 3),
                                    "b",
                                    "b\xff",
                                    "\xff",
                                    "\xff\xff"};

inline KeyRange any_range(Rng& rng) {
  const auto key = [&] { return kKeys[rng.below(std::size(kKeys))]; };
  switch (rng.below(3)) {
    case 0:
      return {key(), ""};
    case 1:
      return {key(), std::string(1, '\0')};
    default:
      return {key(), key()};
  }
}

}  // namespace capstan::test
