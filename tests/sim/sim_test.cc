// The simulator in the suite: a small fixed walk through the seeds, and the simulator's own parts.
// The long walk is the program `sim` (docs/testing.md).
#include <string>
#include <vector>

#include "core/trace.h"
#include "doctest/doctest.h"
#include "tests/sim/batch.h"
#include "tests/sim/cluster.h"
#include "tests/sim/history_check.h"
#include "tests/support/asked.h"

namespace capstan::sim {
namespace {

struct QuietTrace {
  QuietTrace() { set_trace_level(Level::kOff); }
  ~QuietTrace() { set_trace_level(Level::kInfo); }
};

TEST_CASE("the world runs events by time, and those of one moment in the order they were made") {
  World world(1);
  std::string order;
  world.at(20, [&] { order += 'c'; });
  world.at(10, [&] {
    order += 'a';
    world.after(10, [&] { order += 'd'; });
  });
  world.at(10, [&] { order += 'b'; });
  world.at(30, [&] { order += 'e'; });
  world.run_until(25);
  CHECK(order == "abcd");
  CHECK(world.now() == 25);
}

TEST_CASE("the world stands still after the first broken oracle") {
  World world(1);
  int ran = 0;
  world.at(1, [&] { world.fail("first", "why"); });
  world.at(2, [&] { ++ran; });
  world.run_until(10);
  world.fail("second", "later");
  CHECK(ran == 0);
  CHECK(world.oracle() == "first");
}

// A port that remembers what reached it.
struct Ear : Port {
  void deliver(int from, node::PeerMessage) override { heard.push_back(from); }
  void link_up(int peer) override { up.push_back(peer); }
  void link_down(int peer) override { down.push_back(peer); }
  std::vector<int> heard, up, down;
};

struct Wire {
  Wire() : net(world, options, counters, {&ears[0], &ears[1], &ears[2]}) {
    for (int node = 0; node < 3; ++node) net.started(node);
    world.run_until(kSecond);
  }
  void say(int from, int to) { net.send(from, to, ap::Message{}); }

  World world{7};
  Options options;
  Counters counters;
  Ear ears[3];
  SimNet net;
};

TEST_CASE("a one-way block swallows one direction, and silence closes the link at both ends") {
  Wire wire;
  CHECK(wire.net.linked(0, 1));
  wire.net.block(0, 1);
  wire.say(0, 1);
  wire.say(1, 0);
  wire.world.run_until(wire.world.now() + 100 * kMillisecond);
  CHECK(wire.ears[1].heard.empty());
  CHECK(wire.ears[0].heard == std::vector{1});
  CHECK(wire.counters.of("cut swallowed") == 1);
  wire.world.run_until(wire.world.now() + kSecond);
  CHECK(wire.ears[0].down == std::vector{1});
  CHECK(wire.ears[1].down == std::vector{0});
  CHECK_FALSE(wire.net.linked(0, 1));
  CHECK(wire.net.linked(1, 2));
}

TEST_CASE("a link is redialled once both ends can hear each other again, and not before") {
  Wire wire;
  wire.net.block(0, 1);
  wire.net.block(1, 0);
  wire.world.run_until(wire.world.now() + 3 * kSecond);
  CHECK_FALSE(wire.net.linked(0, 1));
  wire.net.unblock(0, 1);
  wire.world.run_until(wire.world.now() + kSecond);
  CHECK_FALSE(wire.net.linked(0, 1));
  wire.net.unblock(1, 0);
  wire.world.run_until(wire.world.now() + kSecond);
  CHECK(wire.net.linked(0, 1));
  CHECK(wire.ears[0].up.size() == 3);
}

TEST_CASE("a peer hears of a death before it hears of the next life") {
  Wire wire;
  wire.net.died(0, true);
  wire.net.started(0);
  wire.world.run_until(wire.world.now() + kSecond);
  CHECK(wire.ears[1].down == std::vector{0});
  CHECK(wire.ears[1].up.back() == 0);
  CHECK(wire.net.linked(0, 1));
}

// The judge of client histories must see what it is there for.
std::unique_ptr<Asked> put_op(Micros start, Micros end, std::uint64_t revision, const char* value) {
  auto asked = std::make_unique<Asked>();
  asked->op.kind = lab::OpKind::kPut;
  asked->op.key = "k";
  asked->op.value = value;
  asked->op.start = start;
  asked->op.end = end;
  asked->op.outcome = Outcome::kOk;
  asked->op.revision = revision;
  asked->request.body = PutRequest{.key = "k", .value = value};
  asked->reply.body = PutResult{};
  asked->attempts = 1;
  return asked;
}

Truth truth_of(const std::vector<const char*>& values) {
  Truth truth(2);
  for (const char* value : values) {
    const std::uint64_t revision = truth.size();
    KeyValue kv;
    kv.key = "k";
    kv.value = value;
    kv.mod_revision = {revision};
    truth.push_back({{"k", kv}});
  }
  return truth;
}

TEST_CASE("an operation whose revision goes back behind one that had ended is noticed") {
  AskedList all;
  all.push_back(put_op(0, 10, 3, "a"));
  all.push_back(put_op(20, 30, 2, "b"));
  CHECK(check_real_time(all).find("went back") != std::string::npos);
  all[1]->op.start = 5;  // now they overlap
  CHECK(check_real_time(all).empty());
  all[1]->op.revision = 3;
  CHECK(check_real_time(all).find("has the revision of") != std::string::npos);
}

TEST_CASE("an acknowledged write that is nowhere, twice or elsewhere is noticed") {
  AskedList all;
  all.push_back(put_op(0, 10, 2, "a"));
  CHECK(check_content(all, truth_of({"a", "b"})).empty());
  CHECK(check_once(all, truth_of({"a", "b"})).empty());
  CHECK_FALSE(check_content(all, truth_of({"b", "a"})).empty());
  CHECK(check_once(all, truth_of({"b", "b"})).find("is gone") != std::string::npos);
  CHECK(check_once(all, truth_of({"a", "b", "a"})).find("more than once") != std::string::npos);
  all[0]->op.outcome = Outcome::kFailed;
  CHECK(check_once(all, truth_of({"a"})).find("was refused") != std::string::npos);
}

TEST_CASE("the same seed gives the same trace, another seed another") {
  const QuietTrace quiet;
  Counters counters;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    CHECK(run_cp(seed, counters, false).hash == run_cp(seed, counters, false).hash);
    CHECK(run_ap(seed, counters, false).hash == run_ap(seed, counters, false).hash);
    CHECK(run_ap(seed, counters, false).hash != run_ap(seed + 1'000, counters, false).hash);
  }
}

// Short walks over seeds of their own; tests/run.sh takes the long ones.
TEST_CASE("cp: fifty seeds of faults leave histories that nobody can tell from a single copy's") {
  BatchOptions options;
  options.mode = Mode::kCp;
  options.seed = 1'000'000;
  options.count = 50;
  CHECK(run_batch(options) == 0);
}

TEST_CASE("ap: hundreds of seeds of faults end with equal nodes and every write accounted for") {
  BatchOptions options;
  options.mode = Mode::kAp;
  options.seed = 1'000'000;
  options.count = test::share_of(500);
  CHECK(run_batch(options) == 0);
}

}  // namespace
}  // namespace capstan::sim
