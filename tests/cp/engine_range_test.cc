// Long ranges of an engine: slice by slice, at one revision.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/range_stream.h"
#include "cp/engine.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using test::CpCluster;

namespace {

constexpr std::size_t kSliceKeys = 10;

// Thirty keys, each put twice.
int with_keys(CpCluster& cluster) {
  const int leader = cluster.elect();
  for (const char* value : {"old", "new"}) {
    for (int i = 10; i < 40; ++i) cluster.put_now(leader, "k" + std::to_string(i), value);
  }
  return leader;
}

struct SliceReader {
  int readies = 0;
  std::shared_ptr<RangeStream> stream;
  std::map<std::string, std::string> read;
  std::optional<RangeStream::Slice> last;
  std::optional<Refusal> refusal;

  SliceReader(CpCluster& cluster, int n, RangeRequest request) {
    Request asked;
    asked.body = std::move(request);
    asked.more_ready = [this] { ++readies; };
    stream = cluster.wait(cluster.submit(n, std::move(asked))).range;
  }
  // False: nothing now, or nothing any more.
  bool take() {
    auto slice = stream->next();
    if (!slice) return false;
    if (!*slice) {
      refusal = slice->error();
      return false;
    }
    for (const KeyValue& kv : (*slice)->kvs) read[kv.key] = kv.value;
    if ((*slice)->last) last = **slice;
    return !last;
  }
  void take_all(CpCluster& cluster) {
    for (int i = 0; i < 100 && !last && !refusal; ++i) {
      take();
      cluster.run();
    }
  }
};

RangeRequest all_keys() { return {.range = {"k", "l"}}; }

}  // namespace

TEST_CASE("engine: a long range is what was there when it was asked for, whatever comes between") {
  CpCluster cluster({.members = 3, .range_slice_keys = kSliceKeys});
  const int leader = with_keys(cluster);
  SliceReader reader(cluster, leader % 3 + 1, all_keys());
  REQUIRE(reader.stream != nullptr);
  reader.take();
  CHECK(reader.read.size() == kSliceKeys);
  cluster.put_now(leader, "k25", "newer");
  cluster.put_now(leader, "k255", "added");
  cluster.wait(
      cluster.submit(leader, DeleteRangeRequest{.range = {"k30", "k35"}, .prev_kv = false}));
  reader.take_all(cluster);
  REQUIRE(reader.last);
  CHECK(reader.last->count == 30);
  CHECK(!reader.last->more);
  CHECK(reader.read.size() == 30);
  for (const auto& [key, value] : reader.read) CHECK(value == "new");
  // Again, as somebody does who had to measure it first.
  reader.last.reset();
  const auto first = std::exchange(reader.read, {});
  reader.stream->rewind();
  reader.take_all(cluster);
  CHECK(reader.read == first);
}

TEST_CASE("engine: a range that fits into a slice is an answer like any other") {
  CpCluster cluster({.members = 1, .range_slice_keys = 30});
  const int leader = with_keys(cluster);
  CHECK(SliceReader(cluster, leader, all_keys()).stream == nullptr);
  cluster.put_now(leader, "k99", "one more");
  CHECK(SliceReader(cluster, leader, all_keys()).stream != nullptr);
}

TEST_CASE("engine: one slice is read a turn, for whoever has waited longest") {
  CpCluster cluster({.members = 1, .range_slice_keys = kSliceKeys});
  const int leader = with_keys(cluster);
  SliceReader a(cluster, leader, all_keys()), b(cluster, leader, all_keys());
  REQUIRE((a.stream && b.stream));
  const auto turn = [&] { cluster.engine(leader).begin_turn({cluster.now(), 0}); };
  turn();
  CHECK(a.take());
  CHECK(cluster.turns_wanted == 0);
  CHECK(!b.take());
  CHECK(!a.take());
  CHECK(cluster.turns_wanted == 2);
  turn();
  CHECK(b.readies == 1);
  CHECK(!a.take());  // b has waited longer
  CHECK(b.take());
  turn();
  CHECK(a.readies == 1);
  CHECK(a.take());
  CHECK(a.read.size() == 2 * kSliceKeys);
  // One that was woken and does not come loses its turn.
  CHECK(!a.take());
  CHECK(!b.take());
  turn();
  CHECK(a.readies == 2);
  turn();
  CHECK(b.readies == 2);
  CHECK(!a.take());
  CHECK(b.take());
}

TEST_CASE("engine: what a long range still reads is not swept away, unless it takes nothing") {
  CpCluster cluster({.members = 1, .range_slice_keys = kSliceKeys});
  const int leader = with_keys(cluster);
  SliceReader reader(cluster, leader, all_keys()), idle(cluster, leader, all_keys());
  REQUIRE((reader.stream && idle.stream));
  cluster.put_now(leader, "k25", "newer");
  cluster.wait(cluster.submit(leader, CompactRequest{.revision = 62, .physical = false}));
  const auto swept = [&] { return cluster.engine(leader).mvcc().sweep_state().swept.value; };
  cluster.run(1000);
  CHECK(swept() == 0);
  reader.take_all(cluster);
  CHECK(reader.last);
  CHECK(reader.read["k25"] == "new");
  cluster.run(4000);
  CHECK(swept() == 0);
  cluster.run(2000);
  CHECK(swept() == 62);
  CHECK(!idle.take());
  CHECK(idle.refusal->reason == Reason::kTimeout);
}

TEST_CASE(
    "engine: a long range sees what was there of a key that is deleted, compacted and put again") {
  CpCluster cluster({.members = 3, .range_slice_keys = kSliceKeys});
  const int leader = with_keys(cluster);
  const auto erase_and_compact = [&](const std::string& key) {
    cluster.wait(cluster.submit(leader, DeleteRangeRequest{.range = {key, ""}}));
    const auto now = static_cast<std::int64_t>(cluster.engine(leader).revision().value);
    REQUIRE(cluster.wait(cluster.submit(leader, CompactRequest{.revision = now})).outcome ==
            Outcome::kOk);
  };
  erase_and_compact("k39");
  SliceReader reader(cluster, leader, all_keys());
  reader.take();
  for (const char* value : {"again", "and again"}) {
    erase_and_compact("k35");
    cluster.put_now(leader, "k35", value);
  }
  cluster.put_now(leader, "k39", "later");
  erase_and_compact("k36");
  reader.take_all(cluster);
  REQUIRE(reader.last);
  CHECK(reader.read.size() == 29);
  CHECK(reader.read.at("k35") == "new");
  CHECK(reader.read.at("k36") == "new");
  CHECK(!reader.read.contains("k39"));
}

TEST_CASE("engine: a long range ends with the reason when its node installs a compacted state") {
  CpCluster cluster({.members = 3,
                     .checkpoint_table_bytes = 1,
                     .log_window_bytes = 1,
                     .range_slice_keys = kSliceKeys});
  const int leader = with_keys(cluster);
  const int behind = leader % 3 + 1;
  SliceReader reader(cluster, behind, all_keys());
  REQUIRE(reader.stream != nullptr);
  cluster.cut({behind});
  for (int i = 10; i < 40; ++i) cluster.put_now(leader, "k" + std::to_string(i), "newer");
  cluster.wait(cluster.submit(leader, CompactRequest{.revision = 91, .physical = false}));
  cluster.run(500);
  const int installs = cluster.disk(behind).installs;
  cluster.heal();
  CHECK(cluster.run_until([&] { return cluster.disk(behind).installs > installs; }));
  cluster.run(10);
  reader.take_all(cluster);
  REQUIRE(reader.refusal);
  CHECK(reader.refusal->reason == Reason::kCompacted);
}

TEST_CASE("engine: a long range outlives neither its node nor a crash of it") {
  CpCluster cluster({.members = 1, .range_slice_keys = kSliceKeys});
  const int leader = with_keys(cluster);
  SliceReader reader(cluster, leader, all_keys());
  cluster.crash(leader);
  CHECK(!reader.take());
  CHECK(reader.refusal->reason == Reason::kShuttingDown);
}
