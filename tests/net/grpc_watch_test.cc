// etcd's Watch stream over HTTP/2, against a scripted stream of watches.
#include <doctest/doctest.h>

#include "net/grpc_messages.h"
#include "net/grpc_server.h"
#include "tests/net/h2_script.h"
#include "tests/support/scripted_watch.h"

namespace capstan::net {

using namespace test;

namespace {

constexpr std::string_view kWatch = "/etcdserverpb.Watch/Watch";

struct Watching {
  WatchScript node;
  H2Script script;

  Watching() {
    script.handler.open_watch = node.opener();
    script.greet();
  }
  std::vector<H2Frame> open(const Headers& more = {}) {
    return script.say(h2_frame(kHeaders, kEndHeaders, 1, h2_headers(call_headers(kWatch, more))));
  }
  std::vector<H2Frame> ask(std::string_view message) {
    return script.say(h2_frame(kData, 0, 1, grpc_message(message)));
  }
  std::vector<H2Frame> hear(WatchMessage message) {
    node.say.push_back(std::move(message));
    node.ready();
    return script.hear();
  }
};

WatchMessage event(std::string key, std::string value) {
  WatchMessage message;
  message.header.revision = {7};
  WatchEvent put;
  put.kv.key = std::move(key);
  put.kv.value = std::move(value);
  put.kv.mod_revision = {7};
  message.events.push_back(std::move(put));
  return message;
}

std::string payload_of(const std::vector<H2Frame>& frames) {
  std::string out;
  for (const H2Frame& frame : of_stream(frames, 1)) {
    if (frame.type == kData) out += frame.payload;
  }
  return out;
}

const std::string kCreate = pb_bytes(1, pb_bytes(1, "k") + pb_bytes(2, "l") + pb_number(3, 5) +
                                            pb_number(4, 1) + pb_bytes(5, std::string(1, '\1')) +
                                            pb_number(6, 1) + pb_number(7, 9) + pb_number(8, 1));

}  // namespace

TEST_CASE("grpc watch: headers come at once, messages as they are said, in the client's shape") {
  Watching watching;
  const auto opened = watching.open({{"hasleader", "true"}});
  REQUIRE(first_of(opened, kHeaders) != nullptr);
  CHECK(first_of(opened, kHeaders)->headers.at("content-type") == "application/grpc");
  CHECK(watching.node.require_leader);
  watching.ask(kCreate);
  REQUIRE(watching.node.created.size() == 1);
  const WatchRequest& asked = watching.node.created[0];
  CHECK(asked.range.key == "k");
  CHECK(asked.range.end == "l");
  CHECK(asked.start_revision == 5);
  CHECK(asked.progress_notify);
  CHECK(asked.no_delete);
  CHECK(!asked.no_put);
  CHECK(asked.prev_kv);
  CHECK(asked.id == 9);
  CHECK(asked.fragment);

  WatchMessage created;
  created.header.revision = {7};
  created.id = 9;
  created.created = true;
  CHECK(payload_of(watching.hear(created)) ==
        grpc_message(pb_bytes(1, pb_number(3, 7)) + pb_number(2, 9) + pb_number(3, 1)));
  WatchMessage put = event("k", "v");
  put.id = 9;
  KeyValue old;
  old.key = "k";
  old.value = "u";
  put.events[0].prev = old;
  WatchEvent erased;
  erased.deleted = true;
  erased.kv.key = "k2";
  erased.kv.mod_revision = {7};
  put.events.push_back(erased);
  CHECK(payload_of(watching.hear(put)) ==
        grpc_message(
            pb_bytes(1, pb_number(3, 7)) + pb_number(2, 9) +
            pb_bytes(11, pb_bytes(2, pb_bytes(1, "k") + pb_number(3, 7) + pb_bytes(5, "v")) +
                             pb_bytes(3, pb_bytes(1, "k") + pb_bytes(5, "u"))) +
            pb_bytes(11, pb_number(1, 1) + pb_bytes(2, pb_bytes(1, "k2") + pb_number(3, 7)))));
  WatchMessage gone;
  gone.id = 9;
  gone.canceled = true;
  gone.compacted = {12};
  gone.cancel_reason = "why";
  CHECK(payload_of(watching.hear(gone)) ==
        grpc_message(pb_bytes(1, "") + pb_number(2, 9) + pb_number(4, 1) + pb_number(5, 12) +
                     pb_bytes(6, "why")));
}

TEST_CASE("grpc watch: requests come in any pieces, several in one, and not all in the first") {
  Watching watching;
  watching.open();
  const std::string all = grpc_message(kCreate) + grpc_message(pb_bytes(2, pb_number(1, 9))) +
                          grpc_message(pb_bytes(3, "")) + grpc_message("");
  watching.script.say(h2_frame(kData, 0, 1, all));
  for (const char c : all) watching.script.say(h2_frame(kData, 0, 1, std::string(1, c)));
  CHECK(watching.node.created.size() == 2);
  CHECK(watching.node.canceled == std::vector<std::int64_t>{9, 9});
  CHECK(watching.node.progress == 2);
  CHECK(watching.script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc watch: a half-close ends nothing, a reset everything") {
  Watching watching;
  watching.open();
  watching.script.say(h2_frame(kData, kEndStream, 1, grpc_message(kCreate)));
  CHECK(watching.node.created.size() == 1);
  CHECK(!payload_of(watching.hear(event("k", "v"))).empty());
  CHECK(watching.node.open == 1);
  watching.script.say(h2_frame(kResetStream, 0, 1, h2_number(8)));
  CHECK(watching.node.open == 0);
  CHECK(watching.script.session->requests_in_flight() == 0);
  watching.node.ready();  // late, and harmless
  CHECK(of_stream(watching.script.hear(), 1).empty());
}

TEST_CASE("grpc watch: what does not fit the client's window waits with the node, not here") {
  Watching watching;
  watching.open();
  for (int i = 0; i < 10; ++i) watching.node.say.push_back(event("k", std::string(30'000, 'x')));
  watching.node.ready();
  std::size_t bytes = payload_of(watching.script.hear()).size();
  CHECK(bytes == 65'535);
  CHECK(watching.node.say.size() == 7);
  CHECK(watching.script.context.counts.waiting_out_bytes < 30'100);
  for (int i = 0; i < 10; ++i) {
    watching.script.session->receive(h2_frame(kWindowUpdate, 0, 0, h2_number(30'000)) +
                                     h2_frame(kWindowUpdate, 0, 1, h2_number(30'000)));
    bytes += payload_of(watching.script.hear()).size();
  }
  CHECK(bytes > 300'000);
  CHECK(watching.node.say.empty());
  CHECK(watching.script.context.counts.waiting_out_bytes == 0);
}

TEST_CASE("grpc watch: one that asked for fragments gets a large message in parts") {
  for (const bool may_split : {false, true}) {
    Watching watching;
    watching.open();
    watching.script.session->receive(h2_frame(kWindowUpdate, 0, 0, h2_number(1 << 26)) +
                                     h2_frame(kWindowUpdate, 0, 1, h2_number(1 << 26)));
    WatchMessage large = event("k", std::string(900'000, 'x'));
    for (int i = 0; i < 5; ++i) large.events.push_back(large.events[0]);
    large.may_split = may_split;
    const std::string payload = payload_of(watching.hear(large));
    std::vector<std::uint32_t> sizes;
    for (std::size_t at = 0; at < payload.size(); at += 5 + sizes.back()) {
      std::uint32_t size = 0;
      for (std::size_t i = 1; i < 5; ++i) {
        size = size << 8 | static_cast<std::uint8_t>(payload[at + i]);
      }
      sizes.push_back(size);
    }
    if (!may_split) {
      CHECK(sizes.size() == 1);
      continue;
    }
    CHECK(sizes.size() == 3);
    for (const std::uint32_t size : sizes) CHECK(size <= kGrpcMessageBytesMax);
    // fragment: true on all but the last
    CHECK(payload.substr(5, 40).find(pb_number(7, 1)) != std::string::npos);
    CHECK(payload.substr(payload.size() - sizes.back(), 40).find(pb_number(7, 1)) ==
          std::string::npos);
  }
}

TEST_CASE("grpc watch: it ends with a status, and says what is left before") {
  SUBCASE("no leader") {
    Watching watching;
    watching.open();
    WatchMessage last;
    last.end = Refusal{Reason::kNoLeader, "nobody leads"};
    watching.node.say.push_back(event("k", "v"));
    const auto frames = watching.hear(last);
    CHECK(payload_of(frames).size() > 5);
    CHECK(status_of(frames, 1) == "14");
    CHECK(watching.node.open == 0);
  }
  SUBCASE("the deadline of the call") {
    Watching watching;
    watching.open({{"grpc-timeout", "1S"}});
    watching.script.context.now += 2 * kSecond;
    watching.script.session->tick();
    CHECK(status_of(watching.script.hear(), 1) == "4");
    CHECK(watching.node.open == 0);
  }
  SUBCASE("the node stops") {
    Watching watching;
    watching.open();
    watching.script.session->shut();
    CHECK(status_of(watching.script.hear(), 1) == "14");
    CHECK(watching.script.session->finished());
  }
  SUBCASE("bytes that are no request") {
    Watching watching;
    watching.open();
    CHECK(status_of(watching.ask("\xff\xff"), 1) == "13");
    CHECK(watching.node.open == 0);
    CHECK(watching.script.context.counts.buffered_bytes == 0);
  }
  SUBCASE("a message that is too large") {
    Watching watching;
    watching.open();
    const auto frames = watching.script.say(h2_frame(kData, 0, 1, std::string("\0\x7f\0\0\0", 5)));
    CHECK(status_of(frames, 1) == "8");
  }
}

TEST_CASE("grpc watch: a node without watches says so") {
  H2Script script;
  script.greet();
  const auto frames = script.say(h2_call(1, kWatch, kCreate));
  CHECK(status_of(frames, 1) == "12");
}

}  // namespace capstan::net
