// Every type in crdt/ joins this list on the day it is written.
#include <doctest/doctest.h>

#include "core/random.h"
#include "crdt/lww_register.h"
#include "crdt/version_vector.h"

namespace capstan {
namespace {

template <class T>
T arbitrary(Rng& rng);

// Few stamps and few dots, so that ties and repetitions are common; one dot is one write, so equal
// tags carry equal values.
template <>
LwwRegister arbitrary(Rng& rng) {
  LwwRegister out;
  for (std::uint64_t i = rng.below(4); i > 0; --i) {
    const std::uint64_t node = rng.below(3) + 1, sequence = rng.below(4) + 1;
    const LwwTag tag{{sequence * 2 + node % 2}, {{{node}, 1}, {sequence}}};
    std::optional<std::string> value = std::to_string(node) + '.' + std::to_string(sequence);
    if ((node + sequence) % 3 == 0) value.reset();
    out.assign(value, tag);
  }
  return out;
}

template <>
VersionVector arbitrary(Rng& rng) {
  VersionVector out;
  for (std::uint64_t i = rng.below(4); i > 0; --i) {
    out.raise({{rng.below(3) + 1}, 1}, {rng.below(5)});
  }
  return out;
}

LwwRegister join(LwwRegister a, const LwwRegister& b) {
  a.merge(b);
  return a;
}
VersionVector join(const VersionVector& a, const VersionVector& b) { return joined(a, b); }

}  // namespace

TEST_CASE_TEMPLATE("crdt laws hold", T, LwwRegister, VersionVector) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    INFO("seed ", seed);
    Rng rng{seed};
    const T a = arbitrary<T>(rng), b = arbitrary<T>(rng), c = arbitrary<T>(rng);
    CHECK((join(a, b) == join(b, a)));
    CHECK((join(join(a, b), c) == join(a, join(b, c))));
    CHECK((join(a, a) == a));
  }
}

TEST_CASE("lww register: the later write stays, a delete is a write, the writer breaks ties") {
  const auto tag = [](std::uint64_t stamp, std::uint64_t node) {
    return LwwTag{{stamp}, {{{node}, 1}, {1}}};
  };
  LwwRegister r;
  r.assign("x", tag(7, 1));
  r.assign(std::nullopt, tag(6, 2));
  CHECK(r.value() == "x");
  r.assign("y", tag(7, 2));
  CHECK(r.value() == "y");
  r.assign(std::nullopt, tag(8, 1));
  CHECK(!r.value());
}

}  // namespace capstan
