#include "cp/raft_log.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

// What an entry costs to keep, its bookkeeping included.
std::size_t cost_of(const Entry& entry) { return entry.bytes() + 64; }

}  // namespace

RaftLog::RaftLog(EntryId base, std::vector<Entry> entries) : base_(base) {
  for (Entry& entry : entries) append(std::move(entry));
  stable_ = handed_ = last_index();
}

std::optional<Term> RaftLog::term_at(Index index) const {
  if (index == base_.index) return base_.term;
  if (index < base_.index || index > last_index()) return std::nullopt;
  return at(index).term;
}

Index RaftLog::last_not_after(Term term, Index from) const {
  Index index = std::min(from, last_index());
  while (index > base_.index && at(index).term > term) --index.value;
  return std::max(index, base_.index);
}

const Entry& RaftLog::at(Index index) const {
  CAPSTAN_ASSERT(index > base_.index);
  CAPSTAN_ASSERT(index <= last_index());
  return entries_[index.value - base_.index.value - 1];
}

std::vector<Entry> RaftLog::slice(Index from, Index upto, std::size_t bytes_max) const {
  std::vector<Entry> out;
  std::size_t bytes = 0;
  for (Index i = from; i <= upto && i <= last_index(); i = next(i)) {
    const Entry& entry = at(i);
    bytes += entry.bytes();
    if (!out.empty() && bytes > bytes_max) break;
    out.push_back(entry);
  }
  return out;
}

void RaftLog::append(Entry entry) {
  CAPSTAN_ASSERT(entry.index == next(last_index()));
  CAPSTAN_ASSERT(entry.term >= last().term);
  bytes_ += cost_of(entry);
  entries_.push_back(std::move(entry));
}

void RaftLog::truncate(Index from) {
  CAPSTAN_ASSERT(from > base_.index);
  while (last_index() >= from) {
    bytes_ -= cost_of(entries_.back());
    entries_.pop_back();
  }
  const Index kept{from.value - 1};
  stable_ = std::min(stable_, kept);
  handed_ = std::min(handed_, kept);
  if (Mutants::on(Mutant::kOldWriteCounts)) return;
  for (Write& write : writes_) write.last = std::min(write.last, kept);
}

void RaftLog::compact(Index upto, std::size_t bytes_keep) {
  while (!entries_.empty() && bytes_ > bytes_keep && first() <= upto && first() <= stable_) {
    base_ = entries_.front().id();
    bytes_ -= cost_of(entries_.front());
    entries_.pop_front();
  }
}

void RaftLog::reset(EntryId base) {
  base_ = base;
  entries_.clear();
  writes_.clear();
  bytes_ = 0;
  stable_ = handed_ = base.index;
}

std::vector<Entry> RaftLog::take_unwritten(WriteNumber number) {
  if (handed_ == last_index()) return {};
  std::vector<Entry> out;
  out.reserve(last_index().value - handed_.value);
  for (Index i = next(handed_); i <= last_index(); i = next(i)) out.push_back(at(i));
  handed_ = last_index();
  writes_.push_back({number, handed_});
  return out;
}

void RaftLog::written(WriteNumber number) {
  while (!writes_.empty() && writes_.front().number <= number) {
    stable_ = std::max(stable_, writes_.front().last);
    writes_.pop_front();
  }
}

}  // namespace capstan::cp
