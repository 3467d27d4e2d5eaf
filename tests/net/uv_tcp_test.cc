#include "net/uv_tcp.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "net/uv_timer.h"
#include "tests/net/stream_pair.h"

namespace capstan::net {
namespace {

using namespace stream_test;
using test::run_until;

// ---- Plain or encrypted -------------------------------------------------------------------------

TEST_CASE_TEMPLATE("stream: bytes of every size arrive in order, both ways", Kind, Plain,
                   Encrypted) {
  Kind pair;
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
  const std::uint64_t wire = pair.client->counts().bytes_out;
  CHECK((Kind::kEncrypted ? wire > sent.size() : wire == sent.size()));  // records have headers
}

TEST_CASE_TEMPLATE(
    "stream: what is written while the kernel is still taking earlier bytes follows them", Kind,
    Plain, Encrypted) {
  Kind pair;
  std::string sent = pattern(8'000'000, 3);
  pair.server->pause_reading();
  pair.client->write(std::string(sent));
  pair.client->write("tail");  // small, and in the kernel's hands when more comes
  sent += "tail";
  int turns = 0;
  Timer writer(pair.loop);
  writer.every(kMillisecond, [&] {
    const std::string bytes = pattern(100, static_cast<std::uint64_t>(++turns));
    pair.client->write(ByteView(bytes));
    sent += bytes;
    if (turns == 50) {
      writer.cancel();
      pair.server->resume_reading();
    }
  });
  REQUIRE(pair.until([&] { return turns == 50 && pair.server_end.got.size() >= sent.size(); }));
  CHECK((pair.server_end.got == sent));
}

TEST_CASE_TEMPLATE(
    "stream: finish() writes all that is queued, then ends, though the other side still talks",
    Kind, Plain, Encrypted) {
  Kind pair;
  const std::string reply = pattern(3'000'000, 1);
  pair.server_end.then = [&](ByteView) {
    if (!pair.server->open()) return;
    pair.server->write(ByteView(reply));
    pair.server->finish();
    CHECK(!pair.server->open());
    pair.client->write(std::string(100'000, 'y'));  // unread by the server when it closes
  };
  pair.client->write("request");
  REQUIRE(pair.until([&] { return pair.client_end.why && pair.server_end.why; }));
  CHECK((pair.client_end.got == reply));
  CHECK(*pair.client_end.why == CloseReason::kEnd);
  CHECK(*pair.server_end.why == CloseReason::kFinished);
  CHECK(pair.server_end.got == "request");
}

TEST_CASE_TEMPLATE("stream: a reader that is too slow loses its connection, not our memory", Kind,
                   Plain, Encrypted) {
  Kind pair;
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
  // and headers of what is already encrypted
  CHECK(most <= 1'000'000 + (Kind::kEncrypted ? 16 * 32 : 0));
  filler.cancel();
}

TEST_CASE_TEMPLATE("stream: on_drained() comes once when the queue has fallen to half of the mark",
                   Kind, Plain, Encrypted) {
  Kind pair;
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

TEST_CASE_TEMPLATE("stream: while reading is paused nothing comes, afterwards everything", Kind,
                   Plain, Encrypted) {
  Kind pair;
  pair.server->pause_reading();
  pair.client->write("held");
  test::run_for(pair.loop, 5 * kMillisecond);
  CHECK(pair.server_end.got.empty());
  pair.server->resume_reading();
  REQUIRE(pair.until([&] { return pair.server_end.got == "held"; }));
}

TEST_CASE_TEMPLATE("stream: paused within a callback, what was read already waits for resume", Kind,
                   Plain, Encrypted) {
  Kind pair;
  const std::string sent = pattern(2'000'000, 9);
  bool paused = false;
  pair.server_end.then = [&](ByteView) {
    CHECK(!paused);
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

TEST_CASE_TEMPLATE("stream: a stream changes hands from one listener to the next", Kind, Plain,
                   Encrypted) {
  Kind pair;
  End next;
  pair.server_end.then = [&](ByteView) { pair.server->set_events(next); };
  pair.client->write("first");
  REQUIRE(pair.until([&] { return pair.server_end.got == "first"; }));
  pair.client->write("second");
  REQUIRE(pair.until([&] { return next.got == "second"; }));
  CHECK(pair.server_end.got == "first");
}

TEST_CASE_TEMPLATE("stream: may be destroyed in on_bytes", Kind, Plain, Encrypted) {
  Kind pair;
  pair.server_end.then = [&](ByteView) { pair.server.reset(); };
  pair.client->write(std::string(500'000, 'z'));
  REQUIRE(pair.until([&] { return pair.client_end.why.has_value(); }));
  CHECK(pair.server_end.reads == 1);
  CHECK(!pair.server_end.why.has_value());
}

// ---- TCP alone
// ------------------------------------------------------------------------------------

TEST_CASE("tcp: what one turn writes is read as one piece") {
  Plain pair;
  pair.loop.post([&] {
    for (int i = 0; i < 100; ++i) pair.client->write("0123456789");
    pair.client->write(std::string(8000, 'x'));
    CHECK(pair.client->queued_bytes() == 9000);  // nothing leaves within the turn
  });
  REQUIRE(pair.until([&] { return pair.server_end.got.size() == 9000; }));
  CHECK(pair.server_end.reads == 1);
}

TEST_CASE("tcp: bytes written before the connection stands wait for it") {
  Loop loop;
  End client_end, server_end;
  std::unique_ptr<TcpStream> server;
  auto listener = TcpListener::listen(loop, "localhost", 0, [&](std::unique_ptr<TcpStream> s) {
    server = std::move(s);
    server->set_events(server_end);
  });
  REQUIRE(listener);
  CHECK((*listener)->address() == "127.0.0.1:" + std::to_string((*listener)->port()));
  auto client =
      TcpStream::connect(loop, "localhost", (*listener)->port(), client_end);  // looked up
  client->write("early");
  REQUIRE(run_until(loop, [&] { return server_end.got == "early"; }));
  CHECK(client->remote() == (*listener)->address());
}

TEST_CASE("tcp: a port without a listener is kCannotConnect, and says which") {
  Loop loop;
  std::uint16_t port = 0;
  {
    auto listener = TcpListener::listen(loop, "127.0.0.1", 0, [](std::unique_ptr<TcpStream>) {});
    REQUIRE(listener);
    port = (*listener)->port();
  }
  End end;
  auto stream = TcpStream::connect(loop, "127.0.0.1", port, end);
  REQUIRE(run_until(loop, [&] { return end.why.has_value(); }));
  CHECK(*end.why == CloseReason::kCannotConnect);
  CHECK(end.why_text == "connect 127.0.0.1:" + std::to_string(port) + ": connection refused");
  CHECK(!stream->open());
}

TEST_CASE("tcp: a host nobody knows is kCannotConnect") {
  Loop loop;
  End end;
  auto stream = TcpStream::connect(loop, "no-such-host.invalid", 1, end);
  REQUIRE(run_until(loop, [&] { return end.why.has_value(); }));
  CHECK(*end.why == CloseReason::kCannotConnect);
}

TEST_CASE("tcp: destroying a stream that is still looking up or dialling is safe and silent") {
  Loop loop;
  End end;
  TcpStream::connect(loop, "localhost", 1, end).reset();
  TcpStream::connect(loop, "127.0.0.1", 1, end).reset();
  test::run_for(loop, 5 * kMillisecond);
  CHECK(!end.why.has_value());
}

TEST_CASE("tcp: two listeners cannot have one address") {
  Loop loop;
  auto first = TcpListener::listen(loop, "127.0.0.1", 0, [](std::unique_ptr<TcpStream>) {});
  REQUIRE(first);
  auto second =
      TcpListener::listen(loop, "127.0.0.1", (*first)->port(), [](std::unique_ptr<TcpStream>) {});
  REQUIRE(!second);
  CHECK(second.error().code == ErrorCode::kExists);
  CHECK(second.error().context.find("address already in use") != std::string::npos);
  auto nowhere = TcpListener::listen(loop, "192.0.2.1", 0, [](std::unique_ptr<TcpStream>) {});
  REQUIRE(!nowhere);
  CHECK(nowhere.error().code == ErrorCode::kNotFound);
}

TEST_CASE("tcp: the other side's close, reset and silence are told apart") {
  SUBCASE("destroyed: an end in order, and nothing at the one that destroyed") {
    Plain pair;
    pair.client.reset();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kEnd);
    CHECK(!pair.client_end.why.has_value());
  }
  SUBCASE("reset") {
    Plain pair;
    pair.client->reset();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kReset);
    CHECK(!pair.client_end.why.has_value());
  }
}

TEST_CASE("tcp: a stream may be destroyed when it hears that it cannot connect") {
  Loop loop;
  DiesWithIt dies;
  dies.stream = TcpStream::connect(loop, "127.0.0.1", 1, dies);
  CHECK(run_until(loop, [&] { return dies.why.has_value(); }));
  CHECK(dies.stream == nullptr);
}

}  // namespace
}  // namespace capstan::net
