#include "cp/watch.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/table.h"
#include "tests/support/memory_base.h"

using namespace capstan;
using namespace capstan::cp;

namespace {

struct Store {
  explicit Store(WatchBounds bounds = {}) : watches(mvcc, bounds, [] { return ReplyHeader{}; }) {}

  test::MemoryBase base;
  Table table{base};
  Mvcc mvcc{table};
  Watches watches;
  int woken = 0;

  // A command, and the turn that ends with it. An empty value deletes.
  void change(const std::vector<std::pair<std::string, std::string>>& changes) {
    mvcc.begin();
    for (const auto& [key, value] : changes) {
      if (value.empty()) {
        mvcc.erase({{key, ""}, false});
      } else {
        mvcc.put({key, value, 0, false, false, false});
      }
    }
    mvcc.end();
    watches.advance();
  }
  void put(const std::string& key, const std::string& value) { change({{key, value}}); }
  void erase(const std::string& key) { change({{key, ""}}); }

  std::unique_ptr<WatchStream> open(bool require_leader = false) {
    return watches.open({.ready = [this] { ++woken; }, .require_leader = require_leader});
  }
};

WatchRequest on(const std::string& key, const std::string& end = "", std::int64_t start = 0) {
  WatchRequest request;
  request.range = {key, end};
  request.start_revision = start;
  return request;
}

// "2+a=1 2+b=2 3-a" of the messages that are there; "|" between messages.
std::string said(WatchStream& stream) {
  std::string out;
  while (const auto message = stream.next()) {
    if (!out.empty()) out += " | ";
    if (message->created) out += "created";
    if (message->canceled)
      out += message->created ? ", not: " + message->cancel_reason : "canceled";
    if (message->compacted) out += " at " + std::to_string(message->compacted.value);
    if (message->end) out += "end: " + message->end->detail;
    if (!message->created && !message->canceled && !message->end && message->events.empty()) {
      out += "progress " + std::to_string(message->header.revision.value);
    }
    for (std::size_t i = 0; i < message->events.size(); ++i) {
      const WatchEvent& event = message->events[i];
      CHECK(event.kv.mod_revision <= message->header.revision);
      out += (i == 0 ? "" : " ") + std::to_string(event.kv.mod_revision.value) +
             (event.deleted ? "-" : "+") + event.kv.key;
      if (!event.deleted) out += "=" + event.kv.value;
      if (event.prev) out += "(" + event.prev->value + ")";
    }
  }
  return out;
}

}  // namespace

TEST_CASE("watch: created comes first and alone, then what happens from now on") {
  Store store;
  store.put("a", "0");
  const auto stream = store.open();
  stream->create(on("a"));
  CHECK(store.woken == 1);
  CHECK(said(*stream) == "created");
  store.put("a", "1");
  store.put("b", "1");
  store.erase("a");
  CHECK(said(*stream) == "3+a=1 5-a" + std::string());
  store.put("b", "2");
  CHECK(said(*stream).empty());
}

TEST_CASE("watch: a start in the past brings history, one in the future waits for it") {
  Store store;
  for (int i = 1; i <= 4; ++i) store.put("a", std::to_string(i));  // revisions 2 to 5
  const auto stream = store.open();
  stream->create(on("a", "", 4));
  CHECK(said(*stream) == "created | 4+a=3 5+a=4");
  const auto later = store.open();
  later->create(on("a", "", 8));
  CHECK(said(*later) == "created");
  for (int i = 6; i <= 9; ++i) store.put("a", std::to_string(i));
  CHECK(said(*later) == "8+a=8 9+a=9");
  CHECK(said(*stream) == "6+a=6 7+a=7 8+a=8 9+a=9");
}

TEST_CASE("watch: all of a revision comes in one message, however small messages are") {
  Store store({.message_bytes = 1, .scan_changes = 100, .hits = 1});
  const auto stream = store.open();
  stream->create(on("a", "c"));
  CHECK(said(*stream) == "created");
  store.change({{"a", "1"}, {"x", "1"}, {"b", "1"}});
  store.put("a", "2");
  store.change({{"b", ""}, {"a", "3"}});
  CHECK(said(*stream) == "2+a=1 2+b=1 | 3+a=2 | 4-b 4+a=3");
}

TEST_CASE("watch: previous values and filters are the watch's own") {
  Store store;
  store.put("a", "1");
  const auto stream = store.open();
  WatchRequest with_prev = on("a");
  with_prev.prev_kv = true;
  stream->create(with_prev);
  WatchRequest puts = on("a");
  puts.no_delete = true;
  stream->create(puts);
  WatchRequest deletes = on("a");
  deletes.no_put = true;
  stream->create(deletes);
  CHECK(said(*stream) == "created | created | created");
  store.put("a", "2");
  CHECK(said(*stream) == "3+a=2(1) | 3+a=2");
  store.erase("a");
  CHECK(said(*stream) == "4-a(2) | 4-a");
  store.put("a", "3");
  CHECK(said(*stream) == "5+a=3 | 5+a=3");
}

TEST_CASE("watch: ids are the client's or counted, and each is there once") {
  Store store;
  const auto stream = store.open();
  WatchRequest own = on("a");
  own.id = 1;
  stream->create(own);
  stream->create(on("a"));
  stream->create(on("a"));
  std::vector<std::int64_t> ids;
  for (auto message = stream->next(); message; message = stream->next()) ids.push_back(message->id);
  CHECK(ids == std::vector<std::int64_t>{1, 0, 2});
  stream->create(own);
  CHECK(said(*stream) == "created, not: mvcc: duplicate watch ID provided on the WatchStream");
  stream->create(on("b", "a"));
  CHECK(said(*stream) == "created, not: mvcc: watcher range is empty");
  stream->cancel(1);
  stream->cancel(7);
  CHECK(said(*stream) == "canceled");
  CHECK(store.watches.count() == 2);
  stream->create(own);
  store.put("a", "1");
  CHECK(said(*stream) == "created | 2+a=1 | 2+a=1 | 2+a=1");
}

TEST_CASE("watch: a slow reader misses nothing and is woken for a slice at a time") {
  Store store({.message_bytes = 1 << 20, .scan_changes = 5, .hits = 2});
  const auto stream = store.open();
  stream->create(on("a"));
  CHECK(said(*stream) == "created");
  for (int i = 2; i <= 14; ++i) store.put("a", "v");
  std::string all;
  for (int turn = 0; turn < 20; ++turn) {
    const int before = store.woken;
    const std::string part = said(*stream);
    if (!part.empty()) all += part + " | ";
    store.watches.advance();
    if (store.woken == before) break;
  }
  CHECK(
      all ==
      "2+a=v 3+a=v 4+a=v 5+a=v 6+a=v | 7+a=v 8+a=v 9+a=v 10+a=v 11+a=v | 12+a=v 13+a=v 14+a=v | ");
}

TEST_CASE("watch: progress is told behind the events it speaks of") {
  Store store;
  const auto stream = store.open();
  stream->create(on("a"));
  store.put("a", "1");
  stream->ask_progress();
  store.put("a", "2");
  CHECK(said(*stream) == "created | 2+a=1 3+a=2 | progress 3");
}

TEST_CASE("watch: one that asked for it hears now and then that nothing happens") {
  Store store;
  const auto stream = store.open();
  WatchRequest quiet = on("a");
  quiet.progress_notify = true;
  stream->create(quiet);
  stream->create(on("a"));
  CHECK(said(*stream) == "created | created");
  store.put("b", "1");
  store.watches.tick(kWatchProgressInterval - kSecond);
  CHECK(said(*stream).empty());
  store.watches.tick(kWatchProgressInterval);
  CHECK(said(*stream) == "progress 2");
  store.watches.tick(kWatchProgressInterval + kSecond);
  CHECK(said(*stream).empty());

  // Whatever it hears begins the silence anew; and one that is gone hears nothing.
  store.put("a", "2");
  CHECK(said(*stream) == "3+a=2 | 3+a=2");
  store.watches.tick(2 * kWatchProgressInterval);
  CHECK(said(*stream).empty());
  store.watches.tick(2 * kWatchProgressInterval + kSecond);
  CHECK(said(*stream) == "progress 3");
  stream->cancel(0);
  CHECK(said(*stream) == "canceled");
  store.watches.tick(4 * kWatchProgressInterval);
  CHECK(said(*stream).empty());
}

TEST_CASE("watch: below what is compacted none begins; a running one ends when it is swept away") {
  Store store;
  for (int i = 2; i <= 6; ++i) store.put("a", "v" + std::to_string(i));
  const auto slow = store.open();
  WatchRequest with_previous = on("a", "", 3);
  with_previous.prev_kv = true;
  slow->create(with_previous);
  CHECK(slow->next()->created);
  REQUIRE(!store.mvcc.compact(5));
  CHECK(store.watches.any_behind({5}));
  CHECK(!store.watches.any_behind({3}));
  const auto stream = store.open();
  stream->create(on("a", "", 4));
  stream->create(on("a", "", 5));
  CHECK(said(*stream) == "created | canceled at 5 | created | 5+a=v5 6+a=v6");
  CHECK(said(*slow) == "3+a=v3(v2) 4+a=v4(v3) 5+a=v5(v4) 6+a=v6(v5)");
  CHECK(!store.watches.any_behind({5}));

  store.put("a", "v7");
  store.put("a", "v8");
  REQUIRE(!store.mvcc.compact(8));
  store.mvcc.begin_sweep({8});
  CHECK(said(*slow) == "canceled at 8");
  CHECK(said(*stream) == "canceled at 8");
  stream->create(on("a", "", 8));
  CHECK(said(*stream) == "created | 8+a=v8");
}

TEST_CASE("watch: a state that was replaced goes on where the old one was left") {
  Store store;
  const auto stream = store.open();
  stream->create(on("a"));
  stream->create(on("b", "", 5));
  CHECK(said(*stream) == "created | created");
  store.put("a", "1");
  store.watches.hold(true);
  for (int i = 3; i <= 6; ++i) store.change({{"a", "x"}, {"b", "y"}});
  CHECK(said(*stream).empty());
  store.watches.hold(false);
  CHECK(said(*stream) == "2+a=1 3+a=x 4+a=x 5+a=x 6+a=x | 5+b=y 6+b=y");
  store.put("b", "z");
  CHECK(said(*stream) == "7+b=z");
}

TEST_CASE("watch: without a leader the streams that were promised one end, others go on") {
  Store store;
  const auto promised = store.open(true);
  const auto other = store.open(false);
  promised->create(on("a"));
  other->create(on("a"));
  store.watches.end_leaderless({Reason::kNoLeader, "nobody leads"});
  CHECK(said(*promised) == "end: nobody leads");
  CHECK(store.watches.count() == 1);
  store.put("a", "1");
  CHECK(said(*promised).empty());
  CHECK(said(*other) == "created | 2+a=1");
}

TEST_CASE(
    "watch: a stream outlives its node in silence, and takes its watches along when it goes") {
  std::unique_ptr<WatchStream> stream;
  {
    Store store;
    stream = store.open();
    auto other = store.open();
    other->create(on("a"));
    CHECK(store.watches.count() == 1);
    other.reset();
    CHECK(store.watches.count() == 0);
    store.put("a", "1");
  }
  stream->create(on("a"));
  stream->cancel(0);
  CHECK(!stream->next());
}

TEST_CASE("watch: what a client may pile up is bounded") {
  Store store;
  const auto stream = store.open();
  stream->create(on(std::string(kKeyBytesMax + 1, 'k')));
  CHECK(said(*stream) == "created, not: refused: a key of a range has at most 65536 bytes");
  for (std::size_t i = 0; i < kWatchAnswersMax; ++i) stream->create(on("b", "a"));
  CHECK(stream->next()->canceled);
  for (int i = 0; i < 3; ++i) stream->create(on("b", "a"));
  const auto last = stream->next();
  REQUIRE(last->end);
  CHECK(last->end->reason == Reason::kOverloaded);
  CHECK(!stream->next());
}

TEST_CASE("watch: of a hundred thousand only those of the key are woken") {
  Store store;
  std::vector<std::unique_ptr<WatchStream>> streams;
  for (int i = 0; i < 100; ++i) {
    streams.push_back(store.open());
    for (int k = 0; k < 1'000; ++k) {
      streams.back()->create(on("k" + std::to_string(i) + "/" + std::to_string(k)));
    }
    while (streams.back()->next()) {
    }
  }
  CHECK(store.watches.count() == 100'000);
  const int before = store.woken;
  store.put("k7/500", "v");
  CHECK(store.woken == before + 1);
  CHECK(said(*streams[7]) == "2+k7/500=v");
}
