// The log in memory: a window of consecutive entries over a base, the last entry before the window.
//
//     base | first ...  applied ... commit ... stable ... last
//           `-- kept behind applied so that a member a little behind needs no snapshot
//
// Durability is asynchronous. Each write handed to the disk has a number; when it completes, stable
// rises to the last entry of that write that has not been replaced since: an old write of a suffix
// that was truncated must not vouch for what stands there now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "cp/message.h"

namespace capstan::cp {

using WriteNumber = std::uint64_t;

class RaftLog {
 public:
  // `entries` continue `base` without a gap and are durable.
  RaftLog(EntryId base, std::vector<Entry> entries);

  EntryId base() const { return base_; }
  Index first() const { return next(base_.index); }
  Index last_index() const { return {base_.index.value + entries_.size()}; }
  EntryId last() const { return entries_.empty() ? base_ : entries_.back().id(); }
  Index stable() const { return stable_; }
  std::size_t bytes() const { return bytes_; }

  // The term at `index`; nothing where the window does not reach. The base itself is known.
  std::optional<Term> term_at(Index index) const;
  bool holds(EntryId id) const { return term_at(id.index) == id.term; }
  // The largest index <= from whose term is <= term; the base's index if there is none above it.
  Index last_not_after(Term term, Index from) const;
  const Entry& at(Index index) const;

  // Entries from `from` on, at least one if there is any, at most `bytes_max` and `upto`.
  std::vector<Entry> slice(Index from, Index upto, std::size_t bytes_max) const;

  void append(Entry entry);
  // Drops `from` and everything behind it.
  void truncate(Index from);
  // Drops from the front while more than `bytes_keep` lie at or below `upto`.
  void compact(Index upto, std::size_t bytes_keep);
  // A snapshot replaced everything.
  void reset(EntryId base);

  // Entries not yet handed to the disk become part of write `number`.
  std::vector<Entry> take_unwritten(WriteNumber number);
  void written(WriteNumber number);

 private:
  struct Write {
    WriteNumber number;
    Index last;
  };
  EntryId base_;
  std::deque<Entry> entries_;
  std::size_t bytes_ = 0;
  Index stable_;  // durable up to here, and still the same entries
  Index handed_;  // given to the disk up to here
  std::deque<Write> writes_;
};

}  // namespace capstan::cp
