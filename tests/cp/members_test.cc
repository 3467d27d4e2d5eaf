// Members that come and go: the configuration, and engines that change it while they serve.
#include <doctest/doctest.h>

#include <algorithm>

#include "cp/config.h"
#include "tests/cp/cp_cluster.h"
#include "tests/cp/raft_builder.h"

using namespace capstan;
using namespace capstan::test;
using Action = MemberChangeRequest::Action;

namespace {

MemberChangeRequest add(int n, bool learner = false) {
  return {Action::kAdd, CpCluster::id(n), CpCluster::member(n).peer, learner};
}
MemberChangeRequest remove(int n) { return {Action::kRemove, CpCluster::id(n)}; }
MemberChangeRequest promote(int n) { return {Action::kPromote, CpCluster::id(n)}; }

Reply change(CpCluster& cluster, int at, const MemberChangeRequest& request) {
  return cluster.wait(cluster.submit(at, request));
}
const cp::Config& config(CpCluster& cluster, int n) { return cluster.engine(n).raft().config(); }
std::vector<MemberId> ids(std::initializer_list<int> numbers) {
  std::vector<MemberId> out;
  for (int n : numbers) out.push_back(CpCluster::id(n));
  return out;
}
bool settled(CpCluster& cluster, int at, std::initializer_list<int> voters) {
  const cp::Config& now = config(cluster, at);
  return !now.joint() && now.voters == ids(voters) && now.learners.empty() &&
         cluster.engine(at).raft().config_index() <= cluster.engine(at).applied();
}
int other_than(int leader) { return leader == 1 ? 2 : 1; }

}  // namespace

TEST_CASE("config: what is written is read, and nothing else is") {
  cp::Config config{.voters = ids({1, 3}), .outgoing = ids({1, 2}), .learners = ids({4, 5})};
  config.joining = ids({4});
  config.removed = {{9}, {2}};
  for (int n : {1, 2, 3, 4, 5}) config.members.push_back(CpCluster::member(n));
  config.asked = {{{77}, 3}, {12}};
  const std::string bytes = cp::encode_config(config);
  CHECK(cp::decode_config(bytes) == config);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK(!cp::decode_config(ByteView(bytes).substr(0, size)));
  }
  CHECK(!cp::decode_config(bytes + "x"));

  const cp::Config after = config.left();
  CHECK(!after.joint());
  CHECK(after.record(CpCluster::id(2)) == nullptr);
  CHECK(after.record(CpCluster::id(3)) != nullptr);
  CHECK(after.asked == config.asked);
}

TEST_CASE("members: one that is added takes the log, votes by itself, and is counted") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  for (int i = 0; i < 20; ++i) cluster.put_now(leader, "k" + std::to_string(i), "v");
  const Revision before = cluster.engine(leader).revision();

  const Reply added = change(cluster, other_than(leader), add(4));
  REQUIRE(added.outcome == Outcome::kOk);
  const auto& result = std::get<MemberChangeResult>(added.body);
  CHECK(result.member == CpCluster::id(4));
  REQUIRE(result.members.size() == 4);
  CHECK(result.members[3].learner);
  CHECK(result.members[3].name.empty());
  CHECK(result.members[3].peer_address == "n4:2380");
  CHECK(cluster.engine(leader).revision() == before);  // no revision of the store
  cluster.run(100);
  CHECK(config(cluster, leader).voters == ids({1, 2, 3}));  // nobody is there to vote

  cluster.add_machine(4);
  cluster.start(4);
  REQUIRE(cluster.run_until([&] { return settled(cluster, 4, {1, 2, 3, 4}); }));
  CHECK(cluster.get_now(4, "k7").outcome == Outcome::kOk);
  CHECK(cluster.engine(4).state_digest() == cluster.engine(leader).state_digest());
  // Its name came with its own word.
  REQUIRE(cluster.run_until([&] { return config(cluster, 1).record({4})->name == "n4"; }));

  // It is counted: of four, three are needed.
  const int gone = leader == 2 ? 3 : 2;
  cluster.crash(gone);
  CHECK(cluster.put_now(cluster.elect(), "a", "b").outcome == Outcome::kOk);
  cluster.crash(gone == 2 ? 3 : 2);
  cluster.run(200);
  CHECK(cluster.put_now(4, "a", "c").outcome != Outcome::kOk);
}

TEST_CASE("members: a learner stays one until it is promoted, and only in step") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  REQUIRE(change(cluster, leader, add(4, true)).outcome == Outcome::kOk);
  CHECK(change(cluster, leader, add(5, true)).reason == Reason::kTooManyLearners);
  CHECK(change(cluster, leader, promote(4)).reason == Reason::kLearnerNotReady);
  CHECK(change(cluster, leader, promote(1)).reason == Reason::kNotLearner);
  CHECK(change(cluster, leader, promote(9)).reason == Reason::kMemberNotFound);
  cluster.add_machine(4);
  cluster.start(4);
  cluster.run(300);
  CHECK(config(cluster, leader).learners == ids({4}));
  REQUIRE(change(cluster, 4, promote(4)).outcome == Outcome::kOk);
  CHECK(settled(cluster, 4, {1, 2, 3, 4}));
}

TEST_CASE("members: a learner is in no quorum, and never campaigns") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  REQUIRE(change(cluster, leader, add(4, true)).outcome == Outcome::kOk);
  cluster.add_machine(4);
  cluster.start(4);
  cluster.run(200);
  REQUIRE(cluster.engine(4).raft().standing() == cp::Standing::kNormal);
  const Term term = cluster.engine(leader).raft().term();
  const int a = leader == 1 ? 2 : 1, b = 6 - leader - a;
  cluster.crash(a);
  cluster.crash(b);
  const auto put = cluster.put(leader, "k", "v");
  cluster.run(300);
  REQUIRE(put->has_value());
  CHECK((*put)->outcome != Outcome::kOk);
  CHECK(cluster.engine(leader).revision() == Revision{1});
  CHECK(cluster.engine(4).raft().term() <= next(term));
  CHECK(cluster.engine(4).raft().role() == cp::Role::kFollower);
}

TEST_CASE("members: what cannot be is refused, with nothing changed") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int other = other_than(leader);
  for (int at : {leader, other}) {
    CHECK(change(cluster, at, remove(9)).reason == Reason::kMemberNotFound);
    CHECK(change(cluster, at, add(2)).reason == Reason::kMemberExists);
    MemberChangeRequest taken = add(4);
    taken.peer = CpCluster::member(1).peer;
    const Reply refused = change(cluster, at, taken);
    CHECK(refused.reason == Reason::kPeerUrlExists);
    CHECK(refused.detail.find("n1") != std::string::npos);
    CHECK(refused.outcome == Outcome::kFailed);
  }
  CHECK(config(cluster, leader).voters == ids({1, 2, 3}));
  // Of n1..n3 one is down: without another the two left would be one that is heard.
  const int down = 6 - leader - other;
  cluster.crash(down);
  cluster.run(60);
  CHECK(change(cluster, leader, remove(other)).reason == Reason::kTooFewStarted);
  CHECK(change(cluster, leader, remove(down)).outcome == Outcome::kOk);
  CHECK(config(cluster, leader).voters.size() == 2);
}

TEST_CASE("members: a removed follower hears of it and serves nothing more") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int gone = other_than(leader);
  cluster.put_now(leader, "k", "v");
  REQUIRE(change(cluster, gone, remove(gone)).outcome == Outcome::kOk);
  REQUIRE(cluster.run_until(
      [&] { return cluster.put_now(gone, "k", "w").reason == Reason::kRemoved; }));
  CHECK(!cluster.engine(gone).ready());
  const Term term = cluster.engine(leader).raft().term();
  cluster.run(300);
  CHECK(cluster.engine(leader).raft().term() == term);  // it disturbs nobody
  CHECK(cluster.put_now(leader, "k", "x").outcome == Outcome::kOk);
  // It knows so after a restart as well, and its id is not used again.
  cluster.crash(gone);
  cluster.start(gone);
  cluster.run(50);
  CHECK(cluster.get_now(gone, "k").reason == Reason::kRemoved);
  CHECK(change(cluster, leader, add(gone)).reason == Reason::kMemberExists);
}

TEST_CASE("members: one that is out of reach when it is removed hears of it a little later") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int gone = other_than(leader);
  cluster.filter = [gone](int, int to, const cp::Message&) { return to != gone; };
  REQUIRE(change(cluster, leader, remove(gone)).outcome == Outcome::kOk);
  cluster.run(100);
  CHECK(cluster.get_now(gone, "k").reason != Reason::kRemoved);  // how should it know
  cluster.filter = nullptr;
  CHECK(cluster.run_until([&] { return cluster.get_now(gone, "k").reason == Reason::kRemoved; }));
  cluster.run(300);
  CHECK(!cluster.engine(leader).raft().progress().contains(CpCluster::id(gone)));
}

TEST_CASE("members: a leader that is removed hands over first; no write fails for it") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int other = other_than(leader);
  std::vector<std::shared_ptr<std::optional<Reply>>> writes;
  const auto removed = cluster.submit(leader, remove(leader));
  for (int i = 0; i < 30; ++i) {
    writes.push_back(cluster.put(other, "k" + std::to_string(i), "v"));
    cluster.run();
  }
  CHECK(cluster.wait(removed).outcome == Outcome::kOk);
  for (const auto& write : writes) CHECK(cluster.wait(write).outcome == Outcome::kOk);
  const int now = cluster.elect();
  CHECK(now != leader);
  CHECK(config(cluster, now).voters.size() == 2);
  CHECK(cluster.get_now(leader, "k").reason == Reason::kRemoved);
}

TEST_CASE("members: the last voter of two leaves, and the one that stays goes on alone") {
  CpCluster cluster(2);
  const int leader = cluster.elect();
  const int other = 3 - leader;
  REQUIRE(change(cluster, leader, remove(leader)).outcome == Outcome::kOk);
  REQUIRE(cluster.run_until([&] { return cluster.engine(other).raft().established(); }));
  CHECK(cluster.put_now(other, "k", "v").outcome == Outcome::kOk);
  CHECK(change(cluster, other, remove(other)).reason == Reason::kInvalid);
}

TEST_CASE("members: a configuration whose entry is replaced does not count any more") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.cut({leader});
  const auto lost = cluster.submit(leader, add(4));
  cluster.run(3);
  CHECK(config(cluster, leader).learners == ids({4}));
  const auto others_lead = [&] { return cluster.leader() != leader && cluster.leader() != 0; };
  REQUIRE(cluster.run_until(others_lead));
  CHECK(cluster.put_now(cluster.leader(), "k", "v").outcome == Outcome::kOk);
  CHECK(cluster.wait(lost).outcome == Outcome::kUnknown);
  cluster.heal();
  REQUIRE(cluster.run_until([&] {
    return cluster.engine(leader).applied() == cluster.engine(cluster.leader()).applied();
  }));
  CHECK(config(cluster, leader).learners.empty());
  CHECK(config(cluster, leader).members.size() == 3);
}

TEST_CASE("members: the configuration survives restarts, checkpoints and snapshots") {
  CpCluster cluster({.members = 3, .checkpoint_table_bytes = 2000, .log_window_bytes = 500});
  int leader = cluster.elect();
  REQUIRE(change(cluster, leader, add(4)).outcome == Outcome::kOk);
  for (int i = 0; i < 60; ++i) {
    cluster.put_now(leader, "k" + std::to_string(i), std::string(100, 'v'));
  }
  cluster.add_machine(4);
  cluster.start(4);  // far behind the window: by snapshot
  REQUIRE(cluster.run_until([&] { return settled(cluster, 4, {1, 2, 3, 4}); }));
  CHECK(cluster.disk(4).installs > 0);
  for (int n : {1, 2, 3, 4}) cluster.crash(n);
  for (int n : {1, 2, 3, 4}) cluster.start(n);
  leader = cluster.elect();
  for (int n : {1, 2, 3, 4}) CHECK(config(cluster, n).voters == ids({1, 2, 3, 4}));
  REQUIRE(change(cluster, leader, remove(leader)).outcome == Outcome::kOk);
  CHECK(cluster.put_now(cluster.elect(), "k", "v").outcome == Outcome::kOk);
}

TEST_CASE("members: the alarm of a member goes with it") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int gone = other_than(leader);
  cluster.wait(cluster.submit(leader, AlarmRequest{AlarmRequest::Action::kRaise,
                                                   CpCluster::id(gone), AlarmType::kNoSpace}));
  CHECK(cluster.put_now(leader, "k", "v").reason == Reason::kNoSpace);
  REQUIRE(change(cluster, leader, remove(gone)).outcome == Outcome::kOk);
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
}

TEST_CASE("members: a new address is written down") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  MemberChangeRequest update{Action::kUpdate, CpCluster::id(2)};
  update.peer = "elsewhere:2380";
  REQUIRE(change(cluster, leader, update).outcome == Outcome::kOk);
  cluster.run(5);
  for (int n : {1, 2, 3}) CHECK(config(cluster, n).record({2})->peer == "elsewhere:2380");
}

TEST_CASE("members: one that is left out still leads where only it has what the others need") {
  cp::RaftState state;
  state.hard.term = {1};
  state.hard.standing = cp::Standing::kNormal;
  state.hard.life = life_of(k1);
  state.hard.roll = full_roll(2);
  state.config.voters = {k1, k2};
  const cp::Config joint{.voters = {k2}, .outgoing = {k1, k2}};
  const auto entry = [](std::uint64_t index, const cp::Config& config) {
    return cp::Entry{{1}, {index}, cp::EntryKind::kConfig, shared_bytes(cp::encode_config(config))};
  };
  state.entries = {entry(1, joint), entry(2, joint.left())};
  cp::RaftOptions options;
  options.self = k1;
  cp::Raft raft(options, state, Rng{1});
  REQUIRE(!raft.config().is_voter(k1));
  pre_elect(raft);
  REQUIRE(raft.role() == cp::Role::kCandidate);
  raft.persisted(raft.take_ready().write);
  CHECK(!raft.is_leader());  // its own vote does not count
  raft.step(k2, grant(raft.term()));
  REQUIRE(raft.is_leader());
  raft.persisted(raft.take_ready().write);
  CHECK(raft.commit() == Index{});  // nor does its own disk
  raft.step(k2, acknowledge(k2, raft.term(), {3}));
  CHECK(raft.commit() == Index{3});
  raft.take_ready();
  CHECK(raft.role() == cp::Role::kFollower);  // done: the other goes on
  for (int i = 0; i < 200; ++i) raft.tick();
  CHECK(raft.role() == cp::Role::kFollower);
}
