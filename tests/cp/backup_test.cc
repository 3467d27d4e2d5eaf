// Backups: the file's format, and an engine that makes one while it serves.
#include "cp/backup.h"

#include <doctest/doctest.h>

#include <map>

#include "core/random.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using namespace capstan::test;

namespace {

using Rows = std::map<std::pair<Space, std::string>, std::string>;

struct Read {
  Rows rows;
  std::optional<cp::BackupHead> head;
  bool whole = false;
  bool refused = false;
};
Read read_in_pieces(const std::string& file, std::size_t piece) {
  Read out;
  cp::BackupReader reader;
  for (std::size_t at = 0; at < file.size() && !out.refused; at += piece) {
    out.refused = !reader.feed(ByteView(file).substr(at, piece),
                               [&out](Change row) { out.rows[{row.space, row.key}] = *row.value; });
  }
  out.head = reader.head();
  out.whole = reader.whole();
  return out;
}

Rows rows_of(const MemoryBase& base) {
  Rows out;
  for (std::uint8_t space = 0; space < static_cast<std::uint8_t>(Space::kCount); ++space) {
    const Status read = base.scan(static_cast<Space>(space), "", "", [&](ByteView key, ByteView v) {
      const bool facts = static_cast<Space>(space) == Space::kMeta && !key.starts_with("cp/");
      if (!facts) out[{static_cast<Space>(space), std::string(key)}] = v;
      return true;
    });
    REQUIRE(read.has_value());
  }
  return out;
}

// All pieces of a stream of member `n`, pulled in its turns.
struct Pulled {
  std::string file;
  std::optional<Refusal> refused;
  bool over = false;
};
std::shared_ptr<Pulled> pull(CpCluster& cluster, int n) {
  auto pulled = std::make_shared<Pulled>();
  std::shared_ptr<BackupStream> stream = cluster.engine(n).backup({}, [] {});
  cluster.run_until([&] {
    while (auto piece = stream->next()) {
      if (!*piece) {
        pulled->refused = piece->error();
        return true;
      }
      pulled->file += (*piece)->bytes;
      if ((*piece)->last) return pulled->over = true;
    }
    return false;
  });
  return pulled;
}

}  // namespace

TEST_CASE("backup: the file holds the state of its moment, in any pieces") {
  CpCluster cluster({.members = 1, .checkpoint_table_bytes = 1 << 30});
  cluster.elect();
  for (int i = 0; i < 200; ++i) {
    cluster.put_now(1, "k" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 20, 'v'));
  }
  const auto pulled = pull(cluster, 1);
  REQUIRE(pulled->over);
  CHECK(pulled->file.size() % cp::kBackupBlock == 0);
  const Rows want = rows_of(cluster.base(1));
  CHECK(want.size() > 400);
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{7}, std::size_t{512}, pulled->file.size()}) {
    const Read read = read_in_pieces(pulled->file, piece);
    CHECK(!read.refused);
    CHECK(read.whole);
    CHECK(read.rows == want);
    REQUIRE(read.head);
    CHECK(read.head->cluster == ClusterId{7});
    CHECK(read.head->revision == Revision{201});
    CHECK(read.head->last.index == cluster.engine(1).checkpointed());
  }
}

TEST_CASE("backup: what is cut has no end, and no mutation does harm") {
  CpCluster cluster(1);
  cluster.elect();
  for (int i = 0; i < 5; ++i) cluster.put_now(1, "k" + std::to_string(i), "v");
  const std::string file = pull(cluster, 1)->file;
  REQUIRE(!file.empty());
  std::size_t end = file.find_last_not_of('\0');
  for (std::size_t size = 0; size <= end; ++size) {
    CHECK(!read_in_pieces(file.substr(0, size), 4096).whole);
  }
  Rng rng{3};
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = file;
    for (std::uint64_t n = 1 + rng.below(3); n > 0; --n) {
      bad[rng.below(end)] = static_cast<char>(rng.next());
    }
    refused += read_in_pieces(bad, 700).refused ? 1 : 0;
  }
  CHECK(refused > 1000);
  CHECK(read_in_pieces("something else altogether" + std::string(1000, ' '), 64).refused);
}

TEST_CASE("backup: one at a time; another is refused until it is over or given up") {
  CpCluster cluster(1);
  cluster.elect();
  cluster.put_now(1, "k", "v");
  std::unique_ptr<BackupStream> first = cluster.engine(1).backup({}, [] {});
  const auto second = pull(cluster, 1);
  REQUIRE(second->refused);
  CHECK(second->refused->reason == Reason::kOverloaded);
  first.reset();
  CHECK(pull(cluster, 1)->over);
}

TEST_CASE("backup: a client that takes nothing loses it, and is told") {
  CpCluster cluster(1);
  cluster.elect();
  cluster.put_now(1, "k", "v");
  int told = 0;
  std::unique_ptr<BackupStream> stream = cluster.engine(1).backup({}, [&told] { ++told; });
  cluster.run(10);
  CHECK(told == 1);  // there is something to take
  cluster.run(3200);
  CHECK(told == 2);
  const auto piece = stream->next();
  REQUIRE(piece.has_value());
  REQUIRE(!piece->has_value());
  CHECK(piece->error().reason == Reason::kTimeout);
  CHECK(pull(cluster, 1)->over);
}

TEST_CASE("backup: writes after its beginning are not in it, those before are, at any member") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.put_now(leader, "before", "v");
  cluster.run(10);
  for (int n : {1, 2, 3}) {
    cluster.disk(n).checkpoints_held = true;
    std::unique_ptr<BackupStream> stream = cluster.engine(n).backup({}, [] {});
    cluster.run(3);
    CHECK(!stream->next());  // waits for its checkpoint
    cluster.put_now(leader, "after" + std::to_string(n), "v");
    cluster.disk(n).checkpoints_held = false;
    std::string file;
    REQUIRE(cluster.run_until([&] {
      const auto piece = stream->next();
      if (piece && *piece) file += (*piece)->bytes;
      return piece && *piece && (*piece)->last;
    }));
    const Read read = read_in_pieces(file, 4096);
    CHECK(read.rows.contains({Space::kNow, "before"}));
    CHECK(!read.rows.contains({Space::kNow, "after" + std::to_string(n)}));
  }
}
