#include <doctest/doctest.h>

#include <string>

#include "cp/engine.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using test::CpCluster;

namespace {

std::size_t changes_kept(const cp::Engine& engine) {
  std::size_t count = 0;
  engine.mvcc().changes({1}, engine.revision(),
                        [&](cp::Place, const cp::ChangeView&) { return ++count > 0; });
  return count;
}

std::size_t changes_in_base(const CpCluster& cluster, int n) {
  return cluster.base(n).contents().live[static_cast<std::size_t>(Space::kHistory)].size();
}

// Ten puts of one key, and what is said before the eleventh.
int with_history(CpCluster& cluster) {
  const int leader = cluster.elect();
  for (int i = 0; i < 10; ++i) cluster.put_now(leader, "k", std::to_string(i));
  return leader;
}

RangeRequest at_revision(std::int64_t revision) {
  return {.range = {"k", ""}, .revision = revision, .serializable = true};
}

}  // namespace

TEST_CASE("engine: a compaction asked of a follower frees space on every member by itself") {
  CpCluster cluster(3);
  const int follower = with_history(cluster) % 3 + 1;
  const Reply reply = cluster.wait(cluster.submit(follower, CompactRequest{.revision = 9}));
  CHECK(reply.outcome == Outcome::kOk);
  CHECK(reply.header.revision == Revision{11});
  CHECK(cluster.run_until([&] {
    bool all = true;
    for (int n = 1; n <= 3; ++n) all = all && changes_in_base(cluster, n) == 3;
    return all;
  }));
  for (int n = 1; n <= 3; ++n) {
    CHECK(cluster.wait(cluster.submit(n, at_revision(8))).reason == Reason::kCompacted);
    CHECK(cluster.wait(cluster.submit(n, at_revision(9))).outcome == Outcome::kOk);
  }
  const Reply again = cluster.wait(cluster.submit(follower, CompactRequest{.revision = 9}));
  CHECK(again.outcome == Outcome::kFailed);
  CHECK(again.reason == Reason::kCompacted);
  CHECK(cluster.wait(cluster.submit(follower, CompactRequest{.revision = 99})).reason ==
        Reason::kFutureRevision);
}

TEST_CASE("engine: a sweep goes on by itself, slice by slice, also over a restart") {
  CpCluster cluster({.members = 1, .sweep_changes = 10});
  with_history(cluster);
  for (int i = 0; i < 400; ++i) cluster.put_now(1, "k", "more");
  REQUIRE(cluster.wait(cluster.submit(1, CompactRequest{.revision = 400})).outcome == Outcome::kOk);
  REQUIRE(cluster.run_until([&] { return cluster.disk(1).amendments == 20; }));
  CHECK(changes_in_base(cluster, 1) > 200);
  cluster.crash(1);
  cluster.start(1);
  REQUIRE(cluster.run_until([&] { return changes_kept(cluster.engine(1)) == 12; }));
  CHECK(changes_in_base(cluster, 1) == 12);
  CHECK(cluster.disk(1).amendments < 25);  // of the new life: it did not begin anew
}

TEST_CASE("engine: a physical compaction is answered when the base has let go") {
  CpCluster cluster(3);
  const int leader = with_history(cluster);
  cluster.disk(leader).checkpoints_held = true;
  const auto reply = cluster.submit(leader, CompactRequest{.revision = 11, .physical = true});
  cluster.run(600);  // longer than a write may take
  CHECK(!reply->has_value());
  CHECK(cluster.wait(cluster.submit(leader, at_revision(10))).reason == Reason::kCompacted);
  cluster.disk(leader).checkpoints_held = false;
  CHECK(cluster.wait(reply).outcome == Outcome::kOk);
  CHECK(changes_in_base(cluster, leader) == 1);
}

TEST_CASE("engine: a physical compaction that outlasts its time, or its node, is unknown") {
  CpCluster cluster(1);
  with_history(cluster);
  cluster.disk(1).checkpoints_held = true;
  const auto late = cluster.submit(1, CompactRequest{.revision = 5, .physical = true}, {}, kSecond);
  const auto stopped = cluster.submit(1, CompactRequest{.revision = 6, .physical = true});
  cluster.run(110);
  REQUIRE(late->has_value());
  CHECK((*late)->outcome == Outcome::kUnknown);
  CHECK((*late)->reason == Reason::kTimeout);
  CHECK((*late)->detail.find("compacted up to revision 5") != std::string::npos);
  CHECK(!stopped->has_value());
  bool done = false;
  cluster.engine(1).stop([&] { done = true; });
  CHECK(cluster.run_until([&] { return done; }));
  REQUIRE(stopped->has_value());
  CHECK((*stopped)->reason == Reason::kShuttingDown);
}

TEST_CASE("engine: a full disk takes compactions and deletes, at a follower and at the leader") {
  CpCluster cluster(3);
  const int leader = with_history(cluster);
  for (int n = 1; n <= 3; ++n) cluster.disk(n).space = false;
  CHECK(cluster.wait(cluster.submit(leader, CompactRequest{.revision = 5})).outcome ==
        Outcome::kOk);
  CHECK(cluster.wait(cluster.submit(leader % 3 + 1, CompactRequest{.revision = 6})).outcome ==
        Outcome::kOk);
  TxnRequest erase;
  erase.success = {{DeleteRangeRequest{.range = {"k", ""}}}};
  CHECK(cluster.wait(cluster.submit(leader, erase)).outcome == Outcome::kOk);
  CHECK(cluster.wait(cluster.submit(leader % 3 + 1, erase)).outcome == Outcome::kOk);
  TxnRequest put = erase;
  put.failure = {{PutRequest{.key = "k", .value = "v"}}};
  CHECK(cluster.wait(cluster.submit(leader, put)).reason == Reason::kNoSpace);
}

TEST_CASE("engine: a watch that keeps up is not canceled; one that does not, after a second") {
  CpCluster cluster(1);
  with_history(cluster);
  const auto open = [&] {
    auto stream = cluster.engine(1).watch({.ready = [] {}});
    stream->create({.range = {"k", ""}, .start_revision = 2});
    CHECK(stream->next()->created);
    return stream;
  };
  const auto prompt = open();
  const auto slow = open();
  REQUIRE(cluster.wait(cluster.submit(1, CompactRequest{.revision = 11})).outcome == Outcome::kOk);
  cluster.run(50);
  const auto events = prompt->next();
  REQUIRE(events);
  CHECK(events->events.size() == 10);
  CHECK(changes_kept(cluster.engine(1)) == 10);
  cluster.run(60);
  CHECK(changes_kept(cluster.engine(1)) == 1);
  const auto gone = slow->next();
  REQUIRE(gone);
  CHECK(gone->canceled);
  CHECK(gone->compacted == Revision{11});
  CHECK(!prompt->next());
}

TEST_CASE("engine: history is compacted by rule, also under the next leader") {
  CpCluster cluster({.auto_compaction = {.keep_revisions = 5, .revision_interval = kSecond}});
  int leader = with_history(cluster);
  const auto compacted = [&](int n) { return cluster.engine(n).mvcc().facts().compacted.value; };
  REQUIRE(cluster.run_until([&] { return compacted(1) == 6 && compacted(2) == 6; }));
  cluster.crash(leader);
  leader = cluster.elect();
  for (int i = 0; i < 10; ++i) cluster.put_now(leader, "k", "later");
  CHECK(cluster.run_until([&] { return compacted(leader) == 16; }));
  CHECK(cluster.wait(cluster.submit(leader, at_revision(16))).outcome == Outcome::kOk);
}
