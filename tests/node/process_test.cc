// Real nodes, real sockets, real disks: what a person does by hand, and what a crash does to it.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "processes.h"
#include "tests/support/free_ports.h"

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
  for (std::size_t i = 0; i < 3; ++i) CHECK(contains(members.out, "http://" + cluster.address(i)));
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
  // Whichever of them answered first.
  CHECK((contains(refused.err, "--node n2") || contains(refused.err, "--node n3")));
  const RunResult read = cluster.run({"get", "key1", "--node=n1"});
  CHECK(read.exit == 4);
  const RunResult stale = cluster.run({"get", "key1", "--node=n1", "--stale"});
  INFO(stale.err);
  CHECK(stale.exit == 0);
  CHECK(stale.out == "before\n");
  CHECK(contains(stale.err, "as of revision"));
  CHECK(contains(cluster.run({"status"}).out, "PARTITION: n1 | n2 n3"));
  CHECK(contains(cluster.run({"lab", "show"}).out, "n1  drops frames from and to n2"));

  REQUIRE(cluster.run({"lab", "heal"}).exit == 0);
  const RunResult healed = cluster.run_until_ok({"get", "key1", "--node=n1"});
  CHECK(healed.out == "other\n");
}

TEST_CASE("a refusal names no way out where there is none: one node down, one alone as well") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  cluster.kill(1);
  REQUIRE(cluster.run({"lab", "cut", "n1", "/", "n3"}).exit == 0);
  // Until n3 knows as well that it is alone; before that it may have worked there.
  RunResult refused;
  for (int i = 0; i < 2000 && (refused.exit != 4 || contains(refused.err, "--node")); ++i) {
    refused = cluster.run({"put", "k", "v", "--node=n1"});
  }
  INFO(refused.out, refused.err);
  CHECK(refused.exit == 4);
  CHECK(contains(refused.err, "n1 reaches 1 of 3"));
  CHECK(!contains(refused.err, "--node"));
  CHECK(contains(refused.err, "--stale"));
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
    std::atomic<std::size_t> so_far{0};
    std::atomic<bool> crashed{false};
    std::thread writer([&] {
      for (int i = 0; i < 10'000 && !crashed; ++i) {
        const std::string key = "k" + std::to_string(i);
        const RunResult put =
            run_capstan({"put", key, "v" + key,
                         "--endpoints=" + cluster.address(static_cast<std::size_t>(i % 3))},
                        {"NO_COLOR=1"});
        if (put.exit != 0) continue;  // the crash, or a slow machine: nothing was promised
        acknowledged.push_back(key);
        so_far = acknowledged.size();
        so_far.notify_all();
      }
      so_far = 10'000;  // whoever waits may go on
      so_far.notify_all();
    });
    // the crash comes while the writer writes: after some have been acknowledged
    for (std::size_t seen; (seen = so_far) < 20;) so_far.wait(seen);
    for (std::size_t i = 0; i < 3; ++i) cluster.node(i).signal(SIGKILL);
    crashed = true;
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

TEST_CASE("nodes whose lists differ wait, and say so on both sides") {
  const TestCluster cluster(Mode::kAp, 1);  // lends its scratch directory
  const auto free = test::free_ports(2, 2);
  const std::string a = "127.0.0.1:" + std::to_string(free[0]);
  const std::string b = "127.0.0.1:" + std::to_string(free[1]);
  NodeProcess one({"--mode=cp", "--name=n1", "--join=" + a, "--data-dir=" + cluster.data_dir(7)});
  NodeProcess two(
      {"--mode=cp", "--name=n2", "--join=" + a + "," + b, "--data-dir=" + cluster.data_dir(8)});
  REQUIRE(!one.wait_ready().empty());
  REQUIRE(!two.wait_ready().empty());
  const std::string sentence =
      "was started with 2 members, n1 with 1: give every node the same list of members "
      "(--join or --initial-cluster)";
  RunResult status;
  for (int i = 0; i < 500 && !contains(status.out, sentence); ++i) {
    status = run_capstan({"status", "--node=n2", "--endpoints=" + b});
  }
  CHECK(contains(status.out, sentence));
  const RunResult refused = run_capstan({"put", "a", "b", "--endpoints=" + b});
  CHECK(refused.exit == 4);
}

TEST_CASE("etcd's own flags and environment start the same cluster") {
  const auto ports = test::free_ports(3, 2);
  TestCluster directory(Mode::kAp, 1);  // lends its scratch directory
  const auto url = [&](std::size_t i, int offset) {
    return "http://127.0.0.1:" + std::to_string(ports[i] + offset);
  };
  const std::string list = "n1=" + url(0, 1) + ",n2=" + url(1, 1) + ",n3=" + url(2, 1);
  std::vector<std::unique_ptr<NodeProcess>> nodes;
  for (std::size_t i = 0; i < 3; ++i) {
    nodes.push_back(std::make_unique<NodeProcess>(
        std::vector<std::string>{"--mode=cp", "-data-dir", directory.data_dir(10 + i),
                                 "--listen-client-urls", url(i, 0), "--advertise-client-urls",
                                 url(i, 0), "--listen-peer-urls=" + url(i, 1),
                                 "--initial-advertise-peer-urls=" + url(i, 1)},
        std::vector<std::string>{"ETCD_NAME=n" + std::to_string(i + 1),
                                 "ETCD_INITIAL_CLUSTER=" + list,
                                 "ETCD_INITIAL_CLUSTER_STATE=new"}));
  }
  for (const auto& node : nodes) REQUIRE(!node->wait_ready().empty());
  const std::string at = "--endpoints=127.0.0.1:" + std::to_string(ports[0]);
  RunResult put;
  for (int i = 0; i < 1000 && put.exit != 0; ++i) put = run_capstan({"put", "a", "b", at});
  REQUIRE(put.exit == 0);
  // n1 learned the others' client addresses from themselves: the list has only their peer ports
  CHECK(run_capstan({"get", "a", "--node=n3", at}).out == "b\n");
}

TEST_CASE("a full disk: writes are refused with the reason, reads go on, room mends it") {
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    CAPTURE(to_text(mode));
    const std::filesystem::path place = std::filesystem::temp_directory_path();
    constexpr std::uintmax_t kGiB = std::uintmax_t{1} << 30;
    const std::uintmax_t free = std::filesystem::space(place).available;
    if (free < 4 * kGiB) {
      MESSAGE("skipped: less than 4 GiB free in ", place.string());
      return;
    }
    // the floor lies 1 GiB below what is free now; a file of 2 GiB passes it
    TestCluster cluster(mode, 1, {"--free-bytes-min=" + std::to_string(free - kGiB)});
    REQUIRE(cluster.run_until_ok({"put", "a", "b"}).exit == 0);
    const std::string filler = cluster.data_dir(9);
    const int fd = open(filler.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    const bool filled = posix_fallocate(fd, 0, static_cast<off_t>(2 * kGiB)) == 0;
    RunResult put;
    for (int i = 0; i < 1000 && filled && put.exit != 4; ++i) put = cluster.run({"put", "a", "c"});
    const RunResult get = cluster.run({"get", "a"});
    close(fd);
    std::filesystem::remove(filler);
    if (!filled) {
      MESSAGE("skipped: the file system does not allocate ahead");
      return;
    }
    CHECK(put.exit == 4);
    CHECK(contains(put.err, "refused: "));
    CHECK(contains(put.err, "Not applied"));
    CHECK(get.exit == 0);
    CHECK(cluster.run_until_ok({"put", "a", "d"}).exit == 0);
    CHECK(cluster.run({"get", "a"}).out == "d\n");
    CHECK(contains(cluster.node(0).err(), "no_space"));  // in the log as well
  }
}

TEST_CASE("SIGTERM ends a node that has no quorum, too") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  cluster.kill(1);
  cluster.kill(2);
  cluster.node(0).signal(SIGTERM);
  CHECK(cluster.node(0).wait_end() == 0);
}

TEST_CASE("kill -9 of the leader: the two others elect one and keep every acknowledged write") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  REQUIRE(cluster.run({"put", "before", "kept"}).exit == 0);
  const std::string table = cluster.run({"status", "--plain"}).out;
  std::size_t leader = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (contains(table, cluster.address(i) + "\tleader\t")) leader = i;
  }
  REQUIRE(contains(table, "\tleader\t"));
  cluster.kill(leader);
  const std::string at = "--endpoints=" + cluster.address((leader + 1) % 3);
  CHECK(cluster.run_until_ok({"put", "after", "the crash", at}).exit == 0);
  CHECK(cluster.run({"get", "before", at}).out == "kept\n");
  cluster.start(leader);
  CHECK(cluster.run_until_ok({"get", "after", "--endpoints=" + cluster.address(leader)}).out ==
        "the crash\n");
}

TEST_CASE("capstan lease: granted, kept, shown, ended, and over by itself after kill -9 of all") {
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  const RunResult granted = cluster.run({"lease", "grant", "600", "--node=n2"});
  INFO(granted.err);
  REQUIRE(granted.exit == 0);
  const std::string id = granted.out.substr(0, granted.out.find('\n'));
  CHECK(id.size() == 16);
  CHECK(cluster.run({"put", "worker", "up", "--lease=" + id}).exit == 0);
  const RunResult shown = cluster.run({"lease", "show", id, "--keys", "--node=n3"});
  CHECK(shown.exit == 0);
  CHECK(shown.out.starts_with(id + "\t59"));
  CHECK(shown.out.ends_with(" s of 600 s\nworker\n"));
  CHECK(cluster.run({"lease", "keep-alive", id, "--once"}).out == id + "\t600 s\n");
  CHECK(cluster.run({"lease", "list"}).out == id + "\n");
  CHECK(cluster.run({"lease", "revoke", id}).exit == 0);
  CHECK(cluster.run({"get", "worker"}).exit == 3);
  for (const char* verb : {"revoke", "show", "keep-alive"}) {
    const RunResult gone = cluster.run({"lease", verb, id});
    INFO(verb, gone.err);
    CHECK(gone.exit == 3);
  }
  CHECK(cluster.run({"put", "worker", "up", "--lease=" + id}).exit == 3);
  CHECK(contains(cluster.run({"put", "worker", "up", "--lease=x"}).err, "no id of a lease"));
  CHECK(cluster.run({"lease", "grant", "soon"}).exit == 2);
  CHECK(contains(cluster.run({"lease", "reboke"}).err, "did you mean revoke?"));

  const RunResult brief = cluster.run({"lease", "grant", "2"});
  const std::string short_id = brief.out.substr(0, 16);
  REQUIRE(cluster.run({"put", "brief", "up", "--lease=" + short_id}).exit == 0);
  for (std::size_t i = 0; i < 3; ++i) cluster.kill(i);
  for (std::size_t i = 0; i < 3; ++i) cluster.start(i);
  wait_serving(cluster, 3);
  CHECK(cluster.run({"lease", "keep-alive", short_id, "--once"}).exit == 0);
  CHECK(cluster.run_until(3, {"get", "brief"}).exit == 3);
}

TEST_CASE("etcdctl move-leader: each member in turn, and no write fails meanwhile") {
  if (!installed("/usr/bin/etcdctl")) return;
  TestCluster cluster(Mode::kCp, 3);
  wait_serving(cluster, 3);
  std::atomic<bool> stop = false;
  std::atomic<int> failed = 0, done = 0;
  std::vector<std::thread> writers;
  for (std::size_t i = 0; i < 3; ++i) {
    writers.emplace_back([&, i] {
      while (!stop) {
        ++done;
        failed += cluster.run({"put", "k", "v", "--endpoints=" + cluster.address(i)}).exit != 0;
      }
    });
  }
  for (int round = 0; round < 6; ++round) {
    const std::string to = "n" + std::to_string(round % 3 + 1);
    const std::string members = cluster.run({"members", "--json"}).out;
    const std::string before = "\"name\":\"" + to + "\",\"id\":\"";
    const std::size_t at = members.find(before) + before.size();
    const std::string id = members.substr(at, members.find('"', at) - at);
    INFO(members, id);
    const Beside move("env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + cluster.endpoints() +
                      " move-leader " + id + " 2>&1 | grep -c transferred");
    CHECK(move.wait_for("1\n") == "1\n");
    CHECK(contains(cluster.run({"status", "--plain"}).out, to));
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  CHECK(failed == 0);
  CHECK(done > 20);
}

TEST_CASE("over the quota: puts are refused with the way out, and it ends by itself") {
  TestCluster cluster(Mode::kCp, 3, {"--quota-backend-bytes=2MiB"});
  wait_serving(cluster, 3);
  RunResult put;
  for (int i = 0; i < 300 && put.exit <= 0; ++i) {
    put = cluster.run({"put", "k", std::string(100'000, 'x'), "--node=n2"});
  }
  INFO(put.err);
  CHECK(put.exit == 4);
  CHECK(contains(put.err, "over its quota"));
  CHECK(contains(cluster.run({"status"}).out + cluster.run({"status"}).err, "quota"));
  CHECK(cluster.run({"get", "ready"}).exit == 0);
  const RunResult deleted = cluster.run({"del", "k"});
  INFO(deleted.out, deleted.err);
  REQUIRE(deleted.exit == 0);
  const std::size_t at = deleted.out.find("revision ") + 9;
  const std::string revision = deleted.out.substr(at, deleted.out.find(',', at) - at);
  CHECK(cluster.run({"compact", revision}).exit == 0);
  CHECK(cluster.run_until_ok({"put", "k", "v"}).exit == 0);
  CHECK(cluster.run({"serve", "--mode=ap", "--quota-backend-bytes=1"}).exit == 2);
}

TEST_CASE("an AP node says that it grants no leases, and why not locks") {
  TestCluster cluster(Mode::kAp, 1);
  const RunResult refused = cluster.run({"lease", "grant", "60"});
  CHECK(refused.exit == 2);
  CHECK(contains(refused.err, "leases are not in this build for AP mode"));
  if (!installed("/usr/bin/etcdctl")) return;
  const Beside lock("env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + cluster.address(0) +
                    " lock l 2>&1 | grep -m 1 -o 'no honest meaning in AP mode'");
  CHECK(lock.wait_for("no honest meaning in AP mode\n") == "no honest meaning in AP mode\n");
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
