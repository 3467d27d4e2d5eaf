// etcd's lock and election services over HTTP/2.
#include <doctest/doctest.h>

#include "net/grpc_server.h"
#include "tests/net/h2_script.h"
#include "tests/support/scripted_watch.h"

namespace capstan::net {

using namespace test;

namespace {

constexpr std::string_view kLock = "/v3lockpb.Lock/Lock";
constexpr std::string_view kObserve = "/v3electionpb.Election/Observe";

std::string lock_of(std::uint64_t lease) { return pb_bytes(1, "l") + pb_number(2, lease); }

struct Calling {
  WatchScript watches;
  H2Script script;

  Calling() {
    script.handler.open_watch = watches.opener();
    script.greet();
  }
  std::vector<H2Frame> call(std::uint32_t stream, std::string_view path, std::string_view message,
                            const Headers& more = {}) {
    return script.say(h2_call(stream, path, message, more));
  }
  // Somebody holds the lock, and stream 3 waits for it.
  void contend(const Headers& more = {}) {
    CHECK(status_of(call(1, kLock, lock_of(7)), 1) == "0");
    CHECK(status_of(call(3, kLock, lock_of(8), more), 3).empty());
    CHECK(script.handler.keys() == 2);
    CHECK(watches.open == 1);
    CHECK(script.context.counts.buffered_bytes > 0);
  }
  void check_given_up() {
    CHECK(script.handler.keys() == 1);
    CHECK(watches.open == 0);
    CHECK(script.context.counts.buffered_bytes == 0);
  }
  void let_go() {
    script.handler.ask(DeleteRangeRequest{.range = {"l/7", ""}});
    WatchMessage gone;
    gone.events.resize(1);
    gone.events[0].deleted = true;
    gone.events[0].kv.key = "l/7";
    watches.say.push_back(gone);
    watches.ready();
  }
};

std::string payload_of(const std::vector<H2Frame>& frames, std::uint32_t stream) {
  std::string out;
  for (const H2Frame& frame : of_stream(frames, stream)) {
    if (frame.type == kData) out += frame.payload;
  }
  return out;
}

std::string header_of(const std::vector<H2Frame>& frames, const std::string& name) {
  for (const H2Frame& frame : frames) {
    const auto found = frame.headers.find(name);
    if (found != frame.headers.end()) return found->second;
  }
  return "";
}

}  // namespace

TEST_CASE("grpc services: a lock is one message and status 0, at once or when it is let go") {
  Calling calling;
  calling.contend();
  calling.let_go();
  const auto frames = calling.script.hear();
  CHECK(status_of(frames, 3) == "0");
  CHECK(payload_of(frames, 3).ends_with(pb_bytes(2, "l/8")));
  CHECK(calling.script.context.counts.buffered_bytes == 0);
  CHECK(calling.script.context.counts.waiting_out_bytes == 0);
  const auto unlocked = calling.call(5, "/v3lockpb.Lock/Unlock", pb_bytes(1, "l/8"));
  CHECK(status_of(unlocked, 5) == "0");
  CHECK(calling.script.handler.keys() == 0);
}

TEST_CASE("grpc services: whoever goes while it waits for a lock leaves no claim") {
  Calling calling;
  SUBCASE("it cancels") {
    calling.contend();
    calling.script.say(h2_frame(kResetStream, 0, 3, h2_number(8)));
    calling.check_given_up();
  }
  SUBCASE("its connection is lost") {
    calling.contend();
    calling.script.session.reset();
    calling.check_given_up();
  }
  SUBCASE("its time is over") {
    calling.contend({{"grpc-timeout", "1S"}});
    calling.script.context.now += 2 * kSecond;
    calling.script.session->tick();
    CHECK(status_of(calling.script.hear(), 3) == "4");
    calling.check_given_up();
  }
  SUBCASE("the node stops") {
    calling.contend();
    calling.script.session->shut();
    const auto frames = calling.script.hear();
    CHECK(status_of(frames, 3) == "14");
    CHECK(calling.script.session->finished());
  }
}

TEST_CASE("grpc services: campaign, leader, proclaim and resign in etcd's bytes") {
  Calling calling;
  const auto won = calling.call(1, "/v3electionpb.Election/Campaign",
                                pb_bytes(1, "e") + pb_number(2, 7) + pb_bytes(3, "v"));
  const std::string leader =
      pb_bytes(1, "e") + pb_bytes(2, "e/7") + pb_number(3, 2) + pb_number(4, 7);
  CHECK(payload_of(won, 1).ends_with(pb_bytes(2, leader)));
  const auto proclaimed =
      calling.call(3, "/v3electionpb.Election/Proclaim", pb_bytes(1, leader) + pb_bytes(2, "w"));
  CHECK(status_of(proclaimed, 3) == "0");
  const auto found = calling.call(5, "/v3electionpb.Election/Leader", pb_bytes(1, "e"));
  CHECK(payload_of(found, 5).ends_with(pb_bytes(2, pb_bytes(1, "e/7") + pb_number(2, 2) +
                                                       pb_number(3, 3) + pb_number(4, 2) +
                                                       pb_bytes(5, "w") + pb_number(6, 7))));
  CHECK(status_of(calling.call(7, "/v3electionpb.Election/Resign", pb_bytes(1, leader)), 7) == "0");
  const auto none = calling.call(9, "/v3electionpb.Election/Leader", pb_bytes(1, "e"));
  CHECK(status_of(none, 9) == "2");
  CHECK(header_of(none, "grpc-message") == "election: no leader");
  CHECK(header_of(none, "capstan-reason") == "key_not_found");
  CHECK(status_of(calling.call(11, "/v3electionpb.Election/Resign", ""), 11) == "2");
}

TEST_CASE("grpc services: an observer is told of each leader until it goes") {
  Calling calling;
  CHECK(status_of(calling.call(1, kObserve, pb_bytes(1, "l")), 1).empty());
  calling.call(3, "/v3electionpb.Election/Campaign",
               pb_bytes(1, "l") + pb_number(2, 7) + pb_bytes(3, "v"));
  for (const char* value : {"v", "w"}) {
    WatchMessage word;
    word.events.resize(1);
    word.events[0].kv.key = "l/7";
    word.events[0].kv.value = value;
    calling.watches.say.push_back(word);
    calling.watches.ready();
    CHECK(payload_of(calling.script.hear(), 1)
              .ends_with(pb_bytes(2, pb_bytes(1, "l/7") + pb_bytes(5, value))));
  }
  CHECK(calling.watches.open == 1);
  calling.script.say(h2_frame(kResetStream, 0, 1, h2_number(8)));
  CHECK(calling.watches.open == 0);
  CHECK(calling.script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc services: one message is a request, and nothing else") {
  Calling calling;
  CHECK(status_of(calling.call(1, kLock, "\xff"), 1) == "13");
  calling.script.say(h2_frame(kHeaders, kEndHeaders, 3, h2_headers(call_headers(kLock))));
  CHECK(status_of(calling.script.say(h2_frame(kData, kEndStream, 3, "")), 3) == "13");
  calling.script.say(h2_frame(kHeaders, kEndHeaders, 5, h2_headers(call_headers(kLock))));
  const std::string twice = grpc_message(lock_of(7)) + grpc_message(lock_of(7));
  CHECK(status_of(calling.script.say(h2_frame(kData, 0, 5, twice)), 5) == "13");
  CHECK(calling.script.context.counts.buffered_bytes == 0);
  const auto unknown = calling.call(7, "/v3lockpb.Lock/Steal", "");
  CHECK(status_of(unknown, 7) == "12");
  CHECK(header_of(unknown, "grpc-message") == "unknown method Steal for service v3lockpb.Lock");
}

TEST_CASE(
    "grpc services: calls that wait count as bytes of requests, and past the bound are refused") {
  Calling calling;
  calling.contend();
  calling.script.options.buffered_bytes_max = calling.script.context.counts.buffered_bytes + 100;
  const auto frames = calling.call(5, kLock, pb_bytes(1, std::string(1, 'l')) + pb_number(2, 9));
  CHECK(status_of(frames, 5).empty());
  const std::string long_name(100, 'n');
  const auto refused = calling.call(7, kLock, pb_bytes(1, long_name) + pb_number(2, 9));
  CHECK(status_of(refused, 7) == "8");
}

TEST_CASE("grpc services: in AP mode they are refused with the reason and the way out") {
  Calling calling;
  calling.script.options.mode = Mode::kAp;
  for (const std::string_view path : {kLock, kObserve}) {
    Calling fresh;
    fresh.script.options.mode = Mode::kAp;
    const auto frames = fresh.call(1, path, pb_bytes(1, "l"));
    CHECK(status_of(frames, 1) == "9");
    CHECK(header_of(frames, "capstan-reason") == "not_in_ap");
    CHECK(header_of(frames, "grpc-message").find("CP mode") != std::string::npos);
    CHECK(fresh.script.handler.handled == 0);
  }
}

}  // namespace capstan::net
