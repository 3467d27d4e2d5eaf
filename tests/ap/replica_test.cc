// Directed cases: each is one rule of ap/replica.h in the smallest schedule that needs it.
#include "ap/replica.h"

#include <doctest/doctest.h>

#include <string>
#include <tuple>

#include "ap/packed.h"
#include "tests/ap/directed.h"
#include "tests/ap/schedule.h"

namespace capstan::ap::test {
namespace {

void beats(Schedule& s, std::size_t from, std::size_t to) {
  s.beat(from, to);
  s.deliver(from, to);
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
  Beat beat = s.replica(1).beat();
  beat.digest.low ^= 1;
  s.replica(0).receive({101}, beat);
  CHECK(s.replica(0).diverged());
  s.replica(0).receive({101}, s.replica(1).beat());
  CHECK(!s.replica(0).diverged());
}

TEST_CASE("replica: who is told of dots it never issued goes on as somebody else") {
  Schedule s({.nodes = 2});
  const Dot mine = s.write(0, "a", "v");
  Beat beat = s.replica(1).beat();
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

TEST_CASE("replica: after a cut only what lacks is sent, at little more than its size") {
  // 2,000 keys, 200 of them changed on one side: identification does not grow with either.
  capstan::test::MemoryBase bases[2];
  Table tables[2] = {Table(bases[0]), Table(bases[1])};
  ReplicaOptions options;
  options.node = {1};
  options.peers = {{2}};
  Replica a(options, tables[0]);
  options.node = {2};
  options.peers = {{1}};
  Replica b(options, tables[1]);
  a.recover({});
  b.recover({});
  a.peer_heard({2}, true);
  b.peer_heard({1}, true);
  const std::string value(256, 'v');
  const auto exchange = [&](bool deliver) {
    for (int round = 0; round < 20; ++round) {
      bool quiet = true;
      for (auto [from, to, id] :
           {std::tuple(&a, &b, MemberId{1}), std::tuple(&b, &a, MemberId{2})}) {
        from->begin_turn(1'790'000'000 * kSecond + round * kMillisecond);
        Ready ready = from->take_ready();
        if (ready.number != 0) from->persisted(ready.number);
        auto messages = std::move(ready.send_now);
        for (auto& m : ready.send_after_durable) messages.push_back(std::move(m));
        for (auto& [unused, body] : messages) {
          quiet = false;
          if (!deliver) continue;
          Result<Body> got = unpack(kind_of(body), shared_bytes(pack(body)));
          REQUIRE(got);
          std::visit(
              [&](auto& m) {
                if constexpr (requires { to->receive(id, m); }) to->receive(id, std::move(m));
              },
              *got);
        }
      }
      if (quiet) break;
    }
  };
  for (int i = 0; i < 2000; ++i) a.write("key" + std::to_string(10'000 + i), value);
  exchange(true);
  REQUIRE(a.vector() == b.vector());
  a.peer_heard({2}, false);
  b.peer_heard({1}, false);
  for (int i = 0; i < 200; ++i) a.write("key" + std::to_string(10'000 + i * 7), value);
  exchange(false);
  a.peer_heard({2}, true);
  b.peer_heard({1}, true);
  b.receive({1}, a.beat());
  exchange(true);
  CHECK(a.vector() == b.vector());
  CHECK(a.digest() == b.digest());
  const std::uint64_t missing = 200 * (8 + 256);
  CHECK(a.sync_bytes().payload == missing);
  CHECK(a.sync_bytes().out + b.sync_bytes().out <= missing + missing / 10);
  CHECK(a.sync_bytes().ident + b.sync_bytes().ident <= 512 + 32 * 2);
}

}  // namespace capstan::ap::test
