#include "cp/history.h"

#include <cstring>

#include "core/check.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kPut = 1, kDelete = 2;
constexpr std::uint8_t kDigested = 3;  // a digest, then one of the others

}  // namespace

std::string history_key(Place place) {
  std::string out;
  put_u64_be(out, place.revision);
  put_u64_be(out, place.sub);
  return out;
}

Place read_history_key(ByteView key) {
  Reader in(key);
  const std::uint64_t revision = in.u64_be();
  return {revision, in.u64_be()};
}

void put_place(std::string& out, Place place) {
  put_varint(out, place.revision);
  put_varint(out, place.sub);
}

Place read_place(Reader& in) {
  const std::uint64_t revision = in.varint();
  return {revision, in.varint()};
}

Tip read_tip(Reader& in) {
  Tip tip;
  tip.at = read_place(in);
  tip.depth = in.varint();
  tip.ladder = in.raw(in.left());
  return tip;
}

Place Tip::first_above(std::uint64_t revision) const {
  CAPSTAN_ASSERT(at.revision > revision);
  for (Reader in(ladder); in.left() > 0;) {
    const Place rung = read_place(in);
    if (rung.revision > revision) return rung;
  }
  return at;
}

// The prefixes of depth + 1 are those of depth that its trailing ones do not reach, depth itself
// being the last of them.
Step step_from(const Tip& tip, Place at) {
  CAPSTAN_ASSERT(at > tip.at);
  Step step;
  step.prev = tip.at;
  put_place(step.tip, at);
  put_varint(step.tip, tip.depth + 1);
  const int rungs = std::popcount(tip.depth + 1) - 1;
  Reader in(tip.ladder);
  for (int i = 0; i < rungs; ++i) {
    step.skip = in.left() > 0 ? read_place(in) : tip.at;
    put_place(step.tip, step.skip);
  }
  return step;
}

void put_head(std::string& out, const VersionHead& head) {
  put_varint(out, head.create);
  put_varint(out, head.version);
  put_varint(out, static_cast<std::uint64_t>(head.lease));
}

VersionHead read_head(Reader& in) {
  VersionHead head;
  head.create = in.varint();
  head.version = in.varint();
  head.lease = static_cast<std::int64_t>(in.varint());
  return head;
}

std::string encode_change(const ChangeView& change, std::uint64_t& digest) {
  std::string out;
  out.reserve(57 + change.key.size() + change.value.size());
  put_u8(out, kDigested);
  put_u64(out, 0);
  const std::size_t begin = out.size();
  put_u8(out, change.head ? kPut : kDelete);
  put_place(out, change.prev);
  put_place(out, change.skip);
  put_bytes(out, change.key);
  if (change.head) {
    put_head(out, *change.head);
    out.append(change.value);
  }
  digest = xxh3(ByteView(out).substr(begin), digest);
  std::memcpy(out.data() + 1, &digest, sizeof digest);
  return out;
}

ChangeView decode_change(ByteView bytes) {
  Reader in(bytes);
  ChangeView change;
  std::uint8_t kind = in.u8();
  if (kind == kDigested) {
    change.digest = in.u64();
    kind = in.u8();
  }
  change.prev = read_place(in);
  change.skip = read_place(in);
  change.key = in.bytes();
  if (kind == kPut) {
    change.head = read_head(in);
    change.value = in.raw(in.left());
  }
  CAPSTAN_ASSERT(in.done());  // the base checks its records; what it returns is what we wrote
  return change;
}

}  // namespace capstan::cp
