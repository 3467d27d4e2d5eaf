#include "cp/engine.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/trace.h"
#include "tests/cp/cp_cluster.h"

using namespace capstan;
using test::CpCluster;

namespace {

std::string value_of(const Reply& reply) {
  const auto* range = std::get_if<RangeResult>(&reply.body);
  REQUIRE(range != nullptr);
  return range->kvs.empty() ? "(none)" : range->kvs[0].value;
}

// The follower with the lowest number.
int follower_of(CpCluster& cluster, int leader, int members = 3) {
  for (int n = 1; n <= members; ++n) {
    if (n != leader && cluster.up(n)) return n;
  }
  return 0;
}

bool same_state(CpCluster& cluster, int members = 3) {
  for (int n = 2; n <= members; ++n) {
    if (cluster.engine(n).applied() != cluster.engine(1).applied()) return false;
    CHECK(cluster.engine(n).state_digest() == cluster.engine(1).state_digest());
  }
  return true;
}

// Keeps the trace of a test instead of printing it.
class Traced {
 public:
  Traced() {
    set_trace_sink([this](std::string_view line) { lines_.emplace_back(line); });
  }
  ~Traced() { set_trace_sink(nullptr); }
  // Lines of this event, that also hold `text`.
  std::vector<std::string> of(std::string_view event, std::string_view text = "") const {
    std::vector<std::string> out;
    for (const std::string& line : lines_) {
      if (line.find(' ' + std::string(event) + "  ") != std::string::npos &&
          line.find(text) != std::string::npos) {
        out.push_back(line);
      }
    }
    return out;
  }

 private:
  std::vector<std::string> lines_;
};

}  // namespace

TEST_CASE("engine: three fresh members form a cluster, elect and serve") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const Reply put = cluster.put_now(leader, "color", "red");
  CHECK(put.outcome == Outcome::kOk);
  CHECK(put.header.revision == Revision{2});
  CHECK(put.write_id.sequence == Sequence{1});
  CHECK(value_of(cluster.get_now(leader, "color")) == "red");
  CHECK(cluster.run_until([&] { return same_state(cluster); }));
}

TEST_CASE("engine: a cluster of one serves as well") {
  CpCluster cluster(1);
  CHECK(cluster.elect() == 1);
  CHECK(cluster.put_now(1, "k", "v").outcome == Outcome::kOk);
  CHECK(value_of(cluster.get_now(1, "k")) == "v");
}

TEST_CASE("engine: a cluster of one acknowledges nothing before its disk has it") {
  CpCluster cluster(1);
  cluster.elect();
  cluster.disk(1).held = true;
  const auto reply = cluster.put(1, "k", "v");
  cluster.run(20);
  CHECK(!reply->has_value());
  cluster.disk(1).held = false;
  CHECK(cluster.wait(reply).outcome == Outcome::kOk);
}

TEST_CASE("engine: followers take writes and linearizable reads for the leader") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = follower_of(cluster, leader);
  const Reply put = cluster.put_now(follower, "k", "v1");
  CHECK(put.outcome == Outcome::kOk);
  CHECK(put.header.member == CpCluster::id(follower));
  CHECK(put.write_id.actor.node == NodeId{1000u + static_cast<unsigned>(follower)});
  CHECK(value_of(cluster.get_now(follower, "k")) == "v1");
  cluster.put_now(leader, "k", "v2");
  CHECK(value_of(cluster.get_now(follower, "k")) == "v2");
}

TEST_CASE("engine: a write is not acknowledged before a majority holds it durably") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  for (int n = 1; n <= 3; ++n) cluster.disk(n).held = n != leader;
  const auto reply = cluster.put(leader, "k", "v");
  cluster.run(5);
  CHECK(!reply->has_value());
  const int follower = follower_of(cluster, leader);
  cluster.disk(follower).held = false;
  CHECK(cluster.wait(reply).outcome == Outcome::kOk);
}

TEST_CASE("engine: two followers commit without the leader's own disk") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.disk(leader).held = true;
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
}

TEST_CASE("engine: a leader cut off answers unknown in time, refuses at once, and is right after") {
  CpCluster cluster(3);
  const int old_leader = cluster.elect();
  cluster.put_now(old_leader, "k", "before");
  cluster.cut({old_leader});
  const Micros cut_at = cluster.now();
  const auto in_flight = cluster.put(old_leader, "k", "in flight");
  const Reply first = cluster.wait(in_flight);
  CHECK(first.outcome == Outcome::kUnknown);
  CHECK(first.reason == Reason::kLeaderLost);
  CHECK(cluster.now() - cut_at <= 1'500 * kMillisecond);

  const auto refused = cluster.put(old_leader, "k", "late");
  cluster.settle();
  REQUIRE(refused->has_value());
  CHECK((*refused)->outcome == Outcome::kFailed);
  CHECK((*refused)->reason == Reason::kNoQuorum);
  CHECK((*refused)->detail.starts_with("refused: no quorum. n" + std::to_string(old_leader) +
                                       " reaches 1 of 3 voters (needs 2); nobody heard for "));
  const auto read = cluster.get(old_leader, "k");
  cluster.settle();
  REQUIRE(read->has_value());
  CHECK((*read)->reason == Reason::kNoQuorum);
  // An old value is there for who asks for one, with its age.
  const Reply old = cluster.wait(cluster.get(old_leader, "k", true));
  CHECK(value_of(old) == "before");
  CHECK(old.age_at_least >= 0);
  CHECK(old.age_at_least <= cluster.now() - cut_at);  // it led until then: younger, if anything

  const int other = follower_of(cluster, old_leader);
  CHECK(cluster.put_now(other, "k", "after").outcome == Outcome::kOk);
  CHECK(cluster.now() - cut_at <= 2'000 * kMillisecond);

  cluster.heal();
  const Micros heal_at = cluster.now();
  // The old leader may refuse for a moment; within half a second it is right.
  Reply healed;
  do {
    healed = cluster.get_now(old_leader, "k");
    cluster.run();
  } while (healed.outcome != Outcome::kOk && cluster.now() - heal_at < kSecond);
  CHECK(value_of(healed) == "after");
  CHECK(cluster.now() - heal_at <= 500 * kMillisecond);
}

TEST_CASE("engine: a member that reaches a majority but not its leader refuses at once, and why") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = follower_of(cluster, leader);
  cluster.cut_pair(leader, follower);
  cluster.run(200);
  CHECK(cluster.leader() == leader);  // the third keeps it
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
  const std::string name = "n" + std::to_string(follower);
  const std::string whom = "n" + std::to_string(leader);
  for (const auto& asked : {cluster.put(follower, "k", "w"), cluster.get(follower, "k")}) {
    cluster.settle();
    REQUIRE(asked->has_value());
    CHECK((*asked)->outcome == Outcome::kFailed);
    CHECK((*asked)->reason == Reason::kNoLeader);
    CHECK((*asked)->detail.starts_with("refused: no leader. " + name + " reaches 2 of 3 voters, " +
                                       "but has heard no leader for "));
    CHECK((*asked)->detail.find(whom + ", whom it does not hear, may lead.") != std::string::npos);
  }
  cluster.heal();
  cluster.run(10);
  CHECK(cluster.put_now(follower, "k", "x").outcome == Outcome::kOk);
}

TEST_CASE("engine: the majority is not disturbed when a minority comes back") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = follower_of(cluster, leader);
  cluster.cut({follower});
  cluster.run(200);
  const Term term = cluster.engine(leader).raft().term();
  cluster.heal();
  cluster.run(100);
  CHECK(cluster.leader() == leader);
  CHECK(cluster.engine(leader).raft().term() == term);
  CHECK(cluster.engine(follower).raft().term() == term);
}

TEST_CASE("engine: a write given to a leader that dies is offered again, once") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = follower_of(cluster, leader);
  // The forward never reaches the leader.
  cluster.filter = [](int, int, const cp::Message& m) {
    return !std::holds_alternative<cp::Forward>(m.body);
  };
  const auto reply = cluster.put(follower, "k", "v");
  cluster.settle();
  cluster.filter = nullptr;
  cluster.crash(leader);
  const Reply done = cluster.wait(reply);
  CHECK(done.outcome == Outcome::kOk);
  const auto kvs = std::get<RangeResult>(cluster.get_now(follower, "k").body).kvs;
  REQUIRE(kvs.size() == 1);
  CHECK(kvs[0].version == 1);
}

TEST_CASE("engine: a forward that arrives twice is one write") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = follower_of(cluster, leader);
  std::vector<cp::Message> copies;
  cluster.filter = [&](int from, int, const cp::Message& m) {
    if (from == follower && std::holds_alternative<cp::Forward>(m.body)) copies.push_back(m);
    return true;
  };
  CHECK(cluster.put_now(follower, "k", "v").outcome == Outcome::kOk);
  REQUIRE(copies.size() == 1);
  cluster.inject(follower, leader, copies[0]);
  cluster.run(5);
  const auto kvs = std::get<RangeResult>(cluster.get_now(follower, "k").body).kvs;
  REQUIRE(kvs.size() == 1);
  CHECK(kvs[0].version == 1);
}

TEST_CASE("engine: a forward of a disk that was wiped since, arriving again, is still one write") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int follower = follower_of(cluster, leader);
  std::vector<cp::Message> copies;
  cluster.filter = [&](int from, int, const cp::Message& m) {
    if (from == follower && std::holds_alternative<cp::Forward>(m.body)) copies.push_back(m);
    return true;
  };
  CHECK(cluster.put_now(follower, "k", "old disk").outcome == Outcome::kOk);
  cluster.crash(follower);
  cluster.wipe(follower);
  cluster.start(follower);
  CHECK(cluster.put_now(follower, "k", "new disk").outcome == Outcome::kOk);
  REQUIRE(copies.size() == 2);
  REQUIRE(cluster.leader() == leader);
  for (const cp::Message& copy : copies) cluster.inject(follower, leader, copy);
  cluster.run(5);
  const auto kvs = std::get<RangeResult>(cluster.get_now(leader, "k").body).kvs;
  REQUIRE(kvs.size() == 1);
  CHECK(kvs[0].version == 2);
  CHECK(kvs[0].value == "new disk");
}

TEST_CASE("engine: the leader killed, the next write is acknowledged within 300 ms") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    CpCluster cluster({.seed = seed});
    const int leader = cluster.elect();
    cluster.put_now(leader, "k", "v");
    cluster.crash(leader);
    const Micros killed_at = cluster.now();
    CHECK(cluster.put_now(follower_of(cluster, leader), "k", "w").outcome == Outcome::kOk);
    CHECK(cluster.now() - killed_at <= 300 * kMillisecond);
  }
}

TEST_CASE("engine: everything acknowledged survives the crash of all") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  for (int i = 0; i < 20; ++i) {
    CHECK(cluster.put_now(leader, "k" + std::to_string(i), "v").outcome == Outcome::kOk);
  }
  for (int n = 1; n <= 3; ++n) cluster.crash(n);
  for (int n = 1; n <= 3; ++n) cluster.start(n);
  const int next = cluster.elect();
  for (int i = 0; i < 20; ++i) {
    CHECK(value_of(cluster.get_now(next, "k" + std::to_string(i))) == "v");
  }
}

TEST_CASE("engine: a retry under the same request id applies once and says what was done") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  PutRequest put;
  put.key = "k";
  put.value = "v";
  const Reply first = cluster.wait(cluster.submit(leader, put, "request-1"));
  cluster.put_now(leader, "k", "other");
  const Reply again = cluster.wait(cluster.submit(follower_of(cluster, leader), put, "request-1"));
  CHECK(again.outcome == Outcome::kOk);
  CHECK(again.write_id == first.write_id);
  CHECK(again.header.revision == first.header.revision);
  CHECK(value_of(cluster.get_now(leader, "k")) == "other");
}

TEST_CASE("engine: a checkpoint holds data and position together, and the log is cut behind it") {
  CpCluster cluster({.checkpoint_table_bytes = 4096});
  const int leader = cluster.elect();
  for (int i = 0; i < 100; ++i) {
    CHECK(cluster.put_now(leader, "k" + std::to_string(i % 7), std::string(100, 'v')).outcome ==
          Outcome::kOk);
  }
  CHECK(cluster.disk(leader).checkpoints > 0);
  CHECK(cluster.disk(leader).records() < 80);
  const std::uint64_t digest = cluster.engine(leader).state_digest();
  for (int n = 1; n <= 3; ++n) cluster.crash(n);
  for (int n = 1; n <= 3; ++n) cluster.start(n);
  const int next = cluster.elect();
  CHECK(cluster.engine(next).state_digest() == digest);
  CHECK(cluster.engine(next).revision() == Revision{101});
}

TEST_CASE("engine: a checkpoint does not run ahead of the member's own log") {
  CpCluster cluster({.checkpoint_table_bytes = 2048});
  const int leader = cluster.elect();
  cluster.disk(leader).on_checkpoint = [&] {
    // What goes into the base is in our own durable log.
    CHECK(cluster.engine(leader).applied() <= cluster.engine(leader).raft().log().stable());
  };
  cluster.disk(leader).held = true;
  for (int i = 0; i < 40; ++i) {
    cluster.put(leader, "k" + std::to_string(i), std::string(100, 'v'));
    cluster.run();
  }
  CHECK(cluster.disk(leader).checkpoints == 0);
  cluster.disk(leader).held = false;
  cluster.run(20);
  CHECK(cluster.disk(leader).checkpoints > 0);
}

TEST_CASE("engine: a wiped member follows without a vote until the leader has restored it") {
  CpCluster cluster({.checkpoint_table_bytes = 4096});
  const int leader = cluster.elect();
  for (int i = 0; i < 50; ++i)
    cluster.put_now(leader, "k" + std::to_string(i), std::string(100, 'v'));
  const int victim = follower_of(cluster, leader);
  cluster.crash(victim);
  cluster.wipe(victim);
  cluster.start(victim);
  cluster.settle();
  CHECK(cluster.engine(victim).raft().standing() != cp::Standing::kNormal);
  CHECK(cluster.run_until(
      [&] { return cluster.engine(victim).raft().standing() == cp::Standing::kNormal; }));
  CHECK(cluster.run_until([&] { return same_state(cluster); }));
  // It is a full member again: with it and the leader alone, writes commit.
  const int other = 6 - leader - victim;
  cluster.crash(other);
  CHECK(cluster.put_now(leader, "more", "v").outcome == Outcome::kOk);
}

TEST_CASE("engine: a wiped member and one voter are no majority") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  CHECK(cluster.put_now(leader, "k", "v").outcome == Outcome::kOk);
  const int victim = follower_of(cluster, leader);
  const int other = 6 - leader - victim;
  // The write may be on the leader and the victim only; both are lost to the third.
  cluster.crash(victim);
  cluster.wipe(victim);
  cluster.crash(leader);
  cluster.start(victim);
  cluster.run(300);
  CHECK(cluster.leader() == 0);
  CHECK(cluster.engine(victim).raft().standing() == cp::Standing::kImpaired);
  cluster.start(leader);
  cluster.elect();
  CHECK(value_of(cluster.get_now(other, "k")) == "v");
}

TEST_CASE("engine: a member with a rotten log is filled again before it votes") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  for (int i = 0; i < 30; ++i) cluster.put_now(leader, "k" + std::to_string(i), "v");
  const int victim = follower_of(cluster, leader);
  cluster.crash(victim);
  cluster.rot(victim);
  cluster.start(victim);
  CHECK(cluster.engine(victim).raft().standing() == cp::Standing::kImpaired);
  CHECK(cluster.run_until(
      [&] { return cluster.engine(victim).raft().standing() == cp::Standing::kNormal; }));
  CHECK(cluster.run_until([&] { return same_state(cluster); }));
  // Restored is remembered, though the disk still tells of the gap.
  cluster.crash(victim);
  cluster.start(victim);
  CHECK(cluster.engine(victim).raft().standing() == cp::Standing::kNormal);
}

TEST_CASE("engine: stop hands the office over before it is done") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  bool stopped = false;
  cluster.engine(leader).stop([&] { stopped = true; });
  CHECK(cluster.run_until([&] { return stopped; }));
  CHECK(cluster.leader() != leader);
  CHECK(cluster.leader() != 0);
}

TEST_CASE("engine: a full disk refuses puts with the reason and keeps reading and deleting") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.put_now(leader, "k", "v");
  cluster.disk(leader).space = false;
  CHECK(cluster.put_now(leader, "k", "w").reason == Reason::kNoSpace);
  CHECK(cluster.put_now(follower_of(cluster, leader), "k", "w").reason == Reason::kNoSpace);
  CHECK(value_of(cluster.get_now(leader, "k")) == "v");
  DeleteRangeRequest erase;
  erase.range.key = "k";
  CHECK(cluster.wait(cluster.submit(leader, erase)).outcome == Outcome::kOk);
  cluster.disk(leader).space = true;
  CHECK(cluster.put_now(leader, "k", "x").outcome == Outcome::kOk);
}

TEST_CASE("engine: a member too far behind gets the state, and crashes on the way do no harm") {
  // A window of nothing: whoever misses a checkpoint needs the snapshot.
  CpCluster cluster({.checkpoint_table_bytes = 4096, .log_window_bytes = 0});
  const int leader = cluster.elect();
  const int victim = follower_of(cluster, leader);
  cluster.put_now(leader, "before", "v");
  cluster.run(10);
  cluster.crash(victim);
  for (int i = 0; i < 100; ++i) {
    cluster.put_now(leader, "k" + std::to_string(i), std::string(100, 'v'));
  }
  SUBCASE("plainly") { cluster.start(victim); }
  SUBCASE("its disk wiped besides") {
    cluster.wipe(victim);
    cluster.start(victim);
    CHECK(cluster.run_until(
        [&] { return cluster.engine(victim).raft().standing() == cp::Standing::kNormal; }));
  }
  SUBCASE("crashing while pieces are staged") {
    cluster.start(victim);
    cluster.disk(victim).checkpoints_held = true;
    cluster.run(30);
    cluster.crash(victim);
    cluster.start(victim);
  }
  SUBCASE("crashing after the install, before the log knows of it") {
    cluster.start(victim);
    CHECK(cluster.run_until([&] {
      cluster.disk(victim).held = cluster.engine(victim).raft().standing() == cp::Standing::kNormal;
      return cluster.disk(victim).installs > 0;
    }));
    cluster.crash(victim);
    cluster.start(victim);
  }
  SUBCASE("while writes go on") {
    cluster.start(victim);
    for (int i = 0; i < 50; ++i) {
      cluster.put(leader, "m" + std::to_string(i), std::string(100, 'w'));
      cluster.run();
    }
  }
  CHECK(cluster.run_until([&] { return same_state(cluster); }));
  CHECK(cluster.put_now(victim, "after", "v").outcome == Outcome::kOk);
  for (int n = 1; n <= 3; ++n) cluster.crash(n);
  for (int n = 1; n <= 3; ++n) cluster.start(n);
  cluster.elect();
  CHECK(value_of(cluster.get_now(victim, "k99")) == std::string(100, 'v'));
  CHECK(value_of(cluster.get_now(victim, "after")) == "v");
  CHECK(cluster.run_until([&] { return same_state(cluster); }));
}

TEST_CASE("engine: a lost quorum is one line of the trace on each node that lost it") {
  const Traced trace;
  CpCluster cluster(3);
  const int leader = cluster.elect();
  cluster.cut({leader});
  cluster.run(100);
  const std::string name = "n" + std::to_string(leader);
  CHECK(trace.of("quorum_lost").size() == 1);
  CHECK(trace.of("quorum_lost", name + " reaches 1 of 3 voters").size() == 1);
  // Why it gave up its office stands in the line that says it did.
  CHECK(trace.of("stepped_down", name + ": term 1, heard 1 of 3 voters").size() == 1);
}

TEST_CASE("engine: the leader hands over to whom it is told, and no write fails for it") {
  CpCluster cluster(3);
  int leader = cluster.elect();
  for (int round = 0; round < 6; ++round) {
    const int target = leader % 3 + 1;
    std::vector<std::shared_ptr<std::optional<Reply>>> writes;
    const auto put_everywhere = [&] {
      for (int n = 1; n <= 3; ++n) writes.push_back(cluster.put(n, "k", std::to_string(n)));
    };
    put_everywhere();
    const auto moved = cluster.submit(leader, MoveLeaderRequest{CpCluster::id(target)});
    for (int i = 0; i < 5; ++i) {
      put_everywhere();
      cluster.run();
    }
    CHECK(cluster.wait(moved).outcome == Outcome::kOk);
    CHECK(cluster.leader() == target);
    for (const auto& write : writes) CHECK(cluster.wait(write).outcome == Outcome::kOk);
    leader = target;
  }
}

TEST_CASE("engine: a leader does not hand over to nobody, and says so when it did not work out") {
  CpCluster cluster(3);
  const int leader = cluster.elect();
  const int other = leader % 3 + 1;
  const auto ask = [&](int n, MemberId target) {
    return cluster.wait(cluster.submit(n, MoveLeaderRequest{target}));
  };
  const Reply at_follower = ask(other, CpCluster::id(other));
  CHECK(at_follower.reason == Reason::kLeaderOnly);
  CHECK(at_follower.detail.find("ask n" + std::to_string(leader)) != std::string::npos);
  CHECK(ask(leader, {99}).reason == Reason::kBadTransferee);
  CHECK(ask(leader, CpCluster::id(leader)).outcome == Outcome::kOk);
  // It is there, but never hears that it may lead.
  cluster.filter = [](int, int, const cp::Message& message) {
    return !std::holds_alternative<cp::TimeoutNow>(message.body);
  };
  const auto lost = cluster.submit(leader, MoveLeaderRequest{CpCluster::id(other)});
  cluster.run();
  CHECK(ask(leader, CpCluster::id(other)).reason == Reason::kOverloaded);
  const auto write = cluster.put(leader, "k", "v");
  CHECK(cluster.wait(lost).outcome == Outcome::kUnknown);
  CHECK(cluster.wait(write).outcome == Outcome::kOk);
  CHECK(cluster.leader() == leader);
  cluster.crash(other);
  cluster.run(30);
  const Reply dead = ask(leader, CpCluster::id(other));
  CHECK(dead.outcome == Outcome::kFailed);
  CHECK(dead.reason == Reason::kTimeout);
}
