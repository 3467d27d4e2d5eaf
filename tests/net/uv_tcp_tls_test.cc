// Encrypted streams on real sockets: they behave as plain ones do, and end for reasons of their
// own.
#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/random.h"
#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "tests/net/tls_files.h"
#include "tests/support/loop_until.h"

namespace capstan::net {

using namespace tls_test;
using test::run_until;

namespace {

struct End : StreamEvents {
  void on_connect() override { connected = true; }
  void on_bytes(ByteView bytes) override {
    got.append(bytes);
    ++reads;
    if (then) then(bytes);
  }
  void on_close(CloseReason reason, const std::string& text) override {
    CHECK(!why.has_value());  // once
    why = reason;
    why_text = text;
  }
  void on_drained() override { ++drained; }
  void on_plaintext(ByteView bytes) override {
    plaintext = bytes;
    if (on_plain) on_plain();
  }

  bool connected = false;
  std::string got, plaintext;
  int reads = 0;
  int drained = 0;
  std::optional<CloseReason> why;
  std::string why_text;
  std::function<void(ByteView)> then;
  std::function<void()> on_plain;
};

// A port with TLS, and who dials it; `client` null: in plaintext.
struct Pair {
  Pair(TlsOptions port_options, std::optional<TlsOptions> client_options) {
    auto opened = TcpListener::listen(
        loop, "127.0.0.1", 0,
        [this](std::unique_ptr<TcpStream> s) {
          server = std::move(s);
          server->set_events(server_end);
        },
        loaded(std::move(port_options)));
    REQUIRE(opened);
    listener = std::move(*opened);
    std::shared_ptr<TlsContext> dials;
    if (client_options) dials = loaded(std::move(*client_options));
    client = TcpStream::connect(loop, "127.0.0.1", listener->port(), client_end, dials);
  }
  explicit Pair(const Files& files) : Pair(files.server(), files.client()) {
    REQUIRE(until([&] { return client_end.connected; }));
  }
  bool until(const std::function<bool()>& holds) { return run_until(loop, holds); }
  bool until_both_closed() {
    return until([&] { return client_end.why.has_value() && server_end.why.has_value(); });
  }

  Loop loop;
  End client_end, server_end;
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<TcpStream> client, server;
};

std::string pattern(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(rng.next());
  return out;
}

}  // namespace

TEST_CASE("tls stream: bytes of every size arrive in order, both ways") {
  const Files files;
  Pair pair(files);
  std::string sent, back;
  Rng rng(7);
  for (int i = 0; i < 400; ++i) {
    const std::string bytes = pattern(rng.below(i % 20 == 0 ? 200'000 : 3'000), rng.next());
    sent += bytes;
    back += bytes.substr(0, 100);
    pair.server->write(ByteView(bytes).substr(0, 100));
    if (i % 3 == 0) pair.client->write(ByteView(bytes));
    if (i % 3 == 1) pair.client->write(std::string(bytes));
    if (i % 3 == 2) pair.client->write(shared_bytes(bytes));
  }
  REQUIRE(pair.until([&] {
    return pair.server_end.got.size() >= sent.size() && pair.client_end.got.size() >= back.size();
  }));
  CHECK((pair.server_end.got == sent));
  CHECK((pair.client_end.got == back));
  CHECK(pair.client->queued_bytes() == 0);
  CHECK(pair.client->counts().bytes_out == pair.server->counts().bytes_in);
  CHECK(pair.client->counts().bytes_out > sent.size());  // records have headers
}

TEST_CASE("tls stream: what goes over the wire is not what was written") {
  const Files files;
  Loop loop;
  End tapped_end, client_end;
  std::unique_ptr<TcpStream> tapped;
  auto wire = TcpListener::listen(loop, "127.0.0.1", 0, [&](std::unique_ptr<TcpStream> s) {
    tapped = std::move(s);
    tapped->set_events(tapped_end);
  });
  REQUIRE(wire);
  auto client =
      TcpStream::connect(loop, "127.0.0.1", (*wire)->port(), client_end, loaded(files.client()));
  client->write("a secret");
  REQUIRE(run_until(loop, [&] { return !tapped_end.got.empty(); }));
  CHECK(tapped_end.got.starts_with("\x16\x03"));
  CHECK(tapped_end.got.find("a secret") == std::string::npos);
  CHECK(!client_end.connected);  // nobody answers
}

TEST_CASE("tls stream: small writes of one turn share a record and are read as one piece") {
  const Files files;
  Pair pair(files);
  std::uint64_t before = 0;
  pair.loop.post([&] {
    before = pair.client->counts().bytes_out;
    for (int i = 0; i < 100; ++i) {
      pair.client->write("0123456789");
      pair.client->write(shared_bytes(std::string(5000, 's')));  // its own piece
    }
  });
  REQUIRE(pair.until([&] { return pair.server_end.got.size() == 501'000; }));
  const std::uint64_t records = (501'000 + 16383) / 16384;
  CHECK(pair.client->counts().bytes_out - before <= 501'000 + records * 32);
}

TEST_CASE("tls stream: bytes written before the handshake wait for it") {
  const Files files;
  Pair pair(files.server(), files.client());
  pair.client->write("early");
  CHECK(!pair.client->connected());
  REQUIRE(pair.until([&] { return pair.server_end.got == "early"; }));
  CHECK(pair.client_end.connected);
  CHECK(pair.client->connected());
}

TEST_CASE("tls stream: finish() before the handshake is done still delivers, in order") {
  const Files files;
  Pair pair(files.server(), files.client());
  pair.client->write("all I had to say");
  pair.client->finish();
  REQUIRE(pair.until_both_closed());
  CHECK(pair.server_end.got == "all I had to say");
  CHECK(*pair.server_end.why == CloseReason::kEnd);
  CHECK(*pair.client_end.why == CloseReason::kFinished);
}

TEST_CASE("tls stream: finish() writes all that is queued, then ends in order") {
  const Files files;
  Pair pair(files);
  const std::string reply = pattern(3'000'000, 1);
  pair.server_end.then = [&](ByteView) {
    if (!pair.server->open()) return;
    pair.server->write(ByteView(reply));
    pair.server->finish();
    pair.client->write(std::string(100'000, 'y'));  // unread by the server when it closes
  };
  pair.client->write("request");
  REQUIRE(pair.until_both_closed());
  CHECK((pair.client_end.got == reply));
  CHECK(*pair.client_end.why == CloseReason::kEnd);
  CHECK(*pair.server_end.why == CloseReason::kFinished);
}

TEST_CASE("tls stream: an end without a word is no end in order, since a tail may be missing") {
  const Files files;
  Pair pair(files);
  pair.client->write("half a");
  REQUIRE(pair.until([&] { return pair.server_end.got == "half a"; }));
  pair.client.reset();
  REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
  CHECK(*pair.server_end.why == CloseReason::kReset);
}

TEST_CASE("tls stream: a reader that is too slow loses its connection, not our memory") {
  const Files files;
  Pair pair(files);
  pair.server->pause_reading();
  pair.client->set_queue_bytes_max(1'000'000);
  const SharedBytes block = shared_bytes(std::string(100'000, 'b'));
  std::size_t most = 0;
  Timer filler(pair.loop);
  filler.every(kMillisecond, [&] {
    pair.client->write(block);
    most = std::max(most, pair.client->queued_bytes());
  });
  REQUIRE(pair.until([&] { return pair.client_end.why.has_value(); }));
  CHECK(*pair.client_end.why == CloseReason::kQueueFull);
  CHECK(most <= 1'000'000 + 16 * 32);  // headers of what is already encrypted
  filler.cancel();
}

TEST_CASE("tls stream: on_drained() comes once when the queue has fallen to half of the mark") {
  const Files files;
  Pair pair(files);
  pair.server->pause_reading();
  const std::string sent = pattern(20'000'000, 5);
  pair.client->write(std::string(sent));
  pair.client->want_drained(1'000'000);
  pair.loop.post([] {});
  test::run_for(pair.loop, 5 * kMillisecond);
  CHECK(pair.client_end.drained == 0);
  CHECK(pair.client->queued_bytes() > 1'000'000);
  pair.server->resume_reading();
  REQUIRE(pair.until([&] { return pair.client_end.drained > 0; }));
  REQUIRE(pair.until([&] { return pair.server_end.got.size() == sent.size(); }));
  CHECK(pair.client_end.drained == 1);
  CHECK((pair.server_end.got == sent));
}

TEST_CASE("tls stream: paused within a callback, what was read already waits for resume") {
  const Files files;
  Pair pair(files);
  const std::string sent = pattern(2'000'000, 9);
  bool paused = false;
  pair.server_end.then = [&](ByteView) {
    pair.server->pause_reading();
    paused = true;
  };
  pair.client->write(std::string(sent));
  int rounds = 0;
  while (pair.server_end.got.size() < sent.size() && rounds++ < 1000) {
    REQUIRE(pair.until([&] { return paused; }));
    const std::size_t so_far = pair.server_end.got.size();
    paused = false;
    test::run_for(pair.loop, kMillisecond / 10);
    CHECK(pair.server_end.got.size() == so_far);
    pair.server->resume_reading();
  }
  CHECK((pair.server_end.got == sent));
  CHECK(rounds > 1);
}

TEST_CASE("tls stream: may be destroyed in its own callbacks") {
  const Files files;
  SUBCASE("on_bytes") {
    Pair pair(files);
    pair.server_end.then = [&](ByteView) { pair.server.reset(); };
    pair.client->write(std::string(500'000, 'z'));
    REQUIRE(pair.until([&] { return pair.client_end.why.has_value(); }));
    CHECK(pair.server_end.reads == 1);
    CHECK(!pair.server_end.why.has_value());
  }
  SUBCASE("on_close, of a handshake that fails") {
    TlsOptions wrong = files.client();
    test::Authority other("another authority");
    other.write(wrong.authority.path = files.path("other.pem"));
    struct Dies : End {
      void on_close(CloseReason reason, const std::string& text) override {
        End::on_close(reason, text);
        stream.reset();
      }
      std::unique_ptr<TcpStream> stream;
    } dies;
    Pair pair(files.server(), std::nullopt);
    dies.stream =
        TcpStream::connect(pair.loop, "127.0.0.1", pair.listener->port(), dies, loaded(wrong));
    REQUIRE(pair.until([&] { return dies.why.has_value(); }));
    CHECK(*dies.why == CloseReason::kNoTls);
  }
  SUBCASE("before the handshake is done") {
    Pair pair(files.server(), files.client());
    REQUIRE(pair.until([&] { return pair.server != nullptr; }));
    pair.client.reset();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(!pair.client_end.why.has_value());
  }
}

TEST_CASE("tls stream: who cannot be verified is no partner, and both sides say why") {
  const Files files;
  SUBCASE("a stranger's certificate") {
    TlsOptions wrong = files.client();
    test::Authority other("another authority");
    other.write(wrong.authority.path = files.path("other.pem"));
    Pair pair(files.server(), wrong);
    pair.client->write("never to be sent");
    REQUIRE(pair.until_both_closed());
    CHECK(*pair.client_end.why == CloseReason::kNoTls);
    CHECK(pair.client_end.why_text ==
          "no TLS with 127.0.0.1:" + std::to_string(pair.listener->port()) +
              ": its certificate is not signed by --cacert=" + files.path("other.pem"));
    CHECK(!pair.client_end.connected);
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(pair.server_end.why_text.ends_with(": it does not trust the authority of --cert-file=" +
                                             files.path("server.pem")));
    CHECK(pair.server_end.got.empty());
  }
  SUBCASE("for another host") {
    files.authority.issue(files.path("server.pem"), files.path("server.key"),
                          {.names = {"elsewhere.example"}});
    Pair pair(files.server(), files.client());
    REQUIRE(pair.until_both_closed());
    CHECK(pair.client_end.why_text.ends_with(
        "its certificate is not for 127.0.0.1, but for elsewhere.example"));
  }
}

TEST_CASE("tls stream: a port that demands certificates takes its authority's, and no others") {
  const Files files;
  SUBCASE("one of the authority's") {
    Pair pair(files.strict_server(), files.known_client());
    pair.client->write("hello");
    REQUIRE(pair.until([&] { return pair.server_end.got == "hello"; }));
  }
  SUBCASE("none") {
    Pair pair(files.strict_server(), files.client());
    pair.client->write("hello");
    REQUIRE(pair.until_both_closed());
    CHECK(*pair.client_end.why == CloseReason::kNoTls);  // nothing of it was looked at
    CHECK(pair.client_end.why_text.ends_with(
        "it demands a certificate of ours; give --cert and --key"));
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(pair.server_end.why_text.ends_with(
        "it shows no certificate, and one of --trusted-ca-file is demanded"));
    CHECK(pair.server_end.got.empty());
  }
  SUBCASE("a stranger's") {
    test::Authority other("another authority");
    other.issue(files.path("client.pem"), files.path("client.key"));
    Pair pair(files.strict_server(), files.known_client());
    pair.client->write("hello");
    REQUIRE(pair.until_both_closed());
    CHECK(*pair.client_end.why == CloseReason::kNoTls);
    CHECK(pair.client_end.why_text.ends_with("it does not trust the authority of --cert=" +
                                             files.path("client.pem")));
    CHECK(pair.server_end.why_text.ends_with("its certificate is not signed by --trusted-ca-file=" +
                                             files.path("ca.pem")));
    CHECK(pair.server_end.got.empty());
  }
}

TEST_CASE("tls stream: plaintext at a port with TLS is told so in plaintext, then it ends") {
  const Files files;
  Pair pair(files.server(), std::nullopt);
  pair.server_end.on_plain = [&] { pair.server->write("only TLS here"); };
  pair.client->write("GET / HTTP/1.1\r\n\r\n");
  REQUIRE(pair.until_both_closed());
  CHECK(pair.server_end.plaintext == "GET / HTTP/1.1\r\n\r\n");
  CHECK(pair.server_end.got.empty());
  CHECK(pair.client_end.got == "only TLS here");
  CHECK(*pair.client_end.why == CloseReason::kEnd);
}

TEST_CASE("tls stream: a plaintext answer to a TLS handshake is known for what it is") {
  const Files files;
  Loop loop;
  End server_end, client_end;
  std::unique_ptr<TcpStream> server;
  auto listener = TcpListener::listen(loop, "127.0.0.1", 0, [&](std::unique_ptr<TcpStream> s) {
    server = std::move(s);
    server->set_events(server_end);
    server->write("220 mail.example\r\n");
  });
  auto client = TcpStream::connect(loop, "127.0.0.1", (*listener)->port(), client_end,
                                   loaded(files.client()));
  REQUIRE(run_until(loop, [&] { return client_end.why.has_value(); }));
  CHECK(*client_end.why == CloseReason::kPlaintext);
  CHECK(client_end.why_text.ends_with(": it answers without TLS"));
}

TEST_CASE(
    "tls stream: garbage, halves and silence in a handshake end it, in bounded time and room") {
  const Files files;
  TlsOptions port = files.server();
  SUBCASE("a broken hello gets an alert") {
    Pair pair(port, std::nullopt);
    pair.client->write(ByteView("\x16\x03\x01\x00\x05garbage and more of it", 27));
    REQUIRE(pair.until_both_closed());
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(pair.client_end.got.starts_with("\x15\x03"));
  }
  SUBCASE("a record that is never whole, and nothing after it") {
    port.handshake_timeout = 50 * kMillisecond;
    Pair pair(port, std::nullopt);
    pair.client->write(ByteView("\x16\x03\x01\x40\x00half", 9));
    REQUIRE(pair.until_both_closed());
    CHECK(pair.server_end.why_text.ends_with("the handshake did not end within 50 ms"));
  }
  SUBCASE("not a byte") {
    port.handshake_timeout = 50 * kMillisecond;
    Pair pair(port, std::nullopt);
    REQUIRE(pair.until_both_closed());
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(*pair.client_end.why == CloseReason::kEnd);
  }
  SUBCASE("a dialled port that accepts and says nothing") {
    Loop loop;
    End client_end, silent;
    std::unique_ptr<TcpStream> held;
    auto mute = TcpListener::listen(loop, "127.0.0.1", 0, [&](std::unique_ptr<TcpStream> s) {
      held = std::move(s);
      held->set_events(silent);
    });
    TlsOptions dials = files.client();
    dials.handshake_timeout = 50 * kMillisecond;
    auto client = TcpStream::connect(loop, "127.0.0.1", (*mute)->port(), client_end, loaded(dials));
    REQUIRE(run_until(loop, [&] { return client_end.why.has_value(); }));
    CHECK(*client_end.why == CloseReason::kNoTls);
  }
  SUBCASE("records without end") {
    // A message may be as long as its header says, up to OpenSSL's own bound for a hello.
    Pair pair(port, std::nullopt);
    std::string flood = std::string("\x16\x03\x01\x40\x00\x01\x01\xff\xff", 9);
    flood.resize(5 + 16384, 'x');
    for (int i = 0; i < 64; ++i) pair.client->write(ByteView(flood));
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(pair.server->counts().bytes_in <= kTlsHandshakeBytesMax + 128 * 1024);
  }
}

TEST_CASE("tls stream: a connection cut after every byte of its handshake ends, and nothing else") {
  const Files files;
  // What a client sends until it is answered: its hello.
  std::string hello;
  {
    Loop loop;
    End tapped_end, client_end;
    std::unique_ptr<TcpStream> tapped;
    auto wire = TcpListener::listen(loop, "127.0.0.1", 0, [&](std::unique_ptr<TcpStream> s) {
      tapped = std::move(s);
      tapped->set_events(tapped_end);
    });
    auto client =
        TcpStream::connect(loop, "127.0.0.1", (*wire)->port(), client_end, loaded(files.client()));
    REQUIRE(run_until(loop, [&] { return tapped_end.got.size() > 100; }));
    hello = tapped_end.got;
  }
  Pair pair(files.server(), std::nullopt);
  for (std::size_t size = 1; size < hello.size(); size += 7) {
    CAPTURE(size);
    End cut;
    pair.server_end.why.reset();
    auto stream = TcpStream::connect(pair.loop, "127.0.0.1", pair.listener->port(), cut);
    stream->write(ByteView(hello).substr(0, size));
    stream->finish();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
  }
}

}  // namespace capstan::net
