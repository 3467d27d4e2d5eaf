#include "cp/snapshot.h"

#include <utility>

#include "core/limits.h"

namespace capstan::cp {
std::unique_ptr<SnapshotSender> SnapshotSender::open(MemberId to, std::uint64_t number,
                                                     std::unique_ptr<BaseView> view, bool bare) {
  std::optional<StateWalk> walk = StateWalk::open(std::move(view));
  if (!walk) return nullptr;
  return std::unique_ptr<SnapshotSender>(new SnapshotSender(to, number, *std::move(walk), bare));
}

Result<std::optional<SnapshotChunk>> SnapshotSender::next() {
  if (final_sent_ || sent_.size() >= kWindow) return std::nullopt;
  SnapshotChunk chunk{last(), number_, sequence_, false, {}};
  if (bare_) {
    chunk.changes = {StateMachine::nothing_at(walk_.position())};
    chunk.final = final_sent_ = true;
  } else {
    const Result<bool> more = walk_.next(kSnapshotChunkBytes, chunk.changes);
    if (!more) return std::unexpected(more.error());
    chunk.final = final_sent_ = !*more;
  }
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
