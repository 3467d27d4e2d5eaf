// What a peer can send inside an AP frame, and what a log can give back: whatever the bytes, they
// unpack to a well-formed message or to an error, and what unpacks can be packed and unpacked
// again. Each input is taken as it is, as edits of a valid message, and as edits of a valid body.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ap/packed.h"
#include "core/check.h"
#include "net/codec_ap.h"
#include "tests/fuzz/edited.h"
#include "tests/fuzz/reached.h"
#include "tests/support/ap_messages.h"

namespace {

using namespace capstan;

// The envelopes, and the bodies with their kind before them.
std::vector<std::string> valid_messages, valid_bodies;
const bool filled = [] {
  for (const ap::Message& message : ap::samples::all_kinds()) {
    valid_messages.push_back(net::encode(message));
    valid_bodies.push_back(static_cast<char>(ap::kind_of(message.body)) + ap::pack(message.body));
  }
  return true;
}();

test::Reached messages("messages"), bodies("bodies");

void pack_again(ap::Body body) {
  const ap::Kind kind = ap::kind_of(body);
  if (auto* delta = std::get_if<ap::Delta>(&body)) delta->packed = nullptr;
  if (auto* slice = std::get_if<ap::SyncSlice>(&body)) slice->packed = nullptr;
  const std::string bytes = ap::pack(body);
  const Result<ap::Body> again = ap::unpack(kind, shared_bytes(bytes));
  CAPSTAN_ASSERT(again.has_value());
  CAPSTAN_ASSERT(ap::pack(*again) == bytes);
}

void message(ByteView bytes) {
  const Result<ap::Message> decoded = net::decode_ap(bytes);
  messages.saw(decoded.has_value());
  if (decoded) pack_again(decoded->body);
}

void body(ByteView bytes) {
  const auto kind = static_cast<ap::Kind>(bytes[0]);
  const Result<ap::Body> unpacked = ap::unpack(kind, shared_bytes(std::string(bytes.substr(1))));
  bodies.saw(unpacked.has_value());
  if (unpacked) pack_again(*unpacked);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const char*>(data), size);
  message(input);
  if (input.empty()) return 0;
  body(input);
  message(test::edited(valid_messages, input));
  body(test::edited(valid_bodies, input));
  return 0;
}
