#include "node/serve_config.h"

#include <doctest/doctest.h>

#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

namespace capstan::node {
namespace {

std::expected<ServeConfig, UsageError> configured(std::vector<std::string> args,
                                                  std::string_view mode = "cp") {
  if (!mode.empty()) args.push_back("--mode=" + std::string(mode));
  const auto parsed = parse(option_table(), "serve", args,
                            [](const std::string&) { return std::optional<std::string>{}; });
  REQUIRE(parsed);
  return serve_config(*parsed);
}

}  // namespace

TEST_CASE("serve: without flags but the mode, one node n1 on the default ports") {
  const auto config = configured({});
  REQUIRE(config);
  CHECK(config->name == "n1");
  CHECK(config->data_dir == "./n1.capstan");
  CHECK(to_text(config->listen_client.at(0)) == "127.0.0.1:2379");
  CHECK(to_text(config->listen_peer.at(0)) == "127.0.0.1:2380");
  CHECK(config->members.size() == 1);
  CHECK(config->notes.empty());
}

TEST_CASE("serve: in the short form members are n1, n2, ... and the peer port is one above") {
  const auto config = configured({"--listen=10.77.0.2", "--join=10.77.0.1,10.77.0.2,10.77.0.3:99"});
  REQUIRE(config);
  CHECK(config->name == "n2");
  CHECK(to_text(config->listen_client.at(0)) == "10.77.0.2:2379");
  CHECK(to_text(config->listen_peer.at(0)) == "10.77.0.2:2380");
  REQUIRE(config->members.size() == 3);
  CHECK(config->members[2].name == "n3");
  CHECK(to_text(config->members[2].peer) == "10.77.0.3:100");
  CHECK(config->members[2].client_urls.at(0) == "http://10.77.0.3:99");
  CHECK(config->self == config->members[1].id);
}

TEST_CASE("serve: --name finds its address in --join, and a name in the list is a name") {
  const auto config =
      configured({"--name=b", "--join=a=127.0.0.1:1000,b=127.0.0.1:1002,c=127.0.0.1:1004"});
  REQUIRE(config);
  CHECK(config->name == "b");
  CHECK(config->listen_client.at(0).port == 1002);
  CHECK(config->listen_peer.at(0).port == 1003);
}

TEST_CASE("serve: nodes given the same list agree on cluster and members, whoever they are") {
  const std::string join = "--join=127.0.0.1:1000,127.0.0.1:1002";
  const auto one = configured({"--name=n1", join}), two = configured({"--name=n2", join});
  REQUIRE(one);
  REQUIRE(two);
  CHECK(one->cluster == two->cluster);
  CHECK(one->list_text == two->list_text);
  CHECK(one->self != two->self);
  CHECK(one->members[1].id == two->self);
  const auto other = configured({"--name=n1", join, "--initial-cluster-token=other"});
  REQUIRE(other);
  CHECK(other->cluster != one->cluster);
}

TEST_CASE("serve: both forms of one cluster are the same cluster") {
  const auto brief = configured({"--name=n1", "--join=127.0.0.1:1000,127.0.0.1:1002"});
  const auto etcd = configured(
      {"--name=n1", "--initial-cluster", "n1=http://127.0.0.1:1001,n2=http://localhost:1003",
       "--listen-client-urls=http://127.0.0.1:1000", "--listen-peer-urls=http://127.0.0.1:1001"});
  REQUIRE(brief);
  REQUIRE(etcd);
  CHECK(brief->cluster == etcd->cluster);
  CHECK(brief->list_text == etcd->list_text);
}

TEST_CASE("serve: two CP voters get a note, two AP replicas do not") {
  const std::vector<std::string> args{"--name=n1", "--join=127.0.0.1:1000,127.0.0.1:1002"};
  CHECK(configured(args)->notes.size() == 1);
  CHECK(configured(args)->notes.at(0).starts_with("note: 2 voters tolerate no failure"));
  CHECK(configured(args, "ap")->notes.empty());
}

TEST_CASE("serve: which member is the witness is part of what the nodes agree on") {
  const std::string list = "--join=127.0.0.1:1000,127.0.0.1:1002,127.0.0.1:1004";
  const auto plain = configured({"--name=n1", list});
  const auto with = configured({"--name=n1", list, "--witness=n3"});
  const auto same = configured({"--name=n3", list, "--witness=n3"});
  REQUIRE(with);
  REQUIRE(same);
  CHECK(with->members.at(2).witness);
  CHECK(!with->members.at(0).witness);
  CHECK(with->cluster == same->cluster);
  CHECK(with->cluster != plain->cluster);
  CHECK(with->cluster != configured({"--name=n1", list, "--witness=n2"})->cluster);
  CHECK(with->self == plain->self);
  CHECK(with->list_text.ends_with("n3=127.0.0.1:1005 (witness)"));
}

TEST_CASE("serve: a list that can hardly be meant gets a note") {
  const auto alone = configured({"--name=n1", "--initial-cluster=n1=http://127.0.0.1:2380"});
  REQUIRE(alone->notes.size() == 1);
  CHECK(alone->notes[0].starts_with("note: the list names this node alone"));
  const auto mixed =
      configured({"--name=n2", "--initial-cluster=n1=http://localhost:2380,n2=http://10.0.0.2:2380",
                  "--listen-peer-urls=http://10.0.0.2:2380"},
                 "ap");
  REQUIRE(mixed->notes.size() == 1);
  CHECK(mixed->notes[0].starts_with("note: n1 is listed at localhost:2380, which on any other"));
}

TEST_CASE("serve: every contradiction a node can see by itself gets its sentence") {
  struct Row {
    std::vector<std::string> args;
    const char* mode;
    const char* sentence;
  };
  const std::string three = "--initial-cluster=n1=http://127.0.0.1:2380,n2=http://127.0.0.1:2480";
  const Row rows[] = {
      {{},
       "",
       "--mode is missing: --mode=cp refuses what it cannot guarantee during a cut, --mode=ap goes "
       "on and merges after it. Etcd's behaviour is --mode=cp."},
      {{}, "cap", "--mode=cap is not cp or ap."},
      {{"--durability=maybe"}, "cp", "--durability=maybe is not sync, interval or none."},
      {{"--join=h1,h2,h3", "--name=n1", "--witness=n4"},
       "cp",
       "--witness=n4 is none of the members, which are n1, n2, n3."},
      {{"--join=h1,h2", "--name=n1", "--witness=n2"},
       "cp",
       "--witness=n2: a witness needs two members with data beside it; list them, too."},
      {{"--join=h1,h2,h3", "--name=n1", "--witness=n3"},
       "ap",
       "--witness=n3 makes no sense with --mode=ap, where nobody votes."},
      {{"extra"}, "cp", "serve takes no words, only flags; what is \"extra\"?"},
      {{"--join=127.0.0.1,localhost"},
       "cp",
       "--join lists 127.0.0.1:2379 twice (localhost is 127.0.0.1); every member needs an address "
       "of its own."},
      {{"--join=a=h1,a=h2"}, "cp", "--join names a twice; give every member a name of its own."},
      {{"--name=n4", "--join=h1,h2,h3"},
       "cp",
       "--name=n4 is not in --join, which has n1, n2, n3; add n4=HOST:PORT on every node."},
      {{"--name=zz", "--listen=h1", "--join=h1,h2,h3"},
       "cp",
       "the list calls h1:2379 n1, not zz; write zz=h1:2379 in --join on every node."},
      {{"--name=n2", "--listen=h1", "--join=h1,h2,h3"},
       "cp",
       "--listen is n1's address in --join, but --name is n2; correct one of them."},
      {{"--listen=h4", "--join=h1,h2,h3"},
       "cp",
       "--listen=h4:2379 is not in --join; add it there on every node, or say with --name which "
       "member this is. To join a cluster that is there, give this node a --name of its own."},
      {{"--listen=h4", "--join=h1,h2,h3"},
       "ap",
       "--listen=h4:2379 is not in --join; add it there on every node, or say with --name which "
       "member this is."},
      {{"--listen=0.0.0.0", "--name=n4", "--join=h1,h2,h3"},
       "cp",
       "--listen=0.0.0.0:2379 does not say where the others reach this node: give it an address of "
       "its own."},
      {{"--initial-cluster-state=existing"},
       "cp",
       "--initial-cluster-state=existing needs --initial-cluster: the members that are there, and "
       "this one."},
      {{"--join=h1,h2,h3"},
       "cp",
       "which member of --join is this node? Say --name=n1 or --listen=HOST:PORT."},
      {{"--listen=0.0.0.0:3000", "--name=n1", "--join=h1,h2,h3"},
       "cp",
       "--listen has port 3000, but the list has n1 at h1:2379; correct one of them."},
      {{"--join=h1:x"}, "cp", "--join: \"h1:x\" has no port between 0 and 65535."},
      {{"--join=http://h1:2379"},
       "cp",
       "--join: \"http://h1:2379\" has several colons; write an IPv6 address in brackets."},
      {{"--join=a b=h1"},
       "cp",
       "--join: \"a b\" is no name; use up to 64 letters, digits, - _ and dots."},
      {{"--listen=h1", three},
       "cp",
       "--initial-cluster and the short form (--listen, --join) say the same thing twice; use one "
       "of the two."},
      {{"--name=zz", three}, "cp", "--name=zz is not in --initial-cluster, which has n1, n2."},
      {{three}, "cp", "--name=default is not in --initial-cluster, which has n1, n2."},
      {{"--name=n1", three, "--initial-advertise-peer-urls=http://127.0.0.1:9"},
       "cp",
       "--initial-cluster has n1 at http://127.0.0.1:2380, but --initial-advertise-peer-urls says "
       "http://127.0.0.1:9; make them equal."},
      {{"--name=n2", three},
       "cp",
       "--initial-cluster has n2 at http://127.0.0.1:2480, but --listen-peer-urls says "
       "http://127.0.0.1:2380; make them equal."},
      {{"--listen-client-urls=https://127.0.0.1:1"},
       "cp",
       "--listen-client-urls: https://127.0.0.1:1 asks for TLS; give --cert-file and --key-file, "
       "or "
       "write http://."},
      {{"--cert-file=c.pem"}, "cp", "--cert-file is given without --key-file; TLS needs both."},
      {{"--key-file=c.key"}, "cp", "--key-file is given without --cert-file; TLS needs both."},
      {{"--trusted-ca-file=ca.pem"},
       "cp",
       "--trusted-ca-file asks others for certificates, which only a port with TLS can; give "
       "--cert-file and --key-file as well, or leave it out."},
      {{"--client-cert-auth"},
       "cp",
       "--client-cert-auth asks others for certificates, which only a port with TLS can; give "
       "--cert-file and --key-file as well, or leave it out."},
      {{"--client-cert-auth", "--cert-file=c.pem", "--key-file=c.key"},
       "cp",
       "--client-cert-auth does not say whose certificates to take; give --trusted-ca-file=FILE as "
       "well."},
      {{"--cert-file=/no/c.pem", "--key-file=/no/c.key"},
       "cp",
       "--cert-file=/no/c.pem cannot be read: No such file or directory."},
      {{"--listen-peer-urls=https://127.0.0.1:1"},
       "cp",
       "--listen-peer-urls: https://127.0.0.1:1 asks for TLS; give --peer-cert-file and "
       "--peer-key-file, or write http://."},
      {{"--peer-cert-file=c.pem"},
       "cp",
       "--peer-cert-file is given without --peer-key-file; TLS needs both."},
      {{"--peer-trusted-ca-file=ca.pem"},
       "cp",
       "--peer-trusted-ca-file asks others for certificates, which only a port with TLS can; give "
       "--peer-cert-file and --peer-key-file as well, or leave it out."},
      {{"--peer-client-cert-auth", "--peer-cert-file=c.pem", "--peer-key-file=c.key"},
       "cp",
       "--peer-client-cert-auth does not say whose certificates to take; give "
       "--peer-trusted-ca-file=FILE as well."},
      {{"--listen-client-urls=127.0.0.1:1"},
       "cp",
       "--listen-client-urls: \"127.0.0.1:1\" is not a URL; write http://HOST:PORT."},
      {{"--listen-client-urls=http://127.0.0.1:1,http://localhost:1"},
       "cp",
       "--listen-client-urls lists 127.0.0.1:1 twice (localhost is 127.0.0.1)."},
      {{"--listen-client-urls=http://127.0.0.1:2380"},
       "cp",
       "clients and peers cannot share 127.0.0.1:2380; give --listen-peer-urls a port of its own."},
      {{"--heartbeat-interval=100"},
       "cp",
       "--election-timeout=250 ms is less than 5 heartbeats of 100 ms: one late heartbeat would "
       "unseat a leader. Raise it to 500 ms or lower --heartbeat-interval."},
      {{"--heartbeat-interval=1"},
       "cp",
       "--heartbeat-interval=1 ms is below a tick; at least 10 ms."},
      {{"--election-timeout=60000"}, "cp", "--election-timeout=60000 ms is above 50000 ms."},
      {{"--wal-segment-bytes=4096"},
       "cp",
       "--wal-segment-bytes=4096 is too small: at least 1 MiB."},
      {{"--wal-segment-bytes=1048577"},
       "cp",
       "--wal-segment-bytes=1048577 is not a multiple of 4096."},
      {{"--log-level=loud"}, "cp", "--log-level=loud is not debug, info, warn, error or off."},
  };
  for (const Row& row : rows) {
    const auto config = configured(row.args, row.mode);
    INFO("wanted: ", row.sentence);
    REQUIRE(!config);
    CHECK(config.error().sentence == row.sentence);
  }
}

TEST_CASE(
    "serve: a certificate makes the client port TLS, in both forms, and its URLs must agree") {
  const test::TempDir directory;
  test::Authority("authority").issue(directory / "c.pem", directory / "c.key");
  const std::string cert = "--cert-file=" + (directory / "c.pem");
  const std::string key = "--key-file=" + (directory / "c.key");
  const auto brief = configured({cert, key, "--name=n1", "--join=127.0.0.1:1000,127.0.0.1:1002"});
  REQUIRE(brief);
  CHECK(brief->client_tls != nullptr);
  CHECK(brief->advertise_client.at(0) == "https://127.0.0.1:1000");
  CHECK(brief->members[1].client_urls.at(0) == "https://127.0.0.1:1002");
  const auto bare = configured({cert, key});
  REQUIRE(bare);
  CHECK(bare->advertise_client.at(0) == "https://127.0.0.1:2379");
  const auto etcd = configured({cert, key, "--listen-client-urls=https://127.0.0.1:1"});
  REQUIRE(etcd);
  CHECK(etcd->advertise_client.at(0) == "https://127.0.0.1:1");
  const auto mixed =
      configured({cert, key, "--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:2"});
  REQUIRE(!mixed);
  CHECK(
      mixed.error().sentence ==
      "--listen-client-urls: http://127.0.0.1:2 is plaintext, but --cert-file makes the port TLS; "
      "write https://, or leave the certificate out.");
  const auto advertised = configured({cert, key, "--advertise-client-urls=http://10.0.0.1:2379"});
  REQUIRE(!advertised);
  CHECK(advertised.error().sentence.find("is plaintext, but --cert-file") != std::string::npos);
}

TEST_CASE("serve: the peer port is TLS by flags of its own, and nodes dial each other so") {
  const test::TempDir directory;
  const test::Authority authority("authority");
  authority.write(directory / "ca.pem");
  authority.issue(directory / "c.pem", directory / "c.key");
  std::vector<std::string> args{"--peer-cert-file=" + (directory / "c.pem"),
                                "--peer-key-file=" + (directory / "c.key")};
  const auto trusting = configured(args);
  REQUIRE(trusting);
  CHECK(trusting->client_tls == nullptr);
  CHECK(trusting->advertise_client.at(0) == "http://127.0.0.1:2379");
  REQUIRE(trusting->peer_tls != nullptr);
  CHECK(!trusting->peer_tls->options().demand_certificate);
  CHECK(trusting->peer_tls->options().verify);

  args.push_back("--peer-trusted-ca-file=" + (directory / "ca.pem"));
  args.push_back("--name=n1");
  args.push_back("--listen-peer-urls=https://127.0.0.1:2380");
  const auto with_list = [&](const std::string& scheme) {
    std::vector<std::string> all = args;
    all.push_back("--initial-cluster=n1=https://127.0.0.1:2380,n2=" + scheme + "://127.0.0.1:2480");
    return configured(all);
  };
  const auto etcd = with_list("https");
  REQUIRE(etcd);
  CHECK(etcd->peer_tls->options().demand_certificate);
  CHECK(to_text(etcd->members[1].peer) == "127.0.0.1:2480");
  const auto mixed = with_list("http");
  REQUIRE(!mixed);
  CHECK(
      mixed.error().sentence ==
      "--initial-cluster: http://127.0.0.1:2480 is plaintext, but --peer-cert-file makes the port "
      "TLS; write https://, or leave the certificate out.");
}

TEST_CASE(
    "serve: history is compacted by age or by number, and by neither unless it is asked for") {
  const auto rule = [](std::vector<std::string> args) {
    const auto config = configured(std::move(args));
    REQUIRE(config);
    return std::pair(config->auto_compaction.keep_for, config->auto_compaction.keep_revisions);
  };
  using Rule = std::pair<Micros, std::uint64_t>;
  CHECK(rule({}) == Rule{0, 0});
  CHECK(rule({"--auto-compaction-retention=0"}) == Rule{0, 0});
  CHECK(rule({"--auto-compaction-retention=8"}) == Rule{8 * 3600 * kSecond, 0});
  CHECK(rule({"--auto-compaction-retention=30m"}) == Rule{1800 * kSecond, 0});
  CHECK(rule({"--auto-compaction-mode=revision", "--auto-compaction-retention=1000"}) ==
        Rule{0, 1000});
  const auto refused = [](std::vector<std::string> args, std::string_view mode = "cp") {
    const auto config = configured(std::move(args), mode);
    REQUIRE(!config);
    return config.error().sentence;
  };
  CHECK(refused({"--auto-compaction-mode=size"}).find("neither periodic nor revision") !=
        std::string::npos);
  CHECK(refused({"--auto-compaction-retention=soon"}).find("is not a time") != std::string::npos);
  CHECK(refused({"--auto-compaction-retention=5ms"}).find("below a second") != std::string::npos);
  CHECK(refused({"--auto-compaction-mode=revision", "--auto-compaction-retention=5m"})
            .find("is not a number of revisions") != std::string::npos);
  CHECK(refused({"--auto-compaction-retention=8h"}, "ap").find("makes no sense with --mode=ap") !=
        std::string::npos);
}

TEST_CASE("serve: etcd's usual line is understood") {
  const auto config = configured(
      {"-name",
       "infra0",
       "-initial-advertise-peer-urls",
       "http://10.0.1.10:2380",
       "-listen-peer-urls",
       "http://10.0.1.10:2380",
       "-listen-client-urls",
       "http://10.0.1.10:2379,http://127.0.0.1:2379",
       "-advertise-client-urls",
       "http://10.0.1.10:2379",
       "-initial-cluster-token",
       "etcd-cluster-1",
       "-initial-cluster",
       "infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra2=http://10.0.1.12:2380",
       "-initial-cluster-state",
       "new",
       "-heartbeat-interval",
       "100",
       "-election-timeout",
       "1000"});
  REQUIRE(config);
  CHECK(config->name == "infra0");
  CHECK(config->listen_client.size() == 2);
  CHECK(config->advertise_client == std::vector<std::string>{"http://10.0.1.10:2379"});
  CHECK(config->members.size() == 3);
  CHECK(config->heartbeat_interval == 100 * kMillisecond);
  CHECK(config->election_timeout == kSecond);
}

}  // namespace capstan::node
