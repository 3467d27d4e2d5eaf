#include "net/codec_ap.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "ap/packed.h"
#include "core/limits.h"
#include "core/random.h"
#include "tests/support/ap_messages.h"
#include "tests/support/asked.h"

using namespace capstan;
using namespace capstan::ap;
using namespace capstan::ap::samples;

TEST_CASE("ap codec: every kind comes back as it went, byte for byte") {
  const std::vector<Message> messages = all_kinds();
  REQUIRE(messages.size() == std::variant_size_v<Body>);  // a new kind joins this list
  for (std::size_t i = 0; i < messages.size(); ++i) {
    CAPTURE(i);
    REQUIRE(messages[i].body.index() == i);
    const std::string bytes = net::encode(messages[i]);
    const Result<Message> back = net::decode_ap(bytes);
    REQUIRE(back.has_value());
    CHECK(back->epoch == Epoch{6});
    CHECK(back->body.index() == i);
    CHECK(net::encode(*back) == bytes);
    CHECK(bytes.size() <= pack(messages[i].body).size() + kEnvelopeBytes);
    // Anywhere in memory.
    const std::string shifted = "x" + bytes;
    CHECK(net::decode_ap(ByteView(shifted).substr(1)).has_value());
  }
}

TEST_CASE("ap codec: updates and cells keep their keys, values, stamps and dots") {
  const Delta delta = std::get<Delta>(net::decode_ap(net::encode({{1}, some_delta()}))->body);
  CHECK(delta.updates == some_delta().updates);
  CHECK(delta.deps == some_delta().deps);
  CHECK(delta.ahead == some_delta().ahead);
  CHECK(delta.last == Sequence{43});
  const SyncSlice slice =
      std::get<SyncSlice>(net::decode_ap(net::encode({{1}, some_slice()}))->body);
  CHECK(slice.cells == some_slice().cells);
  CHECK(slice.ahead == some_slice().ahead);
  CHECK(slice.trimmed == some_slice().trimmed);
  CHECK(slice.whole_buckets == some_slice().whole_buckets);
}

TEST_CASE("ap codec: a cell of a slice costs its key and value and at most twelve bytes") {
  SyncSlice slice;
  slice.end_bucket = 256;
  const std::string value(256, 'v');
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    slice.cells.push_back({"key" + std::to_string(1'000'000 + i * 37),
                           value,
                           false,
                           {(1'790'000'000'000ull + i * 3) << 16},
                           {kA, {i * 41}}});
  }
  const std::size_t payload = 1000 * (10 + 256);
  CHECK(pack_slice(slice).size() <= payload + 1000 * 12 + 64);
}

TEST_CASE("ap codec: what no member would send is malformed") {
  const auto refused = [](Body body) {
    const Result<Message> back = net::decode_ap(net::encode({{1}, std::move(body)}));
    return !back.has_value() && back.error().code == ErrorCode::kMalformed;
  };
  Delta circular = some_delta();
  circular.deps.raise(kB, {41});
  CHECK(refused(circular));  // a batch cannot depend on itself
  Delta keyless = some_delta();
  keyless.updates[0].key.clear();
  CHECK(refused(keyless));
  Delta future = some_delta();
  future.updates[0].stamp = {1ull << 63};
  CHECK(refused(future));  // it would push every clock to the end of time
  SyncSlice backwards = some_slice();
  backwards.first_bucket = 256;
  backwards.end_bucket = 3;
  CHECK(refused(backwards));
  SyncSlice both = some_slice();
  both.unfinished = true;
  CHECK(refused(both));
  Beat nobody;
  nobody.actor = {{0}, 1};
  CHECK(refused(nobody));
  CHECK(!net::decode_ap("").has_value());
  CHECK(!net::decode_ap("1234567").has_value());
  CHECK(!net::decode_ap(std::string(kFrameBytesMax + 8, '\0')).has_value());
}

TEST_CASE("ap codec: no truncation and no mutation does harm; what decodes can be encoded") {
  Rng rng{12};
  std::vector<std::string> seeds;
  for (const Message& message : all_kinds()) seeds.push_back(net::encode(message));
  std::uint64_t decoded = 0;
  const auto try_it = [&](const std::string& bytes) {
    Result<Message> message = net::decode_ap(bytes);
    if (!message) {
      CHECK(message.error().code == ErrorCode::kMalformed);
      return;
    }
    ++decoded;
    if (auto* delta = std::get_if<Delta>(&message->body)) delta->packed = nullptr;
    if (auto* slice = std::get_if<SyncSlice>(&message->body)) slice->packed = nullptr;
    CHECK(net::decode_ap(net::encode(*message)).has_value());
  };
  for (const std::string& seed : seeds) {
    for (std::size_t size = 0; size < seed.size(); size += 8) try_it(seed.substr(0, size));
  }
  const std::uint64_t count = test::mutations(30'000);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string bytes = seeds[rng.below(seeds.size())];
    for (auto flips = 1 + rng.below(4); flips > 0; --flips) {
      bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    }
    try_it(bytes);
  }
  CHECK(decoded > count / 100);  // or the mutations only ever break the envelope
}
