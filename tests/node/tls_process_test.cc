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
  // Of our own commands.
  std::string ca() const { return "--cacert=" + path("ca.pem"); }
  std::vector<std::string> known() const {
    return {ca(), "--cert=" + path("client.pem"), "--key=" + path("client.key")};
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
    args.insert(args.end(), flags.begin(), flags.end());
    RunResult result = run_capstan(args);
    for (int i = 0; i < 300 && result.exit == 4; ++i) result = run_capstan(args);
    return result;
  }
  test::TempDir data;
  std::uint16_t port = 0;
  std::string https;
  std::unique_ptr<NodeProcess> node;
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
  const std::string curl = "curl -sS --cacert " + files.path("ca.pem") + " ";
  const std::string own =
      " --cert " + files.path("client.pem") + " --key " + files.path("client.key") + " ";
  CHECK(said_by(curl + own + at.https + "/health") == "{\"health\":\"true\"}");
  CHECK(contains(said_by(curl + at.https + "/health"), "certificate required"));
  files.authority.issue(files.path("client.pem"), files.path("client.key"),
                        {.valid_to_seconds = -60});
  CHECK(contains(said_by(curl + own + at.https + "/health"), "expired"));
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

TEST_CASE("tls: a renewed certificate is used without a restart") {
  const Files files;
  const OneNode at(files.client_port(false));
  const std::string endpoints = "--endpoints=" + at.https;
  CHECK(at.run({"put", "k", "v"}, {endpoints, files.ca()}).exit == 0);
  test::Authority other("another authority");
  other.write(files.path("other.pem"));
  other.issue(files.path("node.pem"), files.path("node.key"));
  const std::string renewed = "--cacert=" + files.path("other.pem");
  CHECK(at.run({"get", "k"}, {endpoints, renewed}).out == "v\n");
  CHECK(at.run({"get", "k"}, {endpoints, files.ca()}).exit == 7);
  CHECK(contains(at.node->err(), "tls_reloaded"));
  std::filesystem::resize_file(files.path("node.key"), 10);
  CHECK(at.run({"get", "k"}, {endpoints, renewed}).out == "v\n");
  CHECK(contains(at.node->err(), "tls_reload_failed"));
}

}  // namespace capstan::node
