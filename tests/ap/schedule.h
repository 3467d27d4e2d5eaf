// A few replicas under a random schedule drawn from one seed: writes, frames that are lost,
// repeated and overtake each other, syncs that break off, slow disks, checkpoints, crashes,
// collection, and optionally disks that are wiped or put back from an old copy. After every step
// the replicas are held against the rules of ap/replica.h, and at the end against the set of all
// writes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ap/replica.h"
#include "core/random.h"
#include "core/table.h"
#include "tests/support/memory_base.h"

namespace capstan::ap::test {

struct ScheduleOptions {
  std::uint64_t seed = 1;
  std::size_t nodes = 3;
  std::size_t steps = 160;
  bool crashes = true;
  bool wipes = false;  // also restores; then a disk's share of the books is lost with it
};

class Schedule {
 public:
  explicit Schedule(ScheduleOptions options);
  ~Schedule();

  // Empty when every rule held; otherwise what was broken, where and when.
  std::string run();

  // ---- The same by hand, for directed cases
  struct Node;
  Replica& replica(std::size_t i);
  Dot write(std::size_t node, const std::string& key, std::optional<std::string> value);
  // Everything under way from one node to another arrives, in order; what it causes does not yet.
  void deliver(std::size_t from, std::size_t to);
  void drop(std::size_t from, std::size_t to);
  // Takes what is under way aside; release() puts it back.
  void hold(std::size_t from, std::size_t to);
  void release();
  void pass(std::uint64_t ms) { wall_ms_ += ms; }
  // From here on the node's clock is that much behind the others'; at most a minute.
  void set_behind(std::size_t node, std::uint64_t ms);
  void beat(std::size_t from, std::size_t to);
  void tick(std::size_t node, int times = 1);
  void back_up(std::size_t node);
  void restore(std::size_t node);
  void wipe(std::size_t node);
  void crash(std::size_t node);
  // All frames pass until nothing is left to say.
  void heal();
  std::string check_now();
  std::string check_end();
  std::optional<std::string> value(std::size_t node, const std::string& key);

  struct Counts {
    std::uint64_t writes = 0, losses = 0, crashes = 0, wipes = 0, restores = 0, collected = 0,
                  syncs = 0, full_syncs = 0, anew = 0;
  };
  const Counts& counts() const { return counts_; }
  static const std::vector<std::string>& keys();

 private:
  // What the oracle knows of a write.
  struct Write {
    std::string key;
    std::optional<std::string> value;
    LwwTag tag;
    VersionVector seen;         // its bucket's vector at the writer, just before
    std::optional<Dot> before;  // the content it replaced there
    bool durable = false;       // on the writer's disk at some time
  };
  struct Frame {
    std::size_t from, to;
    Body body;
  };

  void step();
  void begin(Node& node);
  void note_written_anew(Node& node);
  void turn(Node& node);
  void persist(Node& node, std::size_t groups);
  void start(Node& node, Incarnation incarnation);
  void arrive(const Frame& frame);
  std::string check_accounts();

  ScheduleOptions options_;
  Rng rng_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::deque<Frame> frames_, held_;
  std::map<Dot, Write> writes_;
  std::uint64_t wall_ms_ = 1'000'000;
  std::uint64_t next_node_id_ = 1;
  std::string broken_;
  Counts counts_;
};

}  // namespace capstan::ap::test
