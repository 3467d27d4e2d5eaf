// Watches: the changes of a range of keys, in order, from any revision that history still holds.
//
//   apply ──► advance() ──► watches whose range holds a changed key are due ──► ready()
//   reader ─► next() ─────► what the next due watch has not seen, up to now
//
// A watch keeps no event. While nothing happens it is a range in an index; once something did, it
// is due and remembers a few revisions that matter to it. One that has more, or
// starts in the past, is a position: it reads Space::kHistory forward, a slice at a time,
// so that a slow reader and one that is a million revisions behind cost the same memory as an idle
// one.
//
// All of it is local to a node: a watch sees what was committed, as far as this node has applied
// it. A watch cannot begin below what is compacted; one that runs may still be below it, until what
// it has not seen is swept away (Mvcc): then it is canceled, and told where history begins.
//
// Cost   a change: O(log n + watches of its key). A message: a read of history for each of its
//        events, and one more for each previous value
// Source etcd v3 API; its six guarantees (ordered, unique, reliable, atomic, resumable,
//        bookmarkable) are what tests/sim holds against this
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/time.h"
#include "core/watch.h"
#include "cp/mvcc.h"
#include "cp/range_index.h"

namespace capstan::cp {

class Watches {
 public:
  // `header` fills in who answers; the revision is ours. Both outlive this.
  Watches(const Mvcc& mvcc, WatchBounds bounds, std::function<ReplyHeader()> header);
  ~Watches();
  Watches(const Watches&) = delete;

  // The stream may outlive this; it is silent then.
  // Of those it may not watch each is refused, or canceled by recheck().
  using MayWatch = std::move_only_function<bool(const KeyRange&)>;
  std::unique_ptr<WatchStream> open(WatchOptions options, MayWatch may_watch = nullptr);

  // One that has nothing to say but why.
  std::unique_ptr<WatchStream> open_ended(WatchOptions options, Refusal why);

  // More has been applied, or may have been. Once a turn.
  void advance();
  // Time passes, and with it the patience for a progress message.
  void tick(Micros now);
  // While true nothing is read: the state is about to be replaced. On false it has been, by one
  // that continues the same history.
  void hold(bool on);
  // Would a sweep up to there cancel one of them?
  bool any_behind(Revision target) const;
  // What somebody may watch has changed.
  void recheck();
  void end_all(const Refusal& why);
  // Ends the streams that were promised a leader.
  void end_leaderless(const Refusal& why);

  std::size_t count() const { return index_.size(); }

 private:
  class Stream;
  struct Watch;

  void add(Watch& watch);
  void remove(Watch& watch);
  static std::size_t bytes_of(const Watch& watch);
  void hit(Watch& watch, std::uint64_t revision, bool deleted);
  void make_due(Watch& watch);
  // Moves what `watch` has not seen into `events`, whole revisions, about
  // WatchBounds::message_bytes. False: there is more. `budget` is what may be looked at.
  bool collect(Watch& watch, std::vector<WatchEvent>& events, std::size_t& budget);
  ReplyHeader header_now() const;

  const Mvcc& mvcc_;
  const WatchBounds bounds_;
  std::function<ReplyHeader()> header_;
  std::vector<Stream*> streams_;
  RangeIndex<Watch> index_;
  std::size_t bytes_ = 0;  // that the watches take, about
  Revision seen_;          // every watch that is not due has seen everything up to here
  bool held_ = false;
  Micros now_ = 0;
};

}  // namespace capstan::cp
