// The asynchronous disk of one simulated node: the real WAL over a directory in memory, on
// simulated time. It does what net/disk_thread.h does with two threads:
//
//   disk thread   drains the queue into one group, writes it, and a drawn latency later syncs it
//                 and completes; after 10 ms of quiet it seals the log and keeps spares
//   keeper        one job at a time: checkpoints, amendments, staged pieces, installs; each takes
//   effect at its
//                 end, all at once
//
// A crash is simply the destructor: nothing completes any more, and what was written and not synced
// is left to the directory to lose.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "core/disk.h"
#include "core/wal.h"
#include "tests/sim/counters.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"

namespace capstan::sim {

class SimDisk : public Disk {
 public:
  using Completion = std::move_only_function<void()>;

  struct Host {
    int node = 0;
    // Runs a completion in a turn of the node.
    std::function<void(Completion)> post;
    // A write or sync failed: the process ends here.
    std::function<void(const Error&)> die;
  };

  SimDisk(World& world, const Options& options, Counters& counters, Host host,
          std::unique_ptr<Wal> wal, Base& base);
  ~SimDisk() override;

  void append(std::vector<Record> records,
              std::move_only_function<void(std::uint64_t position)> done) override;
  void checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) override;
  void amend(Amendment amendment, std::move_only_function<void()> done) override;
  void release(std::uint64_t position) override;
  void stage(std::vector<Change> changes, std::move_only_function<void()> done) override;
  void install(std::move_only_function<void()> done) override;
  void drop_staged() override;
  Durability durability() const override { return Durability::kSync; }
  bool writes_allowed() const override { return writes_allowed_; }
  std::uint64_t wal_bytes() const override { return wal_->bytes(); }

  // Nothing completes until `until`.
  void stall(Micros until) { stalled_until_ = until; }
  void set_writes_allowed(bool allowed) { writes_allowed_ = allowed; }
  // Records appended and not durable yet.
  std::size_t in_flight() const { return queue_.size() + writing_.size(); }

 private:
  struct Batch {
    std::vector<Record> records;
    std::move_only_function<void(std::uint64_t)> done;
  };
  struct Job {
    const char* name;
    Micros takes;
    std::move_only_function<Status()> act;
    Completion done;
  };

  void pump();
  void die(const Error& error);
  void finish_group(std::uint64_t position);
  void idle();
  void enqueue(Job job);
  void keep();
  // Schedules `event` unless this disk is gone by then.
  void later(Micros delay, Completion event);
  Micros latency();

  World& world_;
  const Options& options_;
  Counters& counters_;
  Host host_;
  std::unique_ptr<Wal> wal_;
  Base& base_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::vector<Batch> queue_, writing_;
  bool busy_ = false;
  bool dead_ = false;  // a final error has happened
  std::uint64_t groups_ = 0;
  std::uint64_t release_ = 0;
  Micros stalled_until_ = 0;
  bool writes_allowed_ = true;

  std::deque<Job> jobs_;
  bool keeping_ = false;
};

}  // namespace capstan::sim
