// Links between transports on one real loop: handshake, silence, cuts, bounds.
#include "net/peer_transport.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/peer_hello.h"
#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "net/uv_timer.h"
#include "tests/net/peer_cluster.h"
#include "tests/net/tls_files.h"
#include "tests/support/loop_until.h"

namespace capstan::net {

using namespace peer_test;

namespace {

TEST_CASE("peers, tls: three nodes meet, and frames of every size cross") {
  const tls_test::Files files;
  Cluster c(3);
  for (std::size_t i = 1; i <= 3; ++i) {
    PeerOptions with = c.options(i);
    with.tls = tls_test::loaded(files.peer());
    c.start(i, with);
  }
  REQUIRE(c.until([&] { return c.all_connected(); }));
  const std::size_t sizes[] = {0, 1, 8, 1000, 100'000, 900'000};
  for (const std::size_t size : sizes) {
    c.links(1).send(MemberId{3}, FrameKind::kCp, std::string(size, 'x'));
  }
  REQUIRE(c.until([&] { return c[3].frames.size() == std::size(sizes); }));
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    CHECK(c[3].frames[i].size() == std::string("1:cp:").size() + sizes[i]);
  }
  CHECK(c[3].aligned);
  CHECK(c[1].mismatches.empty());
}

TEST_CASE("peers: three nodes have one link a pair, and frames arrive in order and aligned") {
  Cluster c(3);
  c.start_all();
  for (int i = 0; i < 50; ++i) {
    CHECK(c.links(1).send(MemberId{2}, FrameKind::kCp, std::string(static_cast<size_t>(i), 'a')));
    CHECK(c.links(2).send(MemberId{1}, FrameKind::kAp, std::to_string(i)));
    CHECK(c.links(3).send(MemberId{1}, FrameKind::kCp, "x" + std::to_string(i)));
  }
  REQUIRE(c.until([&] { return c[2].frames.size() == 50 && c[1].frames.size() == 100; }));
  std::vector<std::string> from2, from3;
  for (const std::string& f : c[1].frames) (f[0] == '2' ? from2 : from3).push_back(f);
  for (int i = 0; i < 50; ++i) {
    const auto at = static_cast<std::size_t>(i);
    CHECK(c[2].frames[at] == "1:cp:" + std::string(at, 'a'));
    CHECK(from2[at] == "2:ap:" + std::to_string(i));
    CHECK(from3[at] == "3:cp:x" + std::to_string(i));
  }
  CHECK(c[1].aligned);
  CHECK(c[2].aligned);
  CHECK(c[1].story.size() == 4);  // +2+3 in some order: nothing was made twice
  CHECK(c.links(1).state(MemberId{2}).node == NodeId{102});
  CHECK(c.links(1).state(MemberId{3}).connects == 1);
  CHECK(c.links(1).state(MemberId{3}).client_urls == std::vector<std::string>{"http://client-3"});
  CHECK(c.links(3).state(MemberId{1}).client_urls == std::vector<std::string>{"http://client-1"});
  CHECK(c.links(3).state(MemberId{1}).connects == 1);
}

TEST_CASE("peers: pings measure the round trip and keep an idle link alive beyond E") {
  Cluster c(2);
  c.start_all();
  const Micros until = Loop::clock().monotonic + 3 * kSilence;
  REQUIRE(c.until([&] {
    return Loop::clock().monotonic > until && c.links(1).state(MemberId{2}).round_trip >= 0 &&
           c.links(2).state(MemberId{1}).round_trip >= 0;
  }));
  CHECK(c[1].story == "+2");
  CHECK(c[2].story == "+1");
}

TEST_CASE("peers: bytes are counted by kind and direction, the same on both ends") {
  Cluster c(2);
  c.start_all();
  c.links(1).send(MemberId{2}, FrameKind::kAp, std::string(100, 'p'));
  c.links(1).send(MemberId{2}, FrameKind::kAp, std::string(8, 'p'));
  REQUIRE(c.until([&] { return c[2].frames.size() == 2; }));
  const auto ap = static_cast<std::size_t>(FrameKind::kAp);
  const KindCounts out = c.links(1).counts(MemberId{2}).kinds[ap];
  const KindCounts in = c.links(2).counts().kinds[ap];
  CHECK(out.bytes_out == 32 + 104 + 32 + 8);
  CHECK(out.frames_out == 2);
  CHECK(in.bytes_in == out.bytes_out);
  CHECK(in.frames_in == 2);
}

TEST_CASE("peers: without a link, or with a full queue, send() refuses and counts") {
  Cluster c(2);
  c.start(1);
  CHECK(!c.links(1).send(MemberId{2}, FrameKind::kCp, "nobody there"));
  CHECK(c.links(1).counts().dropped_not_connected == 1);
  c.start(2);
  REQUIRE(c.until([&] { return c.all_connected(); }));
  std::size_t sent = 0, refused = 0;
  c.loop.post([&] {  // within one turn nothing leaves
    for (int i = 0; i < 40; ++i) {
      (c.links(1).send(MemberId{2}, FrameKind::kCp, std::string(64 * 1024, 'q')) ? sent
                                                                                 : refused)++;
    }
    CHECK(c.links(1).state(MemberId{2}).queued_bytes <= 1024 * 1024);
  });
  REQUIRE(c.until([&] { return sent > 0 && c[2].frames.size() == sent; }));
  CHECK(sent == 15);
  CHECK(refused == 25);
  CHECK(c.links(1).counts().dropped_queue_full == 25);
  CHECK(c.links(1).send(MemberId{2}, FrameKind::kCp, "again"));
}

TEST_CASE("peers: the largest frame passes") {
  Cluster c(2);
  for (std::size_t i : {1u, 2u}) {
    PeerOptions with = c.options(i);
    with.queue_bytes_max = 2 * kFrameBytesMax;
    c.start(i, with);
  }
  REQUIRE(c.until([&] { return c.all_connected(); }));
  CHECK(c.links(2).send(MemberId{1}, FrameKind::kAp,
                        std::string(kFrameBytesMax - kFrameHeaderBytes, 'L')));
  REQUIRE(c.until([&] { return c[1].frames.size() == 1; }));
  CHECK(c[1].frames[0].size() == 5 + kFrameBytesMax - kFrameHeaderBytes);
}

// ---- Ends and silence ---------------------------------------------------------------------------

TEST_CASE(
    "peers: a peer that goes is noticed at once; one that returns is redialled, disk and all") {
  for (const std::size_t goes : {1u, 2u}) {  // the one that dials, the one that is dialled
    CAPTURE(goes);
    Cluster c(2);
    c.start_all();
    const std::size_t stays = 3 - goes;
    c[goes].links.reset();
    REQUIRE(c.until([&] { return c[stays].story.size() == 4; }));
    CHECK(c[stays].last_why.find("silent") == std::string::npos);
    PeerOptions again = c.options(goes);
    again.node = NodeId{555};
    c.start(goes, again);
    REQUIRE(c.until([&] { return c.connected(1, 2); }));
    CHECK(c.links(stays).state(MemberId{goes}).node == NodeId{555});
    CHECK(c.links(stays).state(MemberId{goes}).disk_changes == 1);
    CHECK(c.links(stays).state(MemberId{goes}).connects == 2);
  }
}

TEST_CASE("peers: a restarted peer that may not dial knocks, and is dialled at once") {
  Cluster c(2);
  PeerOptions one = c.options(1);
  one.redial_interval = 3600 * kSecond;  // n1 dials, but would not again for an hour
  c.start(1, one);
  c.start(2);
  REQUIRE(c.until([&] { return c.connected(1, 2); }));
  c[2].links.reset();
  REQUIRE(c.until([&] { return c[1].story == "+2-2"; }));
  c.start(2);
  CHECK(c.until([&] { return c.connected(1, 2); }));
}

// Holds the loop up for 3 E at the end of a turn in which nothing is on its way, so that the next
// turn begins with nothing to read and timers long due.
struct Staller : TurnUser {
  explicit Staller(Cluster& c) : cluster(c) { c.loop.add_turn_user(*this); }
  ~Staller() override { cluster.loop.remove_turn_user(*this); }
  void begin_turn(Now) override {}
  void end_turn() override {
    if (stalled || !nothing_under_way()) return;
    stalled = true;
    const Micros until = Loop::clock().monotonic + 3 * kSilence;
    while (Loop::clock().monotonic < until) {
    }
  }
  bool nothing_under_way() {
    std::uint64_t in[2] = {0, 0}, out[2] = {0, 0};
    for (std::size_t i = 0; i < 2; ++i) {
      for (const KindCounts& kind : cluster.links(i + 1).counts().kinds) {
        in[i] += kind.frames_in;
        out[i] += kind.frames_out;
      }
    }
    return in[0] == out[1] && in[1] == out[0];
  }
  Cluster& cluster;
  bool stalled = false;
};

TEST_CASE("peers: a node that slept does not take its own silence for that of its peers") {
  Cluster c(2);
  c.start_all();
  Staller staller(c);
  Timer wake(c.loop);
  wake.every(3 * kMillisecond, [] {});  // turns in which nobody pings
  REQUIRE(c.until([&] { return staller.stalled; }));
  const auto pings = [&] {
    return c.links(1).counts().kinds[static_cast<std::size_t>(FrameKind::kPing)].frames_in;
  };
  const std::uint64_t before = pings();
  REQUIRE(c.until([&] { return pings() >= before + 5; }));
  CHECK(c[1].story == "+2");
  CHECK(c[2].story == "+1");
}

// A peer made by hand: it shakes hands as member 2 and then does what the test says.
struct Puppet : StreamEvents {
  Puppet(Cluster& c, Loop& loop) : cluster(c) {
    auto opened = TcpListener::listen(loop, "127.0.0.1", c.members[1].port,
                                      [this](std::unique_ptr<TcpStream> in) {
                                        answers = dials++ < greets;
                                        streams.push_back(std::move(in));
                                        streams.back()->set_events(*this);
                                      });
    REQUIRE(opened);
    listener = std::move(*opened);
  }
  void on_bytes(ByteView bytes) override {
    if (!answers) return;
    answers = false;
    FrameDecoder decoder;
    decoder.feed(bytes);
    Frame frame;
    REQUIRE(decoder.next(frame).value());
    Hello hello = decode_hello(frame.payload).value();
    hello.self = MemberId{2};
    hello.to = MemberId{1};
    hello.name = "n2";
    hello.node = NodeId{102};
    if (!refusal.empty()) {
      streams.back()->write(ByteView(encode_frame(FrameKind::kRefuse, ClusterId{66}, refusal)));
      return;
    }
    streams.back()->write(
        ByteView(encode_frame(FrameKind::kHello, ClusterId{77}, encode_hello(hello))));
  }
  void on_close(CloseReason why, const std::string&) override { closed.push_back(why); }

  Cluster& cluster;
  std::unique_ptr<TcpListener> listener;
  std::vector<std::unique_ptr<TcpStream>> streams;
  std::vector<CloseReason> closed;
  int dials = 0;
  int greets = 1;       // how many of them get a hello
  std::string refusal;  // or this
  bool answers = false;
};

TEST_CASE("peers: a link without a frame for E is closed and redialled with a fresh connection") {
  Cluster c(2);
  Puppet puppet(c, c.loop);
  c.start(1);
  REQUIRE(c.until([&] { return c[1].story == "+2-2" && puppet.dials >= 3; }));
  CHECK(c[1].last_why.starts_with("silent for "));
  CHECK(puppet.closed.at(0) == CloseReason::kReset);
}

TEST_CASE("peers: a refusal is shown as it came, but for what a terminal would obey") {
  Cluster c(2);
  Puppet puppet(c, c.loop);
  puppet.refusal = "go away\x1b[2J, n1\n";
  c.start(1);
  REQUIRE(c.until([&] { return !c[1].mismatches.empty(); }));
  CHECK(c[1].mismatches[0] == "n2: go away?[2J, n1?");
}

TEST_CASE("peers: a frame of another cluster on a link ends it") {
  Cluster c(2);
  Puppet puppet(c, c.loop);
  c.start(1);
  REQUIRE(c.until([&] { return c[1].story == "+2"; }));
  puppet.streams.back()->write(ByteView(encode_frame(FrameKind::kCp, ClusterId{66}, "not ours")));
  REQUIRE(c.until([&] { return c[1].story == "+2-2"; }));
  CHECK(c[1].frames.empty());
  CHECK(c[1].last_why.find("bad frame") != std::string::npos);
}

TEST_CASE("peers: a corrupt frame costs its connection, is counted, and the next one works") {
  Cluster c(2);
  Puppet puppet(c, c.loop);
  puppet.greets = 2;
  c.start(1);
  REQUIRE(c.until([&] { return c[1].story == "+2"; }));
  std::string bad = encode_frame(FrameKind::kCp, ClusterId{77}, "payload!");
  bad[40 - 1] = static_cast<char>(bad[40 - 1] ^ 1);
  puppet.streams.back()->write(ByteView(bad));
  REQUIRE(c.until([&] { return c[1].story.starts_with("+2-2+2"); }));
  CHECK(c[1].frames.empty());
  CHECK(c.links(1).counts(MemberId{2}).bad_frames == 1);
}

TEST_CASE(
    "peers: strangers who talk nonsense or say nothing are closed, and cost a bounded crowd") {
  Cluster c(2);
  for (std::size_t i : {1u, 2u}) {
    PeerOptions with = c.options(i);
    with.election_timeout = 60 * kSecond;  // nobody is closed for taking too long
    c.start(i, with);
  }
  REQUIRE(c.until([&] { return c.all_connected(); }));
  struct Stranger : StreamEvents {
    void on_bytes(ByteView) override {}
    void on_close(CloseReason, const std::string&) override { closed = true; }
    std::unique_ptr<TcpStream> stream;
    bool closed = false;
  };
  std::vector<std::unique_ptr<Stranger>> crowd;
  const auto come = [&](std::string words) {
    crowd.push_back(std::make_unique<Stranger>());
    crowd.back()->stream =
        TcpStream::connect(c.loop, "127.0.0.1", c.members[0].port, *crowd.back());
    crowd.back()->stream->write(std::move(words));
  };
  come("GET / HTTP/1.1\r\nHost: you\r\nAccept: everything\r\n\r\n");
  come(encode_frame(FrameKind::kHello, ClusterId{77}, "not a hello"));
  come(encode_frame(FrameKind::kCp, ClusterId{77}, "no hello first"));
  REQUIRE(c.until([&] { return crowd[0]->closed && crowd[1]->closed && crowd[2]->closed; }));
  CHECK(c.links(1).counts().bad_frames == 3);
  for (int i = 0; i < 300; ++i) come("CA");  // the beginning of a frame, for ever
  REQUIRE(c.until([&] {
    std::size_t closed = 0;
    for (const auto& each : crowd) closed += each->closed ? 1 : 0;
    return closed >= 300 - 128;
  }));
  CHECK(c[1].story == "+2");
  CHECK(c.connected(1, 2));
}

// ---- Faults -------------------------------------------------------------------------------------

TEST_CASE(
    "peers: across a cut nothing passes, the link falls silent, and the heal brings it back") {
  Cluster c(3);
  c.start_all();
  c.cut(1, 2, true, true);
  c.cut(2, 1, true, true);
  CHECK(c.links(1).send(MemberId{2}, FrameKind::kCp, "into the void"));  // as a real network would
  CHECK(c.links(2).send(MemberId{1}, FrameKind::kCp, "into the void"));
  CHECK(c.links(1).send(MemberId{3}, FrameKind::kCp, "not cut"));
  REQUIRE(c.until([&] {
    return !c.links(1).state(MemberId{2}).connected && !c.links(2).state(MemberId{1}).connected;
  }));
  CHECK(c[1].last_why.starts_with("silent for "));
  CHECK(c[2].last_why.starts_with("silent for "));
  CHECK(c[3].frames == std::vector<std::string>{"1:cp:not cut"});
  // Several attempts later there is still nothing.
  const std::uint64_t before = c.links(2).counts().dropped_by_fault_out;
  REQUIRE(c.until([&] { return c.links(2).counts().dropped_by_fault_out >= before + 2; }));
  CHECK(c[1].frames.empty());
  CHECK(c[2].frames.empty());
  CHECK(!c.links(1).state(MemberId{2}).connected);
  CHECK(c.connected(1, 3));
  CHECK(c.links(1).faults().show(Loop::clock().monotonic).size() == 1);

  c.links(1).faults().heal();
  c.links(2).faults().heal();
  REQUIRE(c.until([&] { return c.connected(1, 2); }));
  CHECK(c.links(1).send(MemberId{2}, FrameKind::kCp, "healed"));
  REQUIRE(c.until([&] { return c[2].frames.size() == 1; }));
  CHECK(c[2].frames[0] == "1:cp:healed");
}

TEST_CASE("peers: a one-way cut stops one direction while the link lasts, then the link") {
  Cluster c(2);
  c.start_all();
  c.cut(1, 2, false, true);  // n1 -> n2
  c.cut(2, 1, true, false);
  CHECK(c.links(1).send(MemberId{2}, FrameKind::kCp, "lost"));
  CHECK(c.links(2).send(MemberId{1}, FrameKind::kCp, "heard"));
  REQUIRE(c.until([&] { return c[1].frames.size() == 1; }));
  CHECK(c[1].frames[0] == "2:cp:heard");
  REQUIRE(c.until([&] { return !c.links(2).state(MemberId{1}).connected; }));
  CHECK(c[2].last_why.starts_with("silent for "));
  CHECK(c[2].frames.empty());
}

TEST_CASE("peers: one end's fault is enough, whether it drops what comes or what goes") {
  for (const bool in : {true, false}) {
    Cluster c(2);
    c.start_all();
    c.cut(1, 2, in, !in);
    (in ? c.links(2) : c.links(1)).send(MemberId{in ? 1u : 2u}, FrameKind::kCp, "lost");
    REQUIRE(c.until([&] { return !c.links(in ? 1 : 2).state(MemberId{in ? 2u : 1u}).connected; }));
    CHECK(c[in ? 1 : 2].frames.empty());
  }
}

TEST_CASE("peers: while one end does not hear the other, no redial makes a link") {
  for (const std::size_t deaf : {1u, 2u}) {  // the one that dials, the one that is dialled
    Cluster c(2);
    c.start_all();
    const std::size_t other = 3 - deaf;
    c.cut(deaf, other, true, false);
    REQUIRE(c.until([&] { return !c.links(deaf).state(MemberId{other}).connected; }));
    const std::uint64_t before = c.links(deaf).counts().dropped_by_fault_in;
    REQUIRE(c.until([&] { return c.links(deaf).counts().dropped_by_fault_in >= before + 3; }));
    CHECK(c.links(deaf).state(MemberId{other}).connects == 1);
    CHECK(c.links(other).state(MemberId{deaf}).connects == 1);
  }
}

TEST_CASE("peers: across a cut the end of a peer is not news, only its silence") {
  Cluster c(2);
  c.start_all();
  c.cut(1, 2, true, true);
  c[2].links.reset();
  REQUIRE(c.until([&] { return c[1].story == "+2-2"; }));
  CHECK(c[1].last_why.starts_with("silent for "));

  // Healed before it was silent for long enough, the end is news again.
  Cluster d(2);
  d.start_all();
  d.cut(1, 2, true, true);
  d[2].links.reset();
  d.loop.post([&] { d.loop.post([&] { d.links(1).faults().heal(); }); });
  REQUIRE(d.until([&] { return d[1].story == "+2-2"; }));
}

TEST_CASE("peers: a fault ends by itself at its time") {
  Cluster c(2);
  c.start_all();
  c.cut(1, 2, true, true, 3 * kSilence);
  REQUIRE(c.until([&] { return !c.links(1).state(MemberId{2}).connected; }));
  REQUIRE(c.until([&] { return c.connected(1, 2); }));
  CHECK(c.links(1).faults().show(Loop::clock().monotonic).empty());
}

}  // namespace
}  // namespace capstan::net
