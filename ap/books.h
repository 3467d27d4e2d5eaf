// The books: what became of every write, with evidence.
//
// A write replaces what it finds; so writes form trees, and each write has exactly one fate:
//
//     survived     it is the present content of its key (a delete: the key's tombstone, also after
//                  the tombstone itself was collected)
//     superseded   a client's write replaced it on the node where that write was made, that is, by
//                  someone who had seen it; noted there, and wherever the successor's delta finds
//                  it as present content
//     lost         neither: on every node a write that had not seen it took its place. Whoever saw
//                  that happen has put it, body and all, into the conflict log
//
// Why the three together must name every acknowledged write. Where it was accepted a write is the
// present content (its stamp exceeds all that was applied there). If it is so no longer, one of
// four things replaced it: a local write (superseded, noted here); a concurrent one (lost, noted
// here); a remote one that had seen it, whose own node once either held it as present content and
// noted it as superseded, or knew it as replaced already; or a peer's state that covers it, and
// then that peer went through one of the four before. The chain ends where it was noted.
//
// How the lab settles a run: take the union of each list over all nodes (Request BooksRequest); the
// fate of an acknowledged write is the first list that names it, in the order above. A write may be
// in more than one: it can lose a race on one node after its own client replaced it on another, and
// then it is superseded, since someone who had seen it wrote the successor. One in none is a bug.
// The accounts of a node that lost its disk are lost with it.
//
// The log keeps bodies within kConflictLogBytesMax and ids of the last million beyond.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ap/cell.h"
#include "core/table.h"

namespace capstan::ap {

// A set of dots at one bit each, in chunks; bounded, the oldest chunk of the largest actor goes
// first.
class DotSet {
 public:
  static constexpr std::uint64_t kChunkDots = 4096;
  static constexpr std::size_t kChunksMax = 4096;

  void insert(const Dot& dot);
  bool contains(const Dot& dot) const;
  void for_each(const std::function<void(const Dot&)>& visit) const;

 private:
  friend class Books;
  using Chunk = std::vector<std::uint8_t>;
  std::map<std::pair<Actor, std::uint64_t>, Chunk> chunks_;
};

// One concurrent loss.
struct Loss {
  std::string key;
  Cell loser, winner;
  bool bodies_kept = true;
};

class Books {
 public:
  explicit Books(Table& table) : table_(table) {}

  // Reads back what the base holds; before the log is replayed.
  void load();
  // Puts what is only in memory into the table, to go with a checkpoint.
  void save();

  // `loser` and `winner` were concurrent and met here. The same loser counts once.
  void lost(const std::string& key, const Cell& loser, const Cell& winner);
  // A write that had seen `dot` replaced it as present content.
  void superseded(const Dot& dot);
  // The tombstone of `key` is stable and leaves its cell.
  void collected(const std::string& key, const Dot& dot);
  // `key` has content again: forgets its collected delete and returns it. What comes may be a later
  // write that had not seen the delete; only one that had seen it supersedes it.
  std::optional<Dot> revived(const std::string& key);

  std::uint64_t total() const { return next_ - 1; }
  std::uint64_t dropped() const { return dropped_; }
  // From number `after` + 1 on, ascending.
  std::vector<std::pair<std::uint64_t, Loss>> losses(std::uint64_t after, std::size_t limit) const;
  void for_each_lost(const std::function<void(const Dot&)>& visit) const;
  void for_each_superseded(const std::function<void(const Dot&)>& visit) const;
  void for_each_collected(const std::function<void(const Dot&)>& visit) const;

 private:
  void keep_within_budget();

  Table& table_;
  std::uint64_t next_ = 1;        // number of the next loss
  std::uint64_t first_body_ = 1;  // losses below have no bodies any more
  std::uint64_t dropped_ = 0;
  std::size_t body_bytes_ = 0;
  std::set<Dot> losers_;
  DotSet superseded_;
  std::set<std::pair<Actor, std::uint64_t>> unsaved_;  // chunks of superseded_
  std::map<std::string, Dot> collected_;
  std::deque<std::string> collected_order_;
};

}  // namespace capstan::ap
