#include "core/table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "core/random.h"
#include "tests/support/memory_base.h"

namespace capstan {
namespace {

using Twin = std::map<std::pair<Space, std::string>, std::string>;
using Rows = std::vector<std::pair<std::string, std::string>>;
constexpr std::array kSpaces = {Space::kMeta, Space::kNow, Space::kConflict};

std::string drawn_key(Rng& rng) {
  std::string key(1, static_cast<char>('a' + rng.below(3)));
  for (std::uint64_t more = rng.below(3); more > 0; --more) {
    key += static_cast<char>(rng.chance(0.2) ? 0xff : 'a' + static_cast<int>(rng.below(4)));
  }
  return key;
}

Rows in_range(const Twin& twin, Space space, const std::string& from, const std::string& to) {
  Rows rows;
  for (const auto& [key, value] : twin) {
    const bool inside = key.second >= from && (to.empty() || key.second < to);
    if (key.first == space && inside) rows.emplace_back(key.second, value);
  }
  return rows;
}

void check_against(const Table& table, const Twin& twin, Rng& rng) {
  const Space space = kSpaces[rng.below(kSpaces.size())];
  const std::string key = drawn_key(rng);
  const auto it = twin.find({space, key});
  CHECK((table.get(space, key) == (it == twin.end() ? std::nullopt : std::optional(it->second))));
  const std::string from = rng.chance(0.3) ? "" : drawn_key(rng);
  const std::string to = rng.chance(0.3) ? "" : drawn_key(rng);
  Rows want = in_range(twin, space, from, to);
  const std::size_t limit = rng.chance(0.5) ? 1 + rng.below(5) : 1'000'000;
  for (const bool back : {false, true}) {
    Rows got;
    const Visitor visit = [&](ByteView k, ByteView v) {
      got.emplace_back(k, v);
      return got.size() < limit;
    };
    if (back) {
      table.scan_back(space, from, to, visit);
      std::ranges::reverse(want);
    } else {
      table.scan(space, from, to, visit);
    }
    Rows expected = want;
    expected.resize(std::min(limit, want.size()));
    CHECK((got == expected));
  }
}

TEST_CASE(
    "table: reads and scans are those of a std::map, whatever is active, frozen or in the base") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed ", seed);
    Rng rng{seed};
    test::MemoryBase base;
    Table table(base);
    Twin twin;
    Table::Frozen frozen;
    bool committed = false;
    for (int step = 0; step < 400; ++step) {
      const Space space = kSpaces[rng.below(kSpaces.size())];
      const std::string key = drawn_key(rng);
      switch (rng.below(12)) {
        case 0:
          if (frozen == nullptr) {
            frozen = table.freeze();
            committed = false;
          }
          break;
        case 1:  // the keeper is done, and the loop does not know it yet
          if (frozen != nullptr && !committed) {
            REQUIRE(base.commit(*frozen).has_value());
            committed = true;
          }
          break;
        case 2:
          if (frozen != nullptr && committed) {
            frozen = nullptr;
            table.thaw_done();
          }
          break;
        case 3:
        case 4:
        case 5:
          table.erase(space, key);
          twin.erase({space, key});
          break;
        default: {
          const std::string value = std::to_string(rng.next());
          table.put(space, key, value);
          twin[{space, key}] = value;
        }
      }
      check_against(table, twin, rng);
    }
  }
}

TEST_CASE("table: a frozen part is sorted, has no key twice, and does not change") {
  test::MemoryBase base;
  Table table(base);
  table.put(Space::kNow, "b", "1");
  table.put(Space::kNow, "a", "2");
  table.put(Space::kMeta, "z", "3");
  table.put(Space::kNow, "b", "4");
  table.erase(Space::kNow, "c");
  const Table::Frozen frozen = table.freeze();
  CHECK(table.freezing());
  table.put(Space::kNow, "a", "later");
  std::string seen;
  frozen->each([&](const ChangeRef& change) {
    seen += std::string(change.key) + "=" + std::string(change.value.value_or("-")) + " ";
    return true;
  });
  CHECK(seen == "z=3 a=2 b=4 c=- ");
  CHECK(*table.get(Space::kNow, "a") == "later");
  CHECK(*table.get(Space::kNow, "b") == "4");
}

TEST_CASE("table: bytes count what is active, and start anew with a freeze or a reset") {
  test::MemoryBase base;
  Table table(base);
  CHECK(table.bytes() == 0);
  table.put(Space::kNow, "key", std::string(1000, 'v'));
  CHECK(table.bytes() >= 1003);
  table.freeze();
  CHECK(table.bytes() == 0);
  table.put(Space::kNow, "key", "x");
  table.reset();
  CHECK(table.bytes() == 0);
  CHECK(!table.freezing());
  CHECK(table.get(Space::kNow, "key") == std::nullopt);
}

TEST_CASE("table: a base that cannot answer stops the process, it does not say no") {
  test::MemoryBase base;
  REQUIRE(base.commit({{Space::kNow, "k", "v"}}).has_value());
  base.rot(Space::kNow, "k");
  std::vector<ErrorCode> fatal;
  Table table(base, [&](const Error& error) { fatal.push_back(error.code); });
  table.get(Space::kNow, "k");
  table.scan(Space::kNow, "", "", [](ByteView, ByteView) { return true; });
  table.scan_back(Space::kNow, "", "", [](ByteView, ByteView) { return true; });
  CHECK(fatal == std::vector(3, ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace capstan
