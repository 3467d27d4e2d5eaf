// Real nodes, real sockets, real disks: what a person does by hand, and what a crash does to it.
#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "processes.h"

namespace capstan::node {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void wait_serving(const TestCluster& cluster, std::size_t nodes) {
  for (std::size_t i = 0; i < nodes; ++i) {
    const RunResult result =
        cluster.run_until_ok({"put", "ready", "yes", "--endpoints=" + cluster.address(i)});
    INFO(result.err);
    REQUIRE(result.exit == 0);
  }
}

}  // namespace

TEST_CASE("three CP nodes: what is put at one is read at every other, and deleted again") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  const RunResult put = cluster.run({"put", "greeting", "hello", "--node=n2"});
  INFO(put.out, put.err);
  REQUIRE(put.exit == 0);
  CHECK(put.out.starts_with("ok n2:1:"));
  for (const char* node : {"n1", "n2", "n3"}) {
    const RunResult get = cluster.run({"get", "greeting", "--node", node});
    INFO(node, get.err);
    CHECK(get.exit == 0);
    CHECK(get.out == "hello\n");
  }
  CHECK(cluster.run({"del", "greeting"}).exit == 0);
  const RunResult gone = cluster.run({"get", "greeting", "--node=n3"});
  CHECK(gone.exit == 3);
  CHECK(gone.out.empty());
  CHECK(contains(gone.err, "not here as of revision"));
}

TEST_CASE("three CP nodes: the status names one leader and one side, members their addresses") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  const RunResult status = cluster.run({"status"});
  INFO(status.out, status.err);
  CHECK(status.exit == 0);
  CHECK(contains(status.out, "cp  3 of 3 voters, tolerates 1 failure"));
  CHECK(contains(status.out, " leader "));
  CHECK(!contains(status.out, "PARTITION"));
  const RunResult members = cluster.run({"members", "--plain"});
  for (int i = 0; i < 3; ++i) CHECK(contains(members.out, "http://" + cluster.address(i)));
}

TEST_CASE(
    "CP under a cut: the lone side refuses with its reason, the other goes on, the heal mends") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  REQUIRE(cluster.run({"put", "key1", "before"}).exit == 0);
  const RunResult cut = cluster.run({"lab", "cut", "n1", "/", "n2,n3"});
  INFO(cut.err);
  REQUIRE(cut.exit == 0);

  const RunResult other = cluster.run_until_ok({"put", "key1", "other", "--node=n2"});
  INFO(other.out, other.err);
  CHECK(other.exit == 0);
  // a write in flight as the cut is noticed may be unknown; from then on all are refused
  RunResult refused = cluster.run({"put", "key1", "value1", "--node=n1"});
  for (int i = 0; i < 100 && refused.exit == 5; ++i) {
    refused = cluster.run({"put", "key1", "value1", "--node=n1"});
  }
  INFO(refused.out, refused.err);
  CHECK(refused.exit == 4);
  CHECK(refused.out.empty());
  CHECK(contains(refused.err, "refused: no quorum. n1 reaches 1 of 3 voters (needs 2)"));
  CHECK(contains(refused.err, "Not applied"));
  const RunResult read = cluster.run({"get", "key1", "--node=n1"});
  CHECK(read.exit == 4);
  const RunResult stale = cluster.run({"get", "key1", "--node=n1", "--stale"});
  CHECK(stale.exit == 0);
  CHECK(stale.out == "before\n");
  CHECK(contains(stale.err, "as of revision"));
  CHECK(contains(cluster.run({"status"}).out, "PARTITION: n1 | n2 n3"));
  CHECK(contains(cluster.run({"lab", "show"}).out, "n1  drops frames from and to n2"));

  REQUIRE(cluster.run({"lab", "heal"}).exit == 0);
  const RunResult healed = cluster.run_until_ok({"get", "key1", "--node=n1"});
  CHECK(healed.out == "other\n");
}

TEST_CASE("AP under a cut: both sides accept as ok (local), and agree after the heal") {
  TestCluster cluster(Mode::kAp, 3);
  wait_serving(cluster, 3);
  REQUIRE(cluster.run({"lab", "cut", "n1", "/", "n2,n3"}).exit == 0);
  // the cut is noticed within a moment; until then a write says ok
  RunResult local;
  for (int i = 0; i < 200 && !contains(local.out, "ok (local) n1:"); ++i) {
    local = cluster.run({"put", "key1", "value1", "--node=n1"});
    INFO(local.err);
    REQUIRE(local.exit == 0);
  }
  CHECK(contains(local.out, "ok (local) n1:"));
  CHECK(contains(local.out, "1 of 3"));
  REQUIRE(cluster.run({"put", "key1", "other", "--node=n2"}).exit == 0);
  CHECK(cluster.run({"get", "key1", "--node=n1"}).out == "value1\n");
  CHECK(cluster.run({"get", "key1", "--node=n2"}).out == "other\n");

  REQUIRE(cluster.run({"lab", "heal"}).exit == 0);
  RunResult status;
  for (int i = 0; i < 500 && !contains(status.out, "all equal"); ++i) {
    status = cluster.run({"status"});
  }
  INFO(status.out);
  CHECK(contains(status.out, "all equal"));
  const std::string agreed = cluster.run({"get", "key1", "--node=n1"}).out;
  CHECK(agreed == "other\n");  // the later write wins
  CHECK(cluster.run({"get", "key1", "--node=n3"}).out == agreed);
}

TEST_CASE("SIGTERM: a node ends with 0, and the two others take writes without it") {
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    TestCluster cluster(mode, 3);
    wait_serving(cluster, 3);
    cluster.node(0).signal(SIGTERM);
    CHECK(cluster.node(0).wait_end() == 0);
    CHECK(cluster.run_until_ok({"put", "a", "b", "--endpoints=" + cluster.address(1)}).exit == 0);
    cluster.start(0);
    CHECK(cluster.run_until_ok({"get", "a", "--endpoints=" + cluster.address(0)}).out == "b\n");
  }
}

TEST_CASE("kill -9 of all nodes under load loses nothing that was acknowledged") {
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    CAPTURE(to_text(mode));
    TestCluster cluster(mode, 3);
    wait_serving(cluster, 3);
    std::vector<std::string> acknowledged;
    std::thread writer([&] {
      for (int i = 0; i < 10'000; ++i) {
        const std::string key = "k" + std::to_string(i);
        const RunResult put = run_capstan(
            {"put", key, "v" + key, "--endpoints=" + cluster.address(i % 3)}, {"NO_COLOR=1"});
        if (put.exit != 0) break;  // the crash
        acknowledged.push_back(key);
      }
    });
    // the crash comes while the writer writes: after some have been acknowledged
    while (cluster.run({"get", "k20"}).exit != 0) {
    }
    for (std::size_t i = 0; i < 3; ++i) cluster.node(i).signal(SIGKILL);
    writer.join();
    for (std::size_t i = 0; i < 3; ++i) cluster.node(i).wait_end();
    REQUIRE(acknowledged.size() >= 20);
    for (std::size_t i = 0; i < 3; ++i) cluster.start(i);
    wait_serving(cluster, 3);
    if (mode == Mode::kAp) {
      RunResult status;
      for (int i = 0; i < 500 && !contains(status.out, "all equal"); ++i) {
        status = cluster.run({"status"});
      }
      INFO(status.out);
      CHECK(contains(status.out, "all equal"));
    }
    const std::string found = cluster.run({"get", "k", "--prefix", "--plain"}).out;
    for (const std::string& key : acknowledged) {
      CHECK(contains("\n" + found, "\n" + key + "\tv" + key + "\n"));
    }
  }
}

TEST_CASE("a node without --lab refuses to be cut, with exit 8") {
  TestCluster cluster(Mode::kCp, 1, {"--lab=false"});
  const RunResult heal = cluster.run({"lab", "heal"});
  CHECK(heal.exit == 8);
  CHECK(contains(heal.err, "started without --lab"));
}

TEST_CASE("a data directory of another mode, name or cluster is refused with exit 2") {
  TestCluster cluster(Mode::kCp, 1);
  REQUIRE(cluster.run_until_ok({"put", "a", "b"}).exit == 0);
  cluster.node(0).signal(SIGTERM);
  REQUIRE(cluster.node(0).wait_end() == 0);
  const auto again = [&](std::size_t index, const std::string& instead) {
    std::vector<std::string> args = cluster.serve_args(0);
    args[index] = instead;
    args.insert(args.begin(), "serve");
    return run_capstan(args);
  };
  const RunResult mode = again(0, "--mode=ap");
  CHECK(mode.exit == 2);
  CHECK(contains(mode.err, "--mode=cp"));
  const RunResult token = again(6, "--initial-cluster-token=other");
  CHECK(token.exit == 2);
  cluster.start(0);
  CHECK(cluster.run_until_ok({"get", "a"}).out == "b\n");
  // the lock: a second process on the same data and ports
  std::vector<std::string> args = cluster.serve_args(0);
  args.insert(args.begin(), "serve");
  const RunResult second = run_capstan(args);
  CHECK(second.exit == 2);
  CHECK(contains(second.err, "in use"));
}

TEST_CASE("a wrong configuration ends with exit 2 and leaves nothing on the disk") {
  const std::string dir = "/tmp/capstan-test-nothing-" + std::to_string(getpid());
  const RunResult twice =
      run_capstan({"serve", "--mode=cp", "--join=127.0.0.1:1,localhost:1", "--data-dir=" + dir});
  CHECK(twice.exit == 2);
  CHECK(contains(twice.err, "twice (localhost is 127.0.0.1)"));
  CHECK(!std::filesystem::exists(dir));
}

TEST_CASE("commands: mistakes exit 2 with a suggestion, nobody there exits 7") {
  CHECK(run_capstan({"srve"}).exit == 2);
  CHECK(contains(run_capstan({"srve"}).err, "no command \"srve\"; did you mean serve?"));
  CHECK(run_capstan({"put", "onlykey"}).exit == 2);
  const RunResult nobody = run_capstan({"get", "a", "--endpoints=127.0.0.1:1"});
  CHECK(nobody.exit == 7);
  CHECK(nobody.out.empty());
  CHECK(contains(nobody.err, "nobody answers at 127.0.0.1:1"));
  const RunResult json = run_capstan({"put", "a", "b", "--json", "--endpoints=127.0.0.1:1"});
  CHECK(json.exit == 7);
  CHECK(json.err.empty());
  CHECK(contains(json.out, "\"reason\":\"unreachable\""));
}

}  // namespace capstan::node
