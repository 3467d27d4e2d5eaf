// Hostile input on every decoder of the front door: mutated bytes do no harm, take bounded memory,
// and leave the books of the door balanced. CAPSTAN_MUTATIONS sets the length of the run.
#include <doctest/doctest.h>

#include "core/random.h"
#include "net/grpc_messages.h"
#include "net/json_api.h"
#include "tests/net/h2_script.h"
#include "tests/net/http_script.h"
#include "tests/support/asked.h"

namespace capstan::net {

using namespace test;

namespace {

int runs() { return static_cast<int>(mutations(100'000)); }

// Flips, cuts, doubles, moves and overwrites; sometimes nothing, so that the good path runs too.
std::string mutated(std::string bytes, Rng& rng) {
  for (std::uint64_t n = rng.below(4); n > 0 && !bytes.empty(); --n) {
    const std::size_t at = rng.below(bytes.size());
    const std::size_t size = 1 + rng.below(std::min<std::size_t>(bytes.size() - at, 40));
    switch (rng.below(6)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(rng.next());
        break;
      case 2:
        bytes.erase(at, size);
        break;
      case 3:
        bytes.insert(rng.below(bytes.size()), bytes.substr(at, size));
        break;
      case 4:
        bytes.resize(at);
        break;
      default:
        for (std::size_t i = 0; i < std::min<std::size_t>(size, 4); ++i) bytes[at + i] = '\xff';
        break;
    }
  }
  return bytes;
}

// Feeds in pieces of any size and takes what comes back; returns how much that was.
std::size_t converse(Session& session, std::string_view bytes, Rng& rng) {
  std::size_t heard = 0;
  while (!bytes.empty() && !session.finished()) {
    const std::size_t size = std::min<std::size_t>(bytes.size(), 1 + rng.below(300));
    session.receive(bytes.substr(0, size));
    bytes.remove_prefix(size);
    std::string out;
    session.produce(out, 64 * 1024);
    heard += out.size();
  }
  session.tick();
  return heard;
}

std::string put_message() { return pb_bytes(1, "key") + pb_bytes(2, "value") + pb_number(4, 1); }

std::string txn_message() {
  const std::string compare =
      pb_number(1, 0) + pb_number(2, 3) + pb_bytes(3, "key") + pb_bytes(7, "value");
  return pb_bytes(1, compare) + pb_bytes(2, pb_bytes(2, put_message())) +
         pb_bytes(2, pb_bytes(1, pb_bytes(1, "a") + pb_bytes(2, "b"))) +
         pb_bytes(3, pb_bytes(4, pb_bytes(2, pb_bytes(3, pb_bytes(1, "key")))));
}

}  // namespace

TEST_CASE("door: mutated HTTP/2 does no harm, and good calls among it are answered") {
  const std::string start =
      std::string(kPreface) + h2_frame(kSettings, 0, 0, std::string("\0\4", 2) + h2_number(65535));
  const std::string calls =
      h2_call(1, "/etcdserverpb.KV/Put", put_message()) + h2_frame(kPing, 0, 0, "12345678") +
      h2_frame(kWindowUpdate, 0, 0, h2_number(1000)) +
      h2_call(3, "/etcdserverpb.KV/Range", pb_bytes(1, "key")) +
      h2_call(5, "/etcdserverpb.KV/Txn", txn_message(), {{"grpc-timeout", "1S"}}) +
      h2_frame(kResetStream, 0, 5, h2_number(8)) +
      h2_call(7, "/etcdserverpb.Maintenance/Status", "") + h2_call(9, "/x/Y", "");
  Rng rng(2026);
  FakeHandler handler;
  handler.keep_requests = false;
  const DoorOptions options;
  DoorContext context{handler, options, {}, 1};
  std::size_t most = 0;
  for (int run = runs(); run > 0; --run) {
    handler.defer_answers = rng.chance(0.2);
    auto session = make_grpc_session(context, [] {});
    most = std::max(most, converse(*session, start + mutated(calls, rng), rng));
    if (rng.chance(0.5)) handler.answer_waiting();
    session.reset();
    handler.answer_waiting();
    REQUIRE(context.counts.buffered_bytes == 0);
    REQUIRE(context.counts.waiting_out_bytes == 0);
  }
  CHECK(handler.handled > static_cast<std::uint64_t>(runs()) / 100);
  CHECK(most < 64 * 1024);
}

TEST_CASE("door: mutated protobuf is decoded or refused") {
  struct Seed {
    GrpcMethod method;
    std::string bytes;
  };
  const Seed seeds[] = {{GrpcMethod::kPut, put_message()},
                        {GrpcMethod::kRange, pb_bytes(1, "a") + pb_bytes(2, "b") + pb_number(3, 7) +
                                                 pb_number(5, 2) + pb_number(6, 4)},
                        {GrpcMethod::kDeleteRange, pb_bytes(1, "a") + pb_bytes(2, "b")},
                        {GrpcMethod::kTxn, txn_message()},
                        {GrpcMethod::kMemberList, pb_number(1, 1)}};
  Rng rng(11);
  int decoded = 0, refused = 0;
  for (int run = runs(); run > 0; --run) {
    const Seed& seed = seeds[rng.below(std::size(seeds))];
    const Result<RequestBody> body = decode_etcd_request(seed.method, mutated(seed.bytes, rng));
    ++(body ? decoded : refused);
  }
  CHECK(decoded > runs() / 100);
  CHECK(refused > runs() / 100);
}

TEST_CASE("door: mutated HTTP/1.1 does no harm, and every whole request is answered") {
  const std::string put = R"({"op":"put","key":"a","value":"b"})";
  const std::string requests =
      "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /api/v1/kv HTTP/1.1\r\nCapstan-Request-Id: r\r\nContent-Length: 34\r\n\r\n" +
      put +
      "POST /v3/kv/put HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "e\r\n{\"key\":\"Zm9v\"}\r\n0\r\n\r\n"
      "GET /api/v1/conflicts?after=1&limit=2 HTTP/1.1\r\nConnection: close\r\n\r\n";
  Rng rng(12);
  FakeHandler handler;
  handler.keep_requests = false;
  const DoorOptions options;
  DoorContext context{handler, options, {}, 1};
  std::size_t most = 0;
  for (int run = runs(); run > 0; --run) {
    handler.defer_answers = rng.chance(0.2);
    auto session = make_http_session(context, [] {});
    most = std::max(most, converse(*session, mutated(requests, rng), rng));
    if (rng.chance(0.5)) handler.answer_waiting();
    session.reset();
    handler.answer_waiting();
    REQUIRE(context.counts.buffered_bytes == 0);
    REQUIRE(context.counts.waiting_out_bytes == 0);
  }
  CHECK(handler.handled > static_cast<std::uint64_t>(runs()) / 100);
  CHECK(context.counts.protocol_errors > static_cast<std::uint64_t>(runs()) / 100);
  CHECK(most < 64 * 1024);
}

TEST_CASE("door: mutated JSON is decoded or refused, on both sides of the API") {
  FakeHandler handler;
  std::vector<std::string> replies;
  for (const RequestBody& body :
       {RequestBody(StatusRequest{}), RequestBody(MembersRequest{}), RequestBody(BooksRequest{}),
        RequestBody(PutRequest{.key = "k", .value = "v"}),
        RequestBody(RangeRequest{.range = {.key = "k", .end = "z"}})}) {
    Request request;
    request.body = body;
    handler.handle(std::move(request),
                   [&](Reply reply) { replies.push_back(encode_api_reply(reply, handler)); });
  }
  const std::string requests[] = {
      R"({"op":"txn","compare":[{"key":"a","target":"version","result":"=","number":1}],)"
      R"("success":[{"op":"put","key":{"base64":"AP8="},"value":"2"}],"failure":[]})",
      R"({"op":"get","key":"a","prefix":true,"limit":3,"order":"descend","sort":"mod"})",
      R"({"op":"drop","drops":[{"peer":"n2","in":true,"out":false}],"for_micros":5000000})",
      R"({"key":"Zm9v","range_end":"Zw==","limit":"1","sort_order":"DESCEND"})",
  };
  Rng rng(13);
  int decoded = 0, refused = 0;
  for (int run = runs(); run > 0; --run) {
    const std::string json = mutated(requests[rng.below(std::size(requests))], rng);
    bool any = decode_api_request(json).has_value();
    any |= decode_api_lab(json).has_value();
    if (run % 4 == 0) any |= decode_etcd_json(GrpcMethod::kRange, json).has_value();
    ++(any ? decoded : refused);
    if (run % 4 == 1) {
      (void)decode_api_reply(mutated(replies[rng.below(replies.size())], rng));
    }
  }
  CHECK(decoded > runs() / 100);
  CHECK(refused > runs() / 100);
}

}  // namespace capstan::net
