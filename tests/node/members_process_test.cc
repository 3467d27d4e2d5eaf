// Real nodes that join a cluster, lead it and leave it, while clients write.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "processes.h"
#include "tests/support/free_ports.h"

namespace capstan::node {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A node beside the first ones: a client port and the peer port above it.
struct Newcomer {
  explicit Newcomer(std::string called)
      : name(std::move(called)), port(test::free_ports(1, 2)[0]) {}
  std::string client() const { return "127.0.0.1:" + std::to_string(port); }
  std::string peer() const { return "127.0.0.1:" + std::to_string(port + 1); }
  std::string data() const { return directory / name; }

  std::string name;
  int port;
  test::TempDir directory;
  std::unique_ptr<NodeProcess> process = nullptr;
};

// By --join with other nodes' client addresses.
std::vector<std::string> short_form(const Newcomer& who, const TestCluster& cluster) {
  return {"--mode=cp", "--name=" + who.name, "--listen=" + who.client(),
          "--join=" + cluster.endpoints(), "--data-dir=" + who.data()};
}

// As etcd's: the members that are there, and this one.
std::vector<std::string> long_form(const Newcomer& who, const TestCluster& cluster) {
  std::string list = who.name + "=http://" + who.peer();
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string at = cluster.address(i);
    const std::size_t colon = at.rfind(':');
    list += ",n" + std::to_string(i + 1) + "=http://" + at.substr(0, colon + 1) +
            std::to_string(std::stoi(at.substr(colon + 1)) + 1);
  }
  return {"--mode=cp",
          "--name=" + who.name,
          "--listen-client-urls=http://" + who.client(),
          "--listen-peer-urls=http://" + who.peer(),
          "--initial-cluster=" + list,
          "--initial-cluster-state=existing",
          "--data-dir=" + who.data()};
}

// One that does not come up.
RunResult serve(std::vector<std::string> args) {
  args.insert(args.begin(), "serve");
  return run_capstan(std::move(args));
}

void start(Newcomer& who, const std::vector<std::string>& args) {
  who.process = std::make_unique<NodeProcess>(args);
  INFO(who.process->err());
  REQUIRE(!who.process->wait_ready().empty());
}

std::string leader_of(const TestCluster& cluster, const std::string& at) {
  const std::string table = cluster.run({"status", "--plain", "--endpoints=" + at}).out;
  const std::size_t lead = table.find("\tleader\t");
  if (lead == std::string::npos) return {};
  const std::size_t line = table.rfind('\n', lead) + 1;
  return table.substr(line, table.find('\t', line) - line);
}

// Waits until a node counts so many voters.
void wait_voters(const TestCluster& cluster, const std::string& at, int voters) {
  const std::string want = "\"voters\":" + std::to_string(voters) + ",";
  std::string status;
  for (int i = 0; i < 2000 && !contains(status, want); ++i) {
    status =
        cluster.run({"status", "--node=" + std::string("n2"), "--json", "--endpoints=" + at}).out;
  }
  INFO(status);
  CHECK(contains(status, want));
}

}  // namespace

TEST_CASE("nodes join by etcd's flags and by --join, are counted, and stay through restarts") {
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "k", "v"}).exit == 0);

  Newcomer n4("n4");
  // It has not been added: it says how that is done, and leaves nothing behind.
  const RunResult early = serve(long_form(n4, cluster));
  CHECK(early.exit == 1);
  CHECK(contains(early.err, "does not know the peer address of n4"));
  CHECK(contains(early.err, "members add"));

  const RunResult added = cluster.run({"members", "add", n4.peer()});
  CHECK(added.exit == 0);
  CHECK(contains(cluster.run({"members"}).out, "(does not vote)"));
  start(n4, long_form(n4, cluster));
  wait_voters(cluster, cluster.address(0), 4);
  CHECK(cluster.run_until_ok({"get", "k", "--endpoints=" + n4.client()}).out == "v\n");

  Newcomer n5("n5");
  start(n5, short_form(n5, cluster));
  wait_voters(cluster, cluster.address(0), 5);
  const std::string members = cluster.run({"members", "--plain"}).out;
  CHECK(contains(members, "n5\t" + n5.peer() + "\thttp://" + n5.client()));

  // A name that is taken is said before anything is written.
  Newcomer twin("n5");
  const RunResult taken = serve(short_form(twin, cluster));
  CHECK(taken.exit == 1);
  CHECK(contains(taken.err, "has a member named n5"));

  for (std::size_t i = 0; i < 3; ++i) cluster.kill(i);
  for (Newcomer* each : {&n4, &n5}) {
    each->process->signal(SIGKILL);
    each->process->wait_end();
  }
  for (std::size_t i = 0; i < 3; ++i) cluster.start(i);
  start(n4, long_form(n4, cluster));
  start(n5, short_form(n5, cluster));
  CHECK(cluster.run_until_ok({"put", "k", "w"}).exit == 0);
  wait_voters(cluster, n5.client(), 5);
  CHECK(cluster.run_until_ok({"get", "k", "--endpoints=" + n5.client()}).out == "w\n");
}

TEST_CASE("every first member is replaced while three clients write, and no write fails") {
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "k", "v"}).exit == 0);
  Newcomer added[] = {Newcomer("m1"), Newcomer("m2"), Newcomer("m3")};
  for (Newcomer& each : added) {
    start(each, short_form(each, cluster));
    REQUIRE(cluster.run_until_ok({"get", "k", "--endpoints=" + each.client()}).exit == 0);
  }
  wait_voters(cluster, added[0].client(), 6);

  std::atomic<bool> stop = false;
  std::atomic<int> failed = 0, done = 0;
  std::vector<std::thread> writers;
  for (const Newcomer& each : added) {
    writers.emplace_back([&] {
      while (!stop) {
        done.fetch_add(1);
        done.notify_all();
        failed += cluster.run({"put", "k", "w", "--endpoints=" + each.client()}).exit != 0;
      }
    });
  }
  const auto wait_for_writes = [&done](int more) {
    const int wanted = done + more;
    for (int seen; (seen = done) < wanted;) done.wait(seen);
  };
  wait_for_writes(6);
  // The leader first, whoever leads.
  const std::string at = "--endpoints=" + added[0].client();
  std::vector<std::string> left{"n1", "n2", "n3"};
  while (!left.empty()) {
    std::string next = leader_of(cluster, added[0].client());
    if (std::ranges::find(left, next) == left.end()) next = left.front();
    CAPTURE(next);
    const RunResult removed = cluster.run({"members", "remove", next, "--confirm=" + next, at});
    CHECK(removed.exit == 0);
    CHECK(removed.err.empty());
    std::erase(left, next);
  }
  wait_for_writes(6);
  stop = true;
  for (std::thread& writer : writers) writer.join();
  CHECK(failed == 0);
  CHECK(cluster.run({"get", "k", at}).out == "w\n");

  // Those that left know it, and say it to whoever asks; also after a restart.
  const auto says_so = [&cluster](std::size_t i) {
    RunResult said;
    for (int tries = 0; tries < 300; ++tries) {
      said = cluster.run({"put", "k", "x", "--endpoints=" + cluster.address(i)});
      if (contains(said.err, "was removed from the cluster")) return said.exit == 4;
    }
    MESSAGE(said.err);
    return false;
  };
  for (std::size_t i = 0; i < 3; ++i) CHECK(says_so(i));
  // Killed before that was on its disk it hears it from the others, who will not talk to it.
  cluster.kill(0);
  cluster.start(0);
  const std::string status = "curl -s http://" + cluster.address(0) + "/api/v1/status";
  bool known = false;
  for (int tries = 0; tries < 300 && !known; ++tries) {
    known = contains(said_by(status), "was removed from the cluster");
  }
  CHECK(known);
}

TEST_CASE("members remove wants to be sure, and says who there is") {
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "k", "v"}).exit == 0);
  const RunResult unsure = cluster.run({"members", "remove", "n2"});
  CHECK(unsure.exit == 2);
  CHECK(contains(unsure.err, "--confirm=n2"));
  const RunResult nobody = cluster.run({"members", "remove", "n9", "--confirm=n9"});
  CHECK(nobody.exit == 3);
  CHECK(contains(nobody.err, "there are n1, n2, n3"));
  CHECK(contains(cluster.run({"members", "promote", "n2"}).err, "votes already"));
}

}  // namespace capstan::node
