#include "core/table.h"

#include "core/check.h"

namespace capstan {

// A map that nobody changes any more, as the keeper reads it.
class Table::FrozenMap final : public ChangeSource {
 public:
  explicit FrozenMap(Map map) : map(std::move(map)) {}
  void each(const std::function<bool(const ChangeRef&)>& visit) const override {
    for (const auto& [key, value] : map) {
      if (!visit({key.first, key.second, value})) return;
    }
  }
  const Map map;
};

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
  ByteView key() const { return front().at->first.second; }
  const std::optional<std::string>& value() const { return front().at->second; }
  void next() {
    const bool both =
        !active_.done() && !frozen_.done() && active_.at->first.second == frozen_.at->first.second;
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
    const ByteView ours = active_.at->first.second, theirs = frozen_.at->first.second;
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
    if (memory_.value()) more_ = visit_(memory_.key(), *memory_.value());
    memory_.next();
    return more_;
  }
  Walk& memory_;
  Before before_;
  const Visitor& visit_;
  bool more_ = true;
};

}  // namespace

void Table::set(Space space, ByteView key, std::optional<std::string> value) {
  const auto found = active_.find(std::pair(space, key));
  const std::size_t bytes = value ? value->size() : 0;
  if (found != active_.end()) {
    bytes_ += bytes;
    bytes_ -= found->second ? found->second->size() : 0;
    found->second = std::move(value);
    return;
  }
  bytes_ += key.size() + bytes;
  active_.emplace(Key(space, key), std::move(value));
}

void Table::put(Space space, ByteView key, std::string value) { set(space, key, std::move(value)); }
void Table::erase(Space space, ByteView key) { set(space, key, std::nullopt); }

std::optional<std::string> Table::get(Space space, ByteView key) const {
  const auto wanted = std::pair(space, key);
  if (const auto it = active_.find(wanted); it != active_.end()) return it->second;
  if (frozen_ != nullptr) {
    if (const auto it = frozen_->map.find(wanted); it != frozen_->map.end()) return it->second;
  }
  Result<std::optional<std::string>> found = base_.get(space, key);
  if (found) return *std::move(found);
  base_failed(found.error());
  return std::nullopt;
}

void Table::scan(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  if (!to.empty() && from >= to) return;
  using Iterator = Map::const_iterator;
  const auto side = [&](const Map& map) {
    const Space after{static_cast<std::uint8_t>(static_cast<std::uint8_t>(space) + 1)};
    return typename Overlay<Iterator, std::less<ByteView>>::Side{
        map.lower_bound(std::pair(space, from)), to.empty()
                                                     ? map.lower_bound(std::pair(after, ByteView()))
                                                     : map.lower_bound(std::pair(space, to))};
  };
  static const Map kNothing;
  Overlay<Iterator, std::less<ByteView>> memory(
      side(active_), side(frozen_ ? frozen_->map : kNothing), std::less<ByteView>());
  Merge merge(memory, std::less<ByteView>(), visit);
  const Status scanned = base_.scan(
      space, from, to, [&](ByteView key, ByteView value) { return merge.row(key, value); });
  if (!scanned) return base_failed(scanned.error());
  merge.finish();
}

void Table::scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const {
  if (!to.empty() && from >= to) return;
  using Iterator = Map::const_reverse_iterator;
  const auto side = [&](const Map& map) {
    const Space after{static_cast<std::uint8_t>(static_cast<std::uint8_t>(space) + 1)};
    return typename Overlay<Iterator, std::greater<ByteView>>::Side{
        Iterator(to.empty() ? map.lower_bound(std::pair(after, ByteView()))
                            : map.lower_bound(std::pair(space, to))),
        Iterator(map.lower_bound(std::pair(space, from)))};
  };
  static const Map kNothing;
  Overlay<Iterator, std::greater<ByteView>> memory(
      side(active_), side(frozen_ ? frozen_->map : kNothing), std::greater<ByteView>());
  Merge merge(memory, std::greater<ByteView>(), visit);
  const Status scanned = base_.scan_back(
      space, from, to, [&](ByteView key, ByteView value) { return merge.row(key, value); });
  if (!scanned) return base_failed(scanned.error());
  merge.finish();
}

Table::Frozen Table::freeze() {
  CAPSTAN_ASSERT(frozen_ == nullptr);
  frozen_ = std::make_shared<const FrozenMap>(std::move(active_));
  active_ = Map();
  bytes_ = 0;
  return frozen_;
}

void Table::thaw_done() {
  CAPSTAN_ASSERT(frozen_ != nullptr);
  frozen_ = nullptr;
}

void Table::reset() {
  active_.clear();
  frozen_ = nullptr;
  bytes_ = 0;
}

void Table::base_failed(const Error& error) const {
  CAPSTAN_ASSERT(fatal_ != nullptr);
  fatal_(error);
}

}  // namespace capstan
