// What the uv_*.cc files share; nobody else includes it, so that uv.h stays here.
#pragma once

#include <uv.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/check.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"

namespace capstan::net {

// Something with bytes to write at the end of the turn.
class Flushable {
 public:
  virtual ~Flushable() = default;
  virtual void flush() noexcept = 0;
};

struct Timer::State {
  Loop::State* loop = nullptr;
  Micros deadline = 0;      // Now::monotonic
  Micros interval = 0;      // 0: once
  std::uint64_t order = 0;  // of arming; 0: not armed
  Task task;
};

struct Loop::State {
  struct Earlier {
    bool operator()(const std::shared_ptr<Timer::State>& a,
                    const std::shared_ptr<Timer::State>& b) const {
      return a->deadline != b->deadline ? a->deadline < b->deadline : a->order < b->order;
    }
  };
  struct Signal {
    uv_signal_t handle;
    State* loop = nullptr;
    std::function<void()> handler;
  };

  // Every callback of libuv that reaches a user calls this first.
  void open_turn();
  void close_turn();
  void set_alarm();
  void run_posted();
  void run_timers();
  void arm(const std::shared_ptr<Timer::State>& timer, Micros deadline);
  void disarm(const std::shared_ptr<Timer::State>& timer);
  void wants_flush(std::shared_ptr<Flushable> who) { dirty.push_back(std::move(who)); }
  void defer(Task task) { deferred.push_back(std::move(task)); }

  uv_loop_t uv;
  uv_prepare_t before_poll;
  uv_check_t after_poll;
  uv_async_t wake;
  uv_timer_t alarm;  // ends the poll in time for the next of `timers`; has no task of its own

  bool in_turn = false;
  Now turn_now;
  std::vector<TurnUser*> users;  // null: removed during this turn
  std::vector<Task> deferred;
  std::vector<std::shared_ptr<Flushable>> dirty;
  std::set<std::shared_ptr<Timer::State>, Earlier> timers;
  std::uint64_t timers_armed = 0;
  std::map<int, Signal*> signals;
  std::vector<char> read_buffer;   // of all streams, one callback at a time
  std::vector<char> plain_buffer;  // of all with TLS; empty until the first

  std::mutex posted_mutex;  // guards `posted`, the one thing other threads touch
  std::vector<Task> posted;
};

// At the end of a loop: closes a stream that its owner finished and that still waits for the other
// side (uv_tcp.cc).
void close_lingering(uv_handle_t* handle, void* unused) noexcept;

// "connection refused", lower case, no code.
inline std::string uv_text(int code) { return uv_strerror(code); }

}  // namespace capstan::net
