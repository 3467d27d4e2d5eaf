// Version vector: for each actor, how many of its updates have been seen, without gaps.
//
//     {a: 3, b: 1}  covers  a1 a2 a3 b1,  and nothing else
//
// Because updates of one actor are only ever taken in order, a set of dots of any size is one
// number an actor. Order is inclusion; join is union. A flat sorted array: a cluster has a handful
// of actors.
//
// Source  Parker et al., "Detection of Mutual Inconsistency", 1983; as a summary of dots, Almeida,
//         Shoker & Baquero, arXiv:1603.01529, 2016.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "crdt/dot.h"

namespace capstan {

class VersionVector {
 public:
  using Entry = std::pair<Actor, Sequence>;

  VersionVector() = default;
  VersionVector(std::initializer_list<Entry> entries) {
    for (const auto& [actor, sequence] : entries) raise(actor, sequence);
  }

  // 0 for an actor never heard of.
  Sequence of(Actor actor) const {
    const auto at = find(actor);
    return at != entries_.end() && at->first == actor ? at->second : Sequence{};
  }
  bool covers(const Dot& dot) const { return of(dot.actor) >= dot.sequence; }
  bool covers(const VersionVector& other) const {
    return std::ranges::all_of(other.entries_,
                               [&](const Entry& e) { return of(e.first) >= e.second; });
  }

  // Never lowers.
  void raise(Actor actor, Sequence sequence) {
    if (!sequence) return;
    const auto at = find(actor);
    if (at == entries_.end() || at->first != actor) {
      entries_.insert(at, {actor, sequence});
    } else if (at->second < sequence) {
      at->second = sequence;
    }
  }
  // Union. Commutative, associative, idempotent.
  void join(const VersionVector& other) {
    for (const auto& [actor, sequence] : other.entries_) raise(actor, sequence);
  }
  // Intersection: what both have seen.
  void meet(const VersionVector& other) {
    for (Entry& e : entries_) e.second = std::min(e.second, other.of(e.first));
    std::erase_if(entries_, [](const Entry& e) { return !e.second; });
  }
  // How many dots `other` covers and this does not.
  std::uint64_t lacks(const VersionVector& other) const {
    std::uint64_t count = 0;
    for (const auto& [actor, theirs] : other.entries_) {
      const Sequence ours = of(actor);
      if (theirs > ours) count += theirs.value - ours.value;
    }
    return count;
  }

  bool empty() const { return entries_.empty(); }
  // Sorted by actor; no sequence is 0.
  const std::vector<Entry>& entries() const { return entries_; }
  friend bool operator==(const VersionVector&, const VersionVector&) = default;

 private:
  std::vector<Entry>::iterator find(Actor actor) {
    return std::ranges::lower_bound(entries_, actor, {}, &Entry::first);
  }
  std::vector<Entry>::const_iterator find(Actor actor) const {
    return std::ranges::lower_bound(entries_, actor, {}, &Entry::first);
  }
  std::vector<Entry> entries_;
};

inline VersionVector joined(VersionVector a, const VersionVector& b) {
  a.join(b);
  return a;
}

}  // namespace capstan
