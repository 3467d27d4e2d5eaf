// Directed cases: each is one rule of ap/replica.h in the smallest schedule that needs it.
#include "ap/replica.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ap/packed.h"
#include "core/limits.h"
#include "tests/ap/directed.h"
#include "tests/ap/schedule.h"

namespace capstan::ap::test {
namespace {

void beats(Schedule& s, std::size_t from, std::size_t to) {
  s.beat(from, to);
  s.deliver(from, to);
}

// Ends a turn in which nothing is sent.
void persist(Replica& replica) {
  const Ready ready = replica.take_ready();
  CHECK(ready.send_now.empty());
  replica.persisted(ready.number);
}

}  // namespace

TEST_CASE("replica: a delta waits for what its writer had seen") {
  Schedule s({.nodes = 3});
  s.write(0, "a", "first");
  s.deliver(0, 1);
  s.write(1, "a", "second");  // has seen the first
  s.deliver(1, 2);
  CHECK(s.value(2, "a") == std::nullopt);
  s.deliver(0, 2);
  CHECK(s.value(2, "a") == "second");
  CHECK(s.replica(2).books().total() == 0);  // no conflict: it was a successor
}

TEST_CASE(
    "replica: two writes that did not see each other meet, and the loser is kept with its body") {
  Schedule s({.nodes = 3});
  s.write(0, "a", "left");
  s.write(1, "a", "right");
  s.deliver(0, 1);
  s.deliver(1, 0);
  CHECK(s.value(0, "a") == s.value(1, "a"));
  const auto losses = s.replica(0).books().losses(0, 10);
  REQUIRE(losses.size() == 1);
  CHECK(losses[0].second.loser.value != s.value(0, "a"));
  CHECK(s.replica(1).books().total() == 1);
}

TEST_CASE(
    "replica: a tombstone outlives the word of its readers until what they had seen is here") {
  CHECK(late_write_meets_tombstone() == "");
}

TEST_CASE("replica: a disk put back from an old copy does not bring back what was deleted since") {
  CHECK(old_copy_returns() == "");
}

TEST_CASE("replica: a life that forgot a delete writes anew what it wrote with a clock behind it") {
  CHECK(early_write_meets_forgotten_delete() == "");
}

TEST_CASE("replica: half of a full join is served as one that has forgotten what its source has") {
  CHECK(half_a_full_join_serves() == "");
}

TEST_CASE("replica: what still comes of a life that ended is refused once the next one spoke") {
  Schedule s({.nodes = 3});
  s.write(2, "a", "lost in the crash");  // pushed, and never on C's disk
  s.hold(2, 0);
  s.drop(2, 1);
  s.crash(2);
  s.pass(10);
  s.write(0, "a", std::nullopt);
  s.deliver(0, 1);
  s.deliver(0, 2);
  beats(s, 2, 0);
  beats(s, 1, 0);
  s.tick(0, 5);
  CHECK(s.replica(0).tombstones() == 0);  // all have it, nobody knows of anything older
  const VersionVector before = s.replica(0).vector();
  s.release();
  s.deliver(2, 0);
  CHECK(s.replica(0).vector() == before);
  CHECK(s.value(0, "a") == std::nullopt);
}

TEST_CASE("replica: equal vectors with different contents raise the alarm") {
  Schedule s({.nodes = 2});
  s.write(0, "a", "v");
  s.deliver(0, 1);
  s.heal();
  CHECK(!s.replica(0).diverged());
  Beat beat = s.replica(1).beat({100});
  beat.digest.low ^= 1;
  s.replica(0).receive({101}, beat);
  CHECK(s.replica(0).diverged());
  s.replica(0).receive({101}, s.replica(1).beat({100}));
  CHECK(!s.replica(0).diverged());
}

TEST_CASE("replica: who is told of dots it never issued goes on as somebody else") {
  Schedule s({.nodes = 2});
  const Dot mine = s.write(0, "a", "v");
  Beat beat = s.replica(1).beat({100});
  beat.vector.raise(mine.actor, {9});
  s.replica(0).receive({101}, beat);
  const Dot next_one = s.write(0, "a", "w");
  CHECK(next_one.actor != mine.actor);
  CHECK(next_one.actor.incarnation > mine.actor.incarnation);
}

TEST_CASE("replica: a collected delete is superseded only by a write that had seen it") {
  for (const bool seen : {false, true}) {
    CAPTURE(seen);
    capstan::test::MemoryBase base;
    Table table(base);
    ReplicaOptions options;
    options.node = {1};  // no peers: what is here is stable
    Replica replica(options, table);
    replica.recover({});
    const Actor y{NodeId{2}, 1}, x{NodeId{3}, 1};
    const auto arrive = [&](Actor origin, Update update, const VersionVector& deps) {
      Delta delta;
      delta.origin = origin;
      delta.first = delta.last = update.sequence = Sequence{1};
      delta.deps = deps;
      delta.updates = {std::move(update)};
      replica.receive({2}, std::move(delta));
      const Ready ready = replica.take_ready();
      if (ready.number != 0) replica.persisted(ready.number);
      for (int i = 0; i < 200; ++i) replica.tick();
    };
    const std::uint64_t now = 1'790'000'000'000ull << 16;
    arrive(y, {.key = "k", .value = "", .deletes = true, .stamp = {now}, .sequence = {}}, {});
    REQUIRE(replica.tombstones() == 0);  // collected
    VersionVector deps;
    if (seen) deps.raise(y, {1});
    arrive(x, {.key = "k", .value = "v", .deletes = false, .stamp = {now + 1}, .sequence = {}},
           deps);
    CHECK(replica.load("k")->value == "v");
    bool superseded = false;
    replica.books().for_each_superseded([&](const Dot& dot) { superseded |= dot == Dot{y, {1}}; });
    CHECK(superseded == seen);
  }
}

// Two replicas over disks that are done at once, members 1 and 2, in a cut or not.
struct Sizes {
  std::size_t slice_bytes = ReplicaOptions().slice_bytes;
  std::size_t table_bytes_max = ReplicaOptions().table_bytes_max;
  std::size_t list_keys_max = ReplicaOptions().list_keys_max;
};
struct Pair {
  explicit Pair(Sizes sizes = {}) {
    options.slice_bytes = sizes.slice_bytes;
    options.table_bytes_max = sizes.table_bytes_max;
    options.list_keys_max = sizes.list_keys_max;
    for (std::size_t i = 0; i < 2; ++i) start(i, {i + 1});
    heal();
    meet();
  }
  void start(std::size_t i, NodeId node) {
    options.node = node;
    options.peers = {{2 - i}};
    tables[i].emplace(bases[i]);
    replicas[i].emplace(options, *tables[i]);
    replicas[i]->recover({});
  }
  // Each hears the other, and then that it was heard.
  void meet() {
    for (int i = 0; i < 2; ++i) {
      a().receive({2}, b().beat({1}));
      b().receive({1}, a().beat({2}));
    }
    persist(a());
    persist(b());
  }
  // b comes back with an empty disk; what a has is stable, so b is given whole buckets.
  void wipe_b() {
    exchange();
    for (int i = 0; i < 10; ++i) {
      a().receive({2}, b().beat({1}));
      a().tick();
    }
    REQUIRE(a().index_size() == 0);
    bases[1] = capstan::test::MemoryBase();
    cut();
    start(1, {7});
    heal();
  }

  Replica& a() { return *replicas[0]; }
  Replica& b() { return *replicas[1]; }
  // 256 bytes under each.
  void write_to_a(int keys, int step = 1) {
    for (int i = 0; i < keys; ++i) {
      a().write("key" + std::to_string(10'000 + i * step), std::string(256, 'v'));
    }
  }
  void cut() {
    a().peer_heard({2}, false);
    b().peer_heard({1}, false);
  }
  void heal() {
    a().peer_heard({2}, true);
    b().peer_heard({1}, true);
  }
  // Turns, until nobody has anything to say. What arrives is shown first.
  void exchange(const std::function<void(const Body&)>& see = [](const Body&) {}) {
    for (bool quiet = false; !quiet;) {
      quiet = true;
      for (std::size_t from = 0; from < 2; ++from) {
        replicas[from]->begin_turn(1'790'000'000 * kSecond + ++turns * kMillisecond);
        Ready ready = replicas[from]->take_ready();
        if (ready.number != 0) replicas[from]->persisted(ready.number);
        for (Record& record : ready.records) {
          logs[from].push_back({record.type, std::move(record.head), std::move(record.body), 0});
        }
        auto messages = std::move(ready.send_now);
        std::ranges::move(ready.send_after_durable, std::back_inserter(messages));
        for (auto& [to, body] : messages) {
          quiet = false;
          Result<Body> got = unpack(kind_of(body), shared_bytes(pack(body)));
          REQUIRE(got);
          see(*got);
          std::visit(
              [&](auto& m) {
                Replica& receiver = *replicas[1 - from];
                const MemberId sender{from + 1};
                if constexpr (requires { receiver.receive(sender, m); }) {
                  receiver.receive(sender, std::move(m));
                }
              },
              *got);
        }
      }
    }
  }

  capstan::test::MemoryBase bases[2];
  std::optional<Table> tables[2];
  std::optional<Replica> replicas[2];
  ReplicaOptions options;
  std::vector<RecoveredRecord> logs[2];
  std::int64_t turns = 0;
};

TEST_CASE("replica: after a cut only what lacks is sent, at little more than its size") {
  // 2,000 keys, 200 of them changed on one side: identification does not grow with either.
  Pair pair;
  pair.write_to_a(2000);
  pair.exchange();
  REQUIRE(pair.a().vector() == pair.b().vector());
  pair.cut();
  pair.write_to_a(200, 7);
  persist(pair.a());
  pair.heal();
  pair.b().receive({1}, pair.a().beat({2}));
  pair.exchange();
  CHECK(pair.a().vector() == pair.b().vector());
  CHECK(pair.a().digest() == pair.b().digest());
  const std::uint64_t missing = 200 * (8 + 256);
  CHECK(pair.a().sync_bytes().payload == missing);
  CHECK(pair.a().sync_bytes().out + pair.b().sync_bytes().out <= missing + missing / 10);
  CHECK(pair.a().sync_bytes().ident + pair.b().sync_bytes().ident <= 512 + 32 * 2);
}

TEST_CASE("replica: what a sync brings is applied slice by slice, so no turn gets long") {
  // About 2 KiB a bucket, sixteen buckets a slice.
  constexpr std::size_t kSliceBytes = 32 * 1024;
  Pair pair({.slice_bytes = kSliceBytes});
  pair.cut();
  pair.write_to_a(2000);
  persist(pair.a());
  pair.heal();
  pair.b().receive({1}, pair.a().beat({2}));
  int slices = 0, requests = 0;
  std::uint64_t before = 0;
  pair.exchange([&](const Body& body) {
    if (std::holds_alternative<SyncRequest>(body)) ++requests;
    const auto* slice = std::get_if<SyncSlice>(&body);
    if (slice == nullptr) return;
    ++slices;
    CHECK(!slice->unfinished);
    CHECK(slice->packed->size() < kSliceBytes + 1024);
    // All the slice before it brought is there.
    CHECK(pair.b().keys() == before);
    before += slice->cells.size();
  });
  CHECK(slices > 10);
  CHECK(requests == 1);
  CHECK(pair.b().keys() == 2000);
  CHECK(pair.a().digest() == pair.b().digest());
}

TEST_CASE("replica: a sync waits for the checkpoint where more comes than memory should hold") {
  constexpr std::size_t kSliceBytes = 32 * 1024, kTableBytesMax = 128 * 1024;
  Pair pair({.slice_bytes = kSliceBytes, .table_bytes_max = kTableBytesMax});
  pair.cut();
  pair.write_to_a(4000);
  persist(pair.a());
  pair.heal();
  pair.b().receive({1}, pair.a().beat({2}));
  int checkpoints = 0, requests = 0;
  const auto count = [&](const Body& body) {
    if (std::holds_alternative<SyncRequest>(body)) ++requests;
    // Two slices may be on their way; a row takes somewhat more than its bytes in a slice.
    CHECK(pair.tables[1]->bytes() < kTableBytesMax + 4 * kSliceBytes);
  };
  pair.exchange(count);
  while (pair.b().keys() < 4000 && checkpoints < 100) {
    // However long it takes, nobody takes the sync for dead.
    for (int i = 0; i < 500; ++i) pair.b().tick();
    pair.exchange(count);
    REQUIRE(pair.bases[1].commit(*pair.tables[1]->freeze()));
    pair.tables[1]->thaw_done();
    ++checkpoints;
    pair.b().tick();
    pair.exchange(count);
  }
  CHECK(checkpoints > 3);
  CHECK(requests == 1);
  CHECK(pair.b().keys() == 4000);
  CHECK(pair.a().digest() == pair.b().digest());
}

TEST_CASE("replica: a bucket larger than a slice is parted, and held until it is whole") {
  Pair pair({.slice_bytes = 1024});
  pair.cut();
  pair.write_to_a(2000);
  persist(pair.a());
  pair.heal();
  pair.b().receive({1}, pair.a().beat({2}));
  int parts = 0;
  pair.exchange([&](const Body& body) {
    const auto* slice = std::get_if<SyncSlice>(&body);
    if (slice != nullptr && slice->unfinished) ++parts;
  });
  CHECK(parts > 100);
  CHECK(pair.b().keys() == 2000);
  CHECK(pair.a().digest() == pair.b().digest());
}

TEST_CASE("replica: parts of a bucket whose last did not reach the disk are forgotten") {
  Pair pair({.slice_bytes = 1024});
  pair.cut();
  pair.write_to_a(300);
  persist(pair.a());
  pair.heal();
  pair.b().receive({1}, pair.a().beat({2}));
  pair.exchange();
  REQUIRE(pair.b().keys() == 300);
  std::uint64_t most = 0;
  for (std::size_t kept = 0; kept <= pair.logs[1].size(); ++kept) {
    capstan::test::MemoryBase base;
    Table table(base);
    ReplicaOptions options;
    options.node = {2};
    options.peers = {{1}};
    options.incarnation = 2;
    Replica again(options, table);
    Recovered recovered;
    recovered.records.assign(pair.logs[1].begin(),
                             pair.logs[1].begin() + static_cast<std::ptrdiff_t>(kept));
    again.recover(recovered);
    for (int i = 0; i < 300; ++i) {
      const std::string key = "key" + std::to_string(10'000 + i);
      const std::optional<Cell> cell = again.load(key);
      CAPTURE(kept);
      if (cell) CHECK(again.bucket_vector(bucket_of(key)).covers(cell->tag.dot));
    }
    CHECK(again.keys() >= most);
    most = again.keys();
  }
  CHECK(most == 300);
}

TEST_CASE("replica: a full join reads the keys in pieces, over as many ticks as it takes") {
  Pair pair({.list_keys_max = 300});
  pair.write_to_a(2000);
  pair.wipe_b();
  pair.b().receive({1}, pair.a().beat({2}));
  pair.exchange();
  CHECK(pair.b().keys() == 0);
  int ticks = 0;
  for (; pair.b().keys() == 0 && ticks < 100; ++ticks) {
    pair.a().tick();
    pair.exchange();
  }
  CHECK(ticks == 6);  // 2,000 keys, 300 a piece, the first of them at once
  CHECK(pair.b().keys() == 2000);
  CHECK(pair.a().digest() == pair.b().digest());
}

TEST_CASE("replica: who loses patience with a long list does not have it begun anew") {
  Pair pair({.list_keys_max = 10});
  pair.write_to_a(2000);
  pair.wipe_b();
  pair.b().receive({1}, pair.a().beat({2}));
  int requests = 0;
  for (int tick = 0; tick < 400 && pair.b().keys() == 0; ++tick) {
    pair.a().tick();
    pair.b().tick();
    if (tick % 20 == 0) pair.b().receive({1}, pair.a().beat({2}));
    pair.exchange([&](const Body& body) {
      const auto* request = std::get_if<SyncRequest>(&body);
      if (request != nullptr && request->full) ++requests;
    });
  }
  CHECK(requests > 1);
  CHECK(pair.b().keys() == 2000);
}

TEST_CASE("replica: a full join drops nothing that reached its source after it began") {
  // b has a third's write before a has it; a gets it between two slices, in a bucket not sent yet.
  Pair pair({.slice_bytes = 1024});
  pair.write_to_a(1000);
  pair.wipe_b();
  int number = 0;
  while (bucket_of("late" + std::to_string(number)) < 250) ++number;
  Delta delta;
  delta.origin = {NodeId{9}, 1};
  delta.first = delta.last = {1};
  delta.updates.push_back({.key = "late" + std::to_string(number),
                           .value = "v",
                           .deletes = false,
                           .stamp = {1'790'000'000'000ull << 16},
                           .sequence = {1}});
  pair.b().receive({1}, delta);
  pair.b().receive({1}, pair.a().beat({2}));
  bool late = false;
  pair.exchange([&](const Body& body) {
    const auto* slice = std::get_if<SyncSlice>(&body);
    if (slice == nullptr || late || slice->number < 10) return;
    REQUIRE(slice->full);
    REQUIRE(slice->end_bucket < 250);
    pair.a().receive({2}, delta);
    late = true;
  });
  REQUIRE(late);
  CHECK(pair.b().vector() == pair.a().vector());
  CHECK(pair.b().keys() == 1001);
  CHECK(pair.b().digest() == pair.a().digest());
}

}  // namespace capstan::ap::test
