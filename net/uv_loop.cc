#include "net/uv_loop.h"

#include <csignal>
#include <ctime>

#include <algorithm>
#include <utility>

#include "net/uv_internal.h"

namespace capstan::net {

namespace {

constexpr std::size_t kReadBufferBytes = 128 * 1024;

Micros micros_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<Micros>(t.tv_sec) * kSecond + t.tv_nsec / 1000;
}

}  // namespace

Loop::Loop() : state_(std::make_unique<State>()) {
  std::signal(SIGPIPE, SIG_IGN);
  State& s = *state_;
  s.read_buffer.resize(kReadBufferBytes);
  CAPSTAN_ASSERT(uv_loop_init(&s.uv) == 0);
  uv_prepare_init(&s.uv, &s.before_poll);
  uv_check_init(&s.uv, &s.after_poll);
  uv_timer_init(&s.uv, &s.alarm);
  CAPSTAN_ASSERT(uv_async_init(&s.uv, &s.wake, [](uv_async_t* handle) noexcept {
                   static_cast<State*>(handle->data)->run_posted();
                 }) == 0);
  s.before_poll.data = s.after_poll.data = s.wake.data = s.alarm.data = &s;
  uv_prepare_start(&s.before_poll, [](uv_prepare_t* handle) noexcept {
    static_cast<State*>(handle->data)->set_alarm();
  });
  uv_check_start(&s.after_poll, [](uv_check_t* handle) noexcept {
    static_cast<State*>(handle->data)->close_turn();
  });
}

Loop::~Loop() {
  State& s = *state_;
  while (!s.signals.empty()) on_signal(s.signals.begin()->first, nullptr);
  s.deferred.clear();  // what they hold may own streams, which close now
  s.dirty.clear();
  {
    const std::lock_guard lock(s.posted_mutex);
    s.posted.clear();
  }
  for (uv_handle_t* handle :
       {reinterpret_cast<uv_handle_t*>(&s.before_poll),
        reinterpret_cast<uv_handle_t*>(&s.after_poll), reinterpret_cast<uv_handle_t*>(&s.wake),
        reinterpret_cast<uv_handle_t*>(&s.alarm)}) {
    uv_close(handle, nullptr);
  }
  uv_walk(&s.uv, close_lingering, nullptr);
  uv_run(&s.uv, UV_RUN_DEFAULT);  // closes, and look-ups that nobody waits for any more
  CAPSTAN_ASSERT(s.timers.empty());
  CAPSTAN_ASSERT(uv_loop_close(&s.uv) == 0);
}

void Loop::run() { uv_run(&state_->uv, UV_RUN_DEFAULT); }
void Loop::stop() { uv_stop(&state_->uv); }

void Loop::post(Task task) {
  {
    const std::lock_guard lock(state_->posted_mutex);
    state_->posted.push_back(std::move(task));
  }
  uv_async_send(&state_->wake);
}

void Loop::defer(Task task) { state_->defer(std::move(task)); }

Now Loop::now() const { return state_->in_turn ? state_->turn_now : clock(); }

Now Loop::clock() {
  return {.monotonic = micros_of(CLOCK_BOOTTIME), .wall = micros_of(CLOCK_REALTIME)};
}

void Loop::add_turn_user(TurnUser& user) {
  state_->users.push_back(&user);
  if (state_->in_turn) user.begin_turn(state_->turn_now);
}

void Loop::remove_turn_user(TurnUser& user) {
  std::vector<TurnUser*>& users = state_->users;
  // Only marked while a turn is open: someone may be walking the list.
  if (state_->in_turn) {
    std::replace(users.begin(), users.end(), &user, static_cast<TurnUser*>(nullptr));
  } else {
    std::erase(users, &user);
  }
}

void Loop::on_signal(int number, std::function<void()> handler) {
  State& s = *state_;
  const auto found = s.signals.find(number);
  if (!handler) {
    if (found == s.signals.end()) return;
    uv_close(
        reinterpret_cast<uv_handle_t*>(&found->second->handle),
        [](uv_handle_t* handle) noexcept { delete static_cast<State::Signal*>(handle->data); });
    s.signals.erase(found);
    return;
  }
  if (found != s.signals.end()) {
    found->second->handler = std::move(handler);
    return;
  }
  auto* signal = new State::Signal{.handle = {}, .loop = &s, .handler = std::move(handler)};
  signal->handle.data = signal;
  uv_signal_init(&s.uv, &signal->handle);
  signal->handle.data = signal;
  CAPSTAN_ASSERT(uv_signal_start(
                     &signal->handle,
                     [](uv_signal_t* handle, int) noexcept {
                       auto* self = static_cast<State::Signal*>(handle->data);
                       self->loop->open_turn();
                       const std::function<void()> copy = self->handler;  // it may replace itself
                       copy();
                     },
                     number) == 0);
  s.signals[number] = signal;
}

// ---- Turns --------------------------------------------------------------------------------------

void Loop::State::open_turn() {
  if (in_turn) return;
  in_turn = true;
  turn_now = Loop::clock();
  for (std::size_t i = 0; i < users.size(); ++i) {
    if (users[i] != nullptr) users[i]->begin_turn(turn_now);
  }
}

// After the poll: all that was waiting has been read. An end_turn() may defer; that is for the next
// turn, which set_alarm() starts at once.
void Loop::State::close_turn() {
  if (!deferred.empty()) {
    open_turn();
    for (Task& task : std::exchange(deferred, {})) task();
  }
  run_timers();
  if (in_turn) {
    for (std::size_t i = 0; i < users.size(); ++i) {
      if (users[i] != nullptr) users[i]->end_turn();
    }
    in_turn = false;
    std::erase(users, nullptr);
  }
  for (const std::shared_ptr<Flushable>& stream : std::exchange(dirty, {})) stream->flush();
}

void Loop::State::run_posted() {
  open_turn();
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(posted_mutex);
    tasks.swap(posted);
  }
  for (Task& task : tasks) task();
}

// How long the poll may sleep. Rounded up: waking early would only mean to wake twice.
void Loop::State::set_alarm() {
  if (!deferred.empty() || !dirty.empty()) {
    uv_timer_start(&alarm, [](uv_timer_t*) noexcept {}, 0, 0);
    return;
  }
  if (timers.empty()) {
    uv_timer_stop(&alarm);
    return;
  }
  const Micros left = (*timers.begin())->deadline - Loop::clock().monotonic;
  const Micros millis = left <= 0 ? 0 : (left + 999) / 1000;
  uv_update_time(&uv);
  uv_timer_start(&alarm, [](uv_timer_t*) noexcept {}, static_cast<std::uint64_t>(millis), 0);
}

void Loop::State::run_timers() {
  if (timers.empty()) return;
  const Micros now = Loop::clock().monotonic;
  // What a task arms has its turn in the next round, however short the delay.
  const std::uint64_t last_order = timers_armed;
  while (!timers.empty()) {
    const auto due = std::find_if(timers.begin(), timers.end(), [&](const auto& timer) {
      return timer->deadline > now || timer->order <= last_order;
    });
    if (due == timers.end() || (*due)->deadline > now) return;
    const std::shared_ptr<Timer::State> timer = *due;
    open_turn();
    disarm(timer);
    if (timer->interval > 0) {
      const Micros next = timer->deadline + timer->interval;
      arm(timer, next > now ? next : now + timer->interval);
    }
    // The task may start, cancel or destroy its own timer.
    const std::uint64_t order = timer->order;
    Task task = std::move(timer->task);
    task();
    if (timer->interval > 0 && timer->order == order) timer->task = std::move(task);
  }
}

void Loop::State::arm(const std::shared_ptr<Timer::State>& timer, Micros deadline) {
  timer->deadline = deadline;
  timer->order = ++timers_armed;
  timers.insert(timer);
}

void Loop::State::disarm(const std::shared_ptr<Timer::State>& timer) {
  if (timer->order == 0) return;
  timers.erase(timer);
  timer->order = 0;
}

// ---- Timer --------------------------------------------------------------------------------------

Timer::Timer(Loop& loop) : state_(std::make_shared<State>()) { state_->loop = &loop.state(); }
Timer::~Timer() { cancel(); }

void Timer::start(Micros delay, Task task) {
  cancel();
  state_->task = std::move(task);
  state_->loop->arm(state_, Loop::clock().monotonic + delay);
}

void Timer::every(Micros interval, Task task) {
  CAPSTAN_ASSERT(interval > 0);
  start(interval, std::move(task));
  state_->interval = interval;
}

void Timer::cancel() {
  state_->loop->disarm(state_);
  state_->interval = 0;
  state_->task = nullptr;
}

bool Timer::armed() const { return state_->order != 0; }

}  // namespace capstan::net
