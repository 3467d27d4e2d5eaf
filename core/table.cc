#include "core/table.h"

#include "core/check.h"

namespace capstan {

namespace {

// Walks one range of active and frozen as one ordered list; where both have a key, active wins.
// `Iterator` runs up or down, and `before` says which of two keys it meets first.
template <class Iterator, class Before>
class Overlay {
 public:
  struct Side {
    Iterator at, end;
    bool done() const { return at == end; }
  };
  Overlay(Side active, Side frozen, Before before)
      : active_(active), frozen_(frozen), before_(before) {}

  bool done() const { return active_.done() && frozen_.done(); }
  ByteView key() const { return front().at->first; }
  const Memtable::Row& row() const { return *front().at->second; }
  void next() {
    const bool both = !active_.done() && !frozen_.done() && active_.at->first == frozen_.at->first;
    if (both) {
      ++active_.at;
      ++frozen_.at;
    } else {
      ++(&front() == &active_ ? active_ : frozen_).at;
    }
  }

 private:
  const Side& front() const {
    if (active_.done()) return frozen_;
    if (frozen_.done()) return active_;
    const ByteView ours = active_.at->first, theirs = frozen_.at->first;
    return before_(theirs, ours) ? frozen_ : active_;
  }
  Side active_, frozen_;
  Before before_;
};

// Lays what is in memory over what the base says; both come in the order of `before`.
template <class Walk, class Before>
class Merge {
 public:
  Merge(Walk& memory, Before before, const Visitor& visit)
      : memory_(memory), before_(before), visit_(visit) {}

  // The next row of the base. False: the visitor has had enough.
  bool row(ByteView key, ByteView value) {
    while (!memory_.done() && before_(memory_.key(), key)) {
      if (!show_memory()) return false;
    }
    if (!memory_.done() && memory_.key() == key) return show_memory();
    return more_ = visit_(key, value);
  }
  // The base has no more.
  void finish() {
    while (more_ && !memory_.done()) show_memory();
  }

 private:
  bool show_memory() {
    const Memtable::Row& row = memory_.row();
    if (!row.erased) more_ = visit_(row.key, row.value());
    memory_.next();
    return more_;
  }
  Walk& memory_;
  Before before_;
  const Visitor& visit_;
  bool more_ = true;
};

}  // namespace

void Table::put(Space space, ByteView key, ByteView value) { active_->set(space, key, value); }
void Table::erase(Space space, ByteView key) { active_->set(space, key, std::nullopt); }

std::optional<std::string> Table::get(Space space, ByteView key) const {
  const Memtable::Row* row = active_->find(space, key);
  if (row == nullptr && frozen_ != nullptr) row = frozen_->find(space, key);
  if (row != nullptr) return row->erased ? std::nullopt : std::optional<std::string>(row->value());
  Result<std::optional<std::string>> found = base_.get(space, key);
  if (found) return *std::move(found);
  failed(found.error());
  return std::nullopt;
}

namespace {

const Memtable::Index kNothing;

const Memtable::Index& index_of(const Memtable* part, Space space) {
  return part == nullptr ? kNothing : part->index(space);
}

}  // namespace

void Table::scan(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  if (!to.empty() && from >= to) return;
  using Up = Overlay<Memtable::Index::const_iterator, std::less<ByteView>>;
  const auto side = [&](const Memtable* part) {
    const Memtable::Index& index = index_of(part, space);
    return Up::Side{index.lower_bound(from), to.empty() ? index.end() : index.lower_bound(to)};
  };
  Up memory(side(active_.get()), side(frozen_.get()), std::less<ByteView>());
  Merge merge(memory, std::less<ByteView>(), visit);
  const Status scanned = base_.scan(
      space, from, to, [&](ByteView key, ByteView value) { return merge.row(key, value); });
  if (!scanned) return failed(scanned.error());
  merge.finish();
}

void Table::scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  if (!to.empty() && from >= to) return;
  using Down = Overlay<Memtable::Index::const_reverse_iterator, std::greater<ByteView>>;
  const auto side = [&](const Memtable* part) {
    const Memtable::Index& index = index_of(part, space);
    const auto end = to.empty() ? index.end() : index.lower_bound(to);
    return Down::Side{std::make_reverse_iterator(end),
                      std::make_reverse_iterator(index.lower_bound(from))};
  };
  Down memory(side(active_.get()), side(frozen_.get()), std::greater<ByteView>());
  Merge merge(memory, std::greater<ByteView>(), visit);
  const Status scanned = base_.scan_back(
      space, from, to, [&](ByteView key, ByteView value) { return merge.row(key, value); });
  if (!scanned) return failed(scanned.error());
  merge.finish();
}

Table::Frozen Table::freeze() {
  CAPSTAN_ASSERT(frozen_ == nullptr);
  frozen_ = std::exchange(active_, std::make_shared<Memtable>());
  return frozen_;
}

void Table::thaw_done() {
  CAPSTAN_ASSERT(frozen_ != nullptr);
  frozen_ = nullptr;
}

void Table::reset() {
  active_ = std::make_shared<Memtable>();
  frozen_ = nullptr;
}

void Table::failed(const Error& error) const {
  CAPSTAN_ASSERT(base_failed_ != nullptr);
  base_failed_(error);
}

}  // namespace capstan
