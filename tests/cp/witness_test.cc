// A voter that holds no data: what it is told, when, and what it says to clients.
#include <doctest/doctest.h>

#include "cp/config.h"
#include "tests/cp/cp_cluster.h"
#include "tests/cp/raft_builder.h"

using namespace capstan;
using namespace capstan::test;
using Action = MemberChangeRequest::Action;

namespace {

constexpr int kWitness = 3;

CpCluster beside_a_witness() { return CpCluster({.members = 3, .witness = kWitness}); }
int other_than(int leader) { return leader == 1 ? 2 : 1; }
MemberChangeRequest add(int n, bool witness) {
  MemberChangeRequest request{Action::kAdd, CpCluster::id(n), CpCluster::member(n).peer};
  request.witness = witness;
  return request;
}
Index last(CpCluster& cluster, int n) { return cluster.engine(n).raft().log().last_index(); }

}  // namespace

TEST_CASE("config: who is a witness is written and read") {
  cp::Config config{.voters = {{1}, {2}, {3}}};
  for (int n : {1, 2, 3}) config.members.push_back(CpCluster::member(n));
  const std::string without = cp::encode_config(config);
  config.members[2].witness = true;
  const std::string bytes = cp::encode_config(config);
  CHECK(bytes[0] != without[0]);  // an older build says that it cannot read it
  CHECK(cp::decode_config(bytes) == config);
  CHECK(cp::decode_config(bytes)->is_witness({3}));
  CHECK(!cp::decode_config(bytes)->is_witness({2}));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK(!cp::decode_config(ByteView(bytes).substr(0, size)));
  }
  std::string stranger = bytes;
  stranger[stranger.size() - 8] = 9;  // no member has that id
  CHECK(!cp::decode_config(stranger));
}

TEST_CASE("config: a witness is added beside two members with data, once, and never the last") {
  cp::Config config{.voters = {{1}}, .members = {CpCluster::member(1)}};
  CHECK(cp::changed(config, add(3, true), {}).error().reason == Reason::kInvalid);
  config.voters.push_back({2});
  config.members.push_back(CpCluster::member(2));
  auto with = cp::changed(config, add(3, true), {});
  REQUIRE(with.has_value());
  CHECK(with->is_witness({3}));
  CHECK(cp::changed(*with, add(4, true), {}).error().reason == Reason::kMemberExists);
  auto joint = cp::changed(*with, {Action::kPromote, {3}}, {});
  REQUIRE(joint.has_value());
  const cp::Config voting = joint->left();
  CHECK(voting.is_voter({3}));
  auto one = cp::changed(voting, {Action::kRemove, {1}}, {});
  REQUIRE(one.has_value());
  CHECK(cp::changed(one->left(), {Action::kRemove, {2}}, {}).error().reason == Reason::kInvalid);
  CHECK(cp::changed(one->left(), {Action::kRemove, {3}}, {}).has_value());
}

TEST_CASE("witness: votes and commits, is sent no command, holds nothing, and never leads") {
  CpCluster cluster = beside_a_witness();
  bool commands_sent = false;
  cluster.filter = [&](int, int to, const cp::Message& message) {
    if (const auto* append = std::get_if<cp::Append>(&message.body); append && to == kWitness) {
      for (const cp::Entry& entry : append->entries) {
        if (entry.kind == cp::EntryKind::kCommands && entry.data) commands_sent = true;
      }
    }
    return true;
  };
  const int leader = cluster.elect();
  REQUIRE(leader != kWitness);
  for (int i = 0; i < 20; ++i) {
    CHECK(cluster.put_now(leader, "k" + std::to_string(i), "v").outcome == Outcome::kOk);
  }
  cluster.run(20);
  CHECK(!commands_sent);
  CHECK(last(cluster, kWitness) == last(cluster, leader));
  CHECK(cluster.engine(kWitness).applied() == cluster.engine(leader).applied());
  CHECK(cluster.engine(kWitness).revision() == Revision{1});
  CHECK(cluster.engine(kWitness).ready());

  // Alone with the one that does not lead, it lets that one lead; alone with nobody, nobody does.
  const int other = other_than(leader);
  cluster.crash(leader);
  REQUIRE(cluster.elect() == other);
  CHECK(cluster.put_now(other, "k", "v").outcome == Outcome::kOk);
  cluster.crash(other);
  cluster.run(300);
  CHECK(cluster.leader() == 0);
  CHECK(!cluster.engine(kWitness).raft().is_leader());
}

TEST_CASE("witness: refuses clients, with the names of those who hold data") {
  CpCluster cluster = beside_a_witness();
  cluster.elect();
  cluster.run(50);
  for (const Reply& reply :
       {cluster.put_now(kWitness, "k", "v"), cluster.get_now(kWitness, "k"),
        cluster.wait(cluster.get(kWitness, "k", true)),
        cluster.wait(cluster.submit(kWitness, HashRequest{})),
        cluster.wait(cluster.submit(kWitness, LeaseGrantRequest{.ttl = 10}))}) {
    CHECK(reply.outcome == Outcome::kFailed);
    CHECK(reply.reason == Reason::kWitness);
    CHECK(reply.detail.contains("n3 is the witness"));
    CHECK(reply.detail.contains("n1"));
    CHECK(reply.detail.contains("n2"));
  }
  int woken = 0;
  const auto stream = cluster.engine(kWitness).watch({.ready = [&woken] { ++woken; }});
  stream->create({.range = {"k", ""}});
  CHECK(woken > 0);
  const auto message = stream->next();
  REQUIRE(message.has_value());
  REQUIRE(message->end.has_value());
  CHECK(message->end->reason == Reason::kWitness);
  const auto backup = cluster.engine(kWitness).backup({}, [] {});
  const auto piece = backup->next();
  REQUIRE(piece.has_value());
  CHECK(piece->error().reason == Reason::kWitness);

  StatusResult status;
  for (int n : {1, 2, 3}) status.peers.emplace_back().id = CpCluster::id(n);
  cluster.engine(kWitness).describe(status);
  CHECK(status.role == "witness");
  CHECK(status.errors.empty());
}

TEST_CASE("witness: is not told what a member with data in step has not confirmed") {
  CpCluster cluster = beside_a_witness();
  const int leader = cluster.elect();
  const int other = other_than(leader);
  cluster.run(50);
  const Index before = last(cluster, leader);
  cluster.disk(other).held = true;
  const auto waiting = cluster.put(leader, "k", "v");
  cluster.run(10);
  CHECK(last(cluster, leader) > before);
  CHECK(last(cluster, kWitness) == before);
  CHECK(!*waiting);
  cluster.disk(other).held = false;
  cluster.run(2);
  REQUIRE(*waiting);
  CHECK((*waiting)->outcome == Outcome::kOk);
  CHECK(last(cluster, kWitness) == last(cluster, leader));

  SUBCASE("nor waited for when its disk hangs") {
    cluster.disk(other).held = true;
    const Micros hung = cluster.now();
    CHECK(cluster.put_now(leader, "k", "v2").outcome == Outcome::kOk);
    CHECK(cluster.now() - hung >= 2 * kElectionTimeout);
    const Micros then = cluster.now();
    CHECK(cluster.put_now(leader, "k", "v3").outcome == Outcome::kOk);
    CHECK(cluster.now() - then <= 2 * kTick);
  }
  SUBCASE("nor when its connection breaks") {
    cluster.crash(other);
    const Micros died = cluster.now();
    CHECK(cluster.put_now(leader, "k", "v2").outcome == Outcome::kOk);
    CHECK(cluster.now() - died <= 5 * kTick);
    // It comes back, is caught up, and is in step again.
    cluster.start(other);
    REQUIRE(cluster.run_until([&] { return last(cluster, other) == last(cluster, leader); }));
    cluster.run(60);
    cluster.disk(other).held = true;
    const Index tip = last(cluster, leader);
    cluster.put(leader, "k", "v3");
    cluster.run(10);
    CHECK(last(cluster, kWitness) == tip);
  }
}

TEST_CASE("witness: far behind, it is sent where the state ends and nothing of it") {
  CpCluster cluster(
      {.members = 3, .checkpoint_table_bytes = 2000, .log_window_bytes = 500, .witness = kWitness});
  const int leader = cluster.elect();
  cluster.crash(kWitness);
  for (int i = 0; i < 60; ++i) {
    cluster.put_now(leader, "k" + std::to_string(i), std::string(100, 'v'));
  }
  cluster.start(kWitness);
  REQUIRE(cluster.run_until([&] { return last(cluster, kWitness) == last(cluster, leader); }));
  CHECK(cluster.disk(kWitness).installs > 0);
  CHECK(cluster.engine(kWitness).revision() == Revision{1});
  for (Space space : {Space::kHistory, Space::kNow}) {
    const Status read = cluster.base(kWitness).scan(space, "", "", [](ByteView, ByteView) {
      FAIL("a witness holds a row");
      return false;
    });
    CHECK(read.has_value());
  }
  // And it counts, after a restart too.
  cluster.crash(kWitness);
  cluster.start(kWitness);
  cluster.crash(other_than(leader));
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
}

TEST_CASE("witness: one that is added votes by itself; one whose disk is lost is restored") {
  CpCluster cluster(2);
  const int leader = cluster.elect();
  const Reply added = cluster.wait(cluster.submit(leader, add(3, true)));
  REQUIRE(added.outcome == Outcome::kOk);
  const auto& list = std::get<MemberChangeResult>(added.body).members;
  CHECK(list.back().witness);
  cluster.add_machine(3);
  cluster.start(3);
  REQUIRE(cluster.run_until([&] { return cluster.engine(3).raft().config().is_voter({3}); }));
  cluster.run(20);
  CHECK(cluster.engine(3).is_witness());
  const int other = other_than(leader);
  cluster.crash(other);
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
  cluster.start(other);
  REQUIRE(cluster.run_until([&] { return last(cluster, other) == last(cluster, leader); }));

  cluster.crash(3);
  cluster.wipe(3);
  cluster.start(3);
  REQUIRE(cluster.run_until(
      [&] { return cluster.engine(3).raft().standing() == cp::Standing::kNormal; }));
  cluster.run(20);
  CHECK(cluster.engine(3).is_witness());
  cluster.crash(leader);
  REQUIRE(cluster.elect() == other);
  CHECK(cluster.get_now(other, "k").outcome == Outcome::kOk);
}

TEST_CASE("witness: one that learns that it is one refuses what it took from clients before") {
  CpCluster cluster(2);
  const int leader = cluster.elect();
  REQUIRE(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
  REQUIRE(cluster.wait(cluster.submit(leader, add(3, true))).outcome == Outcome::kOk);
  cluster.add_machine(3);
  cluster.start(3);
  REQUIRE(!cluster.engine(3).is_witness());
  const auto stream = cluster.engine(3).watch({.ready = [] {}});
  stream->create({.range = {"k", ""}});
  REQUIRE(stream->next()->created);
  // It hears of its leader, and asks it, before the log tells what it is.
  cluster.filter = [](int, int to, const cp::Message& message) {
    return to != 3 || !std::holds_alternative<cp::Append>(message.body);
  };
  REQUIRE(cluster.run_until([&] { return bool(cluster.engine(3).raft().leader()); }));
  const auto read = cluster.get(3, "k");
  const auto write = cluster.put(3, "k", "w");
  cluster.run(2);
  CHECK(!*read);
  CHECK(!*write);
  cluster.filter = nullptr;
  REQUIRE(cluster.run_until([&] { return cluster.engine(3).is_witness(); }));
  REQUIRE(cluster.run_until([&] { return *read && *write; }));
  CHECK((*read)->reason == Reason::kWitness);
  CHECK((*write)->outcome == Outcome::kUnknown);
  const auto last_word = stream->next();
  REQUIRE(last_word.has_value());
  REQUIRE(last_word->end.has_value());
  CHECK(last_word->end->reason == Reason::kWitness);
}

TEST_CASE("witness: the office is never handed to it") {
  CpCluster cluster = beside_a_witness();
  const int leader = cluster.elect();
  const Reply reply =
      cluster.wait(cluster.submit(leader, MoveLeaderRequest{CpCluster::id(kWitness)}));
  CHECK(reply.reason == Reason::kBadTransferee);
  CHECK(cluster.leader() == leader);
}

TEST_CASE("witness: one that is being removed does not lead by the configuration without it") {
  cp::RaftState state;
  state.hard.term = {1};
  state.hard.standing = cp::Standing::kNormal;
  state.hard.life = life_of(k3);
  state.hard.roll = full_roll(3);
  state.config.voters = {k1, k2, k3};
  for (int n : {1, 2, 3}) state.config.members.push_back(CpCluster::member(n));
  state.config.members[2].witness = true;
  const auto joint = cp::changed(state.config, {Action::kRemove, k3}, {});
  REQUIRE(joint.has_value());
  const auto entry = [](std::uint64_t index, const cp::Config& config) {
    return cp::Entry{{1}, {index}, cp::EntryKind::kConfig, shared_bytes(cp::encode_config(config))};
  };
  state.entries = {entry(1, *joint), entry(2, joint->left())};
  cp::RaftOptions options;
  options.self = k3;
  cp::Raft raft(options, state, Rng{1});
  REQUIRE(!raft.config().is_member(k3));
  CHECK(raft.is_witness(k3));
  for (int i = 0; i < 300; ++i) raft.tick();
  CHECK(raft.role() == cp::Role::kFollower);
  raft.step(k1, heartbeat(1));
  raft.step(k1, {{1}, cp::TimeoutNow{}});
  CHECK(raft.role() == cp::Role::kFollower);
  // Nor does anybody vote for it.
  options.self = k2;
  state.hard.life = life_of(k2);
  cp::Raft other(options, state, Rng{1});
  other.step(k3, ask(2, {{1}, {2}}));
  other.persisted(other.take_ready().write);
  CHECK(other.hard_state().vote == MemberId{});
}

TEST_CASE("witness: a leader that is elected anew does not wait for one that is far behind") {
  CpCluster cluster = beside_a_witness();
  const int leader = cluster.elect();
  const int other = other_than(leader);
  cluster.crash(other);
  for (int i = 0; i < 200; ++i) cluster.put_now(leader, "k" + std::to_string(i), "v");
  cluster.start(other);
  cluster.filter = [other](int, int to, const cp::Message& message) {
    const auto* append = std::get_if<cp::Append>(&message.body);
    return to != other || append == nullptr || append->entries.size() <= 1;  // it takes very long
  };
  cluster.crash(leader);
  cluster.start(leader);
  REQUIRE(cluster.run_until([&] { return cluster.engine(leader).raft().is_leader(); }));
  const Micros elected = cluster.now();
  REQUIRE(cluster.run_until([&] { return cluster.engine(leader).raft().established(); }));
  CHECK(cluster.now() - elected <= 5 * kTick);
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
}

TEST_CASE("witness: a disk that confirms now and then is not waited for again and again") {
  CpCluster cluster = beside_a_witness();
  const int leader = cluster.elect();
  const int other = other_than(leader);
  cluster.run(50);
  int slow = 0;
  for (int i = 0; i < 50; ++i) {
    cluster.disk(other).held = i % 6 != 5;
    const Micros began = cluster.now();
    cluster.put_now(leader, "k", std::to_string(i));
    if (cluster.now() - began > 10 * kTick) ++slow;
    while (cluster.now() - began < 100 * kMillisecond) cluster.run();
  }
  CHECK(slow <= 3);  // until it is out of step
}
