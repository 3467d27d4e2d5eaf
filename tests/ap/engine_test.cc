#include "ap/engine.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "tests/ap/engine_world.h"

namespace capstan::ap::test {
namespace {

RangeResult range(EngineWorld& world, std::size_t node, RangeRequest request) {
  return std::get<RangeResult>(world.get(node, std::move(request)).body);
}
RangeRequest everything() {
  RangeRequest request;
  request.range = {std::string(1, '\0'), std::string(1, '\0')};
  return request;
}

}  // namespace

TEST_CASE("ap engine: a put is ok, has an id, and is on every node within a few turns") {
  EngineWorld world(3);
  const Reply reply = world.put(0, "color", "red");
  CHECK(reply.outcome == Outcome::kOk);
  CHECK(reply.write_id.sequence == Sequence{1});
  CHECK(reply.replicas_all == 3);
  CHECK(reply.header.term == Term{1});
  CHECK(world.run_until_equal(5) >= 0);
  CHECK(world.read(2, "color") == "red");
}

TEST_CASE("ap engine: nothing is answered before the disk has it") {
  EngineWorld world(3);
  world.hold_disk(0, true);
  PutRequest put;
  put.key = "k";
  put.value = "v";
  CHECK(!world.ask(0, put));
}

TEST_CASE("ap engine: cut off, every write is taken and says that it is local") {
  EngineWorld world(3);
  world.cut({{0}, {1, 2}});
  world.run(100);
  const Reply reply = world.put(0, "k", "v");
  CHECK(reply.outcome == Outcome::kOkLocal);
  CHECK(reply.replicas_have == 1);
  CHECK(reply.detail.find("n2 n3 unreachable for") != std::string::npos);
  CHECK(world.put(1, "k", "w").outcome == Outcome::kOkLocal);
  const StatusResult status = world.status(0);
  CHECK(status.reachable == 1);
  CHECK(status.alone_for > 0);
}

TEST_CASE("ap engine: a cut is noticed within a second, and a heal ends with equal nodes in one") {
  for (const auto& sides : std::vector<std::vector<std::set<std::size_t>>>{
           {{0}, {1, 2, 3, 4}}, {{0, 1}, {2, 3, 4}}, {{0, 1}, {2, 3}, {4}}}) {
    EngineWorld world(5);
    world.cut(sides);
    world.run(100);
    for (std::size_t node = 0; node < 5; ++node) {
      for (int i = 0; i < 50; ++i) {
        const Reply reply =
            world.put(node, "k" + std::to_string((i * 7 + static_cast<int>(node)) % 60),
                      "n" + std::to_string(node) + "." + std::to_string(i));
        CHECK(reply.outcome == Outcome::kOkLocal);
      }
    }
    world.run(50);
    world.heal();
    const int took = world.run_until_equal(100);
    CHECK(took >= 0);
    MESSAGE("equal after ", took * 10, " ms");
    world.run(50);
    CHECK(world.put(0, "k", "v").outcome == Outcome::kOk);
    CHECK(!world.status(0).divergence_alarm);
  }
}

TEST_CASE(
    "ap engine: after a heal the lists name every acknowledged write, and each loser's body") {
  EngineWorld world(3);
  world.put(0, "both", "before");
  world.run(20);
  world.cut({{0}, {1, 2}});
  world.run(100);
  std::set<std::string> ids;
  const auto id = [](const Reply& reply, const char* name) {
    return to_text(reply.write_id, name);
  };
  ids.insert(id(world.put(0, "both", "left"), "n1"));
  ids.insert(id(world.put(1, "both", "right"), "n2"));
  ids.insert(id(world.put(1, "both", "right again"), "n2"));
  ids.insert(id(world.put(0, "mine", "1"), "n1"));
  ids.insert(id(world.erase(1, "both"), "n2"));
  world.heal();
  CHECK(world.run_until_equal(100) >= 0);
  CHECK(!world.read(0, "both"));
  std::set<std::string> named, lost;
  for (std::size_t node = 0; node < 3; ++node) {
    const auto books = std::get<BooksResult>(world.get(node, BooksRequest{}).body);
    named.insert(books.survived.begin(), books.survived.end());
    named.insert(books.superseded.begin(), books.superseded.end());
    named.insert(books.lost.begin(), books.lost.end());
    lost.insert(books.lost.begin(), books.lost.end());
  }
  for (const std::string& write : ids) CHECK(named.contains(write));
  CHECK(lost == std::set<std::string>{"n1:1:2"});
  ConflictsResult log;
  for (std::size_t node = 0; node < 3; ++node) {
    const auto part = std::get<ConflictsResult>(world.get(node, ConflictsRequest{}).body);
    log.conflicts.insert(log.conflicts.end(), part.conflicts.begin(), part.conflicts.end());
  }
  REQUIRE(!log.conflicts.empty());
  CHECK(log.conflicts[0].loser_value == "left");
  CHECK(log.conflicts[0].winner_id == "n2:1:3");
  CHECK(log.conflicts[0].winner_deletes);
}

TEST_CASE("ap engine: what has no honest meaning is refused with the way out") {
  EngineWorld world(3);
  RangeRequest old = everything();
  old.revision = 3;
  CHECK(world.get(0, old).reason == Reason::kNotInAp);
  TxnRequest txn;
  txn.compare.push_back({});
  const Reply reply = world.get(0, txn);
  CHECK(reply.outcome == Outcome::kFailed);
  CHECK(reply.reason == Reason::kNotInAp);
  CHECK(reply.detail.find("CP mode") != std::string::npos);
}

TEST_CASE("ap engine: a transaction without compares is one batch, or nothing at all") {
  EngineWorld world(3);
  TxnRequest txn;
  PutRequest a, b;
  a.key = "a";
  a.value = "1";
  b.key = "b";
  b.ignore_value = true;  // absent: refused, and `a` with it
  txn.success = {{a}, {b}};
  CHECK(world.get(0, txn).reason == Reason::kKeyNotFound);
  CHECK(!world.read(0, "a"));
  b.ignore_value = false;
  b.value = "2";
  txn.success = {{a}, {b}, {everything()}};
  const Reply reply = world.get(0, txn);
  CHECK(reply.outcome == Outcome::kOk);
  const auto& result = std::get<TxnResult>(reply.body);
  CHECK(result.succeeded);
  CHECK(std::get<RangeResult>(result.responses[2].result).count == 2);
}

TEST_CASE("ap engine: ranges, counts, limits, orders and previous values are etcd's") {
  EngineWorld world(1);
  for (const char* key : {"a", "b", "c", "d"}) world.put(0, key, std::string("v") + key);
  world.put(0, "b", "second");
  CHECK(world.erase(0, "d").outcome == Outcome::kOk);
  RangeRequest request = everything();
  request.limit = 2;
  RangeResult result = range(world, 0, request);
  CHECK(result.count == 3);
  CHECK(result.more);
  CHECK(result.kvs.size() == 2);
  request.limit = 0;
  request.sort_target = SortTarget::kMod;
  request.sort_order = SortOrder::kDescend;
  request.keys_only = true;
  result = range(world, 0, request);
  CHECK(result.kvs.front().key == "b");
  CHECK(result.kvs.front().version == 2);
  CHECK(result.kvs.front().value.empty());
  PutRequest put;
  put.key = "a";
  put.value = "new";
  put.prev_kv = true;
  CHECK(std::get<PutResult>(world.get(0, put).body).prev->value == "va");
  const auto erased =
      std::get<DeleteRangeResult>(world.get(0, DeleteRangeRequest{{"a", "c"}, true}).body);
  CHECK(erased.deleted == 2);
  CHECK(erased.prevs.front().value == "new");
  const Revision before = world.get(0, everything()).header.revision;
  const Reply nothing = world.erase(0, "zzz");
  CHECK(nothing.outcome == Outcome::kOk);
  CHECK(!nothing.write_id);
  CHECK(nothing.header.revision == before);
}

TEST_CASE("ap engine: a crash loses nothing acknowledged and never numbers two writes alike") {
  EngineWorld world(3);
  for (int i = 0; i < 20; ++i) world.put(0, "k" + std::to_string(i), "v");
  world.run(150);  // checkpoints happen meanwhile
  world.put(0, "late", "v");
  world.hold_disk(0, true);
  PutRequest put;
  put.key = "k0";
  put.value = "seen by others, lost here";
  CHECK(!world.ask(0, put));
  world.run(3);
  CHECK(world.read(1, "k0") == "seen by others, lost here");
  world.crash(0);
  world.start(0);
  CHECK(world.read(0, "late") == "v");
  const Reply reply = world.put(0, "k1", "after");
  CHECK(reply.write_id.actor.incarnation == 2);
  CHECK(reply.write_id.sequence == Sequence{1});
  CHECK(world.run_until_equal(100) >= 0);
  CHECK(world.read(0, "k0") == "seen by others, lost here");
}

TEST_CASE("ap engine: a clean stop keeps the actor, once, and only on a synced disk") {
  EngineWorld world(3);
  world.put(0, "k", "1");
  world.stop(0);
  world.start(0);
  Reply reply = world.put(0, "k", "2");
  CHECK(reply.write_id.actor.incarnation == 1);
  CHECK(reply.write_id.sequence == Sequence{2});
  world.crash(0);
  world.start(0);
  CHECK(world.put(0, "k", "3").write_id.actor.incarnation == 3);

  EngineWorld loose(3, Durability::kInterval);
  loose.put(0, "k", "1");
  loose.stop(0);
  loose.start(0);
  CHECK(loose.put(0, "k", "2").write_id.actor.incarnation == 2);
}

TEST_CASE("ap engine: a kept actor shows no dot before the disk knows that it is in use") {
  EngineWorld world(2);
  world.put(0, "k", "1");
  world.stop(0);
  world.start(0);
  world.hold_disk(0, true);
  PutRequest put;
  put.key = "k";
  put.value = "2";
  CHECK(!world.ask(0, put));
  world.run(20);
  CHECK(world.read(1, "k") == "1");
  world.hold_disk(0, false);
  world.run(20);
  CHECK(world.read(1, "k") == "2");
}

TEST_CASE("ap engine: tombstones go when every node has them, and stay while one is away") {
  EngineWorld world(3);
  world.put(0, "k", "v");
  world.run(20);
  const auto held = [&](std::size_t node) {
    return std::get<BooksResult>(world.get(node, BooksRequest{}).body);
  };
  world.cut({{0, 1}, {2}});
  world.run(100);
  const std::string id = to_text(world.erase(0, "k").write_id, "n1");
  world.run(100);
  world.heal();
  CHECK(world.run_until_equal(100) >= 0);
  CHECK(!world.read(2, "k"));
  world.run(100);
  // Collected everywhere by now; the books still know it as the fate of the key.
  for (std::size_t node = 0; node < 3; ++node) {
    const BooksResult books = held(node);
    CHECK(std::ranges::find(books.survived, id) != books.survived.end());
    CHECK(world.status(node).keys == 0);
  }
}

TEST_CASE("ap engine: a node that lost its disk is given whole buckets and ends equal") {
  EngineWorld world(3);
  for (int i = 0; i < 40; ++i) world.put(0, "k" + std::to_string(i), "v");
  world.run(20);
  for (int i = 0; i < 20; ++i) world.erase(1, "k" + std::to_string(i));
  world.run(200);  // stable and trimmed
  world.crash(2);
  world.wipe(2);
  world.start(2);
  CHECK(world.run_until_equal(200) >= 0);
  CHECK(world.read(2, "k30") == "v");
  CHECK(!world.read(2, "k3"));
}

TEST_CASE("ap engine: a full disk refuses writes with the reason and keeps reading") {
  EngineWorld world(1);
  world.put(0, "k", "v");
  world.full_disk(0, true);
  const Reply reply = world.put(0, "k", "w");
  CHECK(reply.outcome == Outcome::kFailed);
  CHECK(reply.reason == Reason::kNoSpace);
  CHECK(world.read(0, "k") == "v");
  world.full_disk(0, false);
  CHECK(world.put(0, "k", "w").outcome == Outcome::kOk);
}

TEST_CASE("ap engine: a retry with the same request id writes once") {
  EngineWorld world(1);
  PutRequest put;
  put.key = "k";
  put.value = "v";
  const Reply first = world.get(0, put, "req-1");
  world.put(0, "k", "later");
  const Reply again = world.get(0, put, "req-1");
  CHECK(again.write_id == first.write_id);
  CHECK(world.read(0, "k") == "later");
}

TEST_CASE("ap engine: with one link cut, writes arrive through the third node") {
  EngineWorld world(3);
  world.cut({{0, 1}, {1, 2}});
  world.run(100);
  CHECK(world.status(0).reachable == 3);
  CHECK(world.put(0, "k", "v").outcome == Outcome::kOk);
  world.run(30);
  CHECK(world.read(2, "k") == "v");
}

}  // namespace capstan::ap::test
