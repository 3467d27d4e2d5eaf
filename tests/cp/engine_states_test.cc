#include <doctest/doctest.h>

#include <string>

#include "core/coding.h"
#include "cp/engine.h"
#include "cp/state_machine.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using test::CpCluster;

namespace {

StatusResult status_of(CpCluster& cluster, int n) {
  StatusResult status;
  for (int peer = 1; peer <= 3; ++peer) {
    status.peers.emplace_back().id = CpCluster::id(peer);
  }
  cluster.engine(n).describe(status);
  return status;
}
std::string state(CpCluster& cluster, int n, int of) {
  return status_of(cluster, n).peers[static_cast<std::size_t>(of - 1)].state;
}

constexpr int kRound = static_cast<int>(kCompareInterval / kTick);

}  // namespace

TEST_CASE("engine: members compare their states every ten seconds, also while nothing happens") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.put_now(leader, "k", "v");
  CHECK(state(cluster, 1, 2) == "unknown");
  cluster.run(kRound + 10);
  for (int n = 1; n <= 3; ++n) {
    for (int of = 1; of <= 3; ++of) CHECK(state(cluster, n, of) == (n == of ? "" : "equal"));
    CHECK(!status_of(cluster, n).divergence_alarm);
    CHECK(status_of(cluster, n).errors.empty());
  }
}

TEST_CASE("engine: a state that differs raises the alarm on every member") {
  CpCluster cluster({.checkpoint_table_bytes = 2048});
  const int leader = cluster.elect();
  for (int i = 0; i < 40; ++i) cluster.put_now(leader, "k", std::string(100, 'v'));
  const int odd = leader % 3 + 1;
  cluster.crash(odd);
  // One byte of what it keeps of itself is another: the digest.
  cluster.change_base(odd, Space::kMeta, std::string(cp::StateMachine::kStateKey), [](auto& row) {
    Reader in(row);
    in.u8();
    for (int i = 0; i < 5; ++i) in.varint();
    row[row.size() - in.left()] ^= 1;
  });
  cluster.start(odd);
  cluster.run(2 * kRound);
  for (int n = 1; n <= 3; ++n) {
    CHECK(status_of(cluster, n).divergence_alarm);
    for (int of = 1; of <= 3; ++of) {
      if (n == of) continue;
      CHECK(state(cluster, n, of) == (n == odd || of == odd ? "different" : "equal"));
    }
  }
  const std::string name = "n" + std::to_string(odd);
  CHECK(status_of(cluster, leader).errors[0].find(" and " + name + " differ since") !=
        std::string::npos);
}

TEST_CASE("engine: a member that cannot be compared with is no equal one") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.put_now(leader, "k", "v");
  cluster.run(kRound + 10);
  const int gone = leader % 3 + 1;
  cluster.crash(gone);
  cluster.run(5 * kRound);
  CHECK(state(cluster, leader, gone) == "equal");  // it was, within the minute
  CHECK(status_of(cluster, leader).errors.empty());
  cluster.run(2 * kRound);
  CHECK(state(cluster, leader, gone) == "unknown");
  REQUIRE(status_of(cluster, leader).errors.size() == 1);
  CHECK(status_of(cluster, leader).errors[0].find("holds the same state has been unknown for") !=
        std::string::npos);
  CHECK(!status_of(cluster, leader).divergence_alarm);
}
