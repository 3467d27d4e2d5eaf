#include "node/status_table.h"

#include <doctest/doctest.h>

namespace capstan::node {
namespace {

struct Node {
  std::string name, role;
  std::vector<std::string> reaches;
  Micros alone_for = -1;
};

std::vector<NodeView> views(const std::vector<Node>& nodes, Mode mode = Mode::kCp) {
  std::vector<NodeView> out;
  int port = 2379;
  for (const Node& node : nodes) {
    NodeView view{node.name, "127.0.0.1:" + std::to_string(port), StatusResult{}, ""};
    port += 100;
    StatusResult& s = *view.status;
    s.mode = mode;
    s.role = node.role;
    s.term = 2;
    s.applied = 1204;
    s.revision = {9};
    s.voters = static_cast<int>(nodes.size());
    s.quorum = s.voters / 2 + 1;
    s.reachable = 1 + static_cast<int>(node.reaches.size());
    s.alone_for = node.alone_for;
    for (const Node& other : nodes) {
      PeerStatus peer;
      peer.name = other.name;
      peer.self = other.name == node.name;
      for (const std::string& name : node.reaches) {
        if (name == other.name) peer.reachable = true;
      }
      s.peers.push_back(peer);
    }
    out.push_back(view);
  }
  return out;
}

}  // namespace

TEST_CASE("status: a whole cluster has one side, and says what it tolerates") {
  const auto nodes = views({{"n1", "leader", {"n2", "n3"}},
                            {"n2", "follower", {"n1", "n3"}},
                            {"n3", "follower", {"n1", "n2"}}});
  CHECK(status_table(nodes) ==
        "NODE  ADDRESS         STATE     REACHES  TERM  APPLIED  SIDE\n"
        "n1    127.0.0.1:2379  leader    n2 n3       2     1204  -\n"
        "n2    127.0.0.1:2479  follower  n1 n3       2     1204  -\n"
        "n3    127.0.0.1:2579  follower  n1 n2       2     1204  -\n"
        "cp  3 of 3 voters, tolerates 1 failure   all equal\n");
}

TEST_CASE("status: a partition shows its sides and who is alone since when") {
  auto nodes = views({{"n1", "follower", {}, 4'100'000},
                      {"n2", "leader", {"n3"}, -1},
                      {"n3", "follower", {"n2"}, -1}});
  nodes[1].status->applied = nodes[2].status->applied = 1300;
  CHECK(status_table(nodes) ==
        "NODE  ADDRESS         STATE     REACHES  TERM  APPLIED  SIDE\n"
        "n1    127.0.0.1:2379  follower  nobody      2     1204  A\n"
        "n2    127.0.0.1:2479  leader    n3          2     1300  B\n"
        "n3    127.0.0.1:2579  follower  n2          2     1300  B\n"
        "cp  2 of 3 voters, tolerates 0 failures   PARTITION: n1 | n2 n3\n"
        "n1 has reached nobody for 4.1 s\n");
}

TEST_CASE("status: reaching one way is not being on one side") {
  CHECK(sides_of(views({{"n1", "r", {"n2"}}, {"n2", "r", {}}})) == std::vector<int>{0, 1});
  CHECK(sides_of(views({{"n1", "r", {"n2"}}, {"n2", "r", {"n1", "n3"}}, {"n3", "r", {"n2"}}})) ==
        std::vector<int>{0, 0, 0});  // a bridge is no split
}

TEST_CASE("status: a cut that a third bridges is named as such") {
  auto nodes =
      views({{"n1", "leader", {"n3"}}, {"n2", "candidate", {"n3"}}, {"n3", "f", {"n1", "n2"}}});
  const std::string line = "n1 and n2 do not hear each other, but n3 hears both: not a partition\n";
  CHECK(status_table(nodes).ends_with(line));
  nodes[1].status.reset();  // asked from n1's side
  CHECK(status_table(nodes).ends_with(line));
}

TEST_CASE("status: a node that does not answer is on no side and not counted as equal") {
  auto nodes = views({{"n1", "replica", {"n2"}}, {"n2", "replica", {"n1"}}}, Mode::kAp);
  CHECK(status_table(nodes).find("2 of 2 replicas answer   all equal") != std::string::npos);
  nodes[1].status.reset();
  nodes[1].why = "no answer";
  CHECK(sides_of(nodes) == std::vector<int>{0, -1});
  const std::string text = status_table(nodes);
  CHECK(text.find("no answer") != std::string::npos);
  CHECK(text.find("all equal") == std::string::npos);
}

TEST_CASE("status: AP nodes with equal vectors and unequal digests are not equal") {
  auto nodes = views({{"n1", "replica", {"n2"}}, {"n2", "replica", {"n1"}}}, Mode::kAp);
  nodes[0].status->vector_text = nodes[1].status->vector_text = "n1:1:5";
  nodes[0].status->digest_text = "00000000000000aa";
  nodes[1].status->digest_text = "00000000000000ab";
  CHECK(status_table(nodes).find("they differ") != std::string::npos);
}

}  // namespace capstan::node
