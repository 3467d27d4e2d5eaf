// A stream of watches that says something to whatever it is asked: for sessions that must bear any
// client, where it does not matter what happened.
#pragma once

#include <deque>
#include <memory>
#include <utility>

#include "core/watch.h"

namespace capstan::test {

class EchoWatch final : public WatchStream {
 public:
  static constexpr std::size_t kWaitingMax = 64;

  explicit EchoWatch(WatchOptions options) : options_(std::move(options)) {}

  void create(WatchRequest request) override {
    WatchMessage created;
    created.id = request.id;
    created.created = true;
    say(std::move(created));
    WatchMessage happened;
    happened.id = request.id;
    happened.may_split = request.fragment;
    happened.events.resize(2);
    happened.events[0].kv.key = std::move(request.range.key);
    happened.events[1].kv.value = std::move(request.range.end);
    happened.events[1].deleted = request.no_put;
    say(std::move(happened));
  }
  void cancel(std::int64_t id) override {
    WatchMessage canceled;
    canceled.id = id;
    canceled.canceled = true;
    say(std::move(canceled));
  }
  void ask_progress() override { say({}); }
  std::optional<WatchMessage> next() override {
    if (waiting_.empty()) return std::nullopt;
    WatchMessage out = std::move(waiting_.front());
    waiting_.pop_front();
    return out;
  }

 private:
  void say(WatchMessage message) {
    if (waiting_.size() >= kWaitingMax) waiting_.pop_front();
    waiting_.push_back(std::move(message));
    options_.ready();
  }
  WatchOptions options_;
  std::deque<WatchMessage> waiting_;
};

}  // namespace capstan::test
