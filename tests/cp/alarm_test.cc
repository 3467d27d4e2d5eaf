#include "cp/alarm.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/cp/cp_cluster.h"
#include "tests/cp/machine_store.h"
#include "tests/support/request_ops.h"

using namespace capstan;
using namespace capstan::cp;
using test::CpCluster;

namespace {

using Action = AlarmRequest::Action;

AlarmRequest alarm(Action action, AlarmType type, std::uint64_t member = 7) {
  return {.action = action, .member = {member}, .type = type, .by_itself = false};
}

struct Store : test::MachineStore {
  Reason refused(const RequestBody& body) {
    const Applied done = run(body);
    return done.refusal ? done.refusal->reason : Reason::kNone;
  }
};

TxnRequest txn_of(RequestOp op) {
  TxnRequest txn;
  txn.success = {std::move(op)};
  return txn;
}

std::size_t raised(CpCluster& cluster, int n) {
  const Reply reply = cluster.wait(cluster.submit(n, AlarmRequest{}));
  return std::get<AlarmResult>(reply.body).alarms.size();
}

}  // namespace

TEST_CASE("alarm: NOSPACE refuses what takes space, CORRUPT every change, and both are cleared") {
  Store store;
  store.run(PutRequest{.key = "k", .value = "v"});
  store.run(LeaseGrantRequest{.ttl = 10, .id = 5});
  const std::uint64_t calm = store.machine.fingerprint();
  CHECK(std::get<AlarmResult>(store.run(alarm(Action::kRaise, AlarmType::kNoSpace)).body)
            .alarms.size() == 1);
  CHECK(store.machine.fingerprint() != calm);
  CHECK(store.refused(PutRequest{.key = "k", .value = "w"}) == Reason::kNoSpace);
  CHECK(store.refused(txn_of({PutRequest{.key = "k", .value = "w"}})) == Reason::kNoSpace);
  CHECK(store.refused(LeaseGrantRequest{.ttl = 10, .id = 6}) == Reason::kNoSpace);
  CHECK(store.refused(txn_of({DeleteRangeRequest{.range = {"none", ""}}})) == Reason::kNone);
  CHECK(store.refused(DeleteRangeRequest{.range = {"k", ""}}) == Reason::kNone);
  CHECK(store.refused(CompactRequest{.revision = 2}) == Reason::kNone);
  CHECK(store.refused(LeaseKeepAliveRequest{5}) == Reason::kNone);
  CHECK(store.refused(LeaseRevokeRequest{5}) == Reason::kNone);
  // Another's stays when one is cleared.
  store.run(alarm(Action::kRaise, AlarmType::kNoSpace, 8));
  store.run(alarm(Action::kClear, AlarmType::kNoSpace));
  CHECK(store.refused(PutRequest{.key = "k", .value = "w"}) == Reason::kNoSpace);
  CHECK(std::get<AlarmResult>(store.run(alarm(Action::kClear, AlarmType::kNoSpace)).body)
            .alarms.empty());
  store.run(alarm(Action::kClear, AlarmType::kNoSpace, 8));
  CHECK(store.refused(PutRequest{.key = "k", .value = "w"}) == Reason::kNone);

  store.run(alarm(Action::kRaise, AlarmType::kCorrupt));
  CHECK(store.refused(PutRequest{.key = "k", .value = "w"}) == Reason::kCorrupt);
  CHECK(store.refused(DeleteRangeRequest{.range = {"k", ""}}) == Reason::kCorrupt);
  CHECK(store.refused(CompactRequest{.revision = 3}) == Reason::kCorrupt);
  store.run(alarm(Action::kRaise, AlarmType::kNone));
  CHECK(store.machine.alarms().list({}, AlarmType::kNone).alarms.size() == 1);
}

TEST_CASE("alarm: a checkpoint holds them, with who raised them") {
  Store store;
  store.run(alarm(Action::kRaise, AlarmType::kCorrupt));
  AlarmRequest own = alarm(Action::kRaise, AlarmType::kNoSpace, 1);
  own.by_itself = true;
  store.run(own);
  store.machine.save({});
  REQUIRE(store.base.commit(*store.table.freeze()).has_value());
  Table table(store.base);
  StateMachine other(table);
  CHECK(other.fingerprint() == store.machine.fingerprint());
  CHECK(other.alarms().list({}, AlarmType::kNone).alarms.size() == 2);
  CHECK(other.alarms().list({1}, AlarmType::kNone).alarms.size() == 1);
  CHECK(other.alarms().list({}, AlarmType::kCorrupt).alarms.front().member == MemberId{7});
  CHECK(other.alarms().raised_by_itself({1}, AlarmType::kNoSpace) == true);
  CHECK(other.alarms().raised_by_itself({7}, AlarmType::kCorrupt) == false);
  CHECK(!other.alarms().raised_by_itself({7}, AlarmType::kNoSpace).has_value());
}

TEST_CASE("engine: over the quota of any member puts are refused, until there is room again") {
  CpCluster cluster({.checkpoint_table_bytes = 4096, .quota_bytes = 40'000});
  cluster.elect();
  Reply last;
  for (int i = 0; i < 400 && last.reason == Reason::kNone; ++i) {
    last = cluster.put_now(i % 3 + 1, "k", std::string(1000, 'x'));
    cluster.run();
  }
  REQUIRE(last.outcome == Outcome::kFailed);
  CHECK(last.reason == Reason::kNoSpace);
  CHECK(last.detail.find("n1 is over its quota") != std::string::npos);
  cluster.run(10);
  for (int n = 1; n <= 3; ++n) {
    CHECK(raised(cluster, n) == 1);
    CHECK(cluster.put_now(n, "k", "v").reason == Reason::kNoSpace);
    CHECK(cluster.get_now(n, "k").outcome == Outcome::kOk);
  }
  const auto now = static_cast<std::int64_t>(cluster.engine(1).revision().value);
  CHECK(cluster.wait(cluster.submit(2, DeleteRangeRequest{.range = {"k", ""}})).outcome ==
        Outcome::kOk);
  CHECK(cluster.wait(cluster.submit(3, CompactRequest{.revision = now + 1})).outcome ==
        Outcome::kOk);
  CHECK(cluster.run_until([&] { return !cluster.engine(2).alarms().any(AlarmType::kNoSpace); }));
  for (int n = 1; n <= 3; ++n) {
    CHECK(cluster.put_now(n, "k", "v").outcome == Outcome::kOk);
  }
}

TEST_CASE("engine: what was raised by hand stays until it is cleared by hand") {
  CpCluster cluster({.quota_bytes = 1'000'000'000});
  const int leader = cluster.elect();
  REQUIRE(
      cluster.wait(cluster.submit(leader, alarm(Action::kRaise, AlarmType::kNoSpace, 1))).outcome ==
      Outcome::kOk);
  cluster.run(300);
  CHECK(raised(cluster, leader) == 1);
  CHECK(cluster.put_now(leader, "k", "v").detail.find("by hand") != std::string::npos);
  const auto clear = alarm(Action::kClear, AlarmType::kNoSpace, 1);
  CHECK(cluster.wait(cluster.submit(leader % 3 + 1, clear)).outcome == Outcome::kOk);
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
  cluster.wait(cluster.submit(leader, alarm(Action::kRaise, AlarmType::kCorrupt, 1)));
  const Reply corrupt = cluster.put_now(leader % 3 + 1, "k", "v");
  CHECK(corrupt.reason == Reason::kCorrupt);
  CHECK(corrupt.detail.find("etcdctl alarm disarm") != std::string::npos);
}

TEST_CASE("engine: over the quota, and the alarm is raised by hand already: nothing more is said") {
  CpCluster cluster({.members = 1, .quota_bytes = 3000});
  cluster.elect();
  cluster.put_now(1, "k", std::string(5000, 'x'));
  const auto raise = alarm(Action::kRaise, AlarmType::kNoSpace, 1);
  REQUIRE(cluster.wait(cluster.submit(1, raise)).outcome == Outcome::kOk);
  cluster.run(200);
  CHECK(cluster.engine(1).alarms().raised_by_itself(CpCluster::id(1), AlarmType::kNoSpace) ==
        false);
  const Index before = cluster.engine(1).applied();
  cluster.run(500);
  CHECK(cluster.engine(1).applied() == before);
}
