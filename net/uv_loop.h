// The loop: libuv, wrapped once, with one idea of its own: turns.
//
//   poll ─► reads, accepts, posts ─► deferred ─► timers ─► end of turn ─► writes ─► poll ...
//           └─ the first of them opens the turn ─┘
//
// A turn is everything that one wake-up brings. It opens with the first callback after the poll,
// when the clock is read, and closes once nothing is left to hear. Two promises follow:
//
//   read before tick     Timers run after the sockets were read, never before: a process that slept
//                        finds the heartbeats it missed before it counts them as missing. libuv's
//                        own timers run before the poll, so none are used for callbacks.
//   one write a turn     Streams queue what they are given and leave with one writev at the end,
//                        after every end_turn() has spoken.
//
// Everything belongs to the loop's thread but post(). uv.h is named in net/uv_*.cc only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/time.h"

namespace capstan::net {

using Task = std::move_only_function<void()>;

// Who wants to bracket turns: an engine's begin_turn() and end_turn(). Not called for wake-ups that
// bring nothing.
class TurnUser {
 public:
  virtual ~TurnUser() = default;
  virtual void begin_turn(Now now) = 0;
  virtual void end_turn() = 0;
};

class Loop {
 public:
  // Ignores SIGPIPE for the whole process: a peer that left is an error of a write, not an end.
  Loop();
  // Streams, listeners, timers and processes of this loop must be gone.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). May be called again.
  void run();
  // Ends run() at the end of this turn; outside of run(), the next one after its first turn.
  void stop();

  // From any thread: runs `task` on the loop thread in a turn to come. Tasks of one thread keep
  // their order. Never blocks for longer than a push to a vector.
  void post(Task task);

  // Loop thread: runs `task` in the next turn, which begins at once; before its timers.
  void defer(Task task);

  // The clocks, read when this turn opened. Outside of turns: read now.
  Now now() const;
  // Read now, always; for measuring.
  static Now clock();

  // Users are called in the order they were added.
  void add_turn_user(TurnUser& user);
  void remove_turn_user(TurnUser& user);

  // Runs `handler` on the loop, within a turn, at each signal `number` (SIGTERM, SIGINT, ...). One
  // handler a number; a null one restores the default.
  void on_signal(int number, std::function<void()> handler);

  // For net/uv_*.cc only.
  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace capstan::net
