// Who is no peer of ours, and what is said about it: other lists, modes, clusters, names, programs.
#include "net/uv_tcp.h"
#include "tests/net/peer_cluster.h"
#include "tests/net/stream_pair.h"
#include "tests/net/tls_files.h"

namespace capstan::net {

using namespace peer_test;

namespace {

// Starts n1 and n2, n2 with changed options, and expects each to hear a sentence about the other.
void expect_mismatch(const std::function<void(Cluster&, PeerOptions&)>& change,
                     const std::string& sentence) {
  for (const bool swapped : {false, true}) {  // whoever dials
    CAPTURE(swapped);
    Cluster c(2);
    PeerOptions one = c.options(1), two = c.options(2);
    if (swapped) {
      c.members[0].id = MemberId{9};
      one = c.options(1), two = c.options(2);
      one.self = MemberId{9};
    }
    change(c, two);
    c.start(1, one);
    c.start(2, two);
    REQUIRE(c.until([&] { return !c[1].mismatches.empty() && !c[2].mismatches.empty(); }));
    // Either side's words do for both; they name both nodes.
    const bool said = c[1].mismatches[0].find(sentence) != std::string::npos ||
                      c[2].mismatches[0].find(sentence) != std::string::npos;
    CAPTURE(c[1].mismatches[0]);
    CAPTURE(c[2].mismatches[0]);
    CHECK(said);
    CHECK(c[1].story.empty());
    CHECK(c[2].story.empty());
  }
}

TEST_CASE("peers: lists of different length are said on both sides, whoever dials") {
  // The seed exercise's own mistake: n2 knows n1, n1 knows only itself.
  for (const std::size_t small : {1u, 2u}) {
    Cluster c(2);
    PeerOptions lone = c.options(small);
    lone.members = {c.members[small - 1]};
    c.start(small, lone);
    c.start(3 - small);
    const std::string knows = "n" + std::to_string(3 - small), alone = "n" + std::to_string(small);
    REQUIRE(c.until([&] { return !c[1].mismatches.empty() && !c[2].mismatches.empty(); }));
    const std::string want = knows + " was started with 2 members, " + alone +
                             " with 1: give every node the same list of members "
                             "(--join or --initial-cluster)";
    CHECK(c[small].mismatches[0] == knows + ": " + want);
    CHECK(c[3 - small].mismatches[0] == alone + ": " + want);
    CHECK(c.links(3 - small).state(MemberId{small}).mismatch == want);
  }
}

TEST_CASE("peers: another mode, token, address, cluster or name is said, and no link is made") {
  expect_mismatch([](Cluster&, PeerOptions& two) { two.mode = Mode::kAp; },
                  "was started with --mode=");
  expect_mismatch([](Cluster&, PeerOptions& two) { two.token_hash = 6; },
                  "different cluster tokens");
  expect_mismatch([](Cluster&, PeerOptions& two) { two.members[1].host = "localhost"; },
                  "=127.0.0.1:");
  expect_mismatch([](Cluster&, PeerOptions& two) { two.cluster = ClusterId{78}; },
                  "belongs to another cluster than");
}

TEST_CASE("peers: a mismatch is said once in 5 s though every attempt meets it") {
  Cluster c(2);
  PeerOptions two = c.options(2);
  two.mode = Mode::kAp;
  c.start(1);
  c.start(2, two);
  const auto hellos = [&] {
    return c.links(2).counts().kinds[static_cast<std::size_t>(FrameKind::kHello)].frames_in;
  };
  REQUIRE(c.until([&] { return hellos() >= 3; }));
  CHECK(c[1].mismatches.size() == 1);
  CHECK(c[2].mismatches.size() == 1);
}

TEST_CASE("peers: a member found at another's address is said") {
  Cluster c(3);
  std::swap(c.members[1].port, c.members[2].port);
  PeerOptions one = c.options(1);
  std::swap(c.members[1].port, c.members[2].port);
  // n1 alone has the addresses of n2 and n3 mixed up; n2's own list agrees with n1's so that only
  // the answer tells.
  PeerOptions two = c.options(2);
  two.members = one.members;
  c.start(1, one);
  c.start(2, two);
  REQUIRE(c.until([&] { return !c[1].mismatches.empty(); }));
  CHECK(c[1].mismatches[0].find("another member") != std::string::npos);
}

TEST_CASE("peers: a second process with a living member's name is refused") {
  Cluster c(2);
  c.start_all();
  PeerOptions twin = c.options(2);
  twin.node = NodeId{999};
  twin.listen = {{"127.0.0.1", 0}};
  End other;
  auto opened = PeerTransport::open(c.loop, twin, other);
  REQUIRE(opened);
  REQUIRE(c.until([&] { return !other.mismatches.empty(); }));
  CHECK(other.mismatches[0].find("two nodes call themselves n2") != std::string::npos);
  CHECK(c[1].story == "+2");
  CHECK(c.connected(1, 2));
}

TEST_CASE("peers: something else at a member's address is said") {
  Cluster c(2);
  struct Web : StreamEvents {
    void on_bytes(ByteView) override {
      stream->write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    void on_close(CloseReason, const std::string&) override {}
    std::unique_ptr<TcpStream> stream;
  };
  std::vector<std::unique_ptr<Web>> webs;
  auto web = TcpListener::listen(c.loop, "127.0.0.1", c.members[1].port,
                                 [&](std::unique_ptr<TcpStream> in) {
                                   webs.push_back(std::make_unique<Web>());
                                   webs.back()->stream = std::move(in);
                                   webs.back()->stream->set_events(*webs.back());
                                 });
  REQUIRE(web);
  c.start(1);
  REQUIRE(c.until([&] { return !c[1].mismatches.empty(); }));
  CHECK(c[1].mismatches[0].find("does not answer as a node of Capstan") != std::string::npos);
}

TEST_CASE("peers: one with TLS and one without never meet, and both say what to do") {
  const tls_test::Files files;
  for (const std::size_t with : {1u, 2u}) {  // whoever dials
    CAPTURE(with);
    Cluster c(2);
    PeerOptions secure = c.options(with);
    secure.tls = tls_test::loaded(files.peer());
    c.start(with, secure);
    c.start(3 - with);
    const std::string one = "n" + std::to_string(with), other = "n" + std::to_string(3 - with);
    const std::string expects = one + " expects TLS on its peer port, " + other +
                                " dials without: give every node --peer-cert-file and "
                                "--peer-key-file, or none";
    const std::string dials = one + " dials its peers with TLS, " + other +
                              " answers without: give every node --peer-cert-file and "
                              "--peer-key-file, or none";
    REQUIRE(c.until([&] { return !c[1].mismatches.empty() && !c[2].mismatches.empty(); }));
    CHECK(c[3 - with].mismatches[0] == one + ": " + expects);
    const std::string& said = c[with].mismatches[0];
    CHECK((said == other + ": " + expects || said == other + ": " + dials));
    REQUIRE(c.until([&] { return c.links(with).state(MemberId{3 - with}).mismatch == dials; }));
    CHECK(c[1].story.empty());
    CHECK(c[2].story.empty());
  }
}

TEST_CASE("peers: whose certificate the authority did not sign is refused, and is told why") {
  const tls_test::Files files;
  const test::Authority other("another authority");
  other.issue(files.path("stranger.pem"), files.path("stranger.key"));
  TlsOptions strange = files.peer();
  strange.certificate.path = files.path("stranger.pem");
  strange.key.path = files.path("stranger.key");
  Cluster c(2);
  PeerOptions one = c.options(1), two = c.options(2);
  one.tls = tls_test::loaded(files.peer());
  two.tls = tls_test::loaded(strange);
  c.start(1, one);
  c.start(2, two);
  const auto heard = [&](std::size_t who, const std::string& part) {
    return c.until([&] {
      for (const std::string& each : c[who].mismatches) {
        if (each.find(part) != std::string::npos) return true;
      }
      return false;
    });
  };
  CHECK(heard(1, "n2: n1 cannot link to n2: no TLS with 127.0.0.1:"));
  CHECK(
      heard(1, "its certificate is not signed by --peer-trusted-ca-file=" + files.path("ca.pem")));
  CHECK(heard(2, "n1: n2 cannot link to n1: no TLS with 127.0.0.1:"));
  CHECK(heard(2, "it does not trust the authority of --peer-cert-file="));
  CHECK(c[1].story.empty());
  CHECK(c[2].story.empty());
}

TEST_CASE("peers: a certificate must be for the address in the list of members") {
  const tls_test::Files files;
  files.authority.issue(files.path("server.pem"), files.path("server.key"),
                        {.names = {"elsewhere.example"}});
  Cluster c(2);
  PeerOptions one = c.options(1), two = c.options(2);
  one.tls = two.tls = tls_test::loaded(files.peer());
  c.start(1, one);
  c.start(2, two);
  const std::string want =
      "n1 cannot link to n2: no TLS with 127.0.0.1:" + std::to_string(c.members[1].port) +
      ": its certificate is not for 127.0.0.1, but for elsewhere.example";
  REQUIRE(c.until([&] { return c.links(1).state(MemberId{2}).mismatch == want; }));
  CHECK(c[1].story.empty());
  CHECK(c[2].story.empty());
}

TEST_CASE("peers: who shows no certificate is not listened to, where one is demanded") {
  const tls_test::Files files;
  Cluster c(2);
  PeerOptions one = c.options(1);
  one.tls = tls_test::loaded(files.peer());
  c.start(1, one);
  TlsOptions nameless = files.peer();
  nameless.certificate.path.clear();
  nameless.key.path.clear();
  stream_test::End end;
  const auto stream =
      TcpStream::connect(c.loop, "127.0.0.1", c.members[0].port, end, tls_test::loaded(nameless));
  stream->write("anything");
  REQUIRE(c.until([&] { return end.why.has_value() && !c[1].mismatches.empty(); }));
  CHECK(end.got.empty());
  CHECK(*end.why == CloseReason::kNoTls);
  CHECK(end.why_text.ends_with(
      "it demands a certificate of ours; give --peer-cert-file and --peer-key-file"));
  CHECK(c[1].mismatches[0].starts_with("127.0.0.1: n1 takes no such peer: no TLS with 127.0.0.1:"));
  CHECK(c[1].mismatches[0].ends_with(
      "it shows no certificate, and one of --peer-trusted-ca-file is demanded"));
}

TEST_CASE("peers: what speaks plaintext to a peer port with TLS, and is no node, is told so") {
  const tls_test::Files files;
  Cluster c(2);
  PeerOptions one = c.options(1);
  one.tls = tls_test::loaded(files.peer());
  c.start(1, one);
  stream_test::End end;
  const auto stream = TcpStream::connect(c.loop, "127.0.0.1", c.members[0].port, end);
  stream->write("GET /members HTTP/1.1\r\n\r\n");
  REQUIRE(c.until([&] { return end.why.has_value() && !c[1].mismatches.empty(); }));
  CHECK(end.got.starts_with("HTTP/1.1 400 "));
  CHECK(end.got.ends_with("this is a TLS port, and what came is not encrypted: use https://.\n"));
  CHECK(c[1].mismatches[0] ==
        "127.0.0.1: n1 expects TLS on its peer port, and what came from 127.0.0.1 is plaintext, "
        "and not of a node of Capstan");
}

}  // namespace
}  // namespace capstan::net
