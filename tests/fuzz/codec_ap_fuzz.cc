// What a peer can send inside an AP frame, and what a log can give back: whatever the bytes, they
// unpack to a well-formed message or to an error, and what unpacks can be packed and unpacked
// again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "ap/packed.h"
#include "core/check.h"
#include "net/codec_ap.h"
#include "tests/fuzz/reached.h"

namespace {

using namespace capstan;

void pack_again(ap::Body body) {
  const ap::Kind kind = ap::kind_of(body);
  if (auto* delta = std::get_if<ap::Delta>(&body)) delta->packed = nullptr;
  if (auto* slice = std::get_if<ap::SyncSlice>(&body)) slice->packed = nullptr;
  const std::string bytes = ap::pack(body);
  const Result<ap::Body> again = ap::unpack(kind, shared_bytes(bytes));
  CAPSTAN_ASSERT(again.has_value());
  CAPSTAN_ASSERT(ap::pack(*again) == bytes);
}

test::Reached bodies("bodies"), messages("messages");

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const char*>(data), size);
  const auto message = net::decode_ap(input);
  if (message) pack_again(message->body);
  if (input.empty()) return 0;
  const auto kind = static_cast<ap::Kind>(input[0]);
  const auto body = ap::unpack(kind, shared_bytes(std::string(input.substr(1))));
  bodies.saw(body.has_value());
  if (!body) return 0;
  pack_again(*body);
  // Around a good body, an envelope with one byte that is not.
  std::string envelope = net::encode(ap::Message{Epoch{1}, *body});
  envelope[data[0] * std::size_t{31} % envelope.size()] ^= input.back();
  const auto enveloped = net::decode_ap(envelope);
  messages.saw(enveloped.has_value());
  if (enveloped) pack_again(enveloped->body);
  return 0;
}
