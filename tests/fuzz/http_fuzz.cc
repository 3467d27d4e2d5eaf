// What a stranger can send to the HTTP/1.1 side of the front door: parser, routes, and the three
// JSON decoders. The first byte says how the stream is cut into reads, the second whether the rest
// is the stream itself or the body of a request that is well formed around it.
#include <cstdint>
#include <string>

#include "net/grpc_messages.h"
#include "net/http_server.h"
#include "net/json_api.h"
#include "tests/fuzz/door_talk.h"
#include "tests/fuzz/reached.h"

namespace {

using namespace capstan;

test::Reached bodies("JSON");

// Bytes that libFuzzer would not hit on by itself: valid bodies, to be edited in place.
const char* const kBodies[] = {
    (R"({"op":"txn","compare":[{"key":"a","target":"version","result":"=","number":1}],)"
     R"("success":[{"op":"put","key":{"base64":"AP8="},"value":"2"}],"failure":[]})"),
    R"({"op":"get","key":"a","prefix":true,"limit":3,"order":"descend","sort":"mod"})",
    R"({"op":"drop","drops":[{"peer":"n2","in":true,"out":false}],"for_micros":5000000})",
    R"({"key":"Zm9v","range_end":"Zw==","limit":"1","sort_order":"DESCEND"})",
    R"({"name":"bA==","lease":"7"})",
    R"({"leader":{"name":"bA==","key":"bC83","rev":"2","lease":"7"},"value":"dg=="})",
};
const char* const kTargets[] = {"POST /api/v1/kv",          "POST /v3/kv/range",
                                "POST /v3/kv/put",          "POST /v3/kv/txn",
                                "POST /api/v1/lab",         "GET /health",
                                "GET /api/v1/conflicts",    "GET /metrics",
                                "POST /v3/lock/lock",       "POST /v3/election/proclaim",
                                "POST /v3/election/observe"};

std::string edited(std::string body, ByteView edits) {
  for (; edits.size() >= 2; edits.remove_prefix(2)) {
    body[static_cast<std::uint8_t>(edits[0]) % body.size()] = edits[1];
  }
  return body;
}

void decode(ByteView json) {
  const bool request = net::decode_api_request(json).has_value();
  const bool lab = net::decode_api_lab(json).has_value();
  const bool range = net::decode_etcd_json(net::GrpcMethod::kRange, json).has_value();
  bodies.saw(request || lab || range);
  (void)net::decode_api_reply(json);
}

std::string stream_of(std::uint8_t shape, ByteView rest) {
  if (shape % 4 == 0) return std::string(rest);
  const std::string body =
      shape % 4 == 1 ? std::string(rest) : edited(kBodies[shape / 4 % std::size(kBodies)], rest);
  decode(body);
  return std::string(kTargets[shape / 16 % std::size(kTargets)]) +
         " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string stream =
      stream_of(data[1], ByteView(reinterpret_cast<const char*>(data) + 2, size - 2));
  test::talk(net::make_http_session, stream, std::size_t{data[0]} + 1, (data[0] & 1) != 0);
  return 0;
}
