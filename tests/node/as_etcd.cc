#include "as_etcd.h"

#include <doctest/doctest.h>

#include "processes.h"
#include "tests/support/free_ports.h"

namespace capstan::node {

const std::string kEtcdctl = "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=@ ";

namespace {

// A store under test: where to ask, in turns.
struct Store {
  std::string name;
  std::vector<std::string> addresses;
};

std::string placed(std::string line, const std::string& address) {
  for (std::size_t at; (at = line.find('@')) != std::string::npos;) line.replace(at, 1, address);
  return line;
}

// What a line says, without the lines of etcdctl's own log.
std::string said_by(const std::string& address, const std::string& line) {
  return test::said_by("{ " + placed(line, address) + "\n} 2>&1 | grep -v '^{\"level\"'");
}

void walk(const Store& store, const std::vector<Line>& lines) {
  CAPTURE(store.name);
  std::string ready;
  for (int i = 0; i < 300 && ready.find("is healthy") == std::string::npos; ++i) {
    ready = said_by(store.addresses[0], kEtcdctl + "endpoint health");
  }
  REQUIRE(ready.find("is healthy") != std::string::npos);
  std::size_t asked = 0;
  for (const Line& line : lines) {
    CAPTURE(line.what);
    const std::string& address = store.addresses[asked++ % store.addresses.size()];
    if (!line.goes_on) {
      CHECK(said_by(address, line.what) == line.says);
      continue;
    }
    // A watch is local: first let this node have all that came before.
    said_by(address, kEtcdctl + "get nothing");
    CHECK(Beside(placed(line.what, address)).wait_for(line.says) == line.says);
  }
}

}  // namespace

void walk_all(const std::vector<Line>& lines) {
  if (!installed("/usr/bin/etcdctl")) return;
  for (const std::size_t nodes : {std::size_t{1}, std::size_t{3}}) {
    const TestCluster cluster(Mode::kCp, nodes);
    Store store{"capstan, " + std::to_string(nodes) + " nodes", {}};
    for (std::size_t i = 0; i < nodes; ++i) store.addresses.push_back(cluster.address(i));
    walk(store, lines);
  }
  if (!installed("/usr/bin/etcd")) return;
  const test::TempDir directory;
  const int port = test::free_ports(1, 2)[0];
  const std::string client = "127.0.0.1:" + std::to_string(port);
  const std::string peer = "http://127.0.0.1:" + std::to_string(port + 1);
  const Beside etcd(
      "/usr/bin/etcd --data-dir " + directory.path() + "/data --listen-client-urls http://" +
      client + " --advertise-client-urls http://" + client + " --listen-peer-urls " + peer +
      " --initial-advertise-peer-urls " + peer + " --initial-cluster default=" + peer);
  walk({"etcd", {client}}, lines);
}

std::string gateway(const std::string& path, const std::string& body) {
  return "curl -s -X POST -d '" + body + "' http://@" + path + "; echo";
}
std::string gateway_error(const std::string& text, int code) {
  return R"({"error":")" + text + R"(","message":")" + text + R"(","code":)" +
         std::to_string(code) + "}\n";
}

}  // namespace capstan::node
