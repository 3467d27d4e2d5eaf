// One list of tests for every base: LMDB's and the one in memory must not differ.
#include "core/base.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/random.h"
#include "tests/support/memory_base.h"
#include "tests/support/temp_dir.h"

namespace capstan {
namespace {

constexpr std::uint64_t kMapBytes = 1ull << 30;
using Rows = std::vector<std::pair<std::string, std::string>>;

struct OfLmdb {
  test::TempDir directory;
  std::unique_ptr<Base> base = opened();
  std::unique_ptr<Base> opened() const {
    Result<std::unique_ptr<Base>> base = open_lmdb_base(directory.path(), kMapBytes);
    REQUIRE_MESSAGE(base.has_value(), (base ? "" : base.error().context));
    return *std::move(base);
  }
  void restart() {
    base = nullptr;  // LMDB forbids two environments of one file in a process
    base = opened();
  }
};

struct InMemory {
  std::unique_ptr<Base> base = std::make_unique<test::MemoryBase>();
  void restart() {
    auto contents = static_cast<test::MemoryBase&>(*base).contents();
    base = std::make_unique<test::MemoryBase>(std::move(contents));
  }
};

#define EVERY_BASE OfLmdb, InMemory

Change put(Space space, std::string key, std::string value) {
  return {space, std::move(key), std::move(value)};
}
Change erase(Space space, std::string key) { return {space, std::move(key), std::nullopt}; }

Rows scanned(const Base& base, Space space, ByteView from, ByteView to, bool back = false) {
  Rows rows;
  const Visitor visit = [&](ByteView key, ByteView value) {
    rows.emplace_back(key, value);
    return true;
  };
  const Status done =
      back ? base.scan_back(space, from, to, visit) : base.scan(space, from, to, visit);
  REQUIRE(done.has_value());
  return rows;
}

TEST_CASE_TEMPLATE("base: a commit is seen at once and after a restart", T, EVERY_BASE) {
  T one;
  REQUIRE(one.base->commit({put(Space::kMeta, "a", "1"), put(Space::kNow, "a", "2")}).has_value());
  for (int round = 0; round < 2; ++round) {
    CHECK(*one.base->get(Space::kMeta, "a") == "1");
    CHECK(*one.base->get(Space::kNow, "a") == "2");
    CHECK(*one.base->get(Space::kGone, "a") == std::nullopt);
    CHECK(*one.base->get(Space::kNow, "b") == std::nullopt);
    one.restart();
  }
  REQUIRE(one.base->commit({erase(Space::kMeta, "a"), put(Space::kNow, "a", "")}).has_value());
  CHECK(*one.base->get(Space::kMeta, "a") == std::nullopt);
  CHECK(*one.base->get(Space::kNow, "a") == "");
  CHECK(one.base->bytes_used() > 0);
}

// Keys of all lengths, many sharing long prefixes, so that a scheme for long ones is put to the
// test.
std::string drawn_key(Rng& rng) {
  static const std::size_t lengths[] = {1, 2, 3, 200, 479, 480, 481, 482, 500, 511, 512, 600, 5000};
  const std::size_t length = lengths[rng.below(std::size(lengths))];
  std::string key(length, static_cast<char>('a' + rng.below(2)));
  for (int change = 0; change < 2; ++change) {
    if (rng.chance(0.5)) key[rng.below(length)] = static_cast<char>(rng.below(256));
  }
  if (rng.chance(0.3)) key.back() = static_cast<char>(rng.below(256));
  return key;
}

TEST_CASE_TEMPLATE("base: random commits read and scan like a std::map, both ways", T, EVERY_BASE) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    INFO("seed ", seed);
    Rng rng{seed};
    T one;
    std::map<std::string, std::string> twin;
    for (int round = 0; round < 12; ++round) {
      std::map<std::string, std::optional<std::string>> batch;
      for (int i = 0; i < 40; ++i) {
        const bool known = !twin.empty() && rng.chance(0.3);
        std::string key = drawn_key(rng);
        if (known) key = std::next(twin.begin(), static_cast<long>(rng.below(twin.size())))->first;
        batch[key] =
            rng.chance(0.3)
                ? std::nullopt
                : std::optional(std::string(rng.below(900), 'v') + std::to_string(rng.next()));
      }
      std::vector<Change> changes;
      for (const auto& [key, value] : batch) {
        changes.push_back({Space::kNow, key, value});
        if (value) {
          twin[key] = *value;
        } else {
          twin.erase(key);
        }
      }
      REQUIRE(one.base->commit(changes).has_value());
      if (round % 5 == 4) one.restart();
      for (int probe = 0; probe < 30; ++probe) {
        const std::string from = drawn_key(rng);
        const std::string to = rng.chance(0.2) ? "" : drawn_key(rng);
        const auto low = twin.lower_bound(from);
        const auto high = to.empty() ? twin.end() : twin.lower_bound(to);
        Rows want;
        if (to.empty() || from < to) want.assign(low, high);
        CHECK((scanned(*one.base, Space::kNow, from, to) == want));
        std::ranges::reverse(want);
        CHECK((scanned(*one.base, Space::kNow, from, to, true) == want));
        const auto it = twin.find(from);
        const auto got = *one.base->get(Space::kNow, from);
        CHECK((got == (it == twin.end() ? std::nullopt : std::optional(it->second))));
      }
    }
    Rows all(twin.begin(), twin.end());
    CHECK((scanned(*one.base, Space::kNow, "", "") == all));
    CHECK(scanned(*one.base, Space::kHistory, "", "").empty());
  }
}

TEST_CASE_TEMPLATE("base: the longest key goes in and comes out", T, EVERY_BASE) {
  T one;
  const std::string longest(kKeyBytesMax + 16, 'k');
  REQUIRE(one.base->commit({put(Space::kGone, longest, "v")}).has_value());
  CHECK(*one.base->get(Space::kGone, longest) == "v");
  CHECK(*one.base->get(Space::kGone, longest.substr(1)) == std::nullopt);
}

TEST_CASE_TEMPLATE("base: a scan stops when told, and may read while it goes", T, EVERY_BASE) {
  T one;
  std::vector<Change> changes;
  for (char c = 'a'; c <= 'z'; ++c) changes.push_back(put(Space::kNow, std::string(1, c), "v"));
  REQUIRE(one.base->commit(changes).has_value());
  std::string seen;
  REQUIRE(one.base
              ->scan(Space::kNow, "c", "",
                     [&](ByteView key, ByteView) {
                       CHECK(one.base->get(Space::kNow, key)->has_value());
                       seen += key;
                       return key != "f";
                     })
              .has_value());
  CHECK(seen == "cdef");
}

TEST_CASE_TEMPLATE("base: a view stays as it was, through commits and an install", T, EVERY_BASE) {
  T one;
  REQUIRE(one.base->commit({put(Space::kNow, "a", "old")}).has_value());
  Result<std::unique_ptr<BaseView>> view = one.base->view();
  REQUIRE(view.has_value());
  REQUIRE(one.base->commit({put(Space::kNow, "a", "new"), put(Space::kNow, "b", "x")}).has_value());
  REQUIRE(one.base->stage({put(Space::kNow, "c", "staged")}).has_value());
  REQUIRE(one.base->install().has_value());
  Rows rows;
  REQUIRE((*view)
              ->scan(Space::kNow, "",
                     [&](ByteView key, ByteView value) {
                       rows.emplace_back(key, value);
                       return true;
                     })
              .has_value());
  CHECK((rows == Rows{{"a", "old"}}));
  CHECK((scanned(*one.base, Space::kNow, "", "") == Rows{{"c", "staged"}}));
  view->reset();
}

TEST_CASE_TEMPLATE("base: a staged generation is unseen until installed, and then all there is", T,
                   EVERY_BASE) {
  T one;
  REQUIRE(one.base->commit({put(Space::kMeta, "m", "1"), put(Space::kNow, "a", "1")}).has_value());
  REQUIRE(one.base->stage({put(Space::kNow, "b", "2")}).has_value());
  REQUIRE(one.base->stage({put(Space::kMeta, "m", "2"), put(Space::kNow, "a", "2")}).has_value());
  CHECK((scanned(*one.base, Space::kNow, "", "") == Rows{{"a", "1"}}));
  SUBCASE("a restart forgets it") {
    one.restart();
    REQUIRE(one.base->install().has_value());
    CHECK(scanned(*one.base, Space::kNow, "", "").empty());
  }
  SUBCASE("dropped, it is gone") {
    REQUIRE(one.base->drop_staged().has_value());
    REQUIRE(one.base->stage({put(Space::kNow, "z", "9")}).has_value());
    REQUIRE(one.base->install().has_value());
    CHECK((scanned(*one.base, Space::kNow, "", "") == Rows{{"z", "9"}}));
  }
  SUBCASE("installed, it replaces everything, and commits go to it") {
    REQUIRE(one.base->install().has_value());
    CHECK((scanned(*one.base, Space::kNow, "", "") == Rows{{"a", "2"}, {"b", "2"}}));
    CHECK(*one.base->get(Space::kMeta, "m") == "2");
    REQUIRE(one.base->commit({put(Space::kNow, "c", "3")}).has_value());
    one.restart();
    CHECK((scanned(*one.base, Space::kNow, "", "") == Rows{{"a", "2"}, {"b", "2"}, {"c", "3"}}));
    REQUIRE(one.base->stage({put(Space::kNow, "d", "4")}).has_value());
    REQUIRE(one.base->install().has_value());
    CHECK((scanned(*one.base, Space::kNow, "", "") == Rows{{"d", "4"}}));
  }
}

TEST_CASE("lmdb base: a record whose bytes changed on disk is corrupt, not another answer") {
  OfLmdb one;
  const std::string value = "the value that rots";
  REQUIRE(one.base->commit({put(Space::kNow, "good", "fine"), put(Space::kNow, "rots", value)})
              .has_value());
  one.base = nullptr;
  const std::string path = one.directory / "base.lmdb";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  int hits = 0;
  for (std::size_t at = bytes.find(value); at != std::string::npos;
       at = bytes.find(value, at + 1)) {
    file.clear();
    file.seekp(static_cast<std::streamoff>(at));
    file.put('T');
    ++hits;
  }
  file.close();
  REQUIRE(hits > 0);
  one.base = one.opened();
  CHECK(*one.base->get(Space::kNow, "good") == "fine");
  const auto rotten = one.base->get(Space::kNow, "rots");
  REQUIRE(!rotten.has_value());
  CHECK(rotten.error().code == ErrorCode::kCorrupt);
  const auto scan = one.base->scan(Space::kNow, "", "", [](ByteView, ByteView) { return true; });
  REQUIRE(!scan.has_value());
  CHECK(scan.error().code == ErrorCode::kCorrupt);
}

TEST_CASE("lmdb base: a file that is none of ours is refused") {
  const test::TempDir directory;
  std::ofstream(directory / "base.lmdb") << std::string(100'000, 'x');
  CHECK(!open_lmdb_base(directory.path(), kMapBytes).has_value());
}

TEST_CASE("lmdb base: the bytes it reports are those it uses, not the address space it may use") {
  OfLmdb one;
  CHECK(one.base->bytes_used() < 64 * 1024);
  constexpr std::uint64_t kValues = 256, kValueBytes = 4000;
  std::vector<Change> changes;
  for (std::uint64_t i = 0; i < kValues; ++i) {
    changes.push_back(put(Space::kNow, std::to_string(1000 + i), std::string(kValueBytes, 'v')));
  }
  REQUIRE(one.base->commit(changes).has_value());
  CHECK(one.base->bytes_used() > kValues * kValueBytes);
  CHECK(one.base->bytes_used() < 4 * kValues * kValueBytes);
}

TEST_CASE("lmdb base: what was read leaves memory when let go, and is read again all the same") {
  OfLmdb one;
  std::vector<Change> changes;
  for (int i = 1000; i < 3000; ++i) {
    changes.push_back(put(Space::kHistory, std::to_string(i), std::string(8000, 'v')));
  }
  REQUIRE(one.base->commit(changes).has_value());
  const auto of_files = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssFile:")) return std::stoull(line.substr(8));
    }
    return 0ull;
  };
  constexpr std::size_t kMost = 12'000;  // of the 16,000 kB, some of which may be there before
  const auto rows = scanned(*one.base, Space::kHistory, "", "");
  const auto read = of_files();
  one.base->let_go();
  for (int i = 0; i < 3000 && of_files() + kMost >= read; ++i) ::usleep(10'000);
  CHECK(of_files() + kMost < read);
  CHECK(scanned(*one.base, Space::kHistory, "", "") == rows);
  CHECK(of_files() + 2000 > read);
}

TEST_CASE("lmdb base: its readers are noted in memory, not in a file that a disk could hold up") {
  const OfLmdb one;
  std::ifstream maps("/proc/self/maps");
  std::string perms;
  for (std::string line; std::getline(maps, line);) {
    if (!line.ends_with(one.directory / "base.lmdb-lock")) continue;
    perms = line.substr(line.find(' ') + 1, 4);
  }
  CHECK(perms == "rw-p");
}

TEST_CASE("lmdb base: a map that is full refuses the commit and keeps the last one") {
  const test::TempDir directory;
  const auto base = *open_lmdb_base(directory.path(), 1 << 20);
  REQUIRE(base->commit({put(Space::kNow, "a", "1")}).has_value());
  std::vector<Change> changes;
  for (int i = 100; i < 999; ++i) {
    changes.push_back(put(Space::kNow, std::to_string(i), std::string(4000, 'x')));
  }
  const Status full = base->commit(changes);
  REQUIRE(!full.has_value());
  CHECK(full.error().code == ErrorCode::kNoSpace);
  CHECK((scanned(*base, Space::kNow, "", "") == Rows{{"a", "1"}}));
  CHECK(base->commit({put(Space::kNow, "b", "2")}).has_value());
}

}  // namespace
}  // namespace capstan
