// Ranges too long to be held, read of a real node by the clients people have.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "processes.h"
#include "tests/support/asked.h"

namespace capstan::node {

namespace {

// Of /proc/PID/status, in MiB.
long memory(NodeProcess& node, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(node.pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stol(line.substr(field.size() + 1)) / 1024;
  }
  return 0;
}
// From here on VmHWM counts anew.
void forget_peak(NodeProcess& node) {
  std::ofstream("/proc/" + std::to_string(node.pid()) + "/clear_refs") << '5';
}

}  // namespace

TEST_CASE("long range: read whole by stock clients, and resident memory hardly grows") {
  constexpr std::size_t kUsual = 60'000;
  const std::size_t keys = test::share_of(kUsual);
  TestCluster cluster(Mode::kCp, 1);
  const std::string at = cluster.address(0);
  CHECK(run_capstan({"bench", "--endpoints=" + at, "--preload", "--op=get", "--duration=10ms",
                     "--warmup=0s", "--clients=4", "--inflight=32", "--value-bytes=1024",
                     "--keys=" + std::to_string(keys)})
            .exit == 0);
  // All of it goes to disk now: a checkpoint in the middle would take memory of its own.
  const RunResult last = cluster.run({"put", "last", ""});
  const std::string revision = last.out.substr(last.out.find("revision ") + 9);
  CHECK(cluster
            .run({"compact", revision.substr(0, revision.find_first_not_of("0123456789")),
                  "--physical"})
            .exit == 0);
  CHECK(cluster.run({"del", "last"}).exit == 0);
  const auto lines = [](std::size_t count) { return std::to_string(count) + "\n"; };
  const auto read = [&](const std::string& command, std::size_t count) {
    CAPTURE(command);
    forget_peak(cluster.node(0));
    const long before = memory(cluster.node(0), "VmRSS");
    CHECK(said_by(command + " | wc -l") == lines(count));
    // Builds that are asked for less are those with sanitizers, which hold on to what was freed.
    constexpr long kMost = static_cast<long>(kUsual / 1024) / 2;
    if (keys == kUsual) CHECK(memory(cluster.node(0), "VmHWM") < before + kMost);
  };
  const std::string all = R"({"key":"AA==","range_end":"AA=="})";
  read("curl -s http://" + at + "/v3/kv/range -d '" + all + R"(' | grep -o '"key":')", keys);
  if (installed("/usr/bin/etcdctl")) {
    read("ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + at + " get '' --from-key", 2 * keys);
  }
  // Our own asks for pages, all of one revision.
  const std::string own = capstan_program() + " get '' --prefix --endpoints=" + at;
  read(own, keys);
  CHECK(said_by(own + " --keys-only --limit=1500 2>/dev/null | sort -u | wc -l") ==
        std::to_string(std::min<std::size_t>(keys, 1500)) + "\n");
  CHECK(cluster.run({"get", "", "--prefix", "--limit=1500"}).err.contains("more keys follow"));
}

}  // namespace capstan::node
