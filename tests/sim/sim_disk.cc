#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <utility>

namespace capstan::sim {

namespace {

constexpr Micros kSealAfter = 10 * kMillisecond;
constexpr std::size_t kSpares = 1;

std::size_t bytes_of(const std::vector<Record>& records) {
  std::size_t bytes = 0;
  for (const Record& record : records) bytes += Wal::record_bytes(record);
  return bytes;
}

}  // namespace

SimDisk::SimDisk(World& world, const Options& options, Counters& counters, Host host,
                 std::unique_ptr<Wal> wal, Base& base)
    : world_(world),
      options_(options),
      counters_(counters),
      host_(std::move(host)),
      wal_(std::move(wal)),
      base_(base) {}

SimDisk::~SimDisk() { *alive_ = false; }

void SimDisk::later(Micros delay, Completion event) {
  world_.after(delay, [alive = alive_, e = std::move(event)]() mutable {
    if (*alive) e();
  });
}

Micros SimDisk::latency() {
  Micros wait = world_.rng.disk.between(options_.sync_min, options_.sync_max);
  if (stalled_until_ > world_.now()) {
    counters_.add("sync stalled");
    wait += stalled_until_ - world_.now();
  }
  return wait;
}

void SimDisk::append(std::vector<Record> records,
                     std::move_only_function<void(std::uint64_t)> done) {
  queue_.push_back({std::move(records), std::move(done)});
  pump();
}

// The node goes down at the end of its turn; until then nothing may touch the log any more.
void SimDisk::die(const Error& error) {
  dead_ = true;
  host_.die(error);
}

void SimDisk::pump() {
  if (busy_ || dead_) return;
  if (release_ > 0) {
    if (Status s = wal_->release(std::exchange(release_, 0)); !s) return die(s.error());
  }
  if (queue_.empty()) {
    if (groups_ > 0) {
      later(kSealAfter, [this, groups = groups_] {
        if (!busy_ && groups == groups_) idle();
      });
    }
    return;
  }
  std::vector<Record> group;
  std::size_t taken = 0, bytes = 0;
  while (taken < queue_.size() &&
         (taken == 0 || bytes + bytes_of(queue_[taken].records) <= kWalGroupBytesMax)) {
    bytes += bytes_of(queue_[taken].records);
    // Copied, not moved: heads are small, and bodies are shared with the network anyway.
    group.insert(group.end(), queue_[taken].records.begin(), queue_[taken].records.end());
    writing_.push_back(std::move(queue_[taken++]));
  }
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(taken));
  Result<std::uint64_t> position = wal_->append(group);
  if (!position) return die(position.error());
  busy_ = true;
  ++groups_;
  later(latency(), [this, at = *position] { finish_group(at); });
}

void SimDisk::finish_group(std::uint64_t position) {
  busy_ = false;
  if (Status s = wal_->sync(); !s) return die(s.error());
  world_.note(Kind::kDurable, static_cast<std::uint64_t>(host_.node), position);
  for (Batch& batch : std::exchange(writing_, {})) {
    host_.post([done = std::move(batch.done), position]() mutable { done(position); });
  }
  pump();
}

// The last real group must be provably durable before anybody can mistake its rot for a torn tail.
void SimDisk::idle() {
  groups_ = 0;  // nothing to seal until the next group
  busy_ = true;
  later(latency(), [this] {
    busy_ = false;
    if (Status s = wal_->seal(); !s) return die(s.error());
    if (auto spares = wal_->prepare_spares(kSpares); !spares) return die(spares.error());
    counters_.add("log sealed");
    if (!queue_.empty() || release_ > 0) pump();
  });
}

void SimDisk::release(std::uint64_t position) {
  release_ = std::max(release_, position);
  if (!busy_) pump();
}

void SimDisk::checkpoint(Table::Frozen frozen, Completion done) {
  enqueue({"checkpoint", options_.checkpoint_max, [this, frozen] { return base_.commit(*frozen); },
           std::move(done)});
}

void SimDisk::amend(Amendment amendment, Completion done) {
  enqueue({"amendment", options_.checkpoint_max / 8,
           [this, a = std::move(amendment)] { return base_.amend(a); }, std::move(done)});
}

void SimDisk::stage(std::vector<Change> changes, Completion done) {
  enqueue({"snapshot piece staged", options_.checkpoint_max / 4,
           [this, c = std::move(changes)] { return base_.stage(c); }, std::move(done)});
}

void SimDisk::install(Completion done) {
  enqueue({"snapshot installed", options_.checkpoint_max, [this] { return base_.install(); },
           std::move(done)});
}

void SimDisk::drop_staged() {
  enqueue({"staged pieces dropped", 0, [this] { return base_.drop_staged(); }, [] {}});
}

void SimDisk::enqueue(Job job) {
  jobs_.push_back(std::move(job));
  keep();
}

void SimDisk::keep() {
  if (keeping_ || jobs_.empty()) return;
  keeping_ = true;
  const Micros takes = world_.rng.disk.between(0, jobs_.front().takes) + latency();
  later(takes, [this] {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    keeping_ = false;
    if (Status s = job.act(); !s) return die(s.error());
    counters_.add(job.name);
    world_.note(Kind::kCheckpoint, static_cast<std::uint64_t>(host_.node), 0, 0, job.name);
    host_.post(std::move(job.done));
    keep();
  });
}

}  // namespace capstan::sim
