#include "net/codec_cp.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/limits.h"
#include "core/random.h"

using namespace capstan;
using namespace capstan::cp;

namespace {

// One of each kind, every field away from its default.
std::vector<Message> all_kinds() {
  const Actor life{NodeId{~0ull}, 7};
  const Roll roll = {{MemberId{1}, life}, {MemberId{1ull << 63}, {NodeId{2}, 0}}};
  const EntryId last{{5}, {9}};
  Append append{{{3}, {41}}, {40}, {}};
  append.entries.push_back({{3}, {42}, EntryKind::kCommands, shared_bytes("command")});
  append.entries.push_back({{6}, {43}, EntryKind::kConfig, nullptr});
  SnapshotChunk chunk{last, {{{1}, {2}, {3}}}, 77, 3, true, {}};
  chunk.changes.push_back({Space::kNow, std::string("k\0", 2), std::string(300, 'v')});
  chunk.changes.push_back({Space::kMeta, "m", ""});
  chunk.changes.push_back({Space::kGone, "gone", std::nullopt});
  return {
      {{6}, Hello{Standing::kImpaired, life, roll}},
      {{6}, VoteRequest{true, true, last}},
      {{6}, VoteReply{true, true, life, roll}},
      {{6}, std::move(append)},
      {{6}, AppendReply{true, false, life, {8}, last}},
      {{6}, Heartbeat{{1}, {2}, {3}, MemberId{4}, life}},
      {{6}, HeartbeatReply{{1}, {2}, {3}, false, true}},
      {{6}, TimeoutNow{}},
      {{6}, Restored{life}},
      {{6}, Forward{life, 9, {"one", std::string(5000, 'x')}}},
      {{6}, ForwardRefused{life, 9, Reason::kNoSpace, "full"}},
      {{6}, ReadRequest{life, 4}},
      {{6}, ReadReply{life, 4, true, {12}}},
      {{6}, std::move(chunk)},
      {{6}, SnapshotReply{last, 77, life, 4, true}},
  };
}

}  // namespace

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
  CHECK(append.entries[1].bytes() == 0);
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
