#include "cp/lease.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/cp/cp_cluster.h"
#include "tests/cp/machine_store.h"
#include "tests/support/request_ops.h"

using namespace capstan;
using namespace capstan::cp;
using test::CpCluster;

namespace {

PutRequest leased(std::string key, std::int64_t lease) {
  return {.key = std::move(key), .value = "v", .lease = lease};
}

struct Store : test::MachineStore {
  void tell(Micros time) { machine.apply(encode_command(LeaseTime{time}), {1}); }
  // What a leader of `term` proposes of a lease as it is now.
  std::string expiry(std::int64_t id, Term term) {
    return encode_command(LeaseExpiry{term, id, machine.leases().find(id)->generation});
  }
  bool has(std::string_view key) { return machine.mvcc().get(key).has_value(); }
};

bool holds(CpCluster& cluster, int n, std::int64_t id) {
  return cluster.engine(n).leases().holds(id);
}

Reply grant(CpCluster& cluster, int n, std::int64_t id, std::int64_t ttl) {
  Reply reply = cluster.wait(cluster.submit(n, LeaseGrantRequest{.ttl = ttl, .id = id}));
  REQUIRE(reply.outcome == Outcome::kOk);
  return reply;
}

std::int64_t remaining(CpCluster& cluster, int n, std::int64_t id) {
  const Reply reply = cluster.wait(cluster.submit(n, LeaseTimeToLiveRequest{id}));
  return std::get<LeaseTimeToLiveResult>(reply.body).ttl;
}

// Micros from now until the lease is gone from `n`.
Micros until_gone(CpCluster& cluster, int n, std::int64_t id) {
  const Micros since = cluster.now();
  REQUIRE(cluster.run_until([&] { return !holds(cluster, n, id); }));
  return cluster.now() - since;
}

}  // namespace

TEST_CASE("lease: a revoke deletes what hangs on it, in one revision and in the order of keys") {
  Store store;
  CHECK(store.run(leased("k", 5)).refusal->reason == Reason::kLeaseNotFound);
  const Applied granted = store.run(LeaseGrantRequest{.ttl = 10, .id = 5});
  CHECK(granted.revision == Revision{1});
  CHECK(std::get<LeaseGrantResult>(granted.body).id == 5);
  CHECK(store.run(LeaseGrantRequest{.ttl = 10, .id = 5}).refusal->reason == Reason::kLeaseExists);
  store.run(LeaseGrantRequest{.ttl = 10, .id = -6});
  for (const char* key : {"c", "a", "moved", "freed", "kept", "deleted", "b"}) {
    store.run(leased(key, 5));
  }
  store.run(leased("moved", -6));
  store.run(leased("freed", 0));
  store.run(PutRequest{.key = "kept", .value = "w", .ignore_lease = true});
  store.run(DeleteRangeRequest{.range = {"deleted", ""}});
  store.run(leased("other", -6));
  CHECK(store.machine.mvcc().keys_of(5) == std::vector<std::string>{"a", "b", "c", "kept"});
  CHECK(store.machine.mvcc().keys_of(-6) == std::vector<std::string>{"moved", "other"});
  CHECK(store.machine.mvcc().get("kept")->lease == 5);

  const Revision before = store.machine.revision();
  CHECK(store.run(LeaseRevokeRequest{5}).revision == next(before));
  std::vector<std::string> deleted;
  store.machine.mvcc().changes(next(before), next(before), [&](Place, const ChangeView& change) {
    CHECK(!change.head);
    deleted.emplace_back(change.key);
    return true;
  });
  CHECK(deleted == std::vector<std::string>{"a", "b", "c", "kept"});
  CHECK(store.has("moved"));
  CHECK(store.has("freed"));
  CHECK(store.run(LeaseRevokeRequest{5}).refusal->reason == Reason::kLeaseNotFound);
  CHECK(std::get<LeaseKeepAliveResult>(store.run(LeaseKeepAliveRequest{5}).body).ttl == 0);
  CHECK(store.machine.leases().size() == 1);
}

TEST_CASE("lease: nothing hangs on it, then its end is no revision") {
  Store store;
  store.run(LeaseGrantRequest{.ttl = 10, .id = 5});
  CHECK(store.run(LeaseRevokeRequest{5}).revision == Revision{1});
}

TEST_CASE("lease: a transaction puts under a lease that is there, or does nothing at all") {
  Store store;
  store.run(LeaseGrantRequest{.ttl = 10, .id = 5});
  TxnRequest txn;
  txn.success = {{leased("a", 5)}, {leased("b", 7)}};
  CHECK(store.run(txn).refusal->reason == Reason::kLeaseNotFound);
  CHECK(!store.has("a"));
  txn.success.pop_back();
  CHECK(!store.run(txn).refusal);
  Compare compare;
  compare.range.key = "a";
  compare.target = CompareTarget::kLease;
  compare.number = 5;
  txn.compare = {compare};
  CHECK(std::get<TxnResult>(store.run(txn).body).succeeded);
}

TEST_CASE("lease: it ends a time to live after the last renewal, by the time that was told") {
  Store store;
  store.tell(10 * kSecond);
  store.run(LeaseGrantRequest{.ttl = 5, .id = 1});
  CHECK(store.machine.leases().find(1)->ends == 15 * kSecond);
  store.tell(12 * kSecond);
  store.tell(11 * kSecond);  // time does not go back
  CHECK(std::get<LeaseKeepAliveResult>(store.run(LeaseKeepAliveRequest{1}).body).ttl == 5);
  CHECK(store.machine.leases().find(1)->ends == 17 * kSecond);
  std::vector<std::int64_t> ending;
  const auto note = [&](std::int64_t id, std::uint64_t) {
    ending.push_back(id);
    return true;
  };
  store.machine.leases().each_ending(17 * kSecond - 1, note);
  CHECK(ending.empty());
  store.machine.leases().each_ending(17 * kSecond, note);
  CHECK(ending == std::vector<std::int64_t>{1});
}

TEST_CASE("lease: the word that one is over counts for its term and its renewal only") {
  Store store;
  store.run(LeaseGrantRequest{.ttl = 5, .id = 1});
  store.run(leased("k", 1));
  const std::string renewed_since = store.expiry(1, {2});
  store.run(LeaseKeepAliveRequest{1});
  store.machine.apply(renewed_since, {2});
  CHECK(store.has("k"));
  const std::string of_another_term = store.expiry(1, {2});
  store.machine.apply(of_another_term, {3});
  CHECK(store.has("k"));
  // The same id, granted anew, is another lease.
  store.run(LeaseRevokeRequest{1});
  store.run(LeaseGrantRequest{.ttl = 5, .id = 1});
  store.machine.apply(of_another_term, {2});
  CHECK(store.machine.leases().holds(1));
  store.machine.apply(store.expiry(1, {4}), {4});
  CHECK(!store.machine.leases().holds(1));
}

TEST_CASE(
    "lease: a checkpoint holds all of it; what differs in leases differs in the fingerprint") {
  Store store;
  store.tell(10 * kSecond);
  store.run(LeaseGrantRequest{.ttl = 5, .id = 1});
  store.run(LeaseGrantRequest{.ttl = 7, .id = -1});
  store.run(leased("k", -1));
  const std::uint64_t before = store.machine.fingerprint();
  store.machine.save({});
  REQUIRE(store.base.commit(*store.table.freeze()).has_value());
  Table table(store.base);
  StateMachine other(table);
  CHECK(other.fingerprint() == before);
  CHECK(other.leases().facts().time == 10 * kSecond);
  CHECK(other.leases().size() == 2);
  CHECK(other.leases().find(-1)->ends == 17 * kSecond);
  CHECK(other.mvcc().keys_of(-1) == std::vector<std::string>{"k"});
  other.apply(encode_command({{NodeId{1}, 1}, {1}}, "", LeaseKeepAliveRequest{1}), {1});
  CHECK(other.fingerprint() != before);
  CHECK(other.leases().find(1)->generation > store.machine.leases().find(-1)->generation);
}

TEST_CASE("lease: a request repeated under its id is done once and answered alike") {
  Store store;
  store.run(LeaseGrantRequest{.ttl = 5, .id = 9}, "g");
  // The node that hears it again draws another id.
  const Applied again = store.run(LeaseGrantRequest{.ttl = 5, .id = 10}, "g");
  CHECK(std::get<LeaseGrantResult>(again.body).id == 9);
  CHECK(store.machine.leases().size() == 1);
  store.run(LeaseKeepAliveRequest{9}, "k");
  const std::uint64_t generation = store.machine.leases().find(9)->generation;
  CHECK(std::get<LeaseKeepAliveResult>(store.run(LeaseKeepAliveRequest{9}, "k").body).ttl == 5);
  CHECK(store.machine.leases().find(9)->generation == generation);
  store.run(LeaseRevokeRequest{9}, "r");
  CHECK(!store.run(LeaseRevokeRequest{9}, "r").refusal);
}

TEST_CASE("engine: a lease ends by itself, not before its time and soon after, on every member") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = leader % 3 + 1;
  const Micros asked = cluster.now();
  const Reply granted = grant(cluster, follower, 0, 3);
  const auto& lease = std::get<LeaseGrantResult>(granted.body);
  CHECK(lease.id > 0);
  CHECK(lease.ttl == 3);
  REQUIRE(cluster.wait(cluster.submit(follower, leased("k", lease.id))).outcome == Outcome::kOk);
  CHECK(remaining(cluster, leader, lease.id) == 2);
  until_gone(cluster, leader, lease.id);
  CHECK(cluster.now() - asked >= 3 * kSecond);
  CHECK(cluster.now() - asked <= 3'500 * kMillisecond);
  cluster.run(10);
  for (int n = 1; n <= 3; ++n) {
    CHECK(!holds(cluster, n, lease.id));
    CHECK(!cluster.engine(n).mvcc().get("k"));
    CHECK(remaining(cluster, n, lease.id) == -1);
  }
}

TEST_CASE("engine: the shortest time to live is two seconds") {
  CpCluster cluster(1);
  cluster.elect();
  CHECK(std::get<LeaseGrantResult>(grant(cluster, 1, 7, 0).body).ttl == 2);
  CHECK(std::get<LeaseGrantResult>(grant(cluster, 1, 8, -5).body).ttl == 2);
  const Reply all = cluster.wait(cluster.submit(1, LeasesRequest{}));
  CHECK(std::get<LeasesResult>(all.body).ids == std::vector<std::int64_t>{7, 8});
}

TEST_CASE("engine: a lease that is kept alive at any member lives on") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  grant(cluster, leader, 1, 2);
  for (int i = 0; i < 9; ++i) {
    cluster.run(100);
    const int n = i % 3 + 1;
    const Reply kept = cluster.wait(cluster.submit(n, LeaseKeepAliveRequest{1}));
    REQUIRE(kept.outcome == Outcome::kOk);
    CHECK(std::get<LeaseKeepAliveResult>(kept.body).ttl == 2);
  }
  until_gone(cluster, leader, 1);
  const Reply late = cluster.wait(cluster.submit(leader, LeaseKeepAliveRequest{1}));
  CHECK(std::get<LeaseKeepAliveResult>(late.body).ttl == 0);
}

TEST_CASE("engine: remaining time survives leaders: none ends early, none begins anew") {
  CpCluster cluster(3);
  int leader = cluster.elect();
  const Micros asked = cluster.now();
  grant(cluster, leader, 1, 10);
  // Each leader dies after 2.5 s, of which the last half may be lost.
  for (int i = 0; i < 3; ++i) {
    cluster.run(250);
    cluster.crash(leader);
    const int dead = leader;
    leader = cluster.elect();
    cluster.start(dead);
  }
  REQUIRE(holds(cluster, leader, 1));
  const Micros counted = cluster.now() - asked;
  until_gone(cluster, leader, 1);
  CHECK(cluster.now() - asked >= 10 * kSecond);
  CHECK(cluster.now() - asked <= 15 * kSecond);
  CHECK(counted < 10 * kSecond);
}

TEST_CASE("engine: a renewal that was answered outlives the leader that took it") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  grant(cluster, leader, 1, 4);
  cluster.run(300);
  const Micros renewed = cluster.now();
  REQUIRE(cluster.wait(cluster.submit(leader, LeaseKeepAliveRequest{1})).outcome == Outcome::kOk);
  cluster.crash(leader);
  const int heir = cluster.elect();
  until_gone(cluster, heir, 1);
  CHECK(cluster.now() - renewed >= 4 * kSecond);
}

TEST_CASE("engine: while nobody leads, time stands still") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  grant(cluster, leader, 1, 3);
  cluster.cut({leader});
  cluster.crash(leader % 3 + 1);
  cluster.run(1000);
  CHECK(cluster.leader() == 0);
  cluster.heal();
  const int heir = cluster.elect();
  CHECK(holds(cluster, heir, 1));
  CHECK(until_gone(cluster, heir, 1) >= kSecond);
}

TEST_CASE("engine: a sign of life that lay waiting while its leader was held up counts") {
  CpCluster cluster(1);
  cluster.elect();
  grant(cluster, 1, 1, 2);
  cluster.run(190);
  // Held up for a minute; what came meanwhile is read before time is looked at.
  cluster.skip(60 * kSecond);
  const auto kept = cluster.submit(1, LeaseKeepAliveRequest{1});
  CHECK(cluster.wait(kept).outcome == Outcome::kOk);
  CHECK(until_gone(cluster, 1, 1) >= 1'900 * kMillisecond);
}

TEST_CASE("engine: the disk is slow, and the sign of life in front of the end wins") {
  CpCluster cluster(1);
  cluster.elect();
  grant(cluster, 1, 1, 2);
  cluster.run(150);
  cluster.disk(1).held = true;
  const auto kept = cluster.submit(1, LeaseKeepAliveRequest{1});
  cluster.run(300);  // its end is proposed meanwhile
  cluster.disk(1).held = false;
  CHECK(cluster.wait(kept).outcome == Outcome::kOk);
  CHECK(holds(cluster, 1, 1));
  until_gone(cluster, 1, 1);
}

TEST_CASE("engine: a full disk takes renewals and revokes, and no grants") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  grant(cluster, leader, 1, 2);
  for (int n = 1; n <= 3; ++n) cluster.disk(n).space = false;
  for (const int n : {leader, leader % 3 + 1}) {
    CHECK(cluster.wait(cluster.submit(n, LeaseGrantRequest{.ttl = 2, .id = 2})).reason ==
          Reason::kNoSpace);
    CHECK(cluster.wait(cluster.submit(n, LeaseKeepAliveRequest{1})).outcome == Outcome::kOk);
  }
  CHECK(cluster.wait(cluster.submit(leader % 3 + 1, LeaseRevokeRequest{1})).outcome ==
        Outcome::kOk);
}

TEST_CASE("engine: a member that gets the state itself has the leases with it") {
  CpCluster cluster({.checkpoint_table_bytes = 1, .log_window_bytes = 1});
  const int leader = cluster.elect();
  const int late = leader % 3 + 1;
  cluster.crash(late);
  grant(cluster, leader, 1, 60);
  for (int i = 0; i < 20; ++i) cluster.put_now(leader, "k" + std::to_string(i), "v");
  REQUIRE(cluster.wait(cluster.submit(leader, leased("k", 1))).outcome == Outcome::kOk);
  cluster.run(100);
  cluster.start(late);
  REQUIRE(cluster.run_until([&] { return holds(cluster, late, 1); }));
  CHECK(cluster.disk(late).installs == 1);
  CHECK(cluster.run_until(
      [&] { return cluster.engine(late).mvcc().keys_of(1) == std::vector<std::string>{"k"}; }));
  CHECK(remaining(cluster, late, 1) >= 58);
}

TEST_CASE("engine: ten thousand leases that end at once end within a second") {
  CpCluster cluster(1);
  cluster.elect();
  std::vector<std::shared_ptr<std::optional<Reply>>> granted;
  for (int i = 1; i <= 10'000; ++i) {
    granted.push_back(cluster.submit(1, LeaseGrantRequest{.ttl = 2, .id = i}));
  }
  cluster.wait(granted.back());
  REQUIRE(cluster.engine(1).leases().size() == 10'000);
  const Micros since = cluster.now();
  CHECK(cluster.run_until([&] { return cluster.engine(1).leases().size() == 0; }));
  CHECK(cluster.now() - since <= 3 * kSecond);
}
