// Simulated watchers: clients that watch ranges at any node, read slowly, lose their node or their
// patience, and go on at another one from where they were. What they were sent, taken together,
// must be exactly what the nodes hold:
//
//   ordered       revisions ascend
//   unique        nothing comes twice, also across reconnections
//   reliable      nothing is missing, and a reader is woken for all of it
//   atomic        a revision comes in one message
//   resumable     from the last revision seen, at any node
//   bookmarkable  from a progress message's revision, too
//
// One that a compaction has left behind is told so, and goes on where history begins.
//
// Source  etcd, "KV API guarantees"
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/watch.h"
#include "cp/mvcc.h"
#include "tests/sim/cluster.h"
#include "tests/sim/history_check.h"

namespace capstan::sim {

class Watchers {
 public:
  explicit Watchers(Cluster& cluster);

  void start();
  // From here on nobody loses patience, and everybody asks for progress until `final` is reached.
  void finish(std::uint64_t final);
  // Everybody knows of everything up to there.
  bool finished() const;
  std::string unfinished() const;

  // The first contradiction as a sentence, or nothing.
  std::string check(const Truth& truth) const;

 private:
  struct Watcher {
    int number = 0;
    WatchRequest request;
    bool require_leader = false;

    // Of this connection; what was posted for an earlier one finds another number.
    std::uint64_t connection = 0;
    bool away = true;  // has none: looked after soon
    int node = 0;
    std::uint64_t life = 0;
    std::unique_ptr<WatchStream> stream;
    bool open = false;  // created was heard
    std::int64_t id = 0;
    bool pull_due = false;
    Micros pulled_at = 0;
    bool asked_progress = false;

    std::uint64_t begin = 0;           // the first revision it is owed; 0: not known yet
    std::uint64_t covered = 0;         // everything up to here has come
    std::set<std::uint64_t> skipped;   // but what was compacted away
    std::set<std::uint64_t> no_prevs;  // came when what was before might be gone
    std::map<std::uint64_t, std::vector<WatchEvent>> got;
  };

  void look_after(Watcher& watcher);
  void connect(Watcher& watcher);
  void leave(Watcher& watcher);
  void pull_soon(Watcher& watcher);
  void pull(Watcher& watcher);
  void check_woken(Watcher& watcher);
  void take(Watcher& watcher, WatchMessage message);
  void take_events(Watcher& watcher, std::vector<WatchEvent> events);
  void take_compacted(Watcher& watcher, std::uint64_t compacted);
  const cp::Mvcc& mvcc_of(const Watcher& watcher);
  void lose_patience(Watcher& watcher);
  void broken(const Watcher& watcher, const std::string& what);

  Cluster& cluster_;
  Rng& rng_;
  std::vector<std::unique_ptr<Watcher>> all_;
  std::uint64_t final_ = 0;  // 0: not finishing yet
};

}  // namespace capstan::sim
