// Ranges that come slice by slice, as clients see them: the very bytes of an answer in one piece,
// or an end that cannot be taken for one.
#include <doctest/doctest.h>

#include <string>

#include "tests/net/h2_script.h"
#include "tests/net/http_script.h"

namespace capstan::net {

using namespace test;

namespace {

constexpr std::string_view kRange = "/etcdserverpb.KV/Range";

void fill(FakeHandler& handler, int keys = 25) {
  for (int i = 10; i < 10 + keys; ++i) {
    handler.ask(PutRequest{.key = "k" + std::to_string(i),
                           .value = std::string(static_cast<std::size_t>(i) * 40, '\xfe'),
                           .lease = i});
  }
}

std::string data_of(const std::vector<H2Frame>& frames, std::uint32_t stream) {
  std::string out;
  for (const H2Frame& frame : of_stream(frames, stream)) {
    if (frame.type == kData) out += frame.payload;
  }
  return out;
}

std::vector<H2Frame> all_of(H2Script& script, std::string_view call) {
  std::vector<H2Frame> frames = script.say(call);
  while (script.handler.go_on()) {
    for (H2Frame& frame : script.hear()) frames.push_back(std::move(frame));
  }
  return frames;
}

// What chunks hold; `whole`: the last was there.
std::string unchunked(const std::string& response, bool& whole) {
  std::string body = body_in(response), out;
  for (whole = false; !body.empty() && !whole;) {
    std::size_t digits = 0;
    const std::size_t size = std::stoul(body, &digits, 16);
    out += body.substr(digits + 2, size);
    body.erase(0, digits + 2 + size + 2);
    whole = size == 0;
  }
  return out;
}

std::string all_of(HttpScript& script, const std::string& target, const std::string& body) {
  std::string out = script.post(target, body);
  while (script.handler.go_on()) out += script.hear();
  return out;
}

}  // namespace

TEST_CASE("long range: over gRPC it is the one message that it would be in one piece") {
  for (const std::uint64_t limit : {0u, 7u}) {
    H2Script script;
    fill(script.handler);
    script.greet();
    const std::string asked = pb_bytes(1, "k") + pb_bytes(2, "l") + pb_number(3, limit);
    const std::string plain = data_of(script.say(h2_call(1, kRange, asked)), 1);
    CHECK(plain.size() > 1000);
    script.say(h2_frame(kWindowUpdate, 0, 0, h2_number(1'000'000)));
    for (const std::size_t slice : {1u, 4u, 1000u}) {
      script.handler.range_slice = slice;
      const auto stream = static_cast<std::uint32_t>(2 * slice + 1);
      const auto frames = all_of(script, h2_call(stream, kRange, asked));
      CHECK(data_of(frames, stream) == plain);
      CHECK(status_of(frames, stream) == "0");
      CHECK(of_stream(frames, stream).front().headers.at("capstan-outcome") == "ok");
      script.say(h2_frame(kWindowUpdate, 0, 0, h2_number(100'000)));
    }
    CHECK(script.context.counts.waiting_out_bytes == 0);
  }
}

TEST_CASE("long range: a reader that takes nothing is read nothing for") {
  H2Script script;
  fill(script.handler, 60);
  script.greet();
  script.say(h2_frame(kSettings, 0, 0, std::string("\0\4\0\0\0\0", 6)));  // no window at all
  script.handler.range_slice = 1;
  const std::string asked = pb_bytes(1, "k") + pb_bytes(2, "l");
  auto frames = all_of(script, h2_call(1, kRange, asked));
  CHECK(data_of(frames, 1).empty());
  CHECK(script.context.counts.waiting_out_bytes < 16 * 1024);
  CHECK(script.handler.slices_left > SIZE_MAX - 70);  // it was measured, and hardly more
}

TEST_CASE("long range: what is refused on its way is no answer, over gRPC") {
  for (const std::size_t slices : {0u, 3u, 25u, 27u}) {
    CAPTURE(slices);
    H2Script script;
    fill(script.handler);
    script.greet();
    script.handler.range_slice = 1;
    script.handler.slices_left = slices;
    const auto frames = all_of(script, h2_call(1, kRange, pb_bytes(1, "k") + pb_bytes(2, "l")));
    CHECK(status_of(frames, 1) == "11");  // OutOfRange, "required revision has been compacted"
    CHECK(data_of(frames, 1).empty() == (slices < 25));
  }
}

TEST_CASE("long range: over HTTP it is the body that it would be in one piece") {
  const std::pair<std::string, std::string> asked[] = {
      {"/v3/kv/range", R"({"key":"aw==","range_end":"bA=="})"},
      {"/v3/kv/range", R"({"key":"aw==","range_end":"bA==","limit":7})"},
      {"/api/v1/kv", R"({"op":"get","key":"k","end":"l"})"},
      {"/api/v1/kv", R"({"op":"get","key":"k","end":"l","limit":7})"},
  };
  for (const auto& [target, body] : asked) {
    HttpScript script;
    fill(script.handler);
    const std::string plain = body_in(script.post(target, body));
    CHECK(plain.size() > 1000);
    for (const std::size_t slice : {1u, 4u, 1000u}) {
      script.handler.range_slice = slice;
      bool whole = false;
      CHECK(unchunked(all_of(script, target, body), whole) == plain);
      CHECK(whole);
    }
    CHECK(script.context.counts.waiting_out_bytes == 0);
  }
}

TEST_CASE("long range: what is refused on its way breaks the connection, over HTTP") {
  HttpScript script;
  fill(script.handler);
  script.handler.range_slice = 1;
  script.handler.slices_left = 3;
  bool whole = true;
  const std::string got =
      unchunked(all_of(script, "/v3/kv/range", R"({"key":"aw==","range_end":"bA=="})"), whole);
  CHECK(!got.empty());
  CHECK(!whole);
  CHECK(script.session->finished());
}

TEST_CASE("long range: one of nothing, for a count or a revision long ago, is whole too") {
  const std::pair<std::string, std::string> asked[] = {
      {"/v3/kv/range", R"({"key":"aw==","range_end":"bA==","count_only":true})"},
      {"/v3/kv/range", R"({"key":"eA==","range_end":"eQ=="})"},
      {"/api/v1/kv", R"({"op":"get","key":"k","end":"l","count_only":true})"},
      {"/api/v1/kv", R"({"op":"get","key":"x","end":"y"})"},
  };
  for (const auto& [target, body] : asked) {
    HttpScript script;
    fill(script.handler);
    const std::string plain = body_in(script.post(target, body));
    script.handler.range_slice = 1;
    bool whole = false;
    CHECK(unchunked(all_of(script, target, body), whole) == plain);
    CHECK(whole);
  }
}

}  // namespace capstan::net
