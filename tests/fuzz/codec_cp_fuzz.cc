// What a peer can send inside a CP frame. Whatever the bytes, they decode to a well-formed message
// or to an error, and a message that decodes survives another round unchanged. Each input is taken
// as it is and as edits of a valid message.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/check.h"
#include "net/codec_cp.h"
#include "tests/fuzz/edited.h"
#include "tests/fuzz/reached.h"
#include "tests/support/cp_messages.h"

namespace {

using namespace capstan;

const std::vector<std::string> valid = [] {
  std::vector<std::string> out;
  for (const cp::Message& message : cp::samples::all_kinds()) out.push_back(net::encode(message));
  return out;
}();

test::Reached messages("messages");

void round_trip(ByteView bytes) {
  const Result<cp::Message> message = net::decode_cp(bytes);
  messages.saw(message.has_value());
  if (!message) return;
  const std::string again = net::encode(*message);
  const Result<cp::Message> same = net::decode_cp(again);
  CAPSTAN_ASSERT(same.has_value());
  CAPSTAN_ASSERT(net::encode(*same) == again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const char*>(data), size);
  round_trip(input);
  if (!input.empty()) round_trip(test::edited(valid, input));
  return 0;
}
