#include "cp/state_walk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace capstan::cp {
namespace {

// The facts come last: a state without them is no state.
constexpr Space kSpaces[] = {Space::kHistory,  Space::kGone,     Space::kNow, Space::kLease,
                             Space::kLeaseKey, Space::kRequests, Space::kMeta};

}  // namespace

std::optional<StateWalk> StateWalk::open(std::unique_ptr<BaseView> view) {
  std::optional<StateMachine::Position> position;
  const Status scanned =
      view->scan(Space::kMeta, StateMachine::kStateKey, [&](ByteView key, ByteView value) {
        if (key == StateMachine::kStateKey) position = StateMachine::parse(value);
        return false;
      });
  if (!scanned || !position) return std::nullopt;
  StateWalk walk(std::move(view));
  walk.position_ = *std::move(position);
  return walk;
}

Result<bool> StateWalk::next(std::size_t bytes_max, std::vector<Change>& out) {
  const auto first = static_cast<std::ptrdiff_t>(out.size());
  std::size_t bytes = 0;
  while (space_ < std::size(kSpaces) && bytes < bytes_max) {
    const Space space = kSpaces[space_];
    bool more = false;
    const Status scanned = view_->scan(space, from_, [&](ByteView key, ByteView value) {
      if (space == Space::kMeta && !key.starts_with("cp/")) return true;
      if (bytes >= bytes_max) {
        from_ = key;
        more = true;
        return false;
      }
      bytes += key.size() + value.size() + 16;
      out.push_back({space, std::string(key), std::string(value)});
      return true;
    });
    if (!scanned) return std::unexpected(scanned.error());
    if (more) break;
    ++space_;
    from_.clear();
  }
  // Within a piece the base wants its own order, in which the facts come first.
  std::ranges::stable_sort(out.begin() + first, out.end(), {}, &Change::space);
  return space_ < std::size(kSpaces);
}

}  // namespace capstan::cp
