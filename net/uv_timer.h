// Timers of the loop. They fire at the end of a turn, after everything in the sockets was read
// (uv_loop.h says why), never early, and late by at most about a millisecond beyond the turn's
// work.
#pragma once

#include <memory>

#include "core/time.h"
#include "net/uv_loop.h"

namespace capstan::net {

class Timer {
 public:
  // Not armed yet. The loop must outlive the timer.
  explicit Timer(Loop& loop);
  // Cancels; may be called from within the timer's own task.
  ~Timer();
  Timer(Timer&&) = delete;

  // Runs `task` once, `delay` from now. Replaces what was armed.
  void start(Micros delay, Task task);
  // Runs `task` every `interval`, first one interval from now. Turns missed while the process slept
  // are not made up for: one call, then the rhythm goes on from there.
  void every(Micros interval, Task task);
  void cancel();
  bool armed() const;

  struct State;  // for uv_loop.cc only

 private:
  std::shared_ptr<State> state_;
};

}  // namespace capstan::net
