// Two real nodes with data and a witness: any one of the three may go.
#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>

#include "processes.h"
#include "tests/support/free_ports.h"

namespace capstan::node {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
std::string at(const TestCluster& cluster, std::size_t i) {
  return "--endpoints=" + cluster.address(i);
}
// Of everything a node keeps.
std::uintmax_t bytes_in(const std::string& directory) {
  std::uintmax_t bytes = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
    if (file.is_regular_file()) bytes += file.file_size();
  }
  return bytes;
}

}  // namespace

TEST_CASE("two nodes and a witness go on without any one of the three") {
  TestCluster cluster(Mode::kCp, 3, {"--witness=n3"});
  REQUIRE(cluster.run_until_ok({"put", "k", "0"}).exit == 0);
  CHECK(contains(cluster.node(2).wait_ready(), "witness: votes, holds no data"));
  CHECK(contains(cluster.run({"members"}).out, "(witness: votes, holds no data)"));
  CHECK(contains(cluster.run({"status", at(cluster, 2)}).out, "witness"));

  // Clients are told where to go, and ours goes there.
  const RunResult refused = cluster.run({"put", "k", "v", at(cluster, 2)});
  CHECK(refused.exit == 4);
  CHECK(contains(refused.err, "n3 is the witness: it votes, and holds no data. Ask n1 (http://" +
                                  cluster.address(0) + ") or n2"));
  CHECK(cluster.run({"get", "k", "--stale", at(cluster, 2)}).exit == 4);
  CHECK(cluster.run({"get", "k", at(cluster, 2) + "," + cluster.address(0)}).out == "0\n");

  for (std::size_t gone = 0; gone < 3; ++gone) {
    const std::string value = std::to_string(gone + 1);
    cluster.kill(gone);
    const std::size_t other = gone == 0 ? 1 : 0;
    CHECK(cluster.run_until_ok({"put", "k", value, at(cluster, other)}).exit == 0);
    cluster.start(gone);
    // With data, it is in step before the next one goes.
    if (gone == 2) continue;
    CHECK(cluster.run_until_ok({"get", "k", at(cluster, gone)}).out == value + "\n");
  }
}

TEST_CASE("a witness keeps no data: its disk stays small, and nothing can be made of it") {
  TestCluster cluster(Mode::kCp, 3, {"--witness=n3"});
  REQUIRE(cluster.run_until_ok({"put", "k", "0"}).exit == 0);
  const std::string value(100'000, 'v');
  for (int i = 0; i < 50; ++i) {
    REQUIRE(cluster.run({"put", "k" + std::to_string(i), value}).exit == 0);
  }
  const std::string witness = cluster.data_dir(2);
  cluster.kill(2);
  const std::string found =
      test::said_by("grep -rlc vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv " + witness + " || echo nothing");
  CHECK(found == "nothing\n");
  CHECK(bytes_in(cluster.data_dir(0)) > 5'000'000);

  const RunResult restored =
      run_capstan({"restore-backup", "--mode=cp", "--name=r1", "--listen=127.0.0.1:1",
                   "--data-dir=" + witness + "-new", "--from-data-dir=" + witness});
  CHECK(restored.exit == 1);
  CHECK(contains(restored.err, "is of the witness, which holds no data"));
}

TEST_CASE(
    "a witness is added to two nodes that run, and what a member is was said when it was added") {
  TestCluster cluster(Mode::kCp, 2);
  REQUIRE(cluster.run_until_ok({"put", "k", "0"}).exit == 0);
  const int port = test::free_ports(1, 2)[0];
  const std::string client = "127.0.0.1:" + std::to_string(port);
  test::TempDir directory;
  const std::vector<std::string> args{"--mode=cp",
                                      "--name=w",
                                      "--witness=w",
                                      "--listen=" + client,
                                      "--join=" + cluster.endpoints(),
                                      "--data-dir=" + (directory / "w")};
  auto witness = std::make_unique<NodeProcess>(args);
  INFO(witness->err());
  REQUIRE(contains(witness->wait_ready(), "witness: votes, holds no data"));
  std::string status;
  for (int i = 0; i < 2000 && !contains(status, "\"voters\":3,"); ++i) {
    status = cluster.run({"status", "--node=n1", "--json"}).out;
  }
  CHECK(contains(status, "\"voters\":3,"));
  const RunResult second = cluster.run({"members", "add", "127.0.0.1:9", "--as-witness"});
  CHECK(contains(second.err, "there is a witness already"));
  cluster.kill(0);
  CHECK(cluster.run_until_ok({"put", "k", "1", at(cluster, 1)}).exit == 0);

  // Later starts with the same flags.
  witness->signal(SIGKILL);
  witness->wait_end();
  witness = std::make_unique<NodeProcess>(args);
  CHECK(contains(witness->wait_ready(), "witness: votes, holds no data"));
  CHECK(cluster.run_until_ok({"put", "k", "2", at(cluster, 1)}).exit == 0);
  cluster.start(0);

  // One that takes itself for what it was not added as.
  const int other = test::free_ports(1, 2)[0];
  const std::string its_peer = "127.0.0.1:" + std::to_string(other + 1);
  REQUIRE(cluster.run_until_ok({"members", "add", its_peer, "--learner"}).exit == 0);
  const RunResult mistaken =
      run_capstan({"serve", "--mode=cp", "--name=x", "--witness=x",
                   "--listen=127.0.0.1:" + std::to_string(other), "--join=" + cluster.endpoints(),
                   "--data-dir=" + (directory / "x")});
  CHECK(mistaken.exit == 1);
  CHECK(contains(mistaken.err,
                 "the cluster has x as a member with data: start it without --witness"));
}

}  // namespace capstan::node
