// etcd's LeaseKeepAlive stream over HTTP/2.
#include <doctest/doctest.h>

#include <algorithm>

#include "core/limits.h"
#include "net/grpc_server.h"
#include "tests/net/h2_script.h"

namespace capstan::net {

using namespace test;

namespace {

constexpr std::string_view kKeepAlive = "/etcdserverpb.Lease/LeaseKeepAlive";

struct Keeping {
  H2Script script;

  Keeping() {
    script.greet();
    const auto opened =
        script.say(h2_frame(kHeaders, kEndHeaders, 1, h2_headers(call_headers(kKeepAlive))));
    REQUIRE(first_of(opened, kHeaders) != nullptr);
  }
  std::vector<H2Frame> ask(std::string_view bytes, std::uint8_t flags = 0) {
    return script.say(h2_frame(kData, flags, 1, bytes));
  }
  std::vector<H2Frame> answer() {
    script.handler.answer_waiting();
    return script.hear();
  }
};

std::string sign_of_life(std::uint64_t id) { return grpc_message(pb_number(1, id)); }

// Behind the header, which the handler makes.
std::string reply_of(std::uint64_t id, std::uint64_t ttl) {
  return (id != 0 ? pb_number(2, id) : "") + (ttl != 0 ? pb_number(3, ttl) : "");
}

std::vector<std::string> replies_in(const std::vector<H2Frame>& frames) {
  std::string bytes;
  for (const H2Frame& frame : of_stream(frames, 1)) {
    if (frame.type == kData) bytes += frame.payload;
  }
  std::vector<std::string> out;
  while (bytes.size() >= 5) {
    const auto size = static_cast<unsigned char>(bytes[4]);
    out.push_back(bytes.substr(5, size));
    bytes.erase(0, 5 + size);
  }
  return out;
}

}  // namespace

TEST_CASE("grpc keep-alive: a reply for each request, in their order, whatever the pieces") {
  Keeping keeping;
  keeping.script.handler.defer_answers = true;
  const std::string both = sign_of_life(7) + sign_of_life(8);
  keeping.ask(both.substr(0, 3));
  keeping.ask(both.substr(3, 6));
  CHECK(replies_in(keeping.ask(both.substr(9))).empty());
  const auto replies = replies_in(keeping.answer());
  REQUIRE(replies.size() == 2);
  CHECK(replies[0].ends_with(reply_of(7, 60)));
  CHECK(replies[1].ends_with(reply_of(8, 60)));
}

TEST_CASE("grpc keep-alive: a lease that is not there has a time to live of nothing") {
  Keeping keeping;
  const auto frames = keeping.ask(sign_of_life(0));
  const auto replies = replies_in(frames);
  REQUIRE(replies.size() == 1);
  CHECK(status_of(frames, 1).empty());
}

TEST_CASE("grpc keep-alive: who says no more is answered to the end, and then the stream is over") {
  Keeping silent;
  CHECK(status_of(silent.ask("", kEndStream), 1) == "0");
  Keeping keeping;
  keeping.script.handler.defer_answers = true;
  CHECK(status_of(keeping.ask(sign_of_life(7), kEndStream), 1).empty());
  const auto frames = keeping.answer();
  CHECK(replies_in(frames).size() == 1);
  CHECK(status_of(frames, 1) == "0");
}

TEST_CASE("grpc keep-alive: what goes wrong ends the stream, behind what went well") {
  Keeping keeping;
  CHECK(replies_in(keeping.ask(sign_of_life(7))).size() == 1);
  Reply unknown;
  unknown.outcome = Outcome::kUnknown;
  unknown.reason = Reason::kTimeout;
  unknown.detail = "unknown: no majority";
  keeping.script.handler.forced = unknown;
  const auto frames = keeping.ask(sign_of_life(7));
  CHECK(status_of(frames, 1) == "14");
  CHECK(std::ranges::any_of(frames, [](const H2Frame& frame) {
    const auto reason = frame.headers.find("capstan-reason");
    return reason != frame.headers.end() && reason->second == "timeout";
  }));
  CHECK(keeping.ask(sign_of_life(7)).empty());
  Keeping garbled;
  CHECK(status_of(garbled.ask(grpc_message("\xff")), 1) == "13");
}

TEST_CASE("grpc keep-alive: who asks and never reads is stopped at some point") {
  Keeping keeping;
  keeping.script.handler.defer_answers = true;
  std::string many;
  for (int i = 0; i < 2000; ++i) many += sign_of_life(7);
  REQUIRE(many.size() < 16384);
  std::string status;
  std::size_t asked = 0;
  for (; asked <= kKeepAlivesMax && status.empty(); asked += 2000) {
    status = status_of(keeping.ask(many), 1);
  }
  CHECK(status == "8");
  CHECK(asked > kKeepAlivesMax);
  CHECK(keeping.script.handler.waiting() == kKeepAlivesMax);
}

TEST_CASE("grpc keep-alive: an answer that comes when the client has gone harms nobody") {
  Keeping keeping;
  keeping.script.handler.defer_answers = true;
  keeping.ask(sign_of_life(7));
  keeping.script.say(h2_frame(kResetStream, 0, 1, h2_number(8)));
  keeping.answer();
  keeping.script.session.reset();
  Keeping closing;
  closing.script.handler.defer_answers = true;
  closing.ask(sign_of_life(7));
  closing.script.session->shut();
  CHECK(status_of(closing.script.hear(), 1) == "14");
}

}  // namespace capstan::net
