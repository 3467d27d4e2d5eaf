#include "core/lmdb_space.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "core/base.h"
#include "core/random.h"
#include "tests/support/temp_dir.h"

namespace capstan {
namespace {

constexpr std::uint64_t kMapBytes = 1ull << 30;
constexpr std::size_t kMiB = 1024 * 1024;

// Can files on this file system have holes?
bool has_holes(const test::TempDir& directory) {
  const std::string path = directory / "probe";
  std::ofstream(path) << std::string(64 * 1024, 'x');
  const int fd = ::open(path.c_str(), O_RDWR);
  const bool can = ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 * 1024) == 0;
  ::close(fd);
  if (!can) MESSAGE("skipped: " << directory.path() << " has no holes");
  return can;
}

struct Filled {
  test::TempDir directory;
  std::unique_ptr<Base> base = *open_lmdb_base(directory.path(), kMapBytes);
  std::map<std::string, std::string> want;

  static std::string key(int i) { return std::to_string(100'000 + i); }
  void put(int from, int to, char byte) {
    std::vector<Change> changes;
    for (int i = from; i < to; ++i) {
      want[key(i)] = std::string(3000, byte);
      changes.push_back({Space::kHistory, key(i), want[key(i)]});
    }
    REQUIRE(base->commit(changes).has_value());
  }
  void erase(int from, int to) {
    std::vector<Change> changes;
    for (int i = from; i < to; ++i) {
      want.erase(key(i));
      changes.push_back({Space::kHistory, key(i), std::nullopt});
    }
    REQUIRE(base->commit(changes).has_value());
  }
  void few_commits() {
    for (int i = 0; i < 4; ++i) REQUIRE(base->commit({{Space::kMeta, "m", "x"}}).has_value());
  }
  bool holds_all() const {
    std::map<std::string, std::string> got;
    const Status scanned = base->scan(Space::kHistory, "", "", [&](ByteView k, ByteView v) {
      got.emplace(k, v);
      return true;
    });
    return scanned.has_value() && got == want;
  }
  void restart() {
    base = nullptr;
    base = *open_lmdb_base(directory.path(), kMapBytes);
  }
};

}  // namespace

TEST_CASE("lmdb space: what is freed goes back to the file system, and all else stays") {
  Filled one;
  if (!has_holes(one.directory)) return;
  for (int i = 0; i < 30'000; i += 1000) one.put(i, i + 1000, 'a');
  const std::uint64_t full = one.base->bytes_used();
  CHECK(full > 90 * kMiB);
  CHECK(one.base->bytes_live() > 90 * kMiB);
  one.erase(0, 25'000);
  one.few_commits();
  CHECK(one.base->bytes_live() < 25 * kMiB);
  CHECK(one.base->bytes_used() < 50 * kMiB);
  CHECK(one.holds_all());
  one.restart();
  CHECK(one.holds_all());
  // What was given back is taken again.
  for (int i = 40'000; i < 65'000; i += 1000) one.put(i, i + 1000, 'b');
  CHECK(one.holds_all());
  CHECK(one.base->bytes_used() < full + 30 * kMiB);
  one.restart();
  CHECK(one.holds_all());
}

TEST_CASE("lmdb space: what a view still sees stays until it is closed") {
  Filled one;
  if (!has_holes(one.directory)) return;
  for (int i = 0; i < 30'000; i += 1000) one.put(i, i + 1000, 'a');
  const auto before = one.want;
  auto view = *one.base->view();
  one.erase(0, 25'000);
  one.few_commits();
  CHECK(one.base->bytes_used() > 90 * kMiB);
  std::map<std::string, std::string> seen;
  REQUIRE(view->scan(Space::kHistory, "",
                     [&](ByteView k, ByteView v) {
                       seen.emplace(k, v);
                       return true;
                     })
              .has_value());
  CHECK(seen == before);
  view = nullptr;
  one.few_commits();
  CHECK(one.base->bytes_used() < 50 * kMiB);
  CHECK(one.holds_all());
}

TEST_CASE("lmdb space: any mixture of commits, holes and restarts keeps every record") {
  Filled one;
  if (!has_holes(one.directory)) return;
  Rng rng{3};
  for (int round = 0; round < 60; ++round) {
    const int from = static_cast<int>(rng.below(20'000));
    const int to = from + 500 + static_cast<int>(rng.below(8'000));
    rng.chance(0.5) ? one.put(from, to, static_cast<char>('a' + round % 26)) : one.erase(from, to);
    if (rng.chance(0.1)) one.restart();
    if (round % 10 == 9) CHECK(one.holds_all());
  }
  CHECK(one.holds_all());
}

// LMDB writes its two meta pages in turns, and goes by the older one if the newer is torn.
TEST_CASE("lmdb space: the state of the commit before the last can still be fallen back to") {
  Filled one;
  if (!has_holes(one.directory)) return;
  constexpr std::size_t kPage = 4096;
  const auto metas = [&] {
    std::ifstream file(one.directory / "base.lmdb", std::ios::binary);
    std::string bytes(2 * kPage, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  };
  for (int i = 0; i < 30'000; i += 1000) one.put(i, i + 1000, 'a');
  for (int round = 0; round < 6; ++round) {
    const auto before = one.want;
    const std::string old = metas();
    one.erase(round * 4'000, round * 4'000 + 4'000);
    const std::string now = metas();
    const bool first = old.substr(0, kPage) != now.substr(0, kPage);
    one.base = nullptr;
    const std::size_t at = first ? 0 : kPage;
    const auto put_meta = [&](const std::string& from) {
      std::fstream file(one.directory / "base.lmdb",
                        std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(at));
      file.write(from.data() + at, kPage);
    };
    put_meta(old);
    // Only looked at: opening writes.
    MDB_env* env = nullptr;
    REQUIRE(mdb_env_create(&env) == 0);
    mdb_env_set_maxdbs(env, 32);
    REQUIRE(mdb_env_open(env, (one.directory / "base.lmdb").c_str(), MDB_NOSUBDIR | MDB_RDONLY,
                         0600) == 0);
    MDB_txn* txn = nullptr;
    REQUIRE(mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn) == 0);
    MDB_dbi dbi = 0;
    const std::string name = "a." + std::to_string(static_cast<int>(Space::kHistory));
    REQUIRE(mdb_dbi_open(txn, name.c_str(), 0, &dbi) == 0);
    MDB_cursor* cursor = nullptr;
    REQUIRE(mdb_cursor_open(txn, dbi, &cursor) == 0);
    std::size_t rows = 0, whole = 0;
    MDB_val key{}, value{};
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
      ++rows;
      const ByteView record(static_cast<const char*>(value.mv_data), value.mv_size);
      whole += record.ends_with(std::string(3000, 'a'));
    }
    CHECK(rows == before.size());
    CHECK(whole == before.size());
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    put_meta(now);
    one.base = *open_lmdb_base(one.directory.path(), kMapBytes);
    CHECK(one.holds_all());
    one.few_commits();
  }
  CHECK(one.base->bytes_used() < 50 * kMiB);
}

}  // namespace capstan
