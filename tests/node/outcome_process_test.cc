// What became of a write that was answered `unknown`, asked of real nodes.
#include <doctest/doctest.h>

#include <csignal>
#include <string>

#include "processes.h"

namespace capstan::node {

namespace {

// "n1:1:17" in "... Ask: capstan outcome n1:1:17".
std::string id_in(const std::string& said) {
  const std::string before = "capstan outcome ";
  const std::size_t at = said.find(before);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + before.size();
  return said.substr(begin, said.find_first_of(" \n", begin) - begin);
}

}  // namespace

TEST_CASE("outcome: a write in flight when the majority freezes is asked about and stays decided") {
  TestCluster cluster(Mode::kCp, 3);
  CHECK(cluster.run({"put", "k", "before"}).exit == 0);
  CHECK(cluster.run({"members", "lead", "n1"}).exit == 0);
  cluster.node(1).signal(SIGSTOP);
  cluster.node(2).signal(SIGSTOP);
  const RunResult put = cluster.run({"put", "k", "after", "--node=n1"});
  cluster.node(1).signal(SIGCONT);
  cluster.node(2).signal(SIGCONT);
  REQUIRE(put.exit == 5);
  const std::string id = id_in(put.err);
  CAPTURE(put.err);
  REQUIRE(id.starts_with("n1:"));
  CHECK(cluster.run_until_ok({"get", "k"}).exit == 0);
  const RunResult told = cluster.run({"outcome", id, "--node=n2"});
  const bool applied = told.exit == 0;
  CHECK((applied || told.exit == 4));
  CHECK(told.out.starts_with(applied ? "applied" : "not applied, and never will be"));
  for (const char* node : {"n1", "n2", "n3"}) {
    CHECK(cluster.run({"outcome", id, std::string("--node=") + node}).exit == told.exit);
    CHECK(cluster.run({"get", "k", std::string("--node=") + node}).out ==
          (applied ? "after\n" : "before\n"));
  }
}

TEST_CASE("outcome: by the id a client gave, and what makes no sense") {
  const TestCluster cluster(Mode::kCp, 1);
  CHECK(cluster.run({"put", "k", "v", "--request-id=order-17"}).exit == 0);
  CHECK(cluster.run({"outcome", "--of-request=order-17"}).out == "applied, revision 2\n");
  CHECK(cluster.run({"outcome", "--of-request=order-18"}).exit == 4);
  const RunResult late = cluster.run({"put", "k", "w", "--request-id=order-18"});
  CHECK(late.exit == 4);
  CHECK(late.err.contains("somebody asked for its outcome before it was applied"));
  CHECK(cluster.run({"get", "k"}).out == "v\n");
  const RunResult json = cluster.run({"outcome", "--of-request=order-17", "--json"});
  CHECK(json.out.contains(R"("type":"outcome","fate":"applied","at_revision":2)"));
  const auto wrong = [&](const std::vector<std::string>& words, const std::string& says) {
    const RunResult done = cluster.run(words);
    CHECK(done.exit == 2);
    CHECK_MESSAGE(done.err.contains(says), done.err);
  };
  wrong({"outcome"}, "wants the id of one write");
  wrong({"outcome", "n1:1:1", "--of-request=x"}, "wants the id of one write");
  wrong({"outcome", "order-17"}, "is no id of a write");
  wrong({"outcome", "n9:1:1"}, "knows no node n9");
  const TestCluster replicas(Mode::kAp, 1);
  const RunResult in_ap = replicas.run({"outcome", "n1:1:1"});
  CHECK(in_ap.exit == 2);
  CHECK(in_ap.err.contains("stands in the books of its nodes"));
}

}  // namespace capstan::node
