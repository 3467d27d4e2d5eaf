// The same lines of etcdctl and curl against nodes of Capstan and, where it is installed, against a
// real etcd: what its users see must not differ.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "as_etcd.h"
#include "processes.h"
#include "tests/support/free_ports.h"

namespace capstan::node {

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

// What a call of the gateway says behind the header.
namespace {

std::string told(const std::string& path, const std::string& body) {
  return "{ curl -s -d '" + body + "' http://@" + path +
         " | tr -d '\\n' | sed -e 's/}Grpc.*/}/' -e 's/^{\"header\":{[^}]*},*/{/'; echo; }";
}
// Waits until there are so many claims of a name.
std::string until_claims(const std::string& name, int count) {
  return "until [ $(" + kEtcdctl + "get " + name +
         "/ --prefix --keys-only | grep -c /) = " + std::to_string(count) +
         " ]; do sleep 0.05; done; ";
}
std::string unlock(const std::string& key) {
  return "curl -s -d '{\"key\":\"" + key + "\"}' http://@/v3/lock/unlock > /dev/null; ";
}
const std::string kGrantThem =
    "for i in 7 26; do curl -s -d '{\"TTL\":\"600\",\"ID\":'$i'}' http://@/v3/lease/grant; done | "
    "grep -o 'TTL' | wc -l";

}  // namespace

TEST_CASE("as etcd: the service of locks") {
  walk_all({
      {kGrantThem, "2\n"},
      {told("/v3/lock/lock", R"({"name":"bA==","lease":"7"})"), "{\"key\":\"bC83\"}\n"},
      {told("/v3/lock/lock", R"({"name":"bA==","lease":7})"), "{\"key\":\"bC83\"}\n"},
      {kEtcdctl + "get l --prefix", "l/7\n\n"},
      {told("/v3/lock/lock", R"({"name":"bA==","lease":"63"})"),
       gateway_error("etcdserver: requested lease not found", 2)},
      // A client that goes while it waits leaves no claim.
      {"curl -s -d '{\"name\":\"bA==\",\"lease\":26}' http://@/v3/lock/lock & p=$!; " +
           until_claims("l", 2) + "kill $p; " + until_claims("l", 1) + "echo gone",
       "gone\n"},
      // The second has the lock when the first lets go.
      {told("/v3/lock/lock", R"({"name":"bA==","lease":"26"})") + " & " + until_claims("l", 2) +
           "echo waits; " + unlock("bC83") + "wait",
       "waits\n{\"key\":\"bC8xYQ==\"}\n"},
      {kEtcdctl + "get l --prefix", "l/1a\n\n"},
      {told("/v3/lock/unlock", R"({"key":"bC8xYQ=="})"), "{}\n"},
      {told("/v3/lock/unlock", R"({"key":"bC8xYQ=="})"), "{}\n"},
      {told("/v3/lock/unlock", "{}"), gateway_error("etcdserver: key is not provided", 2)},
      // Or when the first one's lease ends.
      {"curl -s -d '{\"TTL\":\"1\",\"ID\":\"12\"}' http://@/v3/lease/grant | grep -o TTL", "TTL\n"},
      {told("/v3/lock/lock", R"({"name":"bA==","lease":"12"})"), "{\"key\":\"bC9j\"}\n"},
      {told("/v3/lock/lock", R"({"name":"bA==","lease":"26"})"), "{\"key\":\"bC8xYQ==\"}\n"},
      {kEtcdctl + "get l --prefix", "l/1a\n\n"},
      // Without a lease there is one for a minute.
      {told("/v3/lock/lock", R"({"name":"bQ=="})") + " | cut -c1-10", "{\"key\":\"bS\n"},
      {kEtcdctl + "lease timetolive $(" + kEtcdctl + "get m --prefix | sed -n 's|m/||p') | " +
           "grep -o 'granted with TTL(60s)'",
       "granted with TTL(60s)\n"},
      // etcdctl's own lock waits for one of the service's.
      {kEtcdctl + "lock l echo mine & " + until_claims("l", 2) + unlock("bC8xYQ==") + "wait",
       "mine\n"},
  });
}

TEST_CASE("as etcd: the service of elections") {
  const auto of_leader = [](const std::string& what) {
    return "curl -s -d '{\"leader\":{\"name\":\"ZQ==\",\"key\":\"ZS83\",\"rev\":\"2\",\"lease\":"
           "\"7\"}" +
           std::string(what == "proclaim" ? ",\"value\":\"djI=\"" : "") +
           "}' http://@/v3/election/" + what + " > /dev/null";
  };
  const std::string missing = R"(\"leader\" field must be provided)";
  walk_all({
      {kGrantThem, "2\n"},
      {told("/v3/election/leader", R"({"name":"ZQ=="})"), gateway_error("election: no leader", 2)},
      {told("/v3/election/campaign", R"({"name":"ZQ==","lease":"7","value":"djA="})"),
       R"({"leader":{"name":"ZQ==","key":"ZS83","rev":"2","lease":"7"}})"
       "\n"},
      {told("/v3/election/campaign", R"({"name":"ZQ==","lease":"7","value":"djE="})"),
       R"({"leader":{"name":"ZQ==","key":"ZS83","rev":"2","lease":"7"}})"
       "\n"},
      {told("/v3/election/leader", R"({"name":"ZQ=="})"),
       R"({"kv":{"key":"ZS83","create_revision":"2","mod_revision":"3","version":"2",)"
       R"("value":"djE=","lease":"7"}})"
       "\n"},
      {told("/v3/election/proclaim",
            R"({"leader":{"name":"ZQ==","key":"ZS83","rev":"1","lease":"7"},"value":"eA=="})"),
       gateway_error("election: not leader", 2)},
      {told("/v3/election/proclaim", "{}"), gateway_error(missing, 2)},
      {told("/v3/election/resign", "{}"), gateway_error(missing, 2)},
      {told("/v3/election/resign",
            R"({"leader":{"name":"ZQ==","key":"ZS83","rev":"1","lease":"7"}})"),
       "{}\n"},
      // Change of hands: an observer is told each word, and at each word something is done.
      {"curl -s -d '{\"name\":\"ZQ==\",\"lease\":\"26\",\"value\":\"djM=\"}' "
       "http://@/v3/election/campaign > /dev/null & " +
           until_claims("e", 2) +
           "curl -sN -d '{\"name\":\"ZQ==\"}' http://@/v3/election/observe | "
           "grep --line-buffered -o '\"value\":\"[^\"]*\"' | while read -r word; do echo $word; "
           "case $word in *djE*) " +
           of_leader("proclaim") + ";; *djI*) " + of_leader("resign") + ";; esac; done",
       "\"value\":\"djE=\"\n\"value\":\"djI=\"\n\"value\":\"djM=\"\n", true},
      {kEtcdctl + "get e --prefix", "e/1a\nv3\n"},
      // etcdctl's own observer is told of the service's leader.
      {kEtcdctl + "elect -l e", "e/1a\nv3\n", true},
      {kEtcdctl + "del e/1a", "1\n"},
      {told("/v3/election/leader", R"({"name":"ZQ=="})"), gateway_error("election: no leader", 2)},
  });
}

TEST_CASE("as etcd: locks and elections over gRPC") {
  if (!installed("/usr/lib/python3/dist-packages/etcd3/__init__.py")) return;
  walk_all({{R"X(/usr/bin/python3 - <<'END'
import grpc, etcd3
address = '@'
c = etcd3.client(*address.split(':'))
c.lease(600, lease_id=7)
c.lease(600, lease_id=26)
channel = grpc.insecure_channel(address)
def field(n, v):
    return bytes([n << 3, v]) if isinstance(v, int) else bytes([n << 3 | 2, len(v)]) + v
def call(path, message, **more):
    return channel.unary_unary(path).future(message, **more)
def lock(lease, **more):
    return call('/v3lockpb.Lock/Lock', field(1, b'l') + field(2, lease), **more)
def claims(n):
    while len(list(c.get_prefix('l/'))) != n:
        pass
    return n
def failed(future):
    e = future.exception()
    return e.code().name, e.details()

print(lock(7).result()[-5:])
waiting = lock(26)
print(claims(2))
waiting.cancel()
print(claims(1))
late = lock(26, timeout=0.5)
# the client's word, or the server's where it is first
print(failed(late)[0] in ('DEADLINE_EXCEEDED', 'UNKNOWN'), claims(1))
gone = grpc.insecure_channel(address)
lost = gone.unary_unary('/v3lockpb.Lock/Lock').future(field(1, b'l') + field(2, 26))
print(claims(2))
gone.close()
print(claims(1))
print(failed(lock(63)))
waiting = lock(26)
claims(2)
call('/v3lockpb.Lock/Unlock', field(1, b'l/7')).result()
print(waiting.result()[-6:])

name = field(1, b'e')
words = channel.unary_stream('/v3electionpb.Election/Observe')(name)
won = call('/v3electionpb.Election/Campaign', name + field(2, 7) + field(3, b'v')).result()
leader = won[won.index(b'\x0a\x01e'):]
print(leader[:8], next(words)[-5:])
call('/v3electionpb.Election/Proclaim', field(1, leader) + field(2, b'w')).result()
print(next(words)[-5:])
second = call('/v3electionpb.Election/Campaign', name + field(2, 26) + field(3, b'x'))
while len(list(c.get_prefix('e/'))) != 2:
    pass
call('/v3electionpb.Election/Resign', field(1, leader)).result()
second.result()
print(next(words)[-5:])
words.cancel()
print(failed(call('/v3electionpb.Election/Proclaim', field(1, leader) + field(2, b'y'))))
print(failed(call('/v3electionpb.Election/Leader', field(1, b'nobody'))))
END)X",
             R"X(b'\x12\x03l/7'
2
1
True 1
2
1
('UNKNOWN', 'etcdserver: requested lease not found')
b'\x12\x04l/1a'
b'\n\x01e\x12\x03e/7' b'*\x01v0\x07'
b'*\x01w0\x07'
b'*\x01x0\x1a'
('UNKNOWN', 'election: not leader')
('UNKNOWN', 'election: no leader')
)X"}});
}

TEST_CASE("as etcd: the metrics that people alert on") {
  // With a number behind the name; what it says must be so where it is asked.
  const auto metric = [](const std::string& pattern) {
    return "curl -s http://@/metrics | grep -o '^" + pattern + "'";
  };
  const auto once = [&](const std::string& name) {
    return Line{metric(name + "[^_a-z].*") + " | grep -v ' -' | wc -l", "1\n"};
  };
  const auto handled = [](const std::string& code, const std::string& method,
                          const std::string& service, const std::string& type) {
    return "grpc_server_handled_total{grpc_code=\"" + code + "\",grpc_method=\"" + method +
           "\",grpc_service=\"" + service + "\",grpc_type=\"" + type + "\"}";
  };
  std::vector<Line> lines{
      {kEtcdctl + "put k v", "OK\n"},
      {kEtcdctl + "put k w", "OK\n"},
      {kEtcdctl + "get k", "k\nw\n"},
      {metric("etcd_debugging_mvcc_keys_total .*"), "etcd_debugging_mvcc_keys_total 1\n"},
      {metric("etcd_server_has_leader .*"), "etcd_server_has_leader 1\n"},
      {metric("etcd_server_proposals_pending .*"), "etcd_server_proposals_pending 0\n"},
      {metric("etcd_server_leader_changes_seen_total .*"),
       "etcd_server_leader_changes_seen_total 1\n"},
      {kEtcdctl + "put x y > /dev/null; " +
           metric(handled("OK", "Put", "etcdserverpb.KV", "unary") + " [1-9]") + " | wc -l",
       "1\n"},
      {kEtcdctl + "lease revoke 7 > /dev/null 2>&1; " +
           metric(handled("NotFound", "LeaseRevoke", "etcdserverpb.Lease", "unary") + " [1-9]") +
           " | wc -l",
       "1\n"},
      {kEtcdctl + "lease grant 60 > /dev/null; " +
           metric("etcd_debugging_lease_granted_total [1-9]") + " | wc -l",
       "1\n"},
      {kEtcdctl + "watch k > /dev/null & p=$!; until " +
           metric("etcd_debugging_mvcc_watcher_total 1$") + "; do sleep 0.05; done; kill $p; " +
           "until " + metric("etcd_debugging_mvcc_watcher_total 0$") + "; do sleep 0.05; done; " +
           metric(handled("[A-Z][a-z]*", "Watch", "etcdserverpb.Watch", "bidi_stream") + " [1-9]") +
           " | wc -l",
       "etcd_debugging_mvcc_watcher_total 1\netcd_debugging_mvcc_watcher_total 0\n1\n"},
  };
  for (const char* name :
       {"etcd_server_is_leader", "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total", "etcd_server_proposals_failed_total",
        "etcd_disk_wal_fsync_duration_seconds_count", "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes", "etcd_network_client_grpc_sent_bytes_total",
        "etcd_network_client_grpc_received_bytes_total", "process_cpu_seconds_total",
        "process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds",
        "process_virtual_memory_bytes"}) {
    lines.push_back(once(name));
  }
  walk_all(lines);
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
      {"d=$(mktemp -d); " + kEtcdctl +
           "snapshot save $d/s 2>/dev/null | sed 's/at .*/at F/'; rm -r $d",
       "Snapshot saved at F\n"},
      {"curl -s -X POST -d '{}' http://@/v3/maintenance/snapshot | head -1 | cut -c1-11",
       "{\"result\":{\n"},
  });
}

// Of learners, since a second voter that is not there would stop etcd's single node.
TEST_CASE("as etcd: members") {
  const std::string ids = " | sed 's/ *[0-9a-f]\\{9,16\\}/ ID/g; s/^ //'";
  const auto on_new = [](const std::string& verb, const std::string& rest) {
    return kEtcdctl + "member " + verb + " $(" + kEtcdctl +
           "member list | grep 127.0.0.1:1, | cut -d, -f1)" + rest;
  };
  walk_all({
      {kEtcdctl + "put k v", "OK\n"},
      {kEtcdctl + "member add x --learner --peer-urls=http://127.0.0.1:1" + ids + " | head -1",
       "Member ID added to cluster ID\n"},
      {kEtcdctl + "member list" + ids + " | grep :1,",
       "ID, unstarted, , http://127.0.0.1:1, , true\n"},
      // Within a second of the first etcd takes it for the same member, after that for another.
      {kEtcdctl + "member add y --learner --peer-urls=http://127.0.0.1:1 2>&1 | "
                  "sed 's/member ID already exist/Peer URLs already exists/'",
       "Error: etcdserver: Peer URLs already exists\n"},
      {kEtcdctl + "member add y --learner --peer-urls=http://127.0.0.1:2",
       "Error: etcdserver: too many learner members in cluster\n"},
      {on_new("promote", ""),
       "Error: etcdserver: can only promote a learner member which is in sync with leader\n"},
      {kEtcdctl + "member promote $(" + kEtcdctl +
           "member list | grep false | head -1 | cut -d, -f1)",
       "Error: etcdserver: can only promote a learner member\n"},
      {kEtcdctl + "member promote dead", "Error: etcdserver: member not found\n"},
      {kEtcdctl + "member remove dead", "Error: etcdserver: member not found\n"},
      {kEtcdctl + "member update dead --peer-urls=http://127.0.0.1:3",
       "Error: etcdserver: member not found\n"},
      {"{ " + gateway("/v3/cluster/member/list", "{}") +
           R"(; } | grep -o '"peerURLs":\["http://127.0.0.1:1"\],"isLearner":true')",
       R"("peerURLs":["http://127.0.0.1:1"],"isLearner":true)"
       "\n"},
      {gateway("/v3/cluster/member/add", R"({"peerURLs":["foo"]})"),
       gateway_error("etcdserver: given member URLs are invalid", 3)},
      {gateway("/v3/cluster/member/remove", R"({"ID":"7"})"),
       gateway_error("etcdserver: member not found", 5)},
      {on_new("remove", "") + ids, "Member ID removed from cluster ID\n"},
      {kEtcdctl + "member list | grep -c unstarted", "0\n"},
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
