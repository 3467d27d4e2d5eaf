// What a client can post to /api/v1, and what a server can answer: any bytes give a request or a
// sentence, and a request that was understood is written and understood again the same way.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "net/json_api.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan;
  const ByteView input(reinterpret_cast<const char*>(data), size);
  if (const auto request = net::decode_api_request(input)) {
    const std::string json = net::encode_api_request(*request);
    const auto again = net::decode_api_request(json);
    CAPSTAN_ASSERT(again.has_value());
    CAPSTAN_ASSERT(net::encode_api_request(*again) == json);
  }
  (void)net::decode_api_lab(input);
  (void)net::decode_api_reply(input);
  (void)net::decode_api_lab_reply(input);
  return 0;
}
