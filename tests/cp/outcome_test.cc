#include <doctest/doctest.h>

#include <set>
#include <string>

#include "core/random.h"
#include "tests/cp/cp_cluster.h"
#include "tests/cp/machine_store.h"

using namespace capstan;
using namespace capstan::cp;
using test::CpCluster;

namespace {

WriteId id_of(std::uint64_t node, Incarnation life, std::uint64_t number) {
  return {{NodeId{node}, life}, {number}};
}

struct Store : test::MachineStore {
  WriteId last() const { return id_of(1, 1, sequence); }
  Fate fate(const OutcomeRequest& request) { return machine.outcome(request).fate; }
  Fate ask(const OutcomeRequest& request) {
    return std::get<OutcomeResult>(run(request).body).fate;
  }
};

const PutRequest kPut{.key = "k", .value = "v"};

}  // namespace

TEST_CASE("outcome: runs of applied writes say of each id what a list of all would") {
  test::MachineStore store;
  Outcomes outcomes(store.table);
  std::set<std::uint64_t> applied;
  Rng rng(7);
  std::uint64_t top = 0;
  for (int i = 0; i < 3000; ++i) {
    // Mostly the next one, at times behind a gap, at times one that was left out.
    const std::uint64_t number = rng.chance(0.1)   ? top + 1 + rng.below(4)
                                 : rng.chance(0.1) ? 1 + rng.below(top + 1)
                                                   : top + 1;
    top = std::max(top, number);
    applied.insert(number);
    outcomes.applied(id_of(3, 2, number));
  }
  const auto agrees = [&](const Outcomes& with) {
    for (std::uint64_t number = 1; number <= top + 3; ++number) {
      const Fate want = applied.contains(number) ? Fate::kApplied : Fate::kOpen;
      if (with.fate(id_of(3, 2, number)) != want) return false;
    }
    return true;
  };
  CHECK(agrees(outcomes));
  CHECK(outcomes.fate(id_of(3, 1, 1)) == Fate::kOpen);
  CHECK(outcomes.fate(id_of(4, 2, 1)) == Fate::kOpen);
  outcomes.settle(id_of(4, 2, 1));
  outcomes.save();
  Outcomes again(store.table);
  again.load();
  CHECK(agrees(again));
  CHECK(again.fate(id_of(4, 2, 1)) == Fate::kNotApplied);
  CHECK(again.digest() == outcomes.digest());
}

TEST_CASE("outcome: of what is too old it says that it does not know") {
  test::MachineStore store;
  Outcomes outcomes(store.table);
  for (std::uint64_t i = 0; i <= Outcomes::kRunsMax; ++i) outcomes.applied(id_of(1, 1, 10 + 2 * i));
  CHECK(outcomes.fate(id_of(1, 1, 9)) == Fate::kForgotten);
  CHECK(outcomes.fate(id_of(1, 1, 10)) == Fate::kForgotten);
  CHECK(outcomes.fate(id_of(1, 1, 11)) == Fate::kOpen);
  CHECK(outcomes.fate(id_of(1, 1, 12)) == Fate::kApplied);
  for (Incarnation life = 2; life <= 1 + Outcomes::kLivesKept; ++life) {
    CHECK(outcomes.fate(id_of(1, 1, 12)) == Fate::kApplied);
    outcomes.applied(id_of(1, life, 1));
  }
  CHECK(outcomes.fate(id_of(1, 1, 12)) == Fate::kForgotten);
  CHECK(outcomes.fate(id_of(1, 2, 1)) == Fate::kApplied);
  outcomes.save();
  Outcomes again(store.table);
  again.load();
  CHECK(again.fate(id_of(1, 1, 12)) == Fate::kForgotten);
  // Settled ids go, too, the oldest first.
  for (std::uint64_t i = 1; i <= Outcomes::kSettledMax + 1; ++i) outcomes.settle(id_of(9, 1, i));
  CHECK(!outcomes.settled(id_of(9, 1, 1)));
  CHECK(outcomes.settled(id_of(9, 1, 2)));
}

TEST_CASE("outcome: what was applied is told, what was not is settled and refused when it comes") {
  Store store;
  const Revision revision = store.run(kPut, "order").revision;
  CHECK(store.fate({.id = store.last()}) == Fate::kApplied);
  CHECK(store.machine.outcome({.of_request = "order"}).revision == revision);
  // A retry is done, too.
  store.run(kPut, "order");
  CHECK(store.fate({.id = store.last()}) == Fate::kApplied);
  // What is refused was not applied.
  store.run(PutRequest{.key = "k", .value = "v", .lease = 99});
  CHECK(store.fate({.id = store.last()}) == Fate::kOpen);

  const std::uint64_t before = store.machine.fingerprint();
  CHECK(store.ask({.id = id_of(1, 1, 50)}) == Fate::kNotApplied);
  CHECK(store.machine.fingerprint() != before);
  CHECK(store.ask({.of_request = "late"}) == Fate::kNotApplied);
  CHECK(store.ask({.of_request = "late"}) == Fate::kNotApplied);
  store.sequence = 49;
  const Applied put = store.run(kPut);
  REQUIRE(put.refusal);
  CHECK(put.refusal->reason == Reason::kSettled);
  CHECK(store.ask({.id = id_of(1, 1, 50)}) == Fate::kNotApplied);
  const Applied late = store.run(kPut, "late");
  REQUIRE(late.refusal);
  CHECK(late.refusal->reason == Reason::kSettled);
  CHECK(store.machine.revision() == revision);

  store.machine.save({});
  REQUIRE(store.base.commit(*store.table.freeze()).has_value());
  Table table(store.base);
  const StateMachine other(table);
  CHECK(other.fingerprint() == store.machine.fingerprint());
  CHECK(other.outcome({.id = id_of(1, 1, 50)}).fate == Fate::kNotApplied);
  CHECK(other.outcome({.of_request = "late"}).fate == Fate::kNotApplied);
  CHECK(other.outcome({.of_request = "order"}).fate == Fate::kApplied);
  CHECK(other.outcome({.id = id_of(1, 1, 1)}).fate == Fate::kApplied);
}

TEST_CASE("engine: a write answered unknown is asked about at another member, and stays so") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  CHECK(cluster.put_now(leader, "k", "1").outcome == Outcome::kOk);
  // The leader's entries reach nobody, then nobody's reach it.
  cluster.cut({leader});
  const auto put = cluster.put(leader, "k", "2");
  cluster.run_until([&] { return put->has_value(); });
  REQUIRE((*put)->outcome == Outcome::kUnknown);
  CHECK((*put)->detail.contains("Ask: capstan outcome"));
  const WriteId id = (*put)->write_id;
  const int other = cluster.elect();
  REQUIRE(other != leader);
  const auto ask = [&](int n, OutcomeRequest question) {
    return cluster.wait(cluster.submit(n, std::move(question)));
  };
  // The side without a majority cannot decide.
  CHECK(ask(leader, {.id = id}).outcome != Outcome::kOk);
  const Reply told = ask(other, {.id = id});
  CHECK(std::get<OutcomeResult>(told.body).fate == Fate::kNotApplied);
  cluster.heal();
  cluster.run(100);
  for (int n = 1; n <= 3; ++n) {
    CHECK(std::get<OutcomeResult>(ask(n, {.id = id}).body).fate == Fate::kNotApplied);
    CHECK(std::get<RangeResult>(cluster.get_now(n, "k").body).kvs.at(0).value == "1");
  }
}

TEST_CASE("engine: a write that is still waiting when it is settled is refused") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = leader % 3 + 1;
  // What the follower forwards does not arrive.
  cluster.filter = [&](int from, int, const Message& message) {
    return from != follower || !std::holds_alternative<Forward>(message.body);
  };
  const auto put = cluster.submit(follower, kPut, "order");
  cluster.run(5);
  CHECK(!put->has_value());
  const Reply told = cluster.wait(cluster.submit(leader, OutcomeRequest{.of_request = "order"}));
  CHECK(std::get<OutcomeResult>(told.body).fate == Fate::kNotApplied);
  cluster.filter = nullptr;
  const Reply answer = cluster.wait(put);
  CHECK(answer.outcome == Outcome::kFailed);
  CHECK(answer.reason == Reason::kSettled);
}
