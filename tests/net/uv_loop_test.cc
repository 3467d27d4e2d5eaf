#include "net/uv_loop.h"

#include <csignal>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/uv_tcp.h"
#include "net/uv_timer.h"
#include "tests/support/loop_until.h"

namespace capstan::net {
namespace {

struct Recorder : TurnUser {
  Recorder(Loop& l, std::string& o) : loop(l), out(o) { loop.add_turn_user(*this); }
  ~Recorder() override { loop.remove_turn_user(*this); }
  void begin_turn(Now now) override {
    out += '[';
    began = now;
  }
  void end_turn() override { out += ']'; }
  Loop& loop;
  std::string& out;
  Now began;
};

TEST_CASE("loop: a turn brackets everything that one wake-up brings, posts before timers") {
  Loop loop;
  std::string seen;
  Recorder recorder(loop, seen);
  Timer timer(loop);
  timer.start(0, [&] {
    seen += 't';
    loop.stop();
  });
  loop.post([&] { seen += 'p'; });
  loop.defer([&] { seen += 'd'; });
  loop.run();
  // A zero alarm may end the poll before the post is seen; then it has a turn of its own.
  CHECK((seen == "[pdt]" || seen == "[dt]"));
}

TEST_CASE("loop: now() stands still within a turn and is the one begin_turn() was given") {
  Loop loop;
  std::string seen;
  Recorder recorder(loop, seen);
  bool same = false;
  loop.post([&] {
    const Micros first = loop.now().monotonic;
    while (Loop::clock().monotonic == first) {
    }
    same = loop.now().monotonic == first && recorder.began.monotonic == first;
    loop.stop();
  });
  loop.run();
  CHECK(same);
}

TEST_CASE("loop: what an end of turn defers runs in the next turn, at once") {
  Loop loop;
  struct Once : TurnUser {
    explicit Once(Loop& l) : loop(l) { loop.add_turn_user(*this); }
    ~Once() override { loop.remove_turn_user(*this); }
    void begin_turn(Now) override { ++turns; }
    void end_turn() override {
      if (turns == 1) {
        loop.defer([this] {
          ran_in_turn = turns;
          loop.stop();
        });
      }
    }
    Loop& loop;
    int turns = 0;
    int ran_in_turn = 0;
  } once(loop);
  loop.post([] {});
  loop.run();
  CHECK(once.ran_in_turn == 2);
}

TEST_CASE("loop: posts from other threads all arrive, in each thread's order") {
  Loop loop;
  constexpr int kThreads = 4, kPosts = 5000;
  std::vector<int> next(kThreads, 0);
  int arrived = 0;
  bool ordered = true;
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop.post([&, t, i] {
          ordered = ordered && next[static_cast<std::size_t>(t)]++ == i;
          if (++arrived == kThreads * kPosts) loop.stop();
        });
      }
    });
  }
  loop.run();
  CHECK(arrived == kThreads * kPosts);
  CHECK(ordered);
}

TEST_CASE("loop: a user that leaves during a turn is not called again") {
  Loop loop;
  std::string a, b;
  Recorder first(loop, a);
  auto second = std::make_unique<Recorder>(loop, b);
  loop.post([&] { second.reset(); });
  loop.post([&] { loop.stop(); });
  loop.run();
  CHECK(a == "[]");
  CHECK(b == "[");
}

TEST_CASE("loop: a signal runs its handler within a turn") {
  Loop loop;
  std::string seen;
  Recorder recorder(loop, seen);
  loop.on_signal(SIGUSR1, [&] {
    seen += 's';
    loop.on_signal(SIGUSR1, nullptr);
    loop.stop();
  });
  loop.post([] { std::raise(SIGUSR1); });
  loop.run();
  CHECK(seen.find("s]") != std::string::npos);
}

TEST_CASE("timer: fires in order of deadline, those alike in order of arming") {
  Loop loop;
  std::string seen;
  Timer a(loop), b(loop), c(loop);
  a.start(3 * kMillisecond, [&] {
    seen += 'a';
    loop.stop();
  });
  b.start(1 * kMillisecond, [&] { seen += 'b'; });
  c.start(2 * kMillisecond, [&] { seen += 'c'; });
  loop.run();
  CHECK(seen == "bca");
}

TEST_CASE("timer: never early; every() keeps its rhythm and skips what was slept through") {
  Loop loop;
  Timer timer(loop);
  constexpr Micros kEvery = 2 * kMillisecond;
  const Micros start = Loop::clock().monotonic;
  Micros woke = 0;
  int calls = 0;
  timer.every(kEvery, [&] {
    ++calls;
    if (calls <= 2) CHECK(Loop::clock().monotonic >= start + calls * kEvery);
    if (calls == 2) {  // sleep over twenty intervals: one call makes up for them all
      woke = Loop::clock().monotonic + 20 * kEvery;
      while (Loop::clock().monotonic < woke) {
      }
    }
    if (calls >= 3) CHECK(Loop::clock().monotonic >= woke + (calls - 3) * kEvery);
    if (calls == 8) loop.stop();
  });
  loop.run();
  CHECK(calls == 8);
}

TEST_CASE("timer: its own task may restart it, cancel it or destroy it") {
  Loop loop;
  int restarted = 0, cancelled = 0, destroyed = 0;
  Timer restarts(loop), cancels(loop), end(loop);
  auto dies = std::make_unique<Timer>(loop);
  restarts.every(kMillisecond, [&] {
    ++restarted;
    restarts.start(kMillisecond, [&] { restarted += 10; });
  });
  cancels.every(kMillisecond, [&] {
    ++cancelled;
    cancels.cancel();
  });
  dies->every(kMillisecond, [&] {
    ++destroyed;
    dies.reset();
  });
  end.start(8 * kMillisecond, [&] { loop.stop(); });
  loop.run();
  CHECK(restarted == 11);
  CHECK(cancelled == 1);
  CHECK(destroyed == 1);
  CHECK(!restarts.armed());
}

// The rule the whole design rests on: a stalled process hears first and counts afterwards.
TEST_CASE("loop: after a stall, what waits in the sockets is read before a timer that is due") {
  Loop loop;
  std::string seen;
  struct Sink : StreamEvents {
    explicit Sink(std::string& s) : seen(s) {}
    void on_bytes(ByteView) override { seen += 'r'; }
    void on_close(CloseReason, const std::string&) override {}
    std::string& seen;
  } sink(seen);
  std::unique_ptr<TcpStream> in;
  auto listener = TcpListener::listen(loop, "127.0.0.1", 0, [&](std::unique_ptr<TcpStream> s) {
    in = std::move(s);
    in->set_events(sink);
  });
  REQUIRE(listener);
  Sink other(seen);
  auto out = TcpStream::connect(loop, "127.0.0.1", (*listener)->port(), other);
  REQUIRE(test::run_until(loop, [&] { return in && out->connected(); }));

  Timer timer(loop);
  timer.start(5 * kMillisecond, [&] {
    seen += 't';
    loop.stop();
  });
  out->write("heartbeat");
  // The write leaves at the end of the turn; the turn after it oversleeps the timer.
  loop.defer([&] {
    loop.defer([] {
      const Micros until = Loop::clock().monotonic + 10 * kMillisecond;
      while (Loop::clock().monotonic < until) {
      }
    });
  });
  loop.run();
  CHECK(seen == "rt");
}

}  // namespace
}  // namespace capstan::net
