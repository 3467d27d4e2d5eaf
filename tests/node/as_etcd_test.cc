// The same lines of etcdctl and curl against nodes of Capstan and, where it is installed, against a
// real etcd: what its users see must not differ.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "processes.h"
#include "tests/support/free_ports.h"

namespace capstan::node {
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

const std::string kEtcdctl = "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=@ ";

// What a line says, on both outputs, without the lines of etcdctl's own log.
std::string said_by(const std::string& address, const std::string& line) {
  const std::string command = "{ " + placed(line, address) + "\n} 2>&1 | grep -v '^{\"level\"'";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string out;
  std::array<char, 4096> buffer;
  for (std::size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    out.append(buffer.data(), n);
  }
  pclose(pipe);
  return out;
}

struct Line {
  std::string what, says;
  bool goes_on = false;  // a watch: looked at until it has said that
};

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
    CHECK(said_by(address, kEtcdctl + "get nothing").empty());
    CHECK(Beside(placed(line.what, address)).wait_for(line.says) == line.says);
  }
}

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

}  // namespace

TEST_CASE("as etcd: compaction") {
  const std::string compacted = "etcdserver: mvcc: required revision has been compacted";
  const std::string future = "etcdserver: mvcc: required revision is a future revision";
  const std::string canceled =
      "watch was canceled (" + compacted + ")\nError: watch is canceled by the server\n";
  walk_all({
      {kEtcdctl + "put k v2", "OK\n"},
      {kEtcdctl + "put k v3", "OK\n"},
      {kEtcdctl + "put k v4", "OK\n"},
      {kEtcdctl + "del k", "1\n"},  // 5
      {kEtcdctl + "put k v6", "OK\n"},
      {kEtcdctl + "put b v7", "OK\n"},
      {kEtcdctl + "put k v8", "OK\n"},
      {kEtcdctl + "compaction 99", "Error: " + future + "\n"},
      {kEtcdctl + "compaction 4", "compacted revision 4\n"},
      {kEtcdctl + "compaction 4", "Error: " + compacted + "\n"},
      {kEtcdctl + "compaction 3", "Error: " + compacted + "\n"},
      {kEtcdctl + "get k --rev=3", "Error: " + compacted + "\n"},
      {kEtcdctl + "get k --rev=4", "k\nv4\n"},
      {kEtcdctl + "get k --rev=5", ""},
      {kEtcdctl + "get k --rev=9", "Error: " + future + "\n"},
      {kEtcdctl + "watch k --rev=3", canceled, true},
      {kEtcdctl + "watch k --rev=5 --prev-kv",
       "DELETE\nk\nv4\nk\n\nPUT\nk\nv6\nPUT\nk\nv6\nk\nv8\n", true},
      {kEtcdctl + "compaction 7 --physical", "compacted revision 7\n"},
      {kEtcdctl + "get k --rev=7", "k\nv6\n"},
      {kEtcdctl + "get --prefix '' --rev=7", "b\nv7\nk\nv6\n"},
      {kEtcdctl + "watch k --rev=7 --prev-kv", "PUT\nk\nv6\nk\nv8\n", true},
      {"printf '\\nget k --rev=6\\nput t 1\\n\\n\\n' | " + kEtcdctl + "txn",
       "Error: " + compacted + "\n"},
      {kEtcdctl + "get t", ""},
      {gateway("/v3/kv/compaction", R"({"revision":"7"})"), gateway_error(compacted, 11)},
      {gateway("/v3/kv/compaction", R"({"revision":"70"})"), gateway_error(future, 11)},
      {"curl -s -d '{\"revision\":\"8\",\"physical\":true}' http://@/v3/kv/compaction | grep -o "
       "'\"revision\":\"[0-9]*\"'",
       "\"revision\":\"8\"\n"},
      {kEtcdctl + "get k --rev=7", "Error: " + compacted + "\n"},
      {kEtcdctl + "get k", "k\nv8\n"},
      {kEtcdctl + "put k v9", "OK\n"},
      {"{ " + kEtcdctl + "endpoint hashkv --rev=8; } 2>&1 | grep Error",
       "Error: " + compacted + "\n"},
      {"{ " + kEtcdctl + "endpoint hashkv --rev=10; } 2>&1 | grep Error",
       "Error: " + future + "\n"},
      {kEtcdctl + "endpoint hashkv --rev=9 -w json | grep -o '\"compact_revision\":[0-9]*'",
       "\"compact_revision\":8\n"},
  });
}

TEST_CASE("as etcd: keys, ranges and transactions") {
  walk_all({
      {kEtcdctl + "put a 1", "OK\n"},
      {kEtcdctl + "put ab 2", "OK\n"},
      {kEtcdctl + "put b 3 --prev-kv", "OK\n"},
      {kEtcdctl + "put b 4 --prev-kv", "OK\nb\n3\n"},
      {kEtcdctl + "put b --ignore-value", "OK\n"},
      {kEtcdctl + "put c --ignore-value", "Error: etcdserver: key not found\n"},
      {kEtcdctl + "put '' x", "Error: etcdserver: key is not provided\n"},
      {kEtcdctl + "get a b", "a\n1\nab\n2\n"},
      {kEtcdctl + "get a --prefix --order=DESCEND --sort-by=KEY", "ab\n2\na\n1\n"},
      {kEtcdctl + "get '' --from-key --limit=2 --keys-only", "a\n\nab\n\n"},
      {kEtcdctl + "get ab --from-key --print-value-only", "2\n4\n"},
      {kEtcdctl + "get b --rev=4", "b\n3\n"},
      {kEtcdctl + "get --prefix '' -w fields | grep -c '^\"ModRevision'", "3\n"},
      {"printf 'mod(\"a\") = \"2\"\nval(\"b\") > \"3\"\n\nput t 1\nget a\ndel ab\n\nget b\n\n' | " +
           kEtcdctl + "txn",
       "SUCCESS\n\nOK\n\na\n1\n\n1\n"},
      {"printf 'create(\"a\") = \"0\"\n\nput t 2\n\nget t\n\n' | " + kEtcdctl + "txn",
       "FAILURE\n\nt\n1\n"},
      {"printf '\\nput d 1\\nput d 2\\n\\n\\n' | " + kEtcdctl + "txn",
       "Error: etcdserver: duplicate key given in txn request\n"},
      {kEtcdctl + "del a --prefix --prev-kv", "1\na\n1\n"},
      {kEtcdctl + "del nothing", "0\n"},
  });
}

TEST_CASE("as etcd: leases") {
  const std::string missing = "etcdserver: requested lease not found";
  const auto grant = [](const std::string& body) {
    return "curl -s -d '" + body + "' http://@/v3/lease/grant | grep -o '\"ID.*'";
  };
  const std::string any_remaining = " | sed 's/remaining([0-9]*s)/remaining/'";
  walk_all({
      {grant(R"({"TTL":"600","ID":"7"})"), "\"ID\":\"7\",\"TTL\":\"600\"}\n"},
      {grant(R"({"TTL":60,"ID":8})"), "\"ID\":\"8\",\"TTL\":\"60\"}\n"},
      {grant(R"({"TTL":"300","ID":"-1"})"), "\"ID\":\"-1\",\"TTL\":\"300\"}\n"},
      {gateway("/v3/lease/grant", R"({"TTL":"60","ID":"7"})"),
       gateway_error("etcdserver: lease already exists", 9)},
      {gateway("/v3/lease/grant", R"({"TTL":"9000000001","ID":"9"})"),
       gateway_error("etcdserver: too large lease TTL", 11)},
      {kEtcdctl + "lease list",
       "found 3 leases\n0000000000000008\n-000000000000001\n0000000000000007\n"},
      {"curl -s -d '{}' http://@/v3/lease/leases | grep -o '\"leases.*'",
       R"("leases":[{"ID":"8"},{"ID":"-1"},{"ID":"7"}]})"
       "\n"},
      {kEtcdctl + "put a 1 --lease=7", "OK\n"},  // 2
      {kEtcdctl + "put c 2 --lease=7", "OK\n"},  // 3
      {kEtcdctl + "put b 3 --lease=7", "OK\n"},  // 4
      {kEtcdctl + "put b 4 --lease=63", "Error: " + missing + "\n"},
      {kEtcdctl + "put b 4 --ignore-lease", "OK\n"},  // 5
      {kEtcdctl + "put moved 5 --lease=7", "OK\n"},   // 6
      {kEtcdctl + "put moved 6 --lease=8", "OK\n"},   // 7
      {kEtcdctl + "put freed 7 --lease=7", "OK\n"},   // 8
      {kEtcdctl + "put freed 8", "OK\n"},             // 9
      {kEtcdctl + "get b -w json | grep -o '\"lease\":[0-9]*'", "\"lease\":7\n"},
      {kEtcdctl + "lease timetolive 7" + any_remaining,
       "lease 0000000000000007 granted with TTL(600s), remaining\n"},
      // etcd names them in no order.
      {kEtcdctl + "lease timetolive 7 --keys | grep -o 'keys.*' | tr -s '([])' ' ' | "
                  "xargs -n1 | sort",
       "a\nb\nc\nkeys\n"},
      {"curl -s -d '{\"ID\":7,\"keys\":true}' http://@/v3/kv/lease/timetolive | grep -o "
       "'\"grantedTTL\":\"600\",\"keys\":.\"Y'",
       R"("grantedTTL":"600","keys":["Y)"
       "\n"},
      {kEtcdctl + "lease keep-alive --once 7", "lease 0000000000000007 keepalived with TTL(600)\n"},
      {kEtcdctl + "lease keep-alive --once 63", "Error: " + missing + "\n"},
      {kEtcdctl + "lease keep-alive 8", "lease 0000000000000008 keepalived with TTL(60)\n", true},
      {"curl -s -d '{\"ID\":\"7\"}' http://@/v3/lease/keepalive | grep -o '\"ID.*'",
       "\"ID\":\"7\",\"TTL\":\"600\"}}\n"},
      {"curl -s -d '{\"ID\":\"63\"}' http://@/v3/lease/keepalive | grep -o '\"ID.*'",
       "\"ID\":\"63\"}}\n"},
      {"curl -s -d '"
       R"({"compare":[{"target":"LEASE","key":"YQ==","lease":"7"}],)"
       R"("success":[{"request_put":{"key":"dA==","value":"MQ=="}}]})"
       "' http://@/v3/kv/txn | grep -o '\"succeeded\":true'",
       "\"succeeded\":true\n"},                                           // 10
      {kEtcdctl + "lease revoke 7", "lease 0000000000000007 revoked\n"},  // 11
      {kEtcdctl + "lease revoke 7", "Error: failed to revoke lease (" + missing + ")\n"},
      {gateway("/v3/lease/revoke", R"({"ID":"7"})"), gateway_error(missing, 5)},
      {kEtcdctl + "lease timetolive 7", "lease 0000000000000007 already expired\n"},
      {"curl -s -d '{\"ID\":7}' http://@/v3/lease/timetolive | grep -o '\"ID.*'",
       "\"ID\":\"7\",\"TTL\":\"-1\"}\n"},
      {kEtcdctl + "get '' --prefix", "freed\n8\nmoved\n6\nt\n1\n"},
      {kEtcdctl + "watch '' --prefix --rev=11 --prev-kv",
       "DELETE\na\n1\na\n\nDELETE\nb\n4\nb\n\nDELETE\nc\n2\nc\n\n", true},
      {kEtcdctl + "lease grant 60 | sed 's/lease [0-9a-f]*/lease X/'",
       "lease X granted with TTL(60s)\n"},
      // The shortest; it ends by itself.
      {grant(R"({"TTL":"1","ID":"12"})"), "\"ID\":\"12\",\"TTL\":\"2\"}\n"},
      {kEtcdctl + "put short x --lease=c", "OK\n"},  // 12
      {kEtcdctl + "watch short --rev=13", "DELETE\nshort\n\n", true},
      {kEtcdctl + "lease timetolive c", "lease 000000000000000c already expired\n"},
      {kEtcdctl + "lock l echo mine", "mine\n"},
      // Two want the same: the second waits until the first has let go.
      {"held=$(mktemp -u); " + kEtcdctl +
           "lock -- l sh -c \"touch $held; sleep 1; echo first\" & " +
           "for i in $(seq 200); do [ -e $held ] || sleep 0.05; done; " + kEtcdctl +
           "lock l echo second; wait; rm " + "$held",
       "first\nsecond\n"},
      {kEtcdctl + "elect e me | sed -u 's|/.*|/X|'", "e/X\nme\n", true},
      {kEtcdctl + "get l --prefix", ""},
  });
}

TEST_CASE("as etcd: maintenance") {
  walk_all({
      {kEtcdctl + "put k v", "OK\n"},
      {kEtcdctl + "defrag | sed 's/127.*//'", "Finished defragmenting etcd member[\n"},
      {gateway("/v3/maintenance/defragment", "{}"), "{}\n"},
      {kEtcdctl + "alarm list", ""},
      {gateway("/v3/maintenance/alarm",
               R"({"action":"ACTIVATE","memberID":"7","alarm":"NOSPACE"})"),
       R"({"alarms":[{"memberID":"7","alarm":"NOSPACE"}]})"
       "\n"},
      {kEtcdctl + "alarm list", "memberID:7 alarm:NOSPACE \n"},
      {kEtcdctl + "put k w", "Error: etcdserver: mvcc: database space exceeded\n"},
      {"printf '\nput k w\n\n\n' | " + kEtcdctl + "txn",
       "Error: etcdserver: mvcc: database space exceeded\n"},
      {kEtcdctl + "lease grant 60",
       "Error: failed to grant lease (etcdserver: mvcc: database space exceeded)\n"},
      {"curl -s http://@/health", R"({"health":"false"})"
                                  "\n"},
      {"curl -s 'http://@/health?exclude=NOSPACE'", R"({"health":"true"})"
                                                    "\n"},
      {"printf '\ndel k\n\n\n' | " + kEtcdctl + "txn", "SUCCESS\n\n1\n"},
      {kEtcdctl + "del k", "0\n"},
      {kEtcdctl + "compaction 2", "compacted revision 2\n"},
      {kEtcdctl + "alarm disarm", "memberID:7 alarm:NOSPACE \n"},
      {kEtcdctl + "alarm disarm", ""},
      {"curl -s http://@/health", R"({"health":"true"})"
                                  "\n"},
      {kEtcdctl + "put k v", "OK\n"},
      {gateway("/v3/maintenance/alarm", R"({"action":1,"memberID":7,"alarm":2})"),
       R"({"alarms":[{"memberID":"7","alarm":"CORRUPT"}]})"
       "\n"},
      {kEtcdctl + "alarm list", "memberID:7 alarm:CORRUPT \n"},
      {kEtcdctl + "put k w", "Error: etcdserver: corrupt cluster\n"},
      {kEtcdctl + "del k", "Error: etcdserver: corrupt cluster\n"},
      {kEtcdctl + "alarm disarm", "memberID:7 alarm:CORRUPT \n"},
      {kEtcdctl + "get k", "k\nv\n"},
  });
}

TEST_CASE("as etcd: leases and locks of python3-etcd3") {
  if (!installed("/usr/lib/python3/dist-packages/etcd3/__init__.py")) return;
  walk_all({{R"(/usr/bin/python3 - <<'END'
import etcd3
host, port = '@'.split(':')
c = etcd3.client(host=host, port=int(port))
l = c.lease(60)
print(l.granted_ttl, 58 <= l.remaining_ttl <= 60)
c.put('a', '1', l)
c.put('b', '2', lease=l)
print(sorted(l.keys), [r.TTL for r in l.refresh()])
l.revoke()
print(c.get('a')[0], c.get('b')[0], l.keys, l.granted_ttl)
try:
    c.put('c', '3', l)
except Exception as e:
    print(e.code().name, e.details())
one = c.lock('one', ttl=10)
print(one.acquire(), one.is_acquired(), one.release(), one.is_acquired())
END)",
             "60 True\n[b'a', b'b'] [60]\nNone None [] 0\n"
             "NOT_FOUND etcdserver: requested lease not found\nTrue True True False\n"}});
}

TEST_CASE("as etcd: watches of what was") {
  walk_all({
      {kEtcdctl + "put w/a 1", "OK\n"},    // 2
      {kEtcdctl + "put w/b 2", "OK\n"},    // 3
      {kEtcdctl + "put other x", "OK\n"},  // 4
      {"printf '\\nput w/a 3\\ndel w/b\\n\\n\\n' | " + kEtcdctl + "txn",
       "SUCCESS\n\nOK\n\n1\n"},  // 5
      {kEtcdctl + "watch w/ --prefix --rev=1",
       "PUT\nw/a\n1\nPUT\nw/b\n2\nPUT\nw/a\n3\nDELETE\nw/b\n\n", true},
      {kEtcdctl + "watch w/ --prefix --rev=4 --prev-kv",
       "PUT\nw/a\n1\nw/a\n3\nDELETE\nw/b\n2\nw/b\n\n", true},
      {kEtcdctl + "watch w/b --rev=3", "PUT\nw/b\n2\nDELETE\nw/b\n\n", true},
      {kEtcdctl + "watch n w --rev=2", "PUT\nother\nx\n", true},
  });
}

}  // namespace capstan::node
