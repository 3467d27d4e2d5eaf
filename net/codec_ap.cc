#include "net/codec_ap.h"

#include <cstdint>
#include <cstring>
#include <vector>

// Cap'n Proto 0.9 and clang 19 disagree about comparing StringPtr under C++20; these two, seen
// first, settle it (contract, "Toolchain").
#ifdef __clang__
#include <kj/string.h>
namespace kj {
inline bool operator==(const char* a, const StringPtr& b) { return b == StringPtr(a); }
inline bool operator!=(const char* a, const StringPtr& b) { return !(b == StringPtr(a)); }
}  // namespace kj
#endif
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "ap.capnp.h"
#include "ap/packed.h"
#include "core/limits.h"

namespace capstan::net {
namespace {

// A message is read once and is flat: more words than the frame has, or deeper nesting, is an
// attack.
capnp::ReaderOptions reader_options() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kFrameBytesMax / sizeof(capnp::word) + 64;
  options.nestingLimit = 4;
  return options;
}

Result<ap::Message> read(kj::ArrayPtr<const capnp::word> words) {
  try {
    capnp::FlatArrayMessageReader reader(words, reader_options());
    const auto root = reader.getRoot<schema::ApMessage>();
    const auto body = root.getBody();
    if (root.getKind() > UINT8_MAX) return fail(ErrorCode::kMalformed, "ap message kind");
    Result<ap::Body> unpacked = ap::unpack(
        static_cast<ap::Kind>(root.getKind()),
        shared_bytes(std::string(reinterpret_cast<const char*>(body.begin()), body.size())));
    if (!unpacked) return std::unexpected(unpacked.error());
    return ap::Message{Epoch{root.getEpoch()}, std::move(*unpacked)};
  } catch (const kj::Exception& e) {  // truncated or hostile; it validates on access
    return fail(ErrorCode::kMalformed, e.getDescription().cStr());
  }
}

}  // namespace

std::string encode(const ap::Message& message) {
  const std::string body = ap::pack(message.body);
  capnp::MallocMessageBuilder builder(
      static_cast<unsigned>(body.size() / sizeof(capnp::word) + 16));
  auto root = builder.initRoot<schema::ApMessage>();
  root.setEpoch(message.epoch.value);
  root.setKind(static_cast<std::uint16_t>(ap::kind_of(message.body)));
  root.setBody(kj::arrayPtr(reinterpret_cast<const kj::byte*>(body.data()), body.size()));
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  return std::string(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

Result<ap::Message> decode_ap(ByteView frame) {
  if (frame.size() % sizeof(capnp::word) != 0 || frame.size() > kFrameBytesMax) {
    return fail(ErrorCode::kMalformed, "ap frame: not whole words, or too many");
  }
  const std::size_t count = frame.size() / sizeof(capnp::word);
  if (reinterpret_cast<std::uintptr_t>(frame.data()) % alignof(capnp::word) == 0) {
    return read(kj::arrayPtr(reinterpret_cast<const capnp::word*>(frame.data()), count));
  }
  std::vector<capnp::word> aligned(count);
  std::memcpy(aligned.data(), frame.data(), frame.size());
  return read(kj::arrayPtr(aligned.data(), count));
}

}  // namespace capstan::net
