// Stock clients that watch real nodes: Debian's etcdctl and python3-etcd3, through a leader's
// death. Skipped, with the reason, where a client is not installed.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "processes.h"

namespace capstan::node {
namespace {

std::string event(const std::string& key, const std::string& value) {
  return "PUT\n" + key + "\n" + value + "\n";
}

}  // namespace

TEST_CASE("etcdctl watches at every node, from the beginning and through the leader's death") {
  if (!installed("/usr/bin/etcdctl")) return;
  TestCluster cluster(Mode::kCp, 3);
  REQUIRE(cluster.run_until_ok({"put", "ready", "yes"}).exit == 0);
  REQUIRE(cluster.run({"put", "w/0", "v0"}).exit == 0);
  const std::string etcdctl = "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=";
  std::vector<std::unique_ptr<Beside>> watchers;
  for (std::size_t i = 0; i < 3; ++i) {
    watchers.push_back(
        std::make_unique<Beside>(etcdctl + cluster.address(i) + " watch w/ --prefix --rev=1"));
  }
  std::string want = event("w/0", "v0");
  for (int n = 1; n <= 5; ++n) {
    const std::string key = "w/" + std::to_string(n), value = "v" + std::to_string(n);
    REQUIRE(cluster.run({"put", key, value}).exit == 0);
    want += event(key, value);
  }
  for (const auto& watcher : watchers) CHECK(watcher->wait_for(want) == want);

  const std::string table = cluster.run({"status", "--plain"}).out;
  std::size_t leader = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (table.find(cluster.address(i) + "\tleader\t") != std::string::npos) leader = i;
  }
  cluster.kill(leader);
  const std::string at = "--endpoints=" + cluster.address((leader + 1) % 3);
  REQUIRE(cluster.run_until_ok({"put", "w/6", "v6", at}).exit == 0);
  REQUIRE(cluster.run({"del", "w/0", at}).exit == 0);
  want += event("w/6", "v6") + "DELETE\nw/0\n\n";
  for (std::size_t i = 0; i < 3; ++i) {
    if (i != leader) CHECK(watchers[i]->wait_for(want) == want);
  }
  // Its client asks again until the node is back, and goes on from where it was.
  cluster.start(leader);
  CHECK(watchers[leader]->wait_for(want) == want);
}

TEST_CASE("python3-etcd3 watches, with several watches on its one stream") {
  if (!installed("/usr/lib/python3/dist-packages/etcd3/__init__.py")) return;
  TestCluster cluster(Mode::kCp, 1);
  REQUIRE(cluster.run_until_ok({"put", "ready", "yes"}).exit == 0);
  const std::string address = cluster.address(0);
  const Beside python(R"(/usr/bin/python3 - <<'END'
import etcd3, itertools
c = etcd3.client(port=)" +
                      address.substr(address.find(':') + 1) + R"()
one, stop_one = c.watch('a')
many, stop_many = c.watch_prefix('p/', prev_kv=True)
c.put('p/1', 'x'); c.put('a', '1'); c.put('p/1', 'y'); c.delete('p/1'); c.put('a', '2')
def show(events, count):
    for e in itertools.islice(events, count):
        print(type(e).__name__, e.key.decode(), e.value.decode(), e.prev_value.decode())
show(one, 2); show(many, 3)
stop_one(); stop_many()
past, stop_past = c.watch_prefix('p/', start_revision=3)
show(past, 3)
stop_past()
END)");
  const std::string want =
      "PutEvent a 1 \nPutEvent a 2 \n"
      "PutEvent p/1 x \nPutEvent p/1 y x\nDeleteEvent p/1  y\n"
      "PutEvent p/1 x \nPutEvent p/1 y \nDeleteEvent p/1  \n";
  CHECK(python.wait_for(want) == want);
}

}  // namespace capstan::node
