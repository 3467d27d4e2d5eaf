// How old the first entry is that somebody has not confirmed: where the log ended, noted from time
// to time. A pure machine; cp/engine_grey.cc asks it.
//
// Cost   a note is O(1). Ten a second are kept, of the last minute: what is older counts as that
// old.
#pragma once

#include <algorithm>
#include <deque>

#include "core/time.h"
#include "core/types.h"

namespace capstan::cp {

class LogAges {
 public:
  static constexpr Micros kBetween = 100 * kMillisecond;
  static constexpr Micros kLongest = 60 * kSecond;

  // Now the log ends at `last`.
  void note(Index last, Micros now) {
    while (!notes_.empty() && notes_.back().last > last) notes_.pop_back();  // it was cut
    if (!notes_.empty() && notes_.back().last == last) return;
    if (!notes_.empty() && now - notes_.back().at < kBetween) {
      notes_.back().last = last;
    } else {
      notes_.push_back({last, now});
    }
    while (notes_.size() > 1 && now - notes_[1].at >= kLongest) notes_.pop_front();
  }
  void clear() { notes_.clear(); }

  // For how long there has been an entry behind `confirmed`, up to 0.1 s more or less; 0: none is.
  Micros age_behind(Index confirmed, Micros now) const {
    const auto first = std::ranges::upper_bound(notes_, confirmed, {}, &Note::last);
    return first == notes_.end() ? 0 : now - first->at;
  }

 private:
  struct Note {
    Index last;
    Micros at;
  };
  std::deque<Note> notes_;
};

}  // namespace capstan::cp
