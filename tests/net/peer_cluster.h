// Transports on one real loop, for tests of links and of refusals.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/trace.h"
#include "net/peer_transport.h"
#include "net/uv_loop.h"
#include "tests/support/free_ports.h"
#include "tests/support/loop_until.h"

namespace capstan::net::peer_test {

inline constexpr Micros kHeartbeat = 10 * kMillisecond;
inline constexpr Micros kSilence = 80 * kMillisecond;  // E

struct Quiet {
  Quiet() { set_trace_level(Level::kOff); }
  ~Quiet() { set_trace_level(Level::kInfo); }
};

// One node's transport, and what it was told.
struct End : PeerEvents {
  void on_connected(MemberId peer, NodeId) override { story += "+" + number(peer); }
  void on_disconnected(MemberId peer, const std::string& why) override {
    story += "-" + number(peer);
    last_why = why;
  }
  void on_frame(MemberId from, FrameKind kind, ByteView payload) override {
    aligned = aligned && reinterpret_cast<std::uintptr_t>(payload.data()) % 8 == 0;
    frames.push_back(number(from) + ':' + std::string(to_text(kind)) + ':' + std::string(payload));
  }
  void on_mismatch(const std::string& name, const std::string& sentence) override {
    mismatches.push_back(name + ": " + sentence);
  }
  static std::string number(MemberId id) { return std::to_string(id.value); }

  std::unique_ptr<PeerTransport> links;
  std::string story, last_why;
  bool aligned = true;
  std::vector<std::string> frames, mismatches;
};

struct Cluster {
  explicit Cluster(std::size_t size) {
    const std::vector<std::uint16_t> ports = test::free_ports(size);
    for (std::size_t i = 1; i <= size; ++i) {
      members.push_back({MemberId{i}, "n" + std::to_string(i), "127.0.0.1", ports[i - 1]});
      ends.push_back(std::make_unique<End>());
    }
  }

  PeerOptions options(std::size_t i) const {
    return {.self = MemberId{i},
            .node = NodeId{100 + i},
            .cluster = ClusterId{77},
            .mode = Mode::kCp,
            .token_hash = 5,
            .members = members,
            .listen = {{"127.0.0.1", members[i - 1].port}},
            .tls = nullptr,
            .client_urls = {"http://client-" + std::to_string(i)},
            .heartbeat_interval = kHeartbeat,
            .election_timeout = kSilence,
            .queue_bytes_max = 1024 * 1024};
  }
  End& operator[](std::size_t i) { return *ends[i - 1]; }
  PeerTransport& links(std::size_t i) { return *ends[i - 1]->links; }
  void start(std::size_t i) { start(i, options(i)); }
  void start(std::size_t i, PeerOptions with) {
    auto opened = PeerTransport::open(loop, std::move(with), (*this)[i]);
    REQUIRE(opened);
    (*this)[i].links = std::move(*opened);
  }
  void start_all() {
    for (std::size_t i = 1; i <= ends.size(); ++i) start(i);
    REQUIRE(until([&] { return all_connected(); }));
  }
  bool connected(std::size_t a, std::size_t b) {
    return links(a).state(MemberId{b}).connected && links(b).state(MemberId{a}).connected;
  }
  bool all_connected() {
    for (std::size_t a = 1; a <= ends.size(); ++a) {
      for (std::size_t b = a + 1; b <= ends.size(); ++b) {
        if (!connected(a, b)) return false;
      }
    }
    return true;
  }
  bool until(const std::function<bool()>& holds) { return capstan::test::run_until(loop, holds); }
  void cut(std::size_t at, std::size_t peer, bool in, bool out, Micros lasts = 60 * kSecond) {
    links(at).faults().replace({{MemberId{peer}, in, out, Loop::clock().monotonic + lasts}});
  }

  Quiet quiet;
  Loop loop;
  std::vector<PeerAddress> members;
  std::vector<std::unique_ptr<End>> ends;
};

}  // namespace capstan::net::peer_test
