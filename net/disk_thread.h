// core/disk.h on real threads: one disk thread (log write and sync, nothing else) and one keeper
// thread (checkpoints, amendments, staging, install).
//
//   loop: append() ─► queue ─► disk thread: all that waits = one group, write, sync ─┐
//         checkpoint(), stage(), install() ─► queue ─► keeper thread: Base ──────────┤
//   loop: deliver() ◄─ completions, in order ◄─ wake() (uv_async_send) ◄─────────────┘
//
// Group commit without a timer: whatever arrives while one sync runs is the next group. A write or
// sync error prints one sentence and ends the process with code 74; a full disk only turns
// writes_allowed() false and makes what was begun wait until there is room.
#pragma once

#include <functional>
#include <memory>

#include "core/base.h"
#include "core/disk.h"
#include "core/metrics.h"
#include "core/wal.h"

namespace capstan::net {

struct DiskThreadOptions {
  Durability durability = Durability::kSync;
  Micros sync_interval = 100 * kMillisecond;  // of kInterval
  Micros seal_after = 10 * kMillisecond;      // a quiet log proves its last group durable
  std::size_t spares = 2;
  // Writes are allowed while more than max(free_bytes_min, free_share_min of the disk) is free.
  std::uint64_t free_bytes_min = kFreeBytesMin;
  double free_share_min = 0.05;
  Micros space_check_interval = 500 * kMillisecond;
};

class DiskThread final : public Disk {
 public:
  // `directory` (of the log) and `base` must outlive this. `wake` is called from other threads when
  // deliver() has something to do; it must be thread-safe and cheap, and may be called too often.
  DiskThread(Directory& directory, std::unique_ptr<Wal> wal, Base& base, DiskThreadOptions options,
             std::function<void()> wake);
  // Finishes what was queued, seals the log and joins the threads. Completions that were not
  // delivered are dropped. A disk that is full does not hold the stop up.
  ~DiskThread() override;

  // On the loop thread: calls what is complete, in order. Call it between begin_turn and end_turn.
  void deliver();
  // True if deliver() would call something.
  bool ready() const;

  void append(std::vector<Record> records,
              std::move_only_function<void(std::uint64_t position)> done) override;
  void checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) override;
  void amend(Amendment amendment, std::move_only_function<void()> done) override;
  void release(std::uint64_t position) override;
  void stage(std::vector<Change> changes, std::move_only_function<void()> done) override;
  void install(std::move_only_function<void()> done) override;
  void drop_staged() override;

  Durability durability() const override;
  bool writes_allowed() const override;
  std::uint64_t wal_bytes() const override;

  struct Figures {
    Histogram sync_micros;  // one value a sync of the log
    Histogram checkpoint_micros;
    std::uint64_t groups = 0, records = 0, bytes = 0;
  };
  // A copy; for /metrics.
  Figures figures() const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace capstan::net
