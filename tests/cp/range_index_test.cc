#include "cp/range_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <set>

#include "core/random.h"

using namespace capstan;
using namespace capstan::cp;

namespace {

struct Item {
  KeyBounds bounds;
  std::size_t place = 0;
};

std::string random_key(Rng& rng) {
  std::string key;
  for (std::uint64_t n = rng.below(4); n > 0; --n) {
    key += "\0abc\xff"[rng.below(5)];
  }
  return key;
}

std::set<const Item*> found_by(const RangeIndex<Item>& index, const std::string& key) {
  std::set<const Item*> out;
  index.each(key, [&](Item& item) {
    const bool first = out.insert(&item).second;
    CHECK(first);
  });
  return out;
}

}  // namespace

TEST_CASE("range index: finds exactly the ranges that hold a key, whatever comes and goes") {
  Rng rng(1);
  for (int run = 0; run < 200; ++run) {
    RangeIndex<Item> index;
    std::vector<std::unique_ptr<Item>> items;
    for (int step = 0; step < 60; ++step) {
      if (!items.empty() && rng.chance(0.4)) {
        const auto victim = items.begin() + static_cast<std::ptrdiff_t>(rng.below(items.size()));
        index.erase((*victim)->bounds, victim->get());
        items.erase(victim);
      } else {
        KeyRange range{random_key(rng), rng.chance(0.3)   ? ""
                                        : rng.chance(0.2) ? std::string(1, '\0')
                                                          : random_key(rng)};
        const KeyBounds bounds(range);
        if (bounds.empty()) continue;
        items.push_back(std::make_unique<Item>(Item{bounds}));
        index.insert(bounds, items.back().get());
      }
      CHECK(index.size() == items.size());
      const std::string key = random_key(rng);
      std::set<const Item*> want;
      for (const auto& item : items) {
        if (item->bounds.contains(key)) want.insert(item.get());
      }
      REQUIRE(found_by(index, key) == want);
    }
  }
}

TEST_CASE("range index: ranges in order make no list of it") {
  RangeIndex<Item> index;
  std::vector<std::unique_ptr<Item>> items;
  for (int i = 0; i < 100'000; ++i) {
    std::string key = std::to_string(1'000'000 + i);
    items.push_back(std::make_unique<Item>(Item{KeyBounds(KeyRange{key, ""})}));
    index.insert(items.back()->bounds, items.back().get());
  }
  CHECK(found_by(index, "1050000").size() == 1);
  CHECK(found_by(index, "10500001").empty());
  for (const auto& item : items) index.erase(item->bounds, item.get());
  CHECK(index.size() == 0);
}
