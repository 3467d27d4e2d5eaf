#include "net/disk_thread.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/check.h"

namespace capstan::net {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// One sync of up to 64 KiB costs what an empty one does (docs/results), one of a MiB three times as
// much; beyond it a queue is better served in several groups.
constexpr std::size_t kGroupBytesTarget = 1024 * 1024;
constexpr auto kFullRetry = std::chrono::milliseconds(100);
constexpr int kExitDisk = 74;  // EX_IOERR

// Afterwards nobody knows what the disk holds, so nothing may be answered any more, not even by a
// destructor.
[[noreturn]] void disk_failed(const char* what, const Error& error) {
  std::fprintf(
      stderr,
      "capstan: the disk failed while %s (%s); stopping at once, so that nothing is promised "
      "that may not be there\n",
      what, error.context.c_str());
  std::fflush(stderr);
  ::_exit(kExitDisk);
}

Micros micros_since(Clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(Clock::now() - start).count();
}

}  // namespace

struct DiskThread::Shared {
  Shared(Directory& directory, std::unique_ptr<Wal> wal, Base& base, DiskThreadOptions options,
         std::function<void()> wake)
      : directory(directory),
        wal(std::move(wal)),
        base(base),
        options(options),
        wake(std::move(wake)) {}

  struct Append {
    std::vector<Record> records;
    std::move_only_function<void(std::uint64_t)> done;
  };
  struct KeeperJob {
    const char* what = "";
    std::move_only_function<Status()> run;  // null: only garbage
    std::move_only_function<void()> done;   // may be null
    std::shared_ptr<const void> garbage;    // freed on the keeper: it can be a large tree
  };
  struct Completion {
    std::move_only_function<void()> call;
    std::shared_ptr<const void> garbage;
  };

  // --- on the disk thread ---
  void disk_loop();
  void write_batch(std::vector<Append> batch);
  // False: the disk is full and we are stopping.
  bool write_group(std::span<const Record> group, std::uint64_t& position);
  void sync_log();
  void recycle();
  void housekeeping(bool idle);
  void check_space();
  Clock::time_point next_deadline() const;

  // --- on the keeper thread ---
  void keeper_loop();
  void run_job(KeeperJob job);

  // --- anywhere ---
  void complete(std::vector<Completion> done);
  void queue_job(KeeperJob job);

  Directory& directory;
  const std::unique_ptr<Wal> wal;  // the disk thread's
  Base& base;
  const DiskThreadOptions options;
  const std::function<void()> wake;

  // The disk thread's own.
  bool unsynced = false;
  bool unsealed = false;
  bool try_spares = true;
  std::uint64_t released = 0;
  Clock::time_point unsynced_since, last_write, last_space_check;

  std::atomic<bool> enough_free = true;    // of the disk
  std::atomic<bool> spares_kept = true;    // there was room for them
  std::atomic<bool> base_has_room = true;  // the last checkpoint fitted
  std::atomic<std::uint64_t> wal_bytes = 0;

  mutable std::mutex mutex;  // of all below
  std::condition_variable disk_wakes, keeper_wakes;
  std::deque<Append> appends;
  std::uint64_t release_below = 0;
  std::deque<KeeperJob> jobs;
  std::vector<Completion> completions;
  bool stopping = false;
  Figures figures;

  std::thread disk, keeper;
};

// ---- the disk thread ----------------------------------------------------------------------------

void DiskThread::Shared::disk_loop() {
  ::pthread_setname_np(::pthread_self(), "capstan-disk");
  for (;;) {
    std::vector<Append> batch;
    bool stop = false;
    {
      std::unique_lock lock(mutex);
      const bool filling = try_spares && wal->spares() < options.spares;
      const auto work = [&] { return stopping || !appends.empty() || release_below > released; };
      if (!filling) disk_wakes.wait_until(lock, next_deadline(), work);
      for (Append& append : appends) batch.push_back(std::move(append));
      appends.clear();
      stop = stopping;
    }
    const bool idle = batch.empty();
    if (!idle) write_batch(std::move(batch));
    recycle();
    if (stop && idle) break;
    housekeeping(idle);
    wal_bytes = wal->bytes();
  }
  // A full disk may leave the last group without its seal; it was not acknowledged without a sync.
  const Status sealed = wal->seal();
  if (!sealed && sealed.error().code != ErrorCode::kNoSpace) {
    disk_failed("closing the log", sealed.error());
  }
}

// All that waits, as few groups as the target allows; each append is told the first of its groups.
void DiskThread::Shared::write_batch(std::vector<Append> batch) {
  std::vector<Record> group;
  std::size_t bytes = 0;
  struct Waiting {
    std::move_only_function<void(std::uint64_t)> done;
    std::uint64_t position = 0;
    bool whole = false;  // its last record is in the group
  };
  std::vector<Waiting> waiting;
  const auto flush = [&] {
    std::uint64_t position = 0;
    if (group.empty()) return true;
    if (!write_group(group, position)) return false;
    group.clear();
    bytes = 0;
    std::vector<Completion> done;
    std::vector<Waiting> rest;
    for (Waiting& one : waiting) {
      if (one.position == 0) one.position = position;
      if (!one.whole) {
        rest.push_back(std::move(one));
        continue;
      }
      done.push_back({[call = std::move(one.done), at = one.position]() mutable { call(at); }, {}});
    }
    waiting = std::move(rest);
    complete(std::move(done));
    return true;
  };
  for (Append& append : batch) {
    CAPSTAN_ASSERT(!append.records.empty());
    waiting.push_back({std::move(append.done)});
    for (Record& record : append.records) {
      const std::size_t size = Wal::record_bytes(record);
      if (!group.empty() && bytes + size > kGroupBytesTarget && !flush()) return;
      bytes += size;
      group.push_back(std::move(record));
    }
    waiting.back().whole = true;
  }
  flush();
}

bool DiskThread::Shared::write_group(std::span<const Record> group, std::uint64_t& position) {
  for (;;) {
    Result<std::uint64_t> appended = wal->append(group);
    if (appended) {
      position = *appended;
      break;
    }
    if (appended.error().code != ErrorCode::kNoSpace) {
      disk_failed("writing the log", appended.error());
    }
    spares_kept = try_spares = false;
    {
      std::unique_lock lock(mutex);
      disk_wakes.wait_for(lock, kFullRetry, [&] { return stopping || release_below > released; });
      if (stopping) return false;
    }
    recycle();  // a checkpoint may have made room meanwhile
  }
  last_write = Clock::now();
  if (!unsynced) unsynced_since = last_write;
  unsynced = unsealed = true;
  if (options.durability == Durability::kSync) sync_log();
  std::size_t bytes = 0;
  for (const Record& record : group) bytes += Wal::record_bytes(record);
  const std::scoped_lock lock(mutex);
  ++figures.groups;
  figures.records += group.size();
  figures.bytes += bytes;
  return true;
}

void DiskThread::Shared::recycle() {
  std::uint64_t below = 0;
  {
    const std::scoped_lock lock(mutex);
    below = release_below;
  }
  if (below <= released) return;
  if (Status done = wal->release(below); !done) disk_failed("recycling the log", done.error());
  released = below;
}

void DiskThread::Shared::sync_log() {
  const Clock::time_point start = Clock::now();
  if (Status synced = wal->sync(); !synced) disk_failed("syncing the log", synced.error());
  unsynced = false;
  const std::scoped_lock lock(mutex);
  figures.sync_micros.record(static_cast<std::uint64_t>(micros_since(start)));
}

// What has its time: interval syncs, seals, spares, a look at the free space.
void DiskThread::Shared::housekeeping(bool idle) {
  const Clock::time_point now = Clock::now();
  const bool syncs = options.durability != Durability::kNone;
  if (unsynced && syncs && now - unsynced_since >= microseconds(options.sync_interval)) sync_log();
  if (idle && unsealed && syncs && now - last_write >= microseconds(options.seal_after)) {
    const Status sealed = wal->seal();
    if (!sealed && sealed.error().code != ErrorCode::kNoSpace) {
      disk_failed("sealing the log", sealed.error());
    }
    unsealed = unsynced = false;
  }
  if (now - last_space_check >= microseconds(options.space_check_interval)) check_space();
  // Under load only if the next segment would have to be made while writes wait for it.
  if (wal->spares() >= options.spares) {
    spares_kept = true;
  } else if (try_spares && (idle || wal->spares() == 0)) {
    const Result<Wal::Spares> spares = wal->prepare_spares(options.spares);
    if (!spares) disk_failed("making room for the log", spares.error());
    try_spares = spares_kept = *spares != Wal::Spares::kNoSpace;
  }
}

void DiskThread::Shared::check_space() {
  last_space_check = Clock::now();
  const Result<SpaceInfo> space = directory.space();
  if (!space) disk_failed("asking for free space", space.error());
  const double share = options.free_share_min * static_cast<double>(space->total_bytes);
  enough_free = space->free_bytes >= options.free_bytes_min &&
                static_cast<double>(space->free_bytes) >= share;
  try_spares = true;
}

Clock::time_point DiskThread::Shared::next_deadline() const {
  Clock::time_point next = last_space_check + microseconds(options.space_check_interval);
  if (options.durability == Durability::kNone) return next;
  if (unsynced) next = std::min(next, unsynced_since + microseconds(options.sync_interval));
  if (unsealed) next = std::min(next, last_write + microseconds(options.seal_after));
  return next;
}

// ---- the keeper thread --------------------------------------------------------------------------

void DiskThread::Shared::keeper_loop() {
  ::pthread_setname_np(::pthread_self(), "capstan-keeper");
  for (;;) {
    KeeperJob job;
    {
      std::unique_lock lock(mutex);
      keeper_wakes.wait(lock, [&] { return stopping || !jobs.empty(); });
      if (jobs.empty()) return;
      job = std::move(jobs.front());
      jobs.pop_front();
    }
    if (job.run) run_job(std::move(job));
  }
}

void DiskThread::Shared::run_job(KeeperJob job) {
  for (;;) {
    const Clock::time_point start = Clock::now();
    const Status ran = job.run();
    if (ran) {
      base_has_room = true;
      const std::scoped_lock lock(mutex);
      figures.checkpoint_micros.record(static_cast<std::uint64_t>(micros_since(start)));
      break;
    }
    if (ran.error().code != ErrorCode::kNoSpace) disk_failed(job.what, ran.error());
    base_has_room = false;
    std::unique_lock lock(mutex);
    if (keeper_wakes.wait_for(lock, kFullRetry, [&] { return stopping; })) return;
  }
  std::vector<Completion> done;
  job.run = nullptr;
  if (job.done) done.push_back({std::move(job.done), std::move(job.garbage)});
  complete(std::move(done));
}

// ---- between the threads ------------------------------------------------------------------------

void DiskThread::Shared::complete(std::vector<Completion> done) {
  if (done.empty()) return;
  {
    const std::scoped_lock lock(mutex);
    for (Completion& completion : done) completions.push_back(std::move(completion));
  }
  wake();
}

void DiskThread::Shared::queue_job(KeeperJob job) {
  {
    const std::scoped_lock lock(mutex);
    jobs.push_back(std::move(job));
  }
  keeper_wakes.notify_one();
}

DiskThread::DiskThread(Directory& directory, std::unique_ptr<Wal> wal, Base& base,
                       DiskThreadOptions options, std::function<void()> wake)
    : shared_(std::make_unique<Shared>(directory, std::move(wal), base, options, std::move(wake))) {
  shared_->wal_bytes = shared_->wal->bytes();
  shared_->check_space();  // before anyone asks
  shared_->disk = std::thread([shared = shared_.get()] { shared->disk_loop(); });
  shared_->keeper = std::thread([shared = shared_.get()] { shared->keeper_loop(); });
}

DiskThread::~DiskThread() {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->disk_wakes.notify_all();
  shared_->keeper_wakes.notify_all();
  shared_->disk.join();
  shared_->keeper.join();
}

void DiskThread::deliver() {
  std::vector<Shared::Completion> ready;
  {
    const std::scoped_lock lock(shared_->mutex);
    ready.swap(shared_->completions);
  }
  for (Shared::Completion& completion : ready) {
    completion.call();
    completion.call = nullptr;
    if (completion.garbage) {
      shared_->queue_job(
          {.what = "", .run = {}, .done = {}, .garbage = std::move(completion.garbage)});
    }
  }
}

bool DiskThread::ready() const {
  const std::scoped_lock lock(shared_->mutex);
  return !shared_->completions.empty();
}

void DiskThread::append(std::vector<Record> records,
                        std::move_only_function<void(std::uint64_t position)> done) {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->appends.push_back({std::move(records), std::move(done)});
  }
  shared_->disk_wakes.notify_one();
}

void DiskThread::checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) {
  Base& base = shared_->base;
  const ChangeSource& changes = *frozen;
  shared_->queue_job({.what = "writing a checkpoint",
                      .run = [&base, &changes] { return base.commit(changes); },
                      .done = std::move(done),
                      .garbage = std::move(frozen)});
}

void DiskThread::amend(Amendment amendment, std::move_only_function<void()> done) {
  shared_->queue_job(
      {.what = "removing what was compacted",
       .run = [&base = shared_->base, a = std::move(amendment)] { return base.amend(a); },
       .done = std::move(done),
       .garbage = {}});
}

void DiskThread::release(std::uint64_t position) {
  {
    const std::scoped_lock lock(shared_->mutex);
    shared_->release_below = std::max(shared_->release_below, position);
  }
  shared_->disk_wakes.notify_one();
}

void DiskThread::stage(std::vector<Change> changes, std::move_only_function<void()> done) {
  shared_->queue_job(
      {.what = "staging a snapshot",
       .run = [&base = shared_->base, changes = std::move(changes)] { return base.stage(changes); },
       .done = std::move(done),
       .garbage = {}});
}

void DiskThread::install(std::move_only_function<void()> done) {
  shared_->queue_job({.what = "installing a snapshot",
                      .run = [&base = shared_->base] { return base.install(); },
                      .done = std::move(done),
                      .garbage = {}});
}

void DiskThread::drop_staged() {
  shared_->queue_job({.what = "dropping a staged snapshot",
                      .run = [&base = shared_->base] { return base.drop_staged(); },
                      .done = {},
                      .garbage = {}});
}

Durability DiskThread::durability() const { return shared_->options.durability; }
bool DiskThread::writes_allowed() const {
  return shared_->enough_free && shared_->spares_kept && shared_->base_has_room;
}
std::uint64_t DiskThread::wal_bytes() const { return shared_->wal_bytes; }

DiskThread::Figures DiskThread::figures() const {
  const std::scoped_lock lock(shared_->mutex);
  return shared_->figures;
}

}  // namespace capstan::net
