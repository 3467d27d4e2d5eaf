// Two ends of one connection on one loop, plain or encrypted, and what each was told.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/random.h"
#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "tests/net/tls_files.h"
#include "tests/support/loop_until.h"

namespace capstan::net::stream_test {

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

// A stream that destroys itself when it hears of its end.
struct DiesWithIt : End {
  void on_close(CloseReason reason, const std::string& text) override {
    End::on_close(reason, text);
    stream.reset();
  }
  std::unique_ptr<TcpStream> stream;
};

// A port and who dials it, each with TLS or, if null, without.
struct Pair {
  Pair(std::shared_ptr<TlsContext> port, std::shared_ptr<TlsContext> dials) {
    auto opened = TcpListener::listen(
        loop, "127.0.0.1", 0,
        [this](std::unique_ptr<TcpStream> s) {
          server = std::move(s);
          server->set_events(server_end);
        },
        std::move(port));
    REQUIRE(opened);
    listener = std::move(*opened);
    client = TcpStream::connect(loop, "127.0.0.1", listener->port(), client_end, std::move(dials));
  }
  bool until(const std::function<bool()>& holds) { return test::run_until(loop, holds); }
  bool until_connected() {
    return until([&] { return server && client_end.connected; });
  }
  bool until_both_closed() {
    return until([&] { return client_end.why.has_value() && server_end.why.has_value(); });
  }

  Loop loop;
  End client_end, server_end;
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<TcpStream> client, server;
};

// The two kinds of a connection that stands, for TEST_CASE_TEMPLATE: their owner sees no
// difference.
struct Plain : Pair {
  static constexpr bool kEncrypted = false;
  Plain() : Pair(nullptr, nullptr) { REQUIRE(until_connected()); }
};
struct Encrypted : Pair {
  static constexpr bool kEncrypted = true;
  explicit Encrypted(const tls_test::Files& files = {})
      : Pair(tls_test::loaded(files.server()), tls_test::loaded(files.client())) {
    REQUIRE(until_connected());
  }
};

inline std::string pattern(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(rng.next());
  return out;
}

}  // namespace capstan::net::stream_test
