#include "core/coding.h"

#include <doctest/doctest.h>

#include "core/random.h"

namespace capstan {
namespace {

TEST_CASE("coding: what was put comes back, and nothing is left") {
  Rng rng{1};
  for (int round = 0; round < 1000; ++round) {
    const std::uint64_t number = rng.next() >> rng.below(64);
    const std::string text(rng.below(300), 'x');
    std::string out;
    put_varint(out, number);
    put_bytes(out, text);
    put_u64_be(out, number);
    Reader reader(out);
    CHECK(reader.varint() == number);
    CHECK(reader.bytes() == text);
    CHECK(reader.u64_be() == number);
    CHECK(reader.done());
  }
}

TEST_CASE("coding: every truncation is noticed, and no length is trusted") {
  std::string out;
  put_varint(out, 300);
  put_bytes(out, "hello");
  put_u32(out, 7);
  for (std::size_t size = 0; size < out.size(); ++size) {
    Reader reader(ByteView(out).substr(0, size));
    reader.varint();
    reader.bytes();
    reader.u32();
    CHECK(!reader.done());
  }
  std::string huge;
  put_varint(huge, ~0ull);
  Reader reader(huge);
  CHECK(reader.bytes().empty());
  CHECK(!reader.ok());
}

TEST_CASE("coding: a varint longer than 64 bits is refused") {
  const std::string eleven(10, '\xff');
  Reader reader(eleven);
  reader.varint();
  CHECK(!reader.ok());
}

}  // namespace
}  // namespace capstan
