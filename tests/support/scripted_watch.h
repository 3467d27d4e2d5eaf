// Streams of watches that say what a test wants, and keep what they were asked.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/watch.h"

namespace capstan::test {

// What the node's side was asked, and what its next stream is to say.
struct WatchScript {
  std::vector<WatchRequest> created;
  std::vector<std::int64_t> canceled;
  int progress = 0;
  int open = 0;
  bool require_leader = false;
  std::function<void()> ready;  // of the newest stream
  std::deque<WatchMessage> say;

  std::function<std::unique_ptr<WatchStream>(WatchOptions)> opener();
};

class ScriptedWatch final : public WatchStream {
 public:
  explicit ScriptedWatch(WatchScript& script) : script_(script) { ++script_.open; }
  ~ScriptedWatch() override { --script_.open; }
  void create(WatchRequest request) override { script_.created.push_back(std::move(request)); }
  void cancel(std::int64_t id) override { script_.canceled.push_back(id); }
  void ask_progress() override { ++script_.progress; }
  std::optional<WatchMessage> next() override {
    if (script_.say.empty()) return std::nullopt;
    WatchMessage out = std::move(script_.say.front());
    script_.say.pop_front();
    return out;
  }

 private:
  WatchScript& script_;
};

inline std::function<std::unique_ptr<WatchStream>(WatchOptions)> WatchScript::opener() {
  return [this](WatchOptions options) {
    require_leader = options.require_leader;
    ready = std::move(options.ready);
    return std::make_unique<ScriptedWatch>(*this);
  };
}

}  // namespace capstan::test
