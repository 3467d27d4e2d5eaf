// What became of writes, by their ids: for whoever was answered `unknown` and asks later. Part of
// the replicated state.
//
//   applied    of each process (actor) the numbers of its writes that were applied, as runs
//   settled    ids that somebody asked about before they were applied: such a write is refused
//              should it still come, so the answer "not applied" holds for ever
//
// Runs are kept of the last kLivesKept lives of a node, kRunsMax of each: of what is older it is
// not known any more. Of the settled the last kSettledMax are kept, which is longer than a write
// can be on its way.
//
// Cost   an applied write: a look into a map with an entry a process, and the end of its last run
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "core/request.h"
#include "core/table.h"
#include "core/types.h"

namespace capstan::cp {

class Outcomes {
 public:
  static constexpr std::size_t kLivesKept = 16;
  static constexpr std::size_t kRunsMax = 1024;
  static constexpr std::size_t kSettledMax = 65'536;

  explicit Outcomes(Table& table) : table_(table) {}

  // Takes the rows from the table, as at start.
  void load();
  // Puts what has changed since into the table; the next freeze() carries it.
  void save();

  void applied(const WriteId& id);
  // It was not applied, and never will be.
  void settle(const WriteId& id);
  bool settled(const WriteId& id) const { return settled_.contains(id); }
  // Fate::kOpen: not applied so far.
  Fate fate(const WriteId& id) const;
  // One number of all of it.
  std::uint64_t digest() const { return digest_; }

 private:
  struct Life {
    std::uint64_t forgotten = 0;                  // numbers up to it
    std::map<std::uint64_t, std::uint64_t> runs;  // first and last
    bool changed = false;
  };
  void add(Life& life, std::uint64_t number);
  void forget_old_lives(NodeId node);
  void fold(std::uint8_t what, const WriteId& id);

  Table& table_;
  std::map<Actor, Life> lives_;
  std::set<WriteId> settled_;
  std::map<std::uint64_t, WriteId> settled_in_order_;
  std::uint64_t digest_ = 0;
};

}  // namespace capstan::cp
