// Runs a real loop until a condition holds, looked at after every turn; never sleeps, never waits
// for longer than a test may hang.
#pragma once

#include <functional>

#include "net/uv_loop.h"
#include "net/uv_timer.h"

namespace capstan::test {

// True: the condition held. False: it did not within `limit`, which only a broken test reaches.
inline bool run_until(net::Loop& loop, const std::function<bool()>& holds,
                      Micros limit = 20 * kSecond) {
  struct Watcher : net::TurnUser {
    Watcher(net::Loop& l, const std::function<bool()>& h) : loop(l), holds(h) {
      loop.add_turn_user(*this);
    }
    ~Watcher() override { loop.remove_turn_user(*this); }
    void begin_turn(Now) override {}
    void end_turn() override {
      if (holds()) loop.stop();
    }
    net::Loop& loop;
    const std::function<bool()>& holds;
  };
  Watcher watcher(loop, holds);
  net::Timer deadline(loop);
  bool late = false;
  deadline.start(limit, [&] {
    late = true;
    loop.stop();
  });
  loop.defer([] {});  // so that there is a first turn
  loop.run();
  return !late || holds();
}

// Lets the loop work for `time`, to show that something does not happen.
inline void run_for(net::Loop& loop, Micros time) {
  net::Timer end(loop);
  end.start(time, [&] { loop.stop(); });
  loop.run();
}

}  // namespace capstan::test
