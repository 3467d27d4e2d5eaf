#include "ap/membership.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace capstan::ap {
namespace {

constexpr MemberId kN1{1}, kN2{2}, kN3{3};

Membership n1() { return Membership({.self = kN1, .peers = {kN2, kN3}}); }

// n1 hears both for a while.
void settle(Membership& m) {
  for (int i = 0; i < 10; ++i) {
    m.tick();
    m.heard(kN2);
    m.heard(kN3);
  }
  m.take_messages();
  m.take_changes();
}

template <class T>
int sent(const std::vector<std::pair<MemberId, Body>>& messages, MemberId to) {
  return static_cast<int>(std::ranges::count_if(messages, [&](const auto& m) {
    return m.first == to && std::holds_alternative<T>(m.second);
  }));
}

// Ticks until n3 has that liveness while n2 goes on being heard.
int until(Membership& m, Liveness wanted) {
  for (int i = 1; i <= 300; ++i) {
    m.heard(kN2);
    m.tick();
    if (m.liveness(kN3) == wanted) return i;
  }
  return -1;
}

}  // namespace

TEST_CASE("membership: nobody is reachable before it was heard") {
  Membership m = n1();
  CHECK(!m.all_reachable());
  CHECK(!m.direct(kN2));
  m.heard(kN2);
  CHECK(m.reachable(kN2));
  CHECK(m.direct(kN2));
  CHECK(!m.all_reachable());
  m.heard(kN3);
  CHECK(m.all_reachable());
  CHECK(m.alone_ticks() == 0);
}

TEST_CASE(
    "membership: a silent member is pinged, asked for through others, suspected, unreachable") {
  Membership m = n1();
  settle(m);
  int pings = 0, asks = 0;
  int suspected = 0, unreachable = 0;
  for (int i = 1; unreachable == 0 && i < 300; ++i) {
    m.heard(kN2);
    m.tick();
    const auto messages = m.take_messages();
    pings += sent<Ping>(messages, kN3);
    asks += sent<PingFor>(messages, kN2);
    if (suspected == 0 && m.liveness(kN3) == Liveness::kSuspect) suspected = i;
    if (m.liveness(kN3) == Liveness::kUnreachable) unreachable = i;
  }
  CHECK(pings > 0);
  CHECK(asks > 0);
  CHECK(suspected > 0);
  CHECK(suspected < unreachable);
  CHECK(unreachable <= 100);                                         // one second
  CHECK(m.alone_ticks() > static_cast<std::uint64_t>(unreachable));  // silent all that time
}

TEST_CASE("membership: after its link closed a member is unreachable much sooner") {
  Membership m = n1();
  settle(m);
  m.link_closed(kN3);
  CHECK(!m.direct(kN3));
  CHECK(until(m, Liveness::kUnreachable) <= 30);
}

TEST_CASE("membership: an answer through another keeps it reachable, though not direct") {
  Membership m = n1();
  settle(m);
  m.link_closed(kN3);
  for (int i = 0; i < 300; ++i) {
    m.heard(kN2);
    m.tick();
    for (const auto& [to, body] : m.take_messages()) {
      if (const auto* ask = std::get_if<PingFor>(&body)) m.receive(kN2, Pong{ask->number, kN3});
    }
    CHECK(m.reachable(kN3));
  }
  CHECK(!m.direct(kN3));
}

TEST_CASE("membership: an unreachable member is probed for ever, and one frame brings it back") {
  Membership m = n1();
  settle(m);
  CHECK(until(m, Liveness::kUnreachable) > 0);
  for (int minute = 0; minute < 3; ++minute) {
    m.take_messages();
    int pings = 0;
    for (int i = 0; i < 1000; ++i) {
      m.heard(kN2);
      m.tick();
      pings += sent<Ping>(m.take_messages(), kN3);
    }
    CHECK(pings >= 20);
  }
  m.take_changes();
  m.heard(kN3);
  CHECK(m.reachable(kN3));
  CHECK(m.take_changes() == std::vector<MemberId>{kN3});
}

TEST_CASE("membership: it pings for others and passes the answer on under their number") {
  Membership m = n1();
  settle(m);
  m.receive(kN2, PingFor{77, kN3});
  auto messages = m.take_messages();
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].first == kN3);
  m.receive(kN3, Pong{std::get<Ping>(messages[0].second).number, kN3});
  messages = m.take_messages();
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].first == kN2);
  CHECK(std::get<Pong>(messages[0].second) == Pong{77, kN3});
}

TEST_CASE("membership: whoever hears that it is suspected refutes with a higher life") {
  Membership m = n1();
  settle(m);
  m.receive(kN2, 0, {{kN1, 0, Liveness::kSuspect}});
  CHECK(m.life() == 1);
  m.receive(kN3, 0, {{kN1, 0, Liveness::kSuspect}});  // old news
  CHECK(m.life() == 1);
}

TEST_CASE("membership: a refutation from the member itself, passed on, ends a suspicion") {
  Membership m = n1();
  settle(m);
  CHECK(until(m, Liveness::kSuspect) > 0);
  m.receive(kN2, 0, {{kN3, 1, Liveness::kAlive}});
  CHECK(m.liveness(kN3) == Liveness::kAlive);
}

}  // namespace capstan::ap
