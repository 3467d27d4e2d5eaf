#include "crdt/version_vector.h"

#include <doctest/doctest.h>

#include <set>

#include "core/random.h"

namespace capstan {
namespace {

constexpr std::uint64_t kActors = 4, kLength = 5;

Actor actor(std::uint64_t i) { return {{i % 2 + 1}, static_cast<Incarnation>(i / 2 + 1)}; }

VersionVector arbitrary(Rng& rng) {
  VersionVector v;
  for (std::uint64_t i = 0; i < kActors; ++i) v.raise(actor(i), {rng.below(kLength)});
  return v;
}

// The slow obvious twin: the set of dots itself.
std::set<Dot> dots(const VersionVector& v) {
  std::set<Dot> out;
  for (std::uint64_t i = 0; i < kActors; ++i) {
    for (std::uint64_t s = 1; s <= kLength; ++s) {
      if (v.covers(Dot{actor(i), {s}})) out.insert({actor(i), {s}});
    }
  }
  return out;
}

}  // namespace

TEST_CASE(
    "version vector: join, meet, covers and lacks are union, intersection, inclusion, count") {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    INFO("seed ", seed);
    Rng rng{seed};
    const VersionVector a = arbitrary(rng), b = arbitrary(rng);
    const std::set<Dot> x = dots(a), y = dots(b);
    std::set<Dot> all = x, both, missing;
    all.insert(y.begin(), y.end());
    for (const Dot& d : y) (x.contains(d) ? both : missing).insert(d);
    VersionVector met = a;
    met.meet(b);
    CHECK(dots(joined(a, b)) == all);
    CHECK(dots(met) == both);
    CHECK(a.lacks(b) == missing.size());
    CHECK(a.covers(b) == missing.empty());
    CHECK((a == b) == (x == y));
  }
}

TEST_CASE("version vector: raising never lowers, and nobody is listed with nothing") {
  VersionVector v{{actor(0), {3}}};
  v.raise(actor(0), {2});
  v.raise(actor(1), {0});
  CHECK(v.of(actor(0)) == Sequence{3});
  CHECK(v.of(actor(1)) == Sequence{0});
  CHECK(v.entries().size() == 1);
  CHECK(v == VersionVector{{actor(0), {3}}});
}

}  // namespace capstan
