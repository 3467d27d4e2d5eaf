// Sending the state itself to a member whose log ends before our window begins, in pieces.
//
//   leader    a frozen view of the base, walked in slices of a turn; at most kWindow pieces are on
//             their way, and those not acknowledged are kept to be sent again
//   follower  takes the next piece only, stages it through the disk, acknowledges what is staged
//
// Nothing of it is visible before install. Pieces of an earlier sending are told by their number.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "core/base.h"
#include "cp/message.h"
#include "cp/state_walk.h"

namespace capstan::cp {

class SnapshotSender {
 public:
  static constexpr std::size_t kWindow = 8;

  // The view must hold a state (StateMachine::save); nullptr if it does not. `bare`: to a witness,
  // where it ends and nothing of what it holds.
  static std::unique_ptr<SnapshotSender> open(MemberId to, std::uint64_t number,
                                              std::unique_ptr<BaseView> view, bool bare);

  MemberId to() const { return to_; }
  std::uint64_t number() const { return number_; }
  EntryId last() const { return walk_.position().applied; }

  // The next piece to send, or nullopt: the window is full or all is sent.
  Result<std::optional<SnapshotChunk>> next();
  // True if it was news.
  bool acknowledge(std::uint32_t expected);
  // What was sent and not acknowledged, to be sent again.
  const std::deque<SnapshotChunk>& unacknowledged() const { return sent_; }

 private:
  SnapshotSender(MemberId to, std::uint64_t number, StateWalk walk, bool bare)
      : to_(to), number_(number), walk_(std::move(walk)), bare_(bare) {}

  MemberId to_;
  std::uint64_t number_;
  StateWalk walk_;
  bool bare_;
  std::uint32_t sequence_ = 0;
  bool final_sent_ = false;
  std::deque<SnapshotChunk> sent_;
};

// The follower's half; the engine does the staging.
class SnapshotReceiver {
 public:
  enum class Take : std::uint8_t {
    kStage,   // the next piece: stage it, then staged()
    kRepeat,  // not the next: say again what we expect
  };
  // Is this another sending than the one under way? Then what was staged is void: begin().
  bool is_other(MemberId from, const SnapshotChunk& chunk) const;
  void begin(MemberId from, const SnapshotChunk& chunk);
  void abandon() { from_ = {}; }
  bool active() const { return bool(from_); }

  Take take(const SnapshotChunk& chunk);
  void staged() { ++staged_; }

  MemberId from() const { return from_; }
  EntryId last() const { return last_; }
  std::uint64_t number() const { return number_; }
  SnapshotReply reply(const Actor& life, bool installed) const {
    return {last_, number_, life, staged_, installed};
  }
  // Every piece is here and staged.
  bool complete() const { return final_taken_ && staged_ == expected_; }

 private:
  MemberId from_;
  std::uint64_t number_ = 0;
  EntryId last_;
  std::uint32_t expected_ = 0;
  std::uint32_t staged_ = 0;
  bool final_taken_ = false;
};

}  // namespace capstan::cp
