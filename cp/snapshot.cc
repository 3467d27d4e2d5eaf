#include "cp/snapshot.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/check.h"
#include "core/limits.h"
#include "cp/state_machine.h"

namespace capstan::cp {
namespace {

// The facts come last: a state without them is no state.
constexpr Space kSpaces[] = {Space::kHistory,  Space::kGone,     Space::kNow, Space::kLease,
                             Space::kLeaseKey, Space::kRequests, Space::kMeta};

}  // namespace

std::unique_ptr<SnapshotSender> SnapshotSender::open(MemberId to, std::uint64_t number,
                                                     std::unique_ptr<BaseView> view) {
  std::optional<StateMachine::Position> position;
  const Status scanned =
      view->scan(Space::kMeta, StateMachine::kStateKey, [&](ByteView key, ByteView value) {
        if (key == StateMachine::kStateKey) position = StateMachine::parse(value);
        return false;
      });
  if (!scanned || !position) return nullptr;
  std::unique_ptr<SnapshotSender> out(new SnapshotSender(to, number, std::move(view)));
  out->last_ = position->applied;
  return out;
}

Result<std::optional<SnapshotChunk>> SnapshotSender::next() {
  if (final_sent_ || sent_.size() >= kWindow) return std::nullopt;
  SnapshotChunk chunk{last_, number_, sequence_, false, {}};
  std::size_t bytes = 0;
  while (space_ < std::size(kSpaces) && bytes < kSnapshotChunkBytes) {
    const Space space = kSpaces[space_];
    bool more = false;
    const Status scanned = view_->scan(space, from_, [&](ByteView key, ByteView value) {
      if (space == Space::kMeta && !key.starts_with("cp/")) return true;
      if (bytes >= kSnapshotChunkBytes) {
        from_ = key;
        more = true;
        return false;
      }
      bytes += key.size() + value.size() + 16;
      chunk.changes.push_back({space, std::string(key), std::string(value)});
      return true;
    });
    if (!scanned) return std::unexpected(scanned.error());
    if (more) break;
    ++space_;
    from_.clear();
  }
  // Within a piece the base wants its own order, in which the facts come first.
  std::ranges::stable_sort(chunk.changes, {}, &Change::space);
  chunk.final = final_sent_ = space_ == std::size(kSpaces);
  ++sequence_;
  sent_.push_back(chunk);
  return chunk;
}

bool SnapshotSender::acknowledge(std::uint32_t expected) {
  bool news = false;
  while (!sent_.empty() && sent_.front().sequence < expected) {
    sent_.pop_front();
    news = true;
  }
  return news;
}

bool SnapshotReceiver::is_other(MemberId from, const SnapshotChunk& chunk) const {
  return from_ != from || number_ != chunk.number || last_ != chunk.last;
}

void SnapshotReceiver::begin(MemberId from, const SnapshotChunk& chunk) {
  from_ = from;
  number_ = chunk.number;
  last_ = chunk.last;
  expected_ = staged_ = 0;
  final_taken_ = false;
}

SnapshotReceiver::Take SnapshotReceiver::take(const SnapshotChunk& chunk) {
  if (chunk.sequence != expected_ || final_taken_) return Take::kRepeat;
  ++expected_;
  final_taken_ = chunk.final;
  return Take::kStage;
}

}  // namespace capstan::cp
