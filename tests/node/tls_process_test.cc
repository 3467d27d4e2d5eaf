// Real nodes whose ports are TLS, and who talks to them: our own commands, curl, etcdctl, etcd3.
#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "processes.h"
#include "tests/support/certificates.h"
#include "tests/support/free_ports.h"
#include "tests/support/temp_dir.h"

namespace capstan::node {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::string> joined(std::vector<std::string> some,
                                const std::vector<std::string>& others) {
  some.insert(some.end(), others.begin(), others.end());
  return some;
}

// An authority, a certificate for this machine and one for a client.
struct Files {
  Files() {
    authority.write(path("ca.pem"));
    authority.issue(path("node.pem"), path("node.key"));
    authority.issue(path("client.pem"), path("client.key"), {.common_name = "client"});
  }
  std::string path(const std::string& name) const { return directory / name; }

  // Of serve: TLS on the client port, with certificates demanded or not.
  std::vector<std::string> client_port(bool demand) const {
    std::vector<std::string> out{"--cert-file=" + path("node.pem"),
                                 "--key-file=" + path("node.key")};
    if (demand) out.push_back("--trusted-ca-file=" + path("ca.pem"));
    return out;
  }
  std::vector<std::string> peer_port() const {
    return {"--peer-cert-file=" + path("node.pem"), "--peer-key-file=" + path("node.key"),
            "--peer-trusted-ca-file=" + path("ca.pem")};
  }
  // Everyone shows a certificate to everyone.
  std::vector<std::string> both_ports() const { return joined(client_port(true), peer_port()); }
  // Of our own commands.
  std::string ca() const { return "--cacert=" + path("ca.pem"); }
  std::vector<std::string> known() const {
    return {ca(), "--cert=" + path("client.pem"), "--key=" + path("client.key")};
  }
  // The same of other people's.
  std::string etcdctl(const std::string& endpoints) const {
    return "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints " + endpoints + " --cacert " +
           path("ca.pem") + " --cert " + path("client.pem") + " --key " + path("client.key") + " ";
  }
  std::string curl() const {
    return "curl -sS --cacert " + path("ca.pem") + " --cert " + path("client.pem") + " --key " +
           path("client.key") + " ";
  }

  test::TempDir directory;
  test::Authority authority{"test authority"};
};

// One node; `https` is its address.
struct OneNode {
  explicit OneNode(std::vector<std::string> flags) {
    port = test::free_ports(1, 2)[0];
    https = "https://127.0.0.1:" + std::to_string(port);
    flags.insert(flags.end(), {"--mode=cp", "--listen=127.0.0.1:" + std::to_string(port),
                               "--data-dir=" + (data / "d"), "--wal-segment-bytes=1MiB",
                               "--free-bytes-min=1MiB"});
    node = std::make_unique<NodeProcess>(flags);
    if (node->wait_ready().empty()) FAIL("the node did not start: ", node->err());
  }
  // A command with these flags; until it has become a leader a node refuses.
  RunResult run(std::vector<std::string> args, const std::vector<std::string>& flags) const {
    args = joined(std::move(args), flags);
    RunResult result = run_capstan(args);
    for (int i = 0; i < 300 && result.exit == 4; ++i) result = run_capstan(args);
    return result;
  }
  test::TempDir data;
  std::uint16_t port = 0;
  std::string https;
  std::unique_ptr<NodeProcess> node;
};

// n1 and n2, each with flags of its own.
struct TwoNodes {
  TwoNodes(const std::vector<std::string>& one, const std::vector<std::string>& two,
           const std::vector<std::string>& environment = {"NO_COLOR=1"}) {
    const std::vector<std::uint16_t> ports = test::free_ports(2, 2);
    const std::string join =
        "127.0.0.1:" + std::to_string(ports[0]) + ",127.0.0.1:" + std::to_string(ports[1]);
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string name = "n" + std::to_string(i + 1);
      endpoints[i] = "--endpoints=127.0.0.1:" + std::to_string(ports[i]);
      nodes[i] = std::make_unique<NodeProcess>(
          joined({"--mode=cp", "--name=" + name, "--join=" + join, "--data-dir=" + (data / name),
                  "--wal-segment-bytes=1MiB", "--free-bytes-min=1MiB", "--log-level=warn"},
                 i == 0 ? one : two),
          environment);
    }
  }
  test::TempDir data;
  std::string endpoints[2];
  std::unique_ptr<NodeProcess> nodes[2];
};

}  // namespace

TEST_CASE("tls: our own commands put and get over https, with the authority or without checking") {
  const Files files;
  const OneNode at(files.client_port(false));
  CHECK(contains(at.node->wait_ready(), "clients " + at.https + ","));
  const std::string endpoints = "--endpoints=" + at.https;
  CHECK(at.run({"put", "k", "v"}, {endpoints, files.ca()}).exit == 0);
  CHECK(at.run({"get", "k"}, {endpoints, files.ca()}).out == "v\n");
  CHECK(at.run({"get", "k"}, {endpoints, "--insecure-skip-tls-verify"}).out == "v\n");
  // with --cacert an address alone means https://
  const std::string bare = "--endpoints=127.0.0.1:" + std::to_string(at.port);
  CHECK(at.run({"get", "k"}, {bare, files.ca()}).out == "v\n");
  const RunResult status = at.run({"status"}, {endpoints, files.ca()});
  CHECK(contains(status.out, "leader"));

  const RunResult plain = at.run({"get", "k"}, {bare});
  CHECK(plain.exit == 7);
  CHECK(contains(plain.err, "this is a TLS port, and what came is not encrypted: use https://"));
  const RunResult strange = at.run({"get", "k"}, {endpoints});
  CHECK(strange.exit == 7);
  CHECK(contains(strange.err,
                 "its certificate is not signed by this system's authorities; name "
                 "its own with --cacert=FILE. Nothing was sent."));
  const RunResult missing = at.run({"get", "k"}, {endpoints, "--cacert=/no/such.pem"});
  CHECK(missing.exit == 2);
  CHECK(contains(missing.err, "--cacert=/no/such.pem cannot be read: No such file or directory."));
  CHECK(at.run({"get", "k"}, {endpoints, "--cert=" + files.path("client.pem")}).exit == 2);
}

TEST_CASE("tls: a node that demands certificates serves who shows one, and nobody else") {
  const Files files;
  const OneNode at(files.client_port(true));
  const std::string endpoints = "--endpoints=" + at.https;
  std::vector<std::string> known = files.known();
  known.push_back(endpoints);
  CHECK(at.run({"put", "k", "v"}, known).exit == 0);
  CHECK(at.run({"get", "k"}, known).out == "v\n");
  const RunResult unknown = at.run({"put", "k", "w"}, {endpoints, files.ca()});
  CHECK(unknown.exit == 7);
  CHECK(contains(unknown.err, "it demands a certificate of ours; give --cert and --key"));
  CHECK(at.run({"get", "k"}, known).out == "v\n");
  if (!installed("/usr/bin/curl")) return;
  CHECK(said_by(files.curl() + at.https + "/health") == "{\"health\":\"true\"}");
  const std::string nameless = "curl -sS --cacert " + files.path("ca.pem") + " ";
  CHECK(contains(said_by(nameless + at.https + "/health"), "certificate required"));
  files.authority.issue(files.path("client.pem"), files.path("client.key"),
                        {.valid_to_seconds = -60});
  CHECK(contains(said_by(files.curl() + at.https + "/health"), "expired"));
}

TEST_CASE("tls: curl, etcdctl and python3-etcd3 are served as they are") {
  const Files files;
  const OneNode at(files.client_port(false));
  CHECK(at.run({"put", "k", "v"}, {"--endpoints=" + at.https, files.ca()}).exit == 0);
  const std::string ca = files.path("ca.pem");
  if (installed("/usr/bin/curl")) {
    CHECK(said_by("curl -sS --cacert " + ca + " " + at.https + "/health") ==
          "{\"health\":\"true\"}");
    CHECK(contains(said_by("curl -sS " + at.https + "/health"), "SSL certificate problem"));
    CHECK(said_by("curl -sS http://127.0.0.1:" + std::to_string(at.port)) ==
          "this is a TLS port, and what came is not encrypted: use https://.\n");
  }
  if (installed("/usr/bin/etcdctl")) {
    const std::string etcdctl =
        "env ETCDCTL_API=3 /usr/bin/etcdctl --endpoints " + at.https + " --cacert " + ca + " ";
    CHECK(said_by(etcdctl + "put a b") == "OK\n");
    CHECK(said_by(etcdctl + "get a") == "a\nb\n");
    const std::string seen = "PUT\na\nb\n";
    CHECK(Beside(etcdctl + "watch a --rev=1").wait_for(seen) == seen);
    CHECK(contains(said_by(etcdctl + "member list"), at.https));
  }
  if (installed("/usr/lib/python3/dist-packages/etcd3/__init__.py")) {
    CHECK(said_by("/usr/bin/python3 -c \"import etcd3\nc = etcd3.client(host='127.0.0.1', port=" +
                  std::to_string(at.port) + ", ca_cert='" + ca +
                  "')\nc.put('p', 'q')\nprint(c.get('p')[0])\"") == "b'q'\n");
  }
}

TEST_CASE("tls: the load generator finds the leader and loads it over https") {
  const Files files;
  const OneNode at(files.client_port(true));
  std::vector<std::string> known = files.known();
  known.push_back("--endpoints=" + at.https);
  CHECK(at.run({"put", "k", "v"}, known).exit == 0);
  const std::vector<std::string> bench{"bench",           "--leader",    "--clients=2",
                                       "--duration=50ms", "--warmup=0s", "--json"};
  const RunResult loaded = run_capstan(joined(bench, known));
  CHECK(loaded.exit == 0);
  CHECK(contains(loaded.out, "\"failed\":0,\"unknown\":0,"));
  CHECK(!contains(loaded.out, "\"ok\":0,"));
  CHECK(run_capstan(joined(bench, {files.ca(), "--endpoints=" + at.https})).exit == 7);
}

TEST_CASE("tls: inside it a port speaks h2 or http/1.1, as the client can, and nothing else") {
  const Files files;
  const OneNode at(files.client_port(false));
  if (installed("/usr/bin/openssl")) {
    const auto agreed = [&](const std::string& offered) {
      return said_by("openssl s_client -connect 127.0.0.1:" + std::to_string(at.port) +
                     " -CAfile " + files.path("ca.pem") + " -alpn " + offered + " </dev/null");
    };
    CHECK(contains(agreed("h2"), "ALPN protocol: h2\n"));
    CHECK(contains(agreed("http/1.1"), "ALPN protocol: http/1.1\n"));
    CHECK(contains(agreed("h2,http/1.1"), "ALPN protocol: http/1.1\n"));
    CHECK(contains(agreed("spdy/1"), "no application protocol"));
  }
  if (installed("/usr/bin/curl")) {
    CHECK(at.run({"put", "a", "b"}, {"--endpoints=" + at.https, files.ca()}).exit == 0);
    const std::string got =
        said_by(files.curl() + "--http2 -w ' over %{http_version}' -d '{\"key\":\"YQ==\"}' " +
                at.https + "/v3/kv/range");
    CHECK(contains(got, "\"value\":\"Yg==\""));
    CHECK(got.ends_with(" over 1.1"));
  }
}

TEST_CASE("tls: a port shows the certificates of its file, and none that it only trusts") {
  if (!installed("/usr/bin/openssl")) return;
  const Files files;
  const OneNode at(files.client_port(true));
  const auto shown = [&] {
    return said_by("openssl s_client -connect 127.0.0.1:" + std::to_string(at.port) + " -cert " +
                   files.path("client.pem") + " -key " + files.path("client.key") +
                   " -showcerts </dev/null 2>/dev/null | grep -c BEGIN");
  };
  CHECK(shown() == "1\n");
  CHECK(test::run_line("cat " + files.path("ca.pem") + " >> " + files.path("node.pem")).code == 0);
  CHECK(shown() == "2\n");
}

TEST_CASE("tls: a renewed certificate is used without a restart, and an open watch goes on") {
  const Files files;
  const OneNode at(files.client_port(false));
  const std::string endpoints = "--endpoints=" + at.https;
  CHECK(at.run({"put", "k", "1"}, {endpoints, files.ca()}).exit == 0);
  std::unique_ptr<Beside> watch;
  if (installed("/usr/bin/etcdctl")) {
    watch = std::make_unique<Beside>(files.etcdctl(at.https) + "watch k --rev=1");
    CHECK(watch->wait_for("PUT\nk\n1\n") == "PUT\nk\n1\n");
  }
  test::Authority other("another authority");
  other.write(files.path("other.pem"));
  other.issue(files.path("node.pem"), files.path("node.key"));
  const std::string renewed = "--cacert=" + files.path("other.pem");
  CHECK(at.run({"put", "k", "2"}, {endpoints, renewed}).exit == 0);
  CHECK(at.run({"get", "k"}, {endpoints, files.ca()}).exit == 7);
  CHECK(at.node->says("tls_reloaded"));
  if (watch) CHECK(watch->wait_for("PUT\nk\n1\nPUT\nk\n2\n") == "PUT\nk\n1\nPUT\nk\n2\n");
  std::filesystem::resize_file(files.path("node.key"), 10);
  CHECK(at.run({"get", "k"}, {endpoints, renewed}).out == "2\n");
  CHECK(at.node->says("tls_reload_failed"));
}

// ---- Between nodes ------------------------------------------------------------------------------

TEST_CASE("tls: three nodes with TLS on both ports work in either mode, and meet again") {
  const Files files;
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    CAPTURE(to_text(mode));
    TestCluster cluster(mode, 3, files.both_ports());
    CHECK(cluster.run_until_ok(joined({"put", "a", "1"}, files.known())).exit == 0);
    cluster.kill(2);
    CHECK(cluster.run_until_ok(joined({"put", "b", "2"}, files.known())).exit == 0);
    cluster.start(2);
    for (std::size_t i = 0; i < 3; ++i) {
      const std::string here = "--endpoints=https://" + cluster.address(i);
      CHECK(cluster.run_until_ok(joined({"get", "b", here}, files.known())).out == "2\n");
    }
    const RunResult status = cluster.run_until_ok(joined({"status"}, files.known()));
    CHECK(status.exit == 0);
    CHECK(!contains(status.out, "TLS"));  // nobody has anything to complain of
    if (!installed("/usr/bin/curl")) continue;
    CHECK(said_by("curl -sS http://" + cluster.peer_address(0)) ==
          "this is a TLS port, and what came is not encrypted: use https://.\n");
    CHECK(cluster.node(0).says(
        "n1 expects TLS on its peer port, and what came from 127.0.0.1 is plaintext, and not of a "
        "node of Capstan"));
    const std::string peer = "https://" + cluster.peer_address(0);
    CHECK(contains(said_by("curl -sS --cacert " + files.path("ca.pem") + " " + peer),
                   "no application protocol"));
  }
}

TEST_CASE("tls: etcdctl with a certificate works on three nodes, and without one on none") {
  if (!installed("/usr/bin/etcdctl")) return;
  const Files files;
  const TestCluster cluster(Mode::kCp, 3, files.both_ports());
  CHECK(cluster.run_until_ok(joined({"put", "a", "1"}, files.known())).exit == 0);
  std::string all;
  for (std::size_t i = 0; i < 3; ++i)
    all += (i == 0 ? "https://" : ",https://") + cluster.address(i);
  const std::string etcdctl = files.etcdctl(all);
  CHECK(said_by(etcdctl + "put a 2") == "OK\n");
  CHECK(said_by(etcdctl + "get a") == "a\n2\n");
  const std::string seen = "PUT\na\n1\nPUT\na\n2\n";
  CHECK(Beside(etcdctl + "watch a --rev=1").wait_for(seen) == seen);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string member = "n" + std::to_string(i + 1) + ", https://" +
                               cluster.peer_address(i) + ", https://" + cluster.address(i) +
                               ", false\n";
    // Where it takes clients a node says in its hello to those that are asked here.
    std::string members;
    for (int tries = 0; tries < 300 && !contains(members, member); ++tries) {
      members = said_by(etcdctl + "member list");
    }
    CHECK(contains(members, member));
  }
  const test::Said nameless = test::run_line(
      "env ETCDCTL_API=3 /usr/bin/etcdctl --command-timeout 1s --dial-timeout 1s --endpoints " +
      all + " --cacert " + files.path("ca.pem") + " put a 3");
  CHECK(nameless.code != 0);
  CHECK(!contains(nameless.out, "OK"));
  CHECK(said_by(etcdctl + "get a") == "a\n2\n");
}

TEST_CASE("tls: nodes join a cluster that has it, by --join and by etcd's flags") {
  const Files files;
  const OneNode first(files.both_ports());
  std::vector<std::string> certificate = files.known();
  certificate.push_back("--endpoints=" + first.https);
  REQUIRE(first.run({"put", "k", "v"}, certificate).exit == 0);
  const std::string host = "127.0.0.1:";

  const int second = test::free_ports(1, 2)[0], third = test::free_ports(1, 2)[0];
  NodeProcess by_join(
      joined({"--mode=cp", "--name=m2", "--listen=" + host + std::to_string(second),
              "--join=" + host + std::to_string(first.port), "--data-dir=" + (first.data / "m2")},
             files.both_ports()));
  INFO(by_join.err());
  REQUIRE(!by_join.wait_ready().empty());

  const std::string peer = "https://" + host + std::to_string(third + 1);
  REQUIRE(first.run({"members", "add", peer}, certificate).exit == 0);
  NodeProcess by_flags(joined(
      {"--mode=cp", "--name=m3", "--listen-client-urls=https://" + host + std::to_string(third),
       "--listen-peer-urls=" + peer, "--initial-cluster-state=existing",
       "--initial-cluster=m3=" + peer + ",n1=https://" + host + std::to_string(first.port + 1),
       "--data-dir=" + (first.data / "m3")},
      files.both_ports()));
  INFO(by_flags.err());
  REQUIRE(!by_flags.wait_ready().empty());
  for (const int port : {second, third}) {
    certificate.back() = "--endpoints=https://" + host + std::to_string(port);
    CHECK(first.run({"get", "k"}, certificate).out == "v\n");
  }
}

TEST_CASE("tls: nodes take a new authority's certificates from each other without a restart") {
  const Files files;
  TestCluster cluster(Mode::kCp, 3, files.both_ports());
  CHECK(cluster.run_until_ok(joined({"put", "a", "1"}, files.known())).exit == 0);
  test::Authority other("another authority");
  other.write(files.path("ca.pem"));
  other.issue(files.path("node.pem"), files.path("node.key"));
  other.issue(files.path("client.pem"), files.path("client.key"));
  CHECK(cluster.run_until_ok(joined({"put", "a", "2"}, files.known())).exit == 0);
  cluster.kill(2);
  cluster.start(2);  // has never heard of the first authority
  const std::string here = "--endpoints=https://" + cluster.address(2);
  CHECK(cluster.run_until_ok(joined({"get", "a", here}, files.known())).out == "2\n");
}

TEST_CASE("tls: a node with TLS on its peer port and one without say so, in log and status") {
  const Files files;
  TwoNodes both(files.peer_port(), {});
  NodeProcess &with = *both.nodes[0], &without = *both.nodes[1];
  const std::string either = ": give every node --peer-cert-file and --peer-key-file, or none";
  const std::string expects = "n1 expects TLS on its peer port, n2 dials without" + either;
  CHECK(without.says(expects));
  CHECK(contains(run_capstan({"status", both.endpoints[1]}).out, expects));
  // This one hears it in two ways: n2 dials without, and answers without. The last is in the
  // status.
  CHECK(with.says(either));
  CHECK(contains(run_capstan({"status", both.endpoints[0]}).out, either));
}

TEST_CASE("tls: without --peer-trusted-ca-file nodes trust the system's authorities") {
  const Files files;
  const std::vector<std::string> own{"--peer-cert-file=" + files.path("node.pem"),
                                     "--peer-key-file=" + files.path("node.key")};
  TwoNodes strangers(own, own);
  CHECK(strangers.nodes[0]->says(
      "its certificate is not signed by this system's authorities; name its own with "
      "--peer-trusted-ca-file=FILE"));
  const TwoNodes known(own, own, {"NO_COLOR=1", "SSL_CERT_FILE=" + files.path("ca.pem")});
  RunResult put;
  for (int i = 0; i < 300 && put.exit != 0; ++i)
    put = run_capstan({"put", "k", "v", known.endpoints[0]});
  CHECK(put.exit == 0);
}

TEST_CASE("tls: what a node cannot use for TLS is said before it starts") {
  const Files files;
  files.authority.issue(files.path("old.pem"), files.path("old.key"), {.valid_to_seconds = -60});
  files.authority.issue(files.path("early.pem"), files.path("early.key"),
                        {.valid_from_seconds = 600});
  files.authority.issue(files.path("locked.pem"), files.path("locked.key"),
                        {.key_password = "secret"});
  struct Row {
    std::string certificate, key, says;
  };
  const Row rows[] = {
      {"none.pem", "node.key", "cert-file=@none.pem cannot be read: No such file or directory."},
      {"node.key", "node.key", "cert-file=@node.key holds no certificate"},
      {"node.pem", "node.pem", "key-file=@node.pem holds no private key"},
      {"node.pem", "client.key",
       "key-file=@client.key is not the key of the certificate in --&cert-file=@node.pem"},
      {"old.pem", "old.key", "cert-file=@old.pem has expired on "},
      {"early.pem", "early.key", "cert-file=@early.pem is not valid before "},
      {"locked.pem", "locked.key", "key-file=@locked.key is encrypted"},
  };
  for (const std::string port : {"", "peer-"}) {
    for (const Row& row : rows) {
      std::string says = "capstan serve: --" + port + row.says;
      for (std::size_t at; (at = says.find('@')) != std::string::npos;) {
        says.replace(at, 1, files.path(""));
      }
      if (const std::size_t at = says.find('&'); at != std::string::npos) says.replace(at, 1, port);
      CAPTURE(says);
      const test::TempDir data;
      NodeProcess node(
          {"--mode=cp", "--listen=127.0.0.1:" + std::to_string(test::free_ports(1, 2)[0]),
           "--data-dir=" + (data / "d"), "--" + port + "cert-file=" + files.path(row.certificate),
           "--" + port + "key-file=" + files.path(row.key)});
      REQUIRE(node.wait_ready().empty());
      CHECK(node.wait_end() == 2);
      CHECK(contains(node.err(), says));
    }
  }
}

}  // namespace capstan::node
