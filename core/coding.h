// Little-endian integers, LEB128 varints and length-prefixed bytes: the one encoding of everything
// we write to disk inside a record, and of the packed fields between nodes (docs/formats.md).
//
// A Reader never reads past its end and never trusts a length: the first bad byte makes it fail for
// good, every later read gives zero or empty, and the caller asks ok() once at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/types.h"

namespace capstan {

static_assert(std::endian::native == std::endian::little, "formats are little-endian in memory");

inline void put_u8(std::string& out, std::uint8_t v) { out.push_back(static_cast<char>(v)); }
inline void put_u32(std::string& out, std::uint32_t v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}
inline void put_u64(std::string& out, std::uint64_t v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}
// Big-endian: for keys, where byte order must be number order.
inline void put_u64_be(std::string& out, std::uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) put_u8(out, static_cast<std::uint8_t>(v >> shift));
}
inline void put_varint(std::string& out, std::uint64_t v) {
  while (v >= 0x80) {
    put_u8(out, static_cast<std::uint8_t>(v | 0x80));
    v >>= 7;
  }
  put_u8(out, static_cast<std::uint8_t>(v));
}
inline void put_bytes(std::string& out, ByteView bytes) {
  put_varint(out, bytes.size());
  out.append(bytes);
}

class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  std::uint8_t u8() { return fixed<std::uint8_t>(); }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::uint64_t u64() { return fixed<std::uint64_t>(); }
  std::uint64_t u64_be() {
    std::uint64_t v = 0;
    for (char c : raw(8)) v = (v << 8) | static_cast<std::uint8_t>(c);
    return v;
  }
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = u8();
      if (!ok_) return 0;
      if (shift == 63 && byte > 1) break;  // would not fit 64 bits
      v |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return v;
    }
    ok_ = false;
    return 0;
  }
  // A view into what was given; length checked against what is left.
  ByteView bytes() { return raw(varint()); }
  ByteView raw(std::uint64_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    ByteView out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  // How many items may follow if each takes at least `bytes_each`: bounds a reserve().
  bool plausible(std::uint64_t count, std::uint64_t bytes_each = 1) {
    if (ok_ && count > rest_.size() / bytes_each) ok_ = false;
    return ok_;
  }

  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }
  std::size_t left() const { return rest_.size(); }
  void reject() { ok_ = false; }

 private:
  template <class T>
  T fixed() {
    T v{};
    const ByteView from = raw(sizeof v);
    if (ok_) std::memcpy(&v, from.data(), sizeof v);
    return v;
  }
  ByteView rest_;
  bool ok_ = true;
};

}  // namespace capstan
