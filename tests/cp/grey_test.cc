// Grey failures of an engine: everybody is heard, and nothing goes on.
#include <doctest/doctest.h>

#include <string>

#include "cp/engine.h"
#include "cp/log_ages.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using namespace capstan::cp;
using test::CpCluster;

namespace {

constexpr int kSecondOfTicks = 100;

std::string errors(const CpCluster& cluster, int n) {
  StatusResult status;
  for (int m = 1; m <= 3; ++m) {
    status.peers.emplace_back().id = CpCluster::id(m);
  }
  const_cast<CpCluster&>(cluster).engine(n).describe(status);
  std::string out;
  for (const std::string& error : status.errors) out += error + '\n';
  return out;
}

// Appends that carry something vanish between this member and the others, both ways.
void large_packets_vanish(CpCluster& cluster, int around) {
  cluster.filter = [around](int from, int to, const Message& message) {
    const auto* append = std::get_if<Append>(&message.body);
    const bool large = append != nullptr && !append->entries.empty();
    const bool forward = std::holds_alternative<Forward>(message.body);
    return !((from == around || to == around) && (large || forward));
  };
}

}  // namespace

TEST_CASE("log ages: how old the first entry behind a place is") {
  LogAges ages;
  CHECK(ages.age_behind({0}, kSecond) == 0);
  ages.note({10}, kSecond);
  ages.note({10}, 2 * kSecond);
  ages.note({20}, 3 * kSecond);
  CHECK(ages.age_behind({9}, 4 * kSecond) == 3 * kSecond);
  CHECK(ages.age_behind({10}, 4 * kSecond) == kSecond);
  CHECK(ages.age_behind({19}, 4 * kSecond) == kSecond);
  CHECK(ages.age_behind({20}, 4 * kSecond) == 0);
  // Cut, and grown again: what is new is young.
  ages.note({15}, 5 * kSecond);
  CHECK(ages.age_behind({14}, 6 * kSecond) == kSecond);
  CHECK(ages.age_behind({9}, 6 * kSecond) == 5 * kSecond);
  // Many at once are one note, and nothing is kept for ever.
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    ages.note({100 + i}, 10 * kSecond + static_cast<Micros>(i) * kMillisecond);
  }
  CHECK(ages.age_behind({0}, 110 * kSecond) <= LogAges::kLongest + kSecond);
  CHECK(ages.age_behind({100 + 99'000}, 110 * kSecond) >= 900 * kMillisecond);
  CHECK(ages.age_behind({100 + 99'000}, 110 * kSecond) <= 1100 * kMillisecond);
}

TEST_CASE("grey: a leader whose large packets vanish is replaced within 5 s, and says why") {
  for (int round = 0; round < 2; ++round) {
    CpCluster cluster({.members = 3, .seed = 7u + static_cast<std::uint64_t>(round)});
    const int leader = cluster.elect();
    cluster.put_now(leader, "k", "before");
    large_packets_vanish(cluster, leader);
    const auto stuck = cluster.put(leader, "k", "stuck");
    cluster.run(kSecondOfTicks);
    CHECK(cluster.leader() == leader);
    CHECK(errors(cluster, leader).empty());
    bool said = false;
    int ticks = kSecondOfTicks;
    for (; ticks < 5 * kSecondOfTicks && cluster.leader() == leader; ++ticks) {
      cluster.run();
      said = said || errors(cluster, leader).contains("degraded: nothing has been committed for");
    }
    CHECK(said);
    CHECK(ticks < 5 * kSecondOfTicks);
    const int other = cluster.elect();
    REQUIRE(other != leader);
    CHECK(cluster.put_now(other, "k", "after").outcome == Outcome::kOk);
    // The member alone behind the hole is told of, by the leader and by itself.
    cluster.run(3 * kSecondOfTicks);
    // Clients that give up sooner than the trouble is one.
    for (int i = 0; i < 3; ++i) {
      cluster.submit(leader, PutRequest{.key = "k", .value = "stuck again"}, "", kSecond);
      cluster.run(kSecondOfTicks);
    }
    CHECK(errors(cluster, other).contains("degraded: n" + std::to_string(leader) + " is heard"));
    CHECK(errors(cluster, leader).contains("nothing of what"));
    CHECK(cluster.engine(leader).trouble().has_value());
    CHECK(!cluster.engine(other).trouble().has_value());
    cluster.filter = nullptr;
    cluster.run(3 * kSecondOfTicks);
    CHECK(errors(cluster, other).empty());
    cluster.run(3 * kSecondOfTicks);  // remembered, since nobody asked for anything
    CHECK(errors(cluster, leader).empty());
    CHECK(cluster.get_now(other, "k").outcome == Outcome::kOk);
  }
}

TEST_CASE("grey: a leader whose disk does not answer hands over, and says so") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.put_now(leader, "k", "before");
  cluster.disk(leader).held = true;
  CHECK(cluster.put_now(leader, "k", "by the others").outcome == Outcome::kOk);
  CHECK(errors(cluster, leader).empty());
  cluster.run(3 * kSecondOfTicks);
  CHECK(errors(cluster, leader).contains("degraded: the disk of n" + std::to_string(leader)));
  CHECK(cluster.engine(leader).trouble().has_value());
  const int other = cluster.elect();
  CHECK(other != leader);
  CHECK(cluster.put_now(other, "k", "after").outcome == Outcome::kOk);
  cluster.disk(leader).held = false;
  cluster.run(kSecondOfTicks);
  CHECK(errors(cluster, leader).empty());
}

TEST_CASE("grey: where nobody could do better the leader asks more and more seldom, and goes on") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.put_now(leader, "k", "before");
  int told = 0;
  cluster.filter = [&told](int, int, const Message& message) {
    const auto* append = std::get_if<Append>(&message.body);
    const bool tells = std::holds_alternative<TimeoutNow>(message.body);
    told += tells ? 1 : 0;
    return !tells && (append == nullptr || append->entries.empty());
  };
  cluster.put(leader, "k", "stuck");
  cluster.run(60 * kSecondOfTicks);
  CHECK(cluster.leader() == leader);
  const int in_a_minute = told;
  CHECK(in_a_minute >= 10);
  CHECK(in_a_minute <= 60);
  cluster.run(60 * kSecondOfTicks);
  CHECK(told - in_a_minute < in_a_minute / 2);
  cluster.filter = nullptr;
  cluster.run(kSecondOfTicks);
  CHECK(cluster.put_now(leader, "k", "after").outcome == Outcome::kOk);
  CHECK(errors(cluster, leader).empty());
}

TEST_CASE("grey: a cluster of one and one without a quorum have nobody to hand over to") {
  CpCluster alone(1);
  const int leader = alone.elect();
  alone.disk(leader).held = true;
  alone.put(leader, "k", "v");
  alone.run(5 * kSecondOfTicks);
  CHECK(errors(alone, leader).contains("degraded: the disk of n1"));
  alone.disk(leader).held = false;
  alone.run(5);
  CHECK(alone.get_now(leader, "k").outcome == Outcome::kOk);

  CpCluster cluster(3);
  const int cut_off = cluster.elect();
  cluster.put(cut_off, "k", "v");
  cluster.cut({cut_off});
  cluster.run(5 * kSecondOfTicks);
  CHECK(!errors(cluster, cut_off).contains("degraded"));
  CHECK(errors(cluster, cut_off).contains("no quorum"));
}
