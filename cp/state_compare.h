// Do all members hold the same state? Each says every so often what its own is at some index, as
// one number (StateMachine::fingerprint); whoever comes by that index compares. That costs no scan
// and no entry in the log, and what was not compared is never taken for equal:
//
//   equal      compared, at most a minute ago
//   different  at some index they differed; that does not heal by itself and stands until a restart
//   unknown    anything else
//
// Source  etcd's post-mortem of its 3.5 data inconsistency: a check that cannot run must not pass
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "core/time.h"
#include "cp/message.h"

namespace capstan::cp {

class StateCompare {
 public:
  enum class Answer : std::uint8_t { kEqual, kDifferent, kUnknown };
  struct Verdict {
    Answer answer = Answer::kUnknown;
    Micros equal_at = -1;  // the last time it was; -1: never
    Index differed_at;     // 0: nowhere
  };
  static constexpr Micros kFresh = 60 * kSecond;
  static constexpr std::size_t kRemembered = 8192;  // of our own numbers, the last ones

  // What was applied here, each index once and in order.
  void applied(Index index, std::uint64_t fingerprint, Micros now);
  // A snapshot took the place of what was applied: the next index may be any.
  void reset() { ours_.clear(); }
  void heard(MemberId from, const StateDigest& theirs, Micros now);

  Verdict verdict(MemberId member, Micros now) const;

 private:
  struct Other {
    std::optional<StateDigest> waiting;  // until we come that far
    Micros equal_at = -1;
    Index differed_at;
  };
  // Our number at an index, if it is remembered.
  std::optional<std::uint64_t> ours_at(Index index) const;
  void compare(Other& other, const StateDigest& theirs, Micros now);

  std::deque<std::uint64_t> ours_;  // of the indexes up to last_
  Index last_;
  std::map<MemberId, Other> others_;
};

std::string_view to_text(StateCompare::Answer answer);  // equal, different, unknown

}  // namespace capstan::cp
