#include "net/json_text.h"

#include <doctest/doctest.h>

#include "core/random.h"

namespace capstan::net {

TEST_CASE("json: UTF-8 is told from bytes that only look like it") {
  struct Row {
    std::string bytes;
    bool want;
  };
  const Row rows[] = {
      {"", true},
      {"plain", true},
      {"\xc3\xa9", true},           // e with an acute accent
      {"\xe2\x82\xac", true},       // the euro sign
      {"\xf0\x9f\x98\x80", true},   // outside of the first plane
      {"\xf4\x8f\xbf\xbf", true},   // the last one there is
      {"\xc0\xaf", false},          // overlong
      {"\xe0\x80\xaf", false},      // overlong
      {"\xf0\x80\x80\xaf", false},  // overlong
      {"\xed\xa0\x80", false},      // a surrogate
      {"\xf4\x90\x80\x80", false},  // past the last
      {"\xf5\x80\x80\x80", false},
      {"\x80", false},  // continues nothing
      {"\xc3", false},  // cut short
      {"a\xe2\x82", false},
      {"\xff", false},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    CHECK(is_utf8(row.bytes) == row.want);
  }
}

TEST_CASE("json: base64 gives back what went in, and knows the standard's examples") {
  CHECK(base64_encoded("") == "");
  CHECK(base64_encoded("f") == "Zg==");
  CHECK(base64_encoded("fo") == "Zm8=");
  CHECK(base64_encoded("foo") == "Zm9v");
  CHECK(base64_encoded("foob") == "Zm9vYg==");
  CHECK(base64_decoded("Zm9vYg") == "foob");
  CHECK(base64_decoded("_-8=") == "\xff\xef");
  CHECK_FALSE(base64_decoded("Zm9vY"));
  CHECK_FALSE(base64_decoded("Zm 9v"));
  Rng rng(7);
  for (int run = 0; run < 500; ++run) {
    std::string bytes(rng.below(70), '\0');
    for (char& c : bytes) c = static_cast<char>(rng.next());
    CHECK(base64_decoded(base64_encoded(bytes)) == bytes);
  }
}

TEST_CASE("json: a prefix ends where the next one begins") {
  CHECK(end_of_prefix("abc") == "abd");
  CHECK(end_of_prefix("a\xff") == "b");
  CHECK(end_of_prefix("\xff\xff") == std::string(1, '\0'));
  CHECK(end_of_prefix("") == std::string(1, '\0'));
}

}  // namespace capstan::net
