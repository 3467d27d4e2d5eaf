// Users and roles as people have them: the same lines against etcd, and what is ours alone.
#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "as_etcd.h"
#include "processes.h"
#include "tests/support/certificates.h"
#include "tests/support/free_ports.h"
#include "tests/support/temp_dir.h"

namespace capstan::node {

namespace {

std::string as(const std::string& user) { return kEtcdctl + "--user=" + user + " "; }
std::string error(const std::string& text) { return "Error: etcdserver: " + text + "\n"; }

const std::string kDenied = "etcdserver: permission denied";

// The gateway with a token that is taken on the spot.
std::string gateway_as(const std::string& user, const std::string& password,
                       const std::string& path, const std::string& body) {
  return "t=$(curl -s -d '{\"name\":\"" + user + "\",\"password\":\"" + password +
         "\"}' http://@/v3/auth/authenticate | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/'); "
         "curl -s -H \"Authorization: $t\" -d '" +
         body + "' http://@" + path + " | tr -d '\\n' | sed 's/\"header\":{[^}]*},*//'; echo";
}

// root:rpw; alice:apw, who may do all to [a, b) and read c.
const std::vector<Line> kBegin{
    {kEtcdctl + "user add root:rpw", "User root created\n"},
    {kEtcdctl + "user grant-role root root", "Role root is granted to user root\n"},
    {kEtcdctl + "user add alice:apw", "User alice created\n"},
    {kEtcdctl + "role add r", "Role r created\n"},
    {kEtcdctl + "role grant-permission r readwrite a b", "Role r updated\n"},
    {kEtcdctl + "role grant-permission r read c", "Role r updated\n"},
    {kEtcdctl + "user grant-role alice r", "Role r is granted to user alice\n"},
    {kEtcdctl + "put c 1", "OK\n"},
    {kEtcdctl + "auth enable", "Authentication Enabled\n"},
};
std::vector<Line> begun(std::vector<Line> lines) {
  lines.insert(lines.begin(), kBegin.begin(), kBegin.end());
  return lines;
}

}  // namespace

TEST_CASE("as etcd: users and roles are made, shown and taken away") {
  walk_all({
      {kEtcdctl + "user list", ""},
      {kEtcdctl + "auth enable", error("root user does not exist")},
      {kEtcdctl + "user add root:rpw", "User root created\n"},
      {kEtcdctl + "user add root:rpw", error("user name already exists")},
      {kEtcdctl + "user grant-role root root", "Role root is granted to user root\n"},
      {kEtcdctl + "user add alice:apw", "User alice created\n"},
      {kEtcdctl + "user add bob --no-password", "User bob created\n"},
      {kEtcdctl + "role add r", "Role r created\n"},
      {kEtcdctl + "role add r", error("role name already exists")},
      {kEtcdctl + "role grant-permission r readwrite foo foz", "Role r updated\n"},
      {kEtcdctl + "role grant-permission r read single", "Role r updated\n"},
      {kEtcdctl + "role grant-permission r write --prefix w/", "Role r updated\n"},
      {kEtcdctl + "role grant-permission r read --from-key z", "Role r updated\n"},
      {kEtcdctl + "role grant-permission none read x", error("role name not found")},
      {kEtcdctl + "role get r",
       "Role r\nKV Read:\n\t[foo, foz)\n\tsingle\n\t[z, <open ended>\nKV Write:\n\t[foo, foz)\n"
       "\t[w/, w0) (prefix w/)\n"},
      {kEtcdctl + "role get none", error("role name not found")},
      {kEtcdctl + "user grant-role alice r", "Role r is granted to user alice\n"},
      {kEtcdctl + "user grant-role alice r", "Role r is granted to user alice\n"},
      {kEtcdctl + "user grant-role alice none", error("role name not found")},
      {kEtcdctl + "user grant-role none r", error("user name not found")},
      {kEtcdctl + "user get alice", "User: alice\nRoles: r\n"},
      {kEtcdctl + "user get none", error("user name not found")},
      {kEtcdctl + "user revoke-role alice other", error("role is not granted to the user")},
      {kEtcdctl + "role revoke-permission r bar", error("permission is not granted to the role")},
      {kEtcdctl + "role revoke-permission r single",
       "Permission of key single is revoked from role r\n"},
      {kEtcdctl + "user list", "alice\nbob\nroot\n"},
      {kEtcdctl + "role list", "r\n"},
      {kEtcdctl + "user revoke-role alice r", "Role r is revoked from user alice\n"},
      {kEtcdctl + "role delete r", "Role r deleted\n"},
      {kEtcdctl + "role delete r", error("role name not found")},
      {kEtcdctl + "user delete bob", "User bob deleted\n"},
      {kEtcdctl + "user delete bob", error("user name not found")},
      {gateway("/v3/auth/user/get", R"({"name":"none"})"),
       gateway_error("etcdserver: user name not found", 9)},
      {gateway("/v3/auth/authenticate", R"({"name":"root","password":"rpw"})"),
       gateway_error("etcdserver: authentication is not enabled", 9)},
      // Who logs in where nobody need is let in.
      {as("zed:z") + "put k v", "OK\n"},
  });
}

TEST_CASE("as etcd: with auth on, what each may do") {
  walk_all(begun({
      {kEtcdctl + "put a 1", error("user name is empty")},
      {kEtcdctl + "get a", error("user name is empty")},
      {kEtcdctl + "auth disable", error("user name is empty")},
      {as("alice:wrong") + "get a", error("authentication failed, invalid user ID or password")},
      {as("zed:x") + "get a", error("authentication failed, invalid user ID or password")},
      {as("alice:apw") + "put a 1", "OK\n"},
      {as("alice:apw") + "put a 2 --prev-kv", "OK\na\n1\n"},
      {as("alice:apw") + "put b 1", error("permission denied")},
      {as("alice:apw") + "put c 1", error("permission denied")},
      {as("alice:apw") + "get a", "a\n2\n"},
      {as("alice:apw") + "get c", "c\n1\n"},
      {as("alice:apw") + "get a --prefix", "a\n2\n"},
      {as("alice:apw") + "get a c", error("permission denied")},
      {as("alice:apw") + "get '' --prefix", error("permission denied")},
      {as("alice:apw") + "get b --consistency=s", error("permission denied")},
      {as("alice:apw") + "del a c", error("permission denied")},
      {"printf 'ver(\"c\") > \"0\"\\n\\nget a\\n\\nput a 3\\n\\n' | " + as("alice:apw") + "txn",
       "SUCCESS\n\na\n2\n"},
      {"printf '\\nget a\\n\\nput b 3\\n\\n' | " + as("alice:apw") + "txn",
       error("permission denied")},
      {"printf 'ver(\"b\") = \"0\"\\n\\nget a\\n\\n\\n' | " + as("alice:apw") + "txn",
       error("permission denied")},
      {as("alice:apw") + "watch a --rev=3", "PUT\na\n1\nPUT\na\n2\n", true},
      {as("alice:apw") + "watch b",
       "watch was canceled (rpc error: code = PermissionDenied desc = " + kDenied +
           ")\nError: watch is canceled by the server\n",
       true},
      {as("alice:apw") + "user list", error("permission denied")},
      {as("alice:apw") + "user add eve:e", error("permission denied")},
      {as("alice:apw") + "user get alice", "User: alice\nRoles: r\n"},
      {as("alice:apw") + "user get root", error("permission denied")},
      {as("alice:apw") + "role get r | head -2", "Role r\nKV Read:\n"},
      {as("alice:apw") + "role get root", error("permission denied")},
      {as("alice:apw") + "auth disable", error("permission denied")},
      {as("alice:apw") + "member add x --peer-urls=http://127.0.0.1:1", error("permission denied")},
      {kEtcdctl + "alarm list", ""},
      {kEtcdctl + "member list | grep -c started | sed 's/[0-9]/some/'", "some\n"},
      {"{ " + as("alice:apw") + "endpoint health; } 2>&1 | sed 's/.* is/is/; s/:.*//'",
       "is healthy\n"},
      {as("root:rpw") + "put z 1", "OK\n"},
      {as("root:rpw") + "get '' --prefix --keys-only", "a\n\nc\n\nz\n\n"},
      {as("root:rpw") + "user delete root", error("invalid auth management")},
      {as("root:rpw") + "user revoke-role root root", error("invalid auth management")},
      {as("root:rpw") + "role delete root", error("invalid auth management")},
      // A lease with keys of others is not alice's to use or to end.
      {as("root:rpw") + "lease grant 600 | sed 's/lease .* g/lease X g/'",
       "lease X granted with TTL(600s)\n"},
      {"id=$(" + as("root:rpw") + "lease list | tail -1); " + as("root:rpw") +
           "put z 2 --lease=$id",
       "OK\n"},
      {"id=$(" + as("root:rpw") + "lease list | tail -1); " + as("alice:apw") +
           "put a 2 --lease=$id",
       error("permission denied")},
      {"id=$(" + as("root:rpw") + "lease list | tail -1); { " + as("alice:apw") +
           "lease revoke $id; } 2>&1 | sed 's/.*(/(/'",
       "(" + kDenied + ")\n"},
      // Roles and passwords that change count at once.
      {"echo new | " + as("root:rpw") + "user passwd alice --interactive=false",
       "Password updated\n"},
      {as("alice:apw") + "get a", error("authentication failed, invalid user ID or password")},
      {as("alice:new") + "get a", "a\n2\n"},
      {as("root:rpw") + "role revoke-permission r a b",
       "Permission of range [a, b) is revoked from role r\n"},
      {as("alice:new") + "get a", error("permission denied")},
      {as("root:rpw") + "user delete alice", "User alice deleted\n"},
      {as("alice:new") + "get a", error("authentication failed, invalid user ID or password")},
      {as("root:rpw") + "auth disable", "Authentication Disabled\n"},
      {kEtcdctl + "get a", "a\n2\n"},
  }));
}

TEST_CASE("as etcd: tokens over the gateway, and the services of locks act for their caller") {
  walk_all(begun({
      {gateway("/v3/kv/range", R"({"key":"YQ=="})"),
       gateway_error("etcdserver: user name is empty", 3)},
      {"curl -s -H 'Authorization: nonsense' -d '{\"key\":\"YQ==\"}' http://@/v3/kv/range; echo",
       gateway_error("etcdserver: invalid auth token", 16)},
      {gateway("/v3/auth/authenticate", R"({"name":"alice","password":"x"})"),
       gateway_error("etcdserver: authentication failed, invalid user ID or password", 3)},
      {gateway_as("alice", "apw", "/v3/kv/put", R"({"key":"YQ==","value":"MQ=="})"), "{}\n"},
      {gateway_as("alice", "apw", "/v3/kv/put", R"({"key":"Yg==","value":"MQ=="})"),
       gateway_error(kDenied, 7)},
      {gateway_as("alice", "apw", "/v3/auth/user/get", R"({"name":"alice"})"),
       "{\"roles\":[\"r\"]}\n"},
      {gateway_as("root", "rpw", "/v3/auth/role/get", R"({"role":"r"})"),
       R"({"perm":[{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="},)"
       R"({"key":"Yw=="}]})"
       "\n"},
      {gateway_as("root", "rpw", "/v3/auth/user/list", "{}"), "{\"users\":[\"alice\",\"root\"]}\n"},
      {as("alice:apw") + "lock a echo mine", "mine\n"},
      {as("alice:apw") + "lock b echo mine", error("permission denied")},
  }));
}

namespace {

// A node's port with TLS, an authority, and certificates of users.
struct Certificates {
  test::TempDir directory;
  test::Authority authority{"ca"};

  std::string path(const std::string& name) const { return directory.path() + "/" + name; }
  explicit Certificates(const std::vector<std::string>& users) {
    authority.write(path("ca.pem"));
    authority.issue(path("server.pem"), path("server.key"));
    for (const std::string& name : users) {
      authority.issue(path(name + ".pem"), path(name + ".key"), {.common_name = name});
    }
  }
  std::vector<std::string> serve() const {
    return {"--cert-file=" + path("server.pem"), "--key-file=" + path("server.key")};
  }
};

std::vector<std::string> joined(std::vector<std::string> words,
                                const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("auth: python3-etcd3 logs in, and its token lives as long as it is used") {
  if (!installed("/usr/bin/python3")) return;
  const Certificates files({});
  const TestCluster cluster(Mode::kCp, 1, joined(files.serve(), {"--auth-token-ttl=2"}));
  for (const std::vector<std::string>& words : {std::vector<std::string>{"user", "add", "root:rpw"},
                                                {"user", "grant", "root", "root"},
                                                {"auth", "enable"}}) {
    CHECK(run_capstan(joined(words, {"--endpoints=https://" + cluster.address(0),
                                     "--cacert=" + files.path("ca.pem")}))
              .exit == 0);
  }
  const std::string address = cluster.address(0);
  // Its call credentials want TLS. It does not log in again by itself.
  const std::string said = said_by(
      "/usr/bin/python3 -c '\n"
      "import etcd3, time\n"
      "c = etcd3.client(host=\"127.0.0.1\", port=" +
      address.substr(address.rfind(':') + 1) + ", ca_cert=\"" + files.path("ca.pem") +
      "\", user=\"root\", password=\"rpw\")\n"
      "c.put(\"k\", \"v\")\n"
      "for i in range(12):\n"
      "  time.sleep(0.3)\n"
      "  assert c.get(\"k\")[0] == b\"v\"\n"
      "time.sleep(3)\n"
      "try:\n"
      "  c.get(\"k\")\n"
      "  print(\"still there\")\n"
      "except Exception as e:\n"
      "  print(e.code().name, e.details())\n"
      "' 2>&1");
  CHECK(said == "UNAUTHENTICATED etcdserver: invalid auth token\n");
}

TEST_CASE("auth: two hundred logins of a user cost one hash, and strangers keep nobody waiting") {
  if (!installed("/usr/bin/curl")) return;
  const TestCluster cluster(Mode::kCp, 1);
  CHECK(cluster.run({"user", "add", "root:rpw"}).exit == 0);
  CHECK(cluster.run({"user", "grant", "root", "root"}).exit == 0);
  CHECK(cluster.run({"auth", "enable"}).exit == 0);
  const std::string url = "http://" + cluster.address(0) + "/v3/auth/authenticate";
  const auto login = [&](const std::string& password) {
    return "curl -s -d '{\"name\":\"root\",\"password\":\"" + password + "\"}' " + url;
  };
  CHECK(said_by(login("rpw") + " | grep -c token") == "1\n");
  const auto took = [](const std::string& line) {
    const auto begin = std::chrono::steady_clock::now();
    said_by(line);
    return std::chrono::steady_clock::now() - begin;
  };
  // 200 on one connection: as a ratio to what one hash takes here.
  const auto one_hash = took(login("wrong"));
  std::string many = "curl -s";
  for (int i = 0; i < 200; ++i) {
    many += std::string(i == 0 ? "" : " --next -s") +
            " -d '{\"name\":\"root\",\"password\":\"rpw\"}' " + url;
  }
  CHECK(said_by(many + " | grep -o '\"token\"' | wc -l") == "200\n");
  CHECK(took(many) < 50 * one_hash);
  // More guesses at once than may wait: some are told so, and who was here before gets in at once.
  const std::string guesses = "for i in $(seq 100); do " + login("guess$i") + " & done; ";
  const std::string said = said_by("{ " + guesses + login("rpw") + "; wait; }");
  CHECK(said.contains("\"token\""));
  CHECK(said.contains("too many requests"));
}

TEST_CASE("auth: a client's certificate names its user, and a token goes before it") {
  const Certificates files({"root", "alice", "eve"});
  const auto path = [&](const std::string& name) { return files.path(name); };
  const TestCluster cluster(
      Mode::kCp, 1,
      joined(files.serve(), {"--trusted-ca-file=" + path("ca.pem"), "--client-cert-auth"}));
  const auto as_user = [&](const std::string& name, const std::vector<std::string>& words) {
    return run_capstan(
        joined(words, {"--endpoints=https://" + cluster.address(0), "--cacert=" + path("ca.pem"),
                       "--cert=" + path(name + ".pem"), "--key=" + path(name + ".key")}));
  };
  const std::vector<std::vector<std::string>> set_up{{"user", "add", "root", "--no-password"},
                                                     {"user", "grant", "root", "root"},
                                                     {"user", "add", "alice:apw"},
                                                     {"role", "add", "r"},
                                                     {"role", "grant", "r", "readwrite", "a"},
                                                     {"user", "grant", "alice", "r"},
                                                     {"auth", "enable"}};
  for (const auto& words : set_up) CHECK(as_user("root", words).exit == 0);
  CHECK(as_user("alice", {"put", "a", "1"}).exit == 0);
  CHECK(as_user("alice", {"put", "b", "1"}).exit == 8);
  CHECK(as_user("root", {"put", "b", "1"}).exit == 0);
  const RunResult eve = as_user("eve", {"get", "a"});
  CHECK(eve.exit == 8);
  CHECK(eve.err.contains("the certificate is of \"eve\", and there is no user of that name"));
  CHECK(as_user("eve", {"get", "a", "--user=alice:apw"}).out == "1\n");
  CHECK(as_user("root", {"put", "b", "2", "--user=alice:apw"}).exit == 8);
  // Without a password nobody logs in, whatever is tried.
  CHECK(as_user("eve", {"get", "a", "--user=root:"}).exit == 8);
  if (!installed("/usr/bin/etcdctl")) return;
  const auto etcdctl = [&](const std::string& name) {
    return "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=https://" + cluster.address(0) +
           " --cacert=" + path("ca.pem") + " --cert=" + path(name + ".pem") +
           " --key=" + path(name + ".key") + " ";
  };
  CHECK(said_by(etcdctl("alice") + "get a") == "a\n1\n");
  CHECK(said_by(etcdctl("alice") + "get b 2>&1").contains("permission denied"));
}

TEST_CASE("auth: it is there again after a restart, and in a backup") {
  TestCluster cluster(Mode::kCp, 1);
  CHECK(cluster.run({"user", "add", "root:rpw"}).exit == 0);
  CHECK(cluster.run({"user", "grant", "root", "root"}).exit == 0);
  CHECK(cluster.run({"auth", "enable"}).exit == 0);
  CHECK(cluster.run({"put", "k", "v", "--user=root:rpw"}).exit == 0);
  cluster.kill(0);
  cluster.start(0);
  CHECK(cluster.run_until_ok({"get", "k", "--user=root:rpw"}).out == "v\n");
  CHECK(cluster.run({"get", "k"}).exit == 8);
  CHECK(cluster.run({"get", "k", "--user=root:other"}).exit == 8);
  if (!installed("/usr/bin/etcdctl")) return;
  const test::TempDir directory;
  const std::string etcdctl =
      "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + cluster.address(0) + " --user=root:rpw ";
  const std::string file = directory.path() + "/backup";
  CHECK(said_by("env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints=" + cluster.address(0) +
                " snapshot save " + file + " 2>&1")
            .contains("user name is empty"));
  CHECK(said_by(etcdctl + "snapshot save " + file + " 2>&1").contains("Snapshot saved"));
  // A new cluster of it has its users, and takes none of its tokens.
  const std::string at = "127.0.0.1:" + std::to_string(test::free_ports(1, 2)[0]);
  std::vector<std::string> flags{"--mode=cp", "--name=r1", "--listen=" + at,
                                 "--data-dir=" + directory.path() + "/r1"};
  CHECK(run_capstan(joined({"restore-backup", file}, flags)).exit == 0);
  NodeProcess restored(flags);
  REQUIRE(!restored.wait_ready().empty());
  const auto ask = [&](std::vector<std::string> words) {
    words.push_back("--endpoints=" + at);
    RunResult done;
    for (int i = 0; i < 300 && (i == 0 || done.exit == 4); ++i) done = run_capstan(words);
    return done;
  };
  CHECK(ask({"get", "k", "--user=root:rpw"}).out == "v\n");
  CHECK(ask({"get", "k"}).exit == 8);
  if (!installed("/usr/bin/curl")) return;
  const std::string token =
      said_by("curl -s -d '{\"name\":\"root\",\"password\":\"rpw\"}' http://" + cluster.address(0) +
              "/v3/auth/authenticate | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/' | tr -d '\\n'");
  const auto with_token = [&](const std::string& node) {
    return said_by("curl -s -H 'Authorization: " + token + "' -d '{\"key\":\"aw==\"}' http://" +
                   node + "/v3/kv/range");
  };
  CHECK(with_token(cluster.address(0)).contains("\"kvs\""));
  CHECK(with_token(at).contains("invalid auth token"));
}

TEST_CASE("auth: flags and words that make no sense are told so") {
  const auto wrong = [](std::vector<std::string> words) {
    const RunResult done = run_capstan(std::move(words));
    CHECK(done.exit == 2);
    return done.err;
  };
  CHECK(wrong({"serve", "--mode=cp", "--auth-token=jwt"}).contains("a key of its own"));
  CHECK(wrong({"serve", "--mode=cp", "--auth-token-ttl=0"}).contains("from 1 second"));
  CHECK(wrong({"auth", "frob"}).contains("enable, disable, status"));
  CHECK(wrong({"user", "frob"}).contains("add NAME[:PASSWORD]"));
  CHECK(wrong({"role", "grant", "r", "flip", "k"}).contains("read|write|readwrite"));
  const TestCluster replicas(Mode::kAp, 1);
  const RunResult in_ap = replicas.run({"user", "add", "root:rpw"});
  CHECK(in_ap.exit == 2);
  CHECK(in_ap.err.contains("not in this build for AP mode"));
}

}  // namespace capstan::node
