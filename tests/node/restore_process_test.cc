// Backups of nodes that serve, and new clusters made of them, or of what a lost majority left.
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "processes.h"
#include "tests/support/free_ports.h"

namespace capstan::node {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

// One node of a new cluster: its flags, which restore-backup and serve share.
struct NewNode {
  std::vector<std::string> flags(const std::string& first) const {
    std::vector<std::string> out{"--mode=cp", "--name=r1", "--listen=" + at(),
                                 "--data-dir=" + data()};
    if (!first.empty()) out.insert(out.begin(), first);
    return out;
  }
  std::string at() const { return "127.0.0.1:" + std::to_string(port); }
  std::string data() const { return directory / "r1"; }
  RunResult run(std::vector<std::string> args) const {
    args.push_back("--endpoints=" + at());
    RunResult out;
    for (int i = 0; i < 300; ++i) {
      out = run_capstan(args);
      if (out.exit == 0) break;
    }
    return out;
  }
  int port = test::free_ports(1, 2)[0];
  test::TempDir directory;
};

RunResult restore(const NewNode& node, const std::string& from) {
  std::vector<std::string> args = node.flags(from);
  args.insert(args.begin(), "restore-backup");
  return run_capstan(args);
}

// With etcdctl, while somebody writes.
void save(const TestCluster& cluster, const std::string& path) {
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) cluster.run({"put", "busy", "b"});
  });
  const std::string said =
      said_by("env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + cluster.address(1) +
              " snapshot save " + path + " 2>/dev/null");
  stop = true;
  writer.join();
  CHECK(said == "Snapshot saved at " + path + "\n");
}

}  // namespace

TEST_CASE("a backup taken with etcdctl becomes a new cluster that others can join") {
  if (!installed("/usr/bin/etcdctl")) return;
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "k", "v1"}).exit == 0);
  REQUIRE(cluster.run({"put", "k", "v2"}).exit == 0);
  const std::string large(300'000, 'x');
  REQUIRE(cluster.run({"put", "large", large.substr(0, 100'000)}).exit == 0);
  REQUIRE(cluster.run({"put", "gone", "g"}).exit == 0);
  REQUIRE(cluster.run({"del", "gone"}).exit == 0);
  const NewNode fresh;
  const std::string file = fresh.directory / "backup";
  save(cluster, file);

  const RunResult made = restore(fresh, file);
  CHECK(made.exit == 0);
  CHECK(contains(made.out, "as the new cluster"));
  CHECK(contains(made.err, "is not in it"));
  CHECK(contains(made.err, "Do not start any other member of the old cluster again"));
  NodeProcess node(fresh.flags(""));
  REQUIRE(!node.wait_ready().empty());
  CHECK(fresh.run({"get", "k"}).out == "v2\n");
  CHECK(fresh.run({"get", "k", "--rev=2"}).out == "v1\n");  // history is part of it
  CHECK(fresh.run({"get", "large"}).out == large.substr(0, 100'000) + "\n");
  CHECK(run_capstan({"get", "gone", "--endpoints=" + fresh.at()}).exit == 3);
  CHECK(fresh.run({"put", "new", "n"}).exit == 0);

  const NewNode second;
  std::vector<std::string> joins = second.flags("--join=" + fresh.at());
  joins[2] = "--name=r2";
  NodeProcess other(joins);
  REQUIRE(!other.wait_ready().empty());
  CHECK(second.run({"get", "k"}).out == "v2\n");

  // The old cluster's members have nothing to say here, and the directory is a node's now.
  CHECK(contains(restore(fresh, file).err, "belongs to a node already"));
}

TEST_CASE("a backup that is damaged, cut or none is refused, and nothing is written") {
  if (!installed("/usr/bin/etcdctl")) return;
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "k", "v"}).exit == 0);
  const NewNode fresh;
  const std::string file = fresh.directory / "backup", bad = fresh.directory / "bad";
  save(cluster, file);
  const std::string good = bytes_of(file);
  const auto refused = [&](const std::string& bytes, const std::string& why) {
    std::ofstream(bad, std::ios::binary) << bytes;
    const RunResult result = restore(fresh, bad);
    CHECK(result.exit == 1);
    CHECK(contains(result.err, bad));
    CHECK(contains(result.err, why));
    CHECK(!fs::exists(fresh.data()));
  };
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 4);
  refused(flipped, "SHA-256");
  refused(good.substr(0, good.size() - 512), "it has no end");
  refused(good.substr(0, good.size() - 1), "length");
  refused(std::string(544, 'x'), "no backup of Capstan");
  refused("", "length");
  CHECK(contains(restore(fresh, fresh.directory / "nothing").err, "cannot be opened"));
}

TEST_CASE("a restore that was interrupted is no node's directory") {
  TestCluster cluster(Mode::kCp, 1);
  REQUIRE(cluster.run_until_ok({"put", "k", "v"}).exit == 0);
  cluster.kill(0);
  const NewNode fresh;
  REQUIRE(restore(fresh, "--from-data-dir=" + cluster.data_dir(0)).exit == 0);
  std::ofstream(fresh.data() + "/restoring");
  std::vector<std::string> args = fresh.flags("");
  args.insert(args.begin(), "serve");
  const RunResult serve = run_capstan(args);
  CHECK(serve.exit == 2);
  CHECK(contains(serve.err, "a restore that did not end"));
}

TEST_CASE("a majority is lost: the member that is left becomes a new cluster") {
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "k", "v"}).exit == 0);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(cluster.run({"put", "k" + std::to_string(i), "v" + std::to_string(i)}).exit == 0);
  }
  // All of it has reached n3, before the others go.
  REQUIRE(cluster.run({"get", "k19", "--node=n3"}).out == "v19\n");
  for (std::size_t i = 0; i < 3; ++i) cluster.kill(i);
  const NewNode fresh;
  const std::string from = "--from-data-dir=" + cluster.data_dir(2);
  const RunResult made = restore(fresh, from);
  CHECK(made.exit == 0);
  CHECK(contains(made.err, "writes that only the lost majority had are lost"));
  NodeProcess node(fresh.flags(""));
  REQUIRE(!node.wait_ready().empty());
  for (int i = 0; i < 20; ++i) {
    CHECK(fresh.run({"get", "k" + std::to_string(i)}).out == "v" + std::to_string(i) + "\n");
  }
  CHECK(fresh.run({"put", "k", "w"}).exit == 0);
  CHECK(contains(fresh.run({"members", "--plain"}).out, "r1"));

  // With several members listed it would be several clusters that take themselves for one.
  const NewNode list;
  std::vector<std::string> args{"restore-backup",
                                from,
                                "--mode=cp",
                                "--listen=" + list.at(),
                                "--join=" + list.at() + ",127.0.0.1:9",
                                "--data-dir=" + list.data()};
  const RunResult many = run_capstan(args);
  CHECK(many.exit == 2);
  CHECK(contains(many.err, "list this node alone"));
}

TEST_CASE("restore-backup says what it wants") {
  CHECK(contains(run_capstan({"restore-backup", "--mode=cp", "--listen=h1"}).err,
                 "say what to restore from"));
  CHECK(
      contains(run_capstan({"restore-backup", "f", "--mode=ap", "--listen=h1"}).err, "in AP mode"));
}

}  // namespace capstan::node
