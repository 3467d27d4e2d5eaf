#include "cp/history.h"

#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "core/random.h"

using namespace capstan;
using namespace capstan::cp;

namespace {

// One key's history by itself, with revisions of other keys between its own.
struct Chain {
  std::string tip_bytes;
  std::vector<Place> places{{}};  // by depth; [0]: nowhere
  std::map<Place, std::pair<Place, Place>> links;

  Tip tip() const {
    Reader in(tip_bytes);
    return tip_bytes.empty() ? Tip{} : read_tip(in);
  }
  void grow(Place at) {
    Step step = step_from(tip(), at);
    links[at] = {step.prev, step.skip};
    places.push_back(at);
    tip_bytes = std::move(step.tip);
  }
  Place obvious(std::uint64_t revision) const {
    Place best;
    for (Place place : places) {
      if (place.revision <= revision) best = place;
    }
    return best;
  }
};

}  // namespace

TEST_CASE("history: each change links to the one before and to its depth without the lowest bit") {
  Chain chain;
  for (std::uint64_t depth = 1; depth <= 300; ++depth) {
    chain.grow({depth * 10, depth % 3});
    CAPTURE(depth);
    CHECK(chain.tip().at == chain.places[depth]);
    CHECK(chain.tip().depth == depth);
    const auto& [prev, skip] = chain.links.at(chain.places[depth]);
    CHECK(prev == chain.places[depth - 1]);
    CHECK(skip == chain.places[depth & (depth - 1)]);
  }
}

TEST_CASE("history: the version at any revision is found in O(log² depth) reads") {
  constexpr std::uint64_t kDepth = 5000;
  Rng rng{7};
  Chain chain;
  std::uint64_t revision = 1;
  for (std::uint64_t depth = 1; depth <= kDepth; ++depth) {
    // Twice in one revision now and then, as a transaction may that puts and deletes.
    chain.grow({revision, rng.below(2) + (chain.tip().at.revision == revision ? 2 : 0)});
    if (rng.below(10) > 0) revision += 1 + rng.below(3);
    if (chain.tip().at.sub > 1) ++revision;
  }
  int most = 0;
  for (std::uint64_t at = 0; at <= revision + 1; at += 1 + rng.below(5)) {
    int reads = 0;
    const Place found = place_at(chain.tip(), at, [&](Place place) {
      ++reads;
      return chain.links.at(place);
    });
    CAPTURE(at);
    CHECK(found == chain.obvious(at));
    most = std::max(most, reads);
  }
  CHECK(most > 1);
  CHECK(most <= 13 * 13 / 2);  // 2^13 > kDepth
}

TEST_CASE("history: places sort as bytes as they do as numbers") {
  const Place places[] = {{1, 0}, {1, 255}, {1, 256}, {2, 0}, {255, 9}, {256, 0}, {1ull << 40, 3}};
  for (std::size_t i = 1; i < std::size(places); ++i) {
    CHECK(history_key(places[i - 1]) < history_key(places[i]));
  }
}

TEST_CASE("history: a change comes back as it was written") {
  const ChangeView put{
      {7, 1}, {4, 0}, ByteView("k\0", 2), VersionHead{3, 2, -5}, ByteView("\0v", 2)};
  std::uint64_t digest = 11;
  const std::string bytes = encode_change(put, digest);
  const ChangeView got = decode_change(bytes);
  CHECK(digest != 11);
  CHECK(got.digest == digest);
  CHECK(got.prev == put.prev);
  CHECK(got.skip == put.skip);
  CHECK(got.key == put.key);
  REQUIRE(got.head);
  CHECK(got.head->create == 3);
  CHECK(got.head->version == 2);
  CHECK(got.head->lease == -5);
  CHECK(got.value == put.value);
  const std::string gone = encode_change({{1, 0}, {}, "k", std::nullopt, {}}, digest);
  CHECK(!decode_change(gone).head);
  CHECK(decode_change(gone).key == "k");
  // As it was written before digests were kept.
  const ChangeView old = decode_change(ByteView(bytes).substr(9));
  CHECK(old.value == put.value);
  CHECK(!old.digest);
}
