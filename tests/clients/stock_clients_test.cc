// Stock clients, unmodified, against the real front door with a node of one map behind it: Debian's
// etcdctl, python3-etcd3 and curl. Skipped, with the reason, where a tool is not installed.
#include <doctest/doctest.h>

#include <latch>
#include <thread>

#include "net/door.h"
#include "net/uv_loop.h"
#include "tests/support/fake_handler.h"
#include "tests/support/shell.h"

namespace capstan::net {

using test::installed;
using test::Said;

namespace {

// A door on a loop and thread of its own, while the test waits for child processes.
class Server {
 public:
  explicit Server(Mode mode = Mode::kCp) : thread_([this, mode] { serve(mode); }) { ready_.wait(); }
  ~Server() {
    loop_->post([this] { loop_->stop(); });
    thread_.join();
  }

  Said run(std::string command) const {
    const std::string address = "127.0.0.1:" + std::to_string(port_);
    for (std::size_t at; (at = command.find("@")) != std::string::npos;) {
      command.replace(at, 1, address);
    }
    return test::run_line(command);
  }
  // Runs `change` on the loop thread and waits for it.
  void with_handler(const std::function<void(test::FakeHandler&)>& change) {
    std::latch done(1);
    loop_->post([&] {
      change(handler_);
      done.count_down();
    });
    done.wait();
  }
  std::uint16_t port() const { return port_; }

 private:
  void serve(Mode mode) {
    Loop loop;
    DoorOptions options;
    options.listen = {{"127.0.0.1", 0}};
    options.mode = mode;
    auto door = Door::open(loop, handler_, std::move(options));
    port_ = (*door)->ports()[0];
    loop_ = &loop;
    ready_.count_down();
    loop.run();
    door->reset();
  }
  test::FakeHandler handler_;
  std::latch ready_{1};
  Loop* loop_ = nullptr;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

const std::string kEtcdctl = "ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=@ ";

}  // namespace

TEST_CASE("clients: etcdctl puts, gets and deletes") {
  if (!installed("/usr/bin/etcdctl")) return;
  const Server server;
  CHECK(server.run(kEtcdctl + "put foo bar").out == "OK\n");
  CHECK(server.run(kEtcdctl + "get foo").out == "foo\nbar\n");
  CHECK(server.run(kEtcdctl + "put foo baz --prev-kv").out == "OK\nfoo\nbar\n");
  CHECK(server.run(kEtcdctl + "put fop 1").out == "OK\n");
  CHECK(server.run(kEtcdctl + "get fo --prefix --keys-only").out == "foo\n\nfop\n\n");
  CHECK(server.run(kEtcdctl + "get foo fop").out == "foo\nbaz\n");
  CHECK(server.run(kEtcdctl + "get '' --prefix --limit=1").out == "foo\nbaz\n");
  CHECK(server.run(kEtcdctl + "get foo --consistency=s --print-value-only").out == "baz\n");
  const std::string json = server.run(kEtcdctl + "get foo -w json").out;
  CHECK(json.find(
            R"("key":"Zm9v","create_revision":2,"mod_revision":3,"version":2,"value":"YmF6")") !=
        std::string::npos);
  CHECK(server.run(kEtcdctl + "get nothing").out.empty());
  CHECK(server.run(kEtcdctl + "del fo --prefix").out == "2\n");
}

TEST_CASE("clients: etcdctl runs transactions") {
  if (!installed("/usr/bin/etcdctl")) return;
  const Server server;
  server.run(kEtcdctl + "put k v");
  const Said txn = server.run(R"(printf 'version("k") = "1"\n\nput a b\nget a\n\nget k\n\n' | )" +
                              kEtcdctl + "txn");
  CHECK(txn.code == 0);
  CHECK(txn.out == "SUCCESS\n\nOK\n\na\nb\n");
}

TEST_CASE("clients: etcdctl shows status, health and members") {
  if (!installed("/usr/bin/etcdctl")) return;
  const Server server;
  const std::string status = server.run(kEtcdctl + "endpoint status -w table").out;
  CHECK(status.find("8e9e05c52164694d |  3.4.23 |") != std::string::npos);
  CHECK(status.find("true") != std::string::npos);  // IS LEADER
  const Said health = server.run(kEtcdctl + "endpoint health");
  CHECK(health.code == 0);
  CHECK(health.out.find("is healthy: successfully committed proposal") != std::string::npos);
  const std::string members = server.run(kEtcdctl + "member list").out;
  CHECK(
      members.starts_with("8e9e05c52164694d, started, n1, http://127.0.0.1:2380, "
                          "http://127.0.0.1:2379, false\n"));
  CHECK(members.find("fedcba9876543210, started, n2,") != std::string::npos);
}

// These two commands dial each endpoint by itself and send it, as typed, for :authority.
TEST_CASE("clients: etcdctl asks endpoints that are written as URLs") {
  if (!installed("/usr/bin/etcdctl")) return;
  const Server server;
  const std::string etcdctl = "ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=http://@ ";
  const Said status = server.run(etcdctl + "endpoint status");
  CHECK(status.code == 0);
  CHECK(status.out.starts_with("http://127.0.0.1:"));
  const Said health = server.run(etcdctl + "endpoint health");
  CHECK(health.code == 0);
  CHECK(health.out.find("is healthy: successfully committed proposal") != std::string::npos);
  CHECK(server.run(etcdctl + "put k v").out == "OK\n");
}

TEST_CASE("clients: etcdctl names the error and ends with 1") {
  if (!installed("/usr/bin/etcdctl")) return;
  Server server;
  server.with_handler([](test::FakeHandler& handler) {
    handler.forced = refused(Reason::kNotInAp, "Compares have no honest meaning in AP mode.");
  });
  const Said refused = server.run(kEtcdctl + "put k v");
  CHECK(refused.code == 1);
  CHECK(refused.out.find("code = FailedPrecondition desc = Compares have no honest meaning") !=
        std::string::npos);
  server.with_handler([](test::FakeHandler& handler) {
    handler.forced = capstan::refused(Reason::kNoSpace, "Nearly full.");
  });
  CHECK(server.run(kEtcdctl + "put k v")
            .out.find("Error: etcdserver: mvcc: database space exceeded") != std::string::npos);
}

TEST_CASE("clients: etcdctl is told what a node does not do, and the way out") {
  if (!installed("/usr/bin/etcdctl")) return;
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    const Server server(mode);
    const auto refused = [&](const std::string& command, const std::string& words) {
      const Said got = server.run("timeout 10 sh -c \"" + kEtcdctl + command + "\"");
      CAPTURE(got.out);
      CHECK(got.code != 0);
      CHECK(got.out.find(words) != std::string::npos);
    };
    refused("watch k", "watch is not in this build for AP mode; get the key again instead");
  }
}

TEST_CASE("clients: etcdctl moves a value of a megabyte") {
  if (!installed("/usr/bin/etcdctl")) return;
  const Server server;
  CHECK(server.run("head -c 1000000 /dev/zero | tr '\\0' x | " + kEtcdctl + "put big").out ==
        "OK\n");
  CHECK(server.run(kEtcdctl + "get big --print-value-only | wc -c").out == "1000001\n");
}

TEST_CASE("clients: python3-etcd3 does its basic work") {
  if (!installed("/usr/lib/python3/dist-packages/etcd3/__init__.py")) return;
  const Server server;
  const Said got = server.run(R"(/usr/bin/python3 - <<'END'
import etcd3
c = etcd3.client(host='127.0.0.1', port=)" +
                              std::to_string(server.port()) + R"()
c.put('k', 'v')
value, meta = c.get('k')
print(value, meta.version, meta.mod_revision)
c.put('k2', 'w')
print([m.key for _, m in c.get_prefix('k')])
print(c.transaction(compare=[c.transactions.version('k') == 1],
                    success=[c.transactions.put('k', 'x')], failure=[])[0])
print(c.put('big', 'x' * 1400000).header.revision, len(c.get('big')[0]))
print(c.delete('k'), c.get('k')[0])
print(c.status().version, [m.name for m in c.members])
c.compact(2, physical=True)
l = c.lease(60)
print(l.id, [r.TTL for r in l.refresh()])
END)");
  CAPTURE(got.out);
  CHECK(got.code == 0);
  CHECK(got.out ==
        "b'v' 1 2\n[b'k', b'k2']\nTrue\n5 1400000\nTrue None\n3.4.23 ['n1', 'n2']\n"
        "119 [60]\n");
}

TEST_CASE("clients: curl reaches the gateway, the probes and the API") {
  if (!installed("/usr/bin/curl")) return;
  const Server server;
  CHECK(server.run("curl -s http://@/health").out == R"({"health":"true"})");
  CHECK(server.run("curl -s --http2 http://@/health").out == R"({"health":"true"})");
  CHECK(server.run("curl -s http://@/v3/kv/put -d '{\"key\":\"Zm9v\",\"value\":\"YmFy\"}'")
            .out.ends_with(R"("revision":"2","raft_term":"2"}})"));
  CHECK(server.run("curl -s http://@/api/v1/kv -d '{\"op\":\"get\",\"key\":\"foo\"}'")
            .out.find(R"("key":"foo","value":"bar")") != std::string::npos);
  // A large body is announced with Expect: 100-continue.
  CHECK(server
            .run("{ printf '{\"op\":\"put\",\"key\":\"big\",\"value\":\"'; head -c 1200000 "
                 "/dev/zero | "
                 "tr '\\0' x; printf '\"}'; } | curl -s http://@/api/v1/kv -T - -X POST")
            .out.find(R"("outcome":"ok")") != std::string::npos);
}

}  // namespace capstan::net
