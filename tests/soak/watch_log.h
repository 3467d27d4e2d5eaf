// What `etcdctl watch -w json` wrote down, and whether it is what there is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "lab/history.h"

namespace capstan::soak {

struct WatchedEvent {
  std::uint64_t revision = 0;
  bool deleted = false;
  std::string key, value;
  std::uint64_t create_revision = 0, version = 0;
  friend bool operator==(const WatchedEvent&, const WatchedEvent&) = default;
};

// In the order they were written. A last line without an end is not read.
Result<std::vector<WatchedEvent>> read_watch_log(const std::string& path);
// Of the last event in it, without reading all of it; 0: none.
std::uint64_t last_revision_in(const std::string& path);

// Empty: equal. Else where, for people.
std::string first_difference(const std::vector<WatchedEvent>& want,
                             const std::vector<WatchedEvent>& seen);

// Empty: every acknowledged write is there at its revision, none that was refused is, and nothing
// is there that nobody wrote. Else the first that is not so.
std::string compare_with_history(const std::vector<WatchedEvent>& events,
                                 const lab::History& history);

}  // namespace capstan::soak
