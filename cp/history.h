// Where the changes of a key lie, and how to find an old one fast.
//
// Every change of every key has a place, (revision, sub): sub counts within the revision. All of
// them lie in Space::kHistory in order of place, so history is only ever appended to; a watcher
// reads it forward. The changes of one key are numbered 1, 2, ... (depth) and linked downwards:
//
//   prev   depth - 1
//   skip   depth with its lowest set bit cleared, if that leaves any
//
// The tip of a key is its newest change with a ladder: the places of all proper prefixes of its
// depth in binary. Depth 22 = 10110b has the ladder 16, 20. It grows by what a binary counter
// carries, so keeping it costs no read, and has at most one rung a bit.
//
//   1 ── 2 ── 3 ── 4 ── 5 ── 6 ── 7 ── 8     ── prev (every neighbour)
//        └────╌╌───┘    └─╌─┘              skip: 3 -> 2, 5 -> 4, 6 -> 4, 7 -> 6
//
// Cost   finding the version at a revision: O(log² depth) reads of history, none if it is the tip
// Source the parents of a binary indexed tree (Fenwick, "A new data structure for cumulative
//        frequency tables", 1994)
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "core/coding.h"
#include "core/types.h"

namespace capstan::cp {

struct Place {
  std::uint64_t revision = 0;  // 0: nowhere
  std::uint64_t sub = 0;
  explicit operator bool() const { return revision != 0; }
  friend auto operator<=>(const Place&, const Place&) = default;
};

// A key of Space::kHistory.
std::string history_key(Place place);
Place read_history_key(ByteView key);

// The newest change of a key. The ladder stays encoded, as views into what was decoded; it is
// walked rarely.
struct Tip {
  Place at;
  std::uint64_t depth = 0;
  ByteView ladder;  // places, lowest depth first

  // The lowest rung above `revision`, or `at`; `at` must be above it.
  Place first_above(std::uint64_t revision) const;
};

void put_place(std::string& out, Place place);
Place read_place(Reader& in);
// A tip runs to the end of what is read.
Tip read_tip(Reader& in);

// The two links of the change that follows `tip` (default: none), and the tip it makes.
struct Step {
  Place prev, skip;
  std::string tip;  // encoded
};
Step step_from(const Tip& tip, Place at);

// What stands at a place.
struct VersionHead {
  std::uint64_t create = 0, version = 0;
  std::int64_t lease = 0;
};
struct ChangeView {
  Place prev, skip;
  ByteView key;
  std::optional<VersionHead> head = {};  // nullopt: deleted
  ByteView value = {};
  // Of every change of the store up to this one, in order: XXH3-64 of the change, seeded with the
  // digest before it. nullopt: written before digests were kept.
  std::optional<std::uint64_t> digest = {};
};
// `digest`: in, of all changes before; out, with this one.
std::string encode_change(const ChangeView& change, std::uint64_t& digest);
ChangeView decode_change(ByteView bytes);

void put_head(std::string& out, const VersionHead& head);
VersionHead read_head(Reader& in);

// The newest place of a key at or below `revision`; nowhere if it has none. `links(place)` reads
// {prev, skip} of a change.
template <class Links>
Place place_at(const Tip& tip, std::uint64_t revision, const Links& links) {
  if (tip.at.revision <= revision) return tip.at;
  for (Place above = tip.first_above(revision);;) {
    const auto [prev, skip] = links(above);
    if (skip.revision > revision) {
      above = skip;
    } else if (prev.revision > revision) {
      above = prev;
    } else {
      return prev;
    }
  }
}

}  // namespace capstan::cp
