// What encrypted streams have of their own, on real sockets: handshakes, records, and reasons to
// end. That they otherwise behave as plain ones do, uv_tcp_test.cc asks.
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "tests/net/stream_pair.h"

namespace capstan::net {

using namespace stream_test;
using namespace tls_test;
using test::run_until;

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
  Encrypted pair(files);
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
  Pair pair(loaded(files.server()), loaded(files.client()));
  pair.client->write("early");
  CHECK(!pair.client->connected());
  REQUIRE(pair.until([&] { return pair.server_end.got == "early"; }));
  CHECK(pair.client_end.connected);
  CHECK(pair.client->connected());
}

TEST_CASE("tls stream: finish() before the handshake is done still delivers, in order") {
  const Files files;
  Pair pair(loaded(files.server()), loaded(files.client()));
  pair.client->write("all I had to say");
  pair.client->finish();
  REQUIRE(pair.until_both_closed());
  CHECK(pair.server_end.got == "all I had to say");
  CHECK(*pair.server_end.why == CloseReason::kEnd);
  CHECK(*pair.client_end.why == CloseReason::kFinished);
}

TEST_CASE("tls stream: an end without a word is no end in order, since a tail may be missing") {
  const Files files;
  Encrypted pair(files);
  pair.client->write("half a");
  REQUIRE(pair.until([&] { return pair.server_end.got == "half a"; }));
  pair.client.reset();
  REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
  CHECK(*pair.server_end.why == CloseReason::kReset);
}

TEST_CASE("tls stream: may be destroyed in its own callbacks") {
  const Files files;
  SUBCASE("on_close, of a handshake that fails") {
    TlsOptions wrong = files.client();
    test::Authority other("another authority");
    other.write(wrong.authority.path = files.path("other.pem"));
    DiesWithIt dies;
    Pair pair(loaded(files.server()), nullptr);
    dies.stream =
        TcpStream::connect(pair.loop, "127.0.0.1", pair.listener->port(), dies, loaded(wrong));
    REQUIRE(pair.until([&] { return dies.why.has_value(); }));
    CHECK(*dies.why == CloseReason::kNoTls);
  }
  SUBCASE("before the handshake is done") {
    Pair pair(loaded(files.server()), loaded(files.client()));
    REQUIRE(pair.until([&] { return pair.server != nullptr; }));
    pair.client.reset();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kReset);
    CHECK(pair.server_end.why_text.ends_with(" left during the TLS handshake"));
    CHECK(!pair.client_end.why.has_value());
  }
}

TEST_CASE("tls stream: who cannot be verified is no partner, and both sides say why") {
  const Files files;
  SUBCASE("a stranger's certificate") {
    TlsOptions wrong = files.client();
    test::Authority other("another authority");
    other.write(wrong.authority.path = files.path("other.pem"));
    Pair pair(loaded(files.server()), loaded(wrong));
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
    Pair pair(loaded(files.server()), loaded(files.client()));
    REQUIRE(pair.until_both_closed());
    CHECK(pair.client_end.why_text.ends_with(
        "its certificate is not for 127.0.0.1, but for elsewhere.example"));
  }
}

TEST_CASE("tls stream: a port that demands certificates takes its authority's, and no others") {
  const Files files;
  SUBCASE("one of the authority's") {
    Pair pair(loaded(files.strict_server()), loaded(files.known_client()));
    pair.client->write("hello");
    REQUIRE(pair.until([&] { return pair.server_end.got == "hello"; }));
  }
  SUBCASE("none") {
    Pair pair(loaded(files.strict_server()), loaded(files.client()));
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
    Pair pair(loaded(files.strict_server()), loaded(files.known_client()));
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
  Pair pair(loaded(files.server()), nullptr);
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
    Pair pair(loaded(port), nullptr);
    pair.client->write(ByteView("\x16\x03\x01\x00\x05garbage and more of it", 27));
    REQUIRE(pair.until_both_closed());
    CHECK(*pair.server_end.why == CloseReason::kNoTls);
    CHECK(pair.client_end.got.starts_with("\x15\x03"));
  }
  SUBCASE("a record that is never whole, and nothing after it") {
    port.handshake_timeout = 50 * kMillisecond;
    Pair pair(loaded(port), nullptr);
    pair.client->write(ByteView("\x16\x03\x01\x40\x00half", 9));
    REQUIRE(pair.until_both_closed());
    CHECK(pair.server_end.why_text.ends_with("the handshake did not end within 50 ms"));
  }
  SUBCASE("not a byte") {
    port.handshake_timeout = 50 * kMillisecond;
    Pair pair(loaded(port), nullptr);
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
    Pair pair(loaded(port), nullptr);
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
  Pair pair(loaded(files.server()), nullptr);
  for (std::size_t size = 1; size < hello.size(); size += 7) {
    CAPTURE(size);
    End cut;
    pair.server_end.why.reset();
    auto stream = TcpStream::connect(pair.loop, "127.0.0.1", pair.listener->port(), cut);
    stream->write(ByteView(hello).substr(0, size));
    stream->finish();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kReset);
  }
}

}  // namespace capstan::net
