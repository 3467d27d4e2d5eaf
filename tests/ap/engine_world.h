// Engines of one cluster on simulated time: tables on bases in memory, logs in memory that become
// durable when told, frames that arrive after 10 ms unless the link is cut. Everything goes through
// bytes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ap/engine.h"
#include "tests/support/memory_base.h"

namespace capstan::ap::test {

class EngineWorld {
 public:
  explicit EngineWorld(std::size_t nodes, Durability durability = Durability::kSync);
  ~EngineWorld();

  Engine& engine(std::size_t i);
  // Sends a request and returns the answer, or nullopt while the disk has not answered.
  std::optional<Reply> ask(std::size_t node, RequestBody body, std::string request_id = {});
  // As ask(), then runs until the answer is there.
  Reply get(std::size_t node, RequestBody body, std::string request_id = {});
  Reply put(std::size_t node, const std::string& key, const std::string& value);
  Reply erase(std::size_t node, const std::string& key, const std::string& end = {});
  std::optional<std::string> read(std::size_t node, const std::string& key);

  // Advances time, in ticks of 10 ms; disks complete at once unless held.
  void run(int ticks);
  // Until all nodes have equal fingerprints; the ticks it took, or -1 after `limit`.
  int run_until_equal(int limit);

  // Frames between nodes of different sides are dropped; the link is reported closed after E.
  void cut(std::vector<std::set<std::size_t>> sides);
  void heal();
  void hold_disk(std::size_t node, bool held);
  void full_disk(std::size_t node, bool full);
  void crash(std::size_t node);  // what was not durable is lost; stays down
  void wipe(std::size_t node);   // while down: an empty disk, another node id
  void start(std::size_t node);
  void stop(std::size_t node);  // orderly; then start() again
  StatusResult status(std::size_t node);
  std::uint64_t frames() const { return frames_sent_; }

 private:
  struct Node;
  void turn(std::size_t node, bool tick);
  bool passes(std::size_t a, std::size_t b) const;

  Durability durability_;
  std::vector<std::unique_ptr<Node>> nodes_;
  struct Frame {
    std::size_t from, to;
    std::string bytes;
    Epoch epoch;
    std::uint8_t kind;
    std::uint64_t due;
  };
  std::deque<Frame> frames_;
  std::vector<std::set<std::size_t>> sides_;
  std::uint64_t cut_at_ = 0;
  bool closed_told_ = true;
  std::uint64_t ticks_ = 0;
  std::uint64_t frames_sent_ = 0;
};

}  // namespace capstan::ap::test
