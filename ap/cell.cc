#include "ap/cell.h"

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::ap {
namespace {

constexpr std::uint8_t kTombstone = 1;

void put_tag(std::string& out, const LwwTag& tag) {
  put_u64(out, tag.stamp.value);
  put_u64(out, tag.dot.actor.node.value);
  put_varint(out, tag.dot.actor.incarnation);
  put_varint(out, tag.dot.sequence.value);
}

LwwTag read_tag(Reader& in) {
  LwwTag tag;
  tag.stamp.value = in.u64();
  tag.dot.actor.node.value = in.u64();
  tag.dot.actor.incarnation = static_cast<Incarnation>(in.varint());
  tag.dot.sequence.value = in.varint();
  return tag;
}

}  // namespace

std::string encode_cell(const Cell& cell) {
  std::string out;
  out.reserve(48 + cell.value.size());
  put_u8(out, cell.deletes ? kTombstone : 0);
  put_tag(out, cell.tag);
  put_varint(out, cell.create.value);
  put_varint(out, cell.mod.value);
  put_varint(out, cell.version);
  out.append(cell.value);
  return out;
}

Cell decode_cell(ByteView bytes) {
  Reader in(bytes);
  Cell cell;
  cell.deletes = in.u8() == kTombstone;
  cell.tag = read_tag(in);
  cell.create.value = in.varint();
  cell.mod.value = in.varint();
  cell.version = in.varint();
  cell.value = in.raw(in.left());
  CAPSTAN_ASSERT(in.ok());
  return cell;
}

bool is_tombstone(ByteView encoded_cell) {
  CAPSTAN_ASSERT(!encoded_cell.empty());
  return static_cast<std::uint8_t>(encoded_cell.front()) == kTombstone;
}

Bucket bucket_of(ByteView key) { return static_cast<Bucket>(xxh3(key) >> 56); }

Hash128 hash_of(ByteView key, const Cell& cell) {
  std::string canonical;
  canonical.reserve(32 + key.size() + cell.value.size());
  put_bytes(canonical, key);
  put_tag(canonical, cell.tag);
  canonical.append(cell.value);
  return xxh3_128(canonical);
}

}  // namespace capstan::ap
