#include "net/codec_cp.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/limits.h"
#include "core/random.h"
#include "tests/support/cp_messages.h"

using namespace capstan;
using namespace capstan::cp;
using namespace capstan::cp::samples;

TEST_CASE("cp codec: every kind comes back as it went, byte for byte") {
  const std::vector<Message> messages = all_kinds();
  REQUIRE(messages.size() == std::variant_size_v<Body>);  // a new kind joins this list
  for (std::size_t i = 0; i < messages.size(); ++i) {
    CAPTURE(i);
    REQUIRE(messages[i].body.index() == i);
    const std::string bytes = net::encode(messages[i]);
    const Result<Message> back = net::decode_cp(bytes);
    REQUIRE(back.has_value());
    CHECK(back->body.index() == i);
    CHECK(back->term == messages[i].term);
    CHECK(net::encode(*back) == bytes);
    // Anywhere in memory.
    const std::string shifted = "x" + bytes;
    CHECK(net::decode_cp(ByteView(shifted).substr(1)).has_value());
  }
}

TEST_CASE("cp codec: an append's entries keep their places, terms and bytes") {
  const Result<Message> back = net::decode_cp(net::encode(all_kinds()[3]));
  REQUIRE(back.has_value());
  const Append& append = std::get<Append>(back->body);
  REQUIRE(append.entries.size() == 2);
  CHECK(append.entries[0].id() == EntryId{{3}, {42}});
  CHECK(*append.entries[0].data == "command");
  CHECK(append.entries[1].id() == EntryId{{6}, {43}});
  CHECK(decode_config(*append.entries[1].data)->learners == std::vector<MemberId>{{4}});
  CHECK(append.entries[1].kind == EntryKind::kConfig);
}

TEST_CASE("cp codec: what no member would send is malformed") {
  const auto refused = [](Message message) {
    const Result<Message> back = net::decode_cp(net::encode(message));
    return !back.has_value() && back.error().code == ErrorCode::kMalformed;
  };
  Append falling{{{5}, {1}}, {}, {}};
  falling.entries.push_back({{4}, {2}, EntryKind::kCommands, nullptr});
  CHECK(refused({{6}, falling}));  // terms never fall
  Append ahead{{{5}, {1}}, {}, {}};
  ahead.entries.push_back({{7}, {2}, EntryKind::kCommands, nullptr});
  CHECK(refused({{6}, ahead}));  // nor are they of the future
  CHECK(refused({{6}, VoteRequest{false, false, {{7}, {1}}}}));
  CHECK(refused({{6}, HeartbeatReply{{1}, {~0ull}, {}, true, false}}));
  CHECK(refused({{6}, Hello{Standing::kNormal, {}, {{MemberId{2}, {}}, {MemberId{2}, {}}}}}));
  CHECK(refused({{6}, Forward{{}, 1, {""}}}));
  CHECK(!net::decode_cp("").has_value());
  CHECK(!net::decode_cp("1234567").has_value());
  CHECK(!net::decode_cp(std::string(kFrameBytesMax + 8, '\0')).has_value());
}

TEST_CASE("cp codec: no truncation and no mutation does harm; what decodes can be encoded") {
  Rng rng{11};
  std::vector<std::string> seeds;
  for (const Message& message : all_kinds()) seeds.push_back(net::encode(message));
  int decoded = 0;
  const auto try_it = [&](const std::string& bytes) {
    const Result<Message> message = net::decode_cp(bytes);
    if (!message) {
      CHECK(message.error().code == ErrorCode::kMalformed);
      return;
    }
    ++decoded;
    CHECK(net::decode_cp(net::encode(*message)).has_value());
  };
  for (const std::string& seed : seeds) {
    for (std::size_t size = 0; size < seed.size(); size += 8) try_it(seed.substr(0, size));
  }
  for (int i = 0; i < 30'000; ++i) {
    std::string bytes = seeds[rng.below(seeds.size())];
    for (auto flips = 1 + rng.below(8); flips > 0; --flips) {
      bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    }
    try_it(bytes);
  }
  CHECK(decoded > 1000);  // the mutations reach behind the first check
}
