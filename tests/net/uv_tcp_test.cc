#include "net/uv_tcp.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/random.h"
#include "net/uv_loop.h"
#include "tests/support/loop_until.h"

namespace capstan::net {
namespace {

using test::run_until;

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

  bool connected = false;
  std::string got;
  int reads = 0;
  int drained = 0;
  std::optional<CloseReason> why;
  std::string why_text;
  std::function<void(ByteView)> then;
};

// A loop, a listener, and one connection through it.
struct Pair {
  Pair() {
    auto opened = TcpListener::listen(loop, "127.0.0.1", 0, [this](std::unique_ptr<TcpStream> s) {
      server = std::move(s);
      server->set_events(server_end);
    });
    REQUIRE(opened);
    listener = std::move(*opened);
    client = TcpStream::connect(loop, "127.0.0.1", listener->port(), client_end);
    REQUIRE(run_until(loop, [&] { return server && client_end.connected; }));
  }
  bool until(const std::function<bool()>& holds) { return run_until(loop, holds); }

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

TEST_CASE("tcp: bytes of every size arrive in order, small, large and shared ones mixed") {
  Pair pair;
  std::string sent;
  Rng rng(7);
  for (int i = 0; i < 400; ++i) {
    const std::string bytes = pattern(rng.below(i % 20 == 0 ? 200'000 : 3'000), rng.next());
    sent += bytes;
    if (i % 3 == 0) pair.client->write(ByteView(bytes));
    if (i % 3 == 1) pair.client->write(std::string(bytes));
    if (i % 3 == 2) pair.client->write(shared_bytes(bytes));
  }
  REQUIRE(pair.until([&] { return pair.server_end.got.size() >= sent.size(); }));
  CHECK((pair.server_end.got == sent));
  CHECK(pair.client->queued_bytes() == 0);
  CHECK(pair.client->counts().bytes_out == sent.size());
  CHECK(pair.server->counts().bytes_in == sent.size());
}

TEST_CASE("tcp: what is written while the kernel is still taking earlier bytes follows them") {
  Pair pair;
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

TEST_CASE("tcp: what one turn writes is read as one piece") {
  Pair pair;
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
    Pair pair;
    pair.client.reset();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kEnd);
    CHECK(!pair.client_end.why.has_value());
  }
  SUBCASE("reset") {
    Pair pair;
    pair.client->reset();
    REQUIRE(pair.until([&] { return pair.server_end.why.has_value(); }));
    CHECK(*pair.server_end.why == CloseReason::kReset);
    CHECK(!pair.client_end.why.has_value());
  }
}

TEST_CASE("tcp: finish() writes all that is queued, then ends, though the other side still talks") {
  Pair pair;
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

TEST_CASE("tcp: a stream may be destroyed in its own callbacks") {
  SUBCASE("on_bytes") {
    Pair pair;
    pair.server_end.then = [&](ByteView) { pair.server.reset(); };
    pair.client->write(std::string(500'000, 'z'));
    REQUIRE(pair.until([&] { return pair.client_end.why.has_value(); }));
    CHECK(pair.server_end.reads == 1);
    CHECK(!pair.server_end.why.has_value());
  }
  SUBCASE("on_close") {
    Loop loop;
    struct Dies : End {
      void on_close(CloseReason reason, const std::string& text) override {
        End::on_close(reason, text);
        stream.reset();
      }
      std::unique_ptr<TcpStream> stream;
    } dies;
    dies.stream = TcpStream::connect(loop, "127.0.0.1", 1, dies);
    CHECK(run_until(loop, [&] { return dies.why.has_value(); }));
    CHECK(dies.stream == nullptr);
  }
}

TEST_CASE("tcp: a reader that is too slow loses its connection, not our memory") {
  Pair pair;
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
  CHECK(most <= 1'000'000);
  filler.cancel();
}

TEST_CASE("tcp: on_drained() comes once when the queue has fallen to half of the mark") {
  Pair pair;
  pair.server->pause_reading();
  pair.client->write(std::string(20'000'000, 'd'));
  pair.client->want_drained(1'000'000);
  pair.loop.post([] {});
  test::run_for(pair.loop, 5 * kMillisecond);
  CHECK(pair.client_end.drained == 0);
  CHECK(pair.client->queued_bytes() > 1'000'000);
  pair.server->resume_reading();
  REQUIRE(pair.until([&] { return pair.client_end.drained > 0; }));
  REQUIRE(pair.until([&] { return pair.server_end.got.size() == 20'000'000; }));
  CHECK(pair.client_end.drained == 1);
}

TEST_CASE("tcp: while reading is paused nothing comes, afterwards everything") {
  Pair pair;
  pair.server->pause_reading();
  pair.client->write("held");
  test::run_for(pair.loop, 5 * kMillisecond);
  CHECK(pair.server_end.got.empty());
  pair.server->resume_reading();
  REQUIRE(pair.until([&] { return pair.server_end.got == "held"; }));
}

TEST_CASE("tcp: a stream changes hands from one listener to the next") {
  Pair pair;
  End next;
  pair.server_end.then = [&](ByteView) { pair.server->set_events(next); };
  pair.client->write("first");
  REQUIRE(pair.until([&] { return pair.server_end.got == "first"; }));
  pair.client->write("second");
  REQUIRE(pair.until([&] { return next.got == "second"; }));
  CHECK(pair.server_end.got == "first");
}

}  // namespace
}  // namespace capstan::net
