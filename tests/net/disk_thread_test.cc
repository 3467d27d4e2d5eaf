#include "net/disk_thread.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fault_fs.h"
#include "tests/support/memory_base.h"
#include "tests/support/temp_dir.h"

namespace capstan::net {
namespace {

using test::FaultFs;
using test::MemoryBase;

constexpr WalOptions kWalOptions{
    .cluster = {1}, .node = {2}, .segment_bytes = 64 * 1024, .salt_seed = 3};

// What the loop does: sleeps until woken, then delivers.
class Loop {
 public:
  std::function<void()> wake() {
    return [this] {
      const std::scoped_lock lock(mutex_);
      woken_ = true;
      wakes_.notify_one();
    };
  }
  // Delivers until `done` says so.
  void run(DiskThread& disk, const std::function<bool()>& done) {
    while (!done()) {
      {
        std::unique_lock lock(mutex_);
        wakes_.wait(lock, [&] { return woken_; });
        woken_ = false;
      }
      disk.deliver();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable wakes_;
  bool woken_ = false;
};

std::vector<Record> records(const std::string& text, std::size_t bytes = 0) {
  return {{RecordType::kEntry, text, shared_bytes(std::string(bytes, 'b'))}};
}

DiskThreadOptions small_disk() {
  DiskThreadOptions options;
  options.free_bytes_min = 1000;
  options.free_share_min = 0;
  options.space_check_interval = 2 * kMillisecond;
  options.seal_after = 1 * kMillisecond;
  return options;
}

std::unique_ptr<Wal> opened(Directory& directory) {
  Result<Wal::Recovery> log = Wal::open(directory, kWalOptions);
  REQUIRE(log.has_value());
  return std::move(log->wal);
}

std::vector<std::string> heads(Directory& directory) {
  Result<Wal::Recovery> log = Wal::open(directory, kWalOptions);
  REQUIRE(log.has_value());
  CHECK(!log->impaired);
  std::vector<std::string> heads;
  for (const RecoveredRecord& record : log->records) heads.push_back(record.head);
  return heads;
}

TEST_CASE("disk thread: everything appended is called back in order, durable, positions growing") {
  for (const Durability durability :
       {Durability::kSync, Durability::kInterval, Durability::kNone}) {
    FaultFs fs;
    MemoryBase base;
    Loop loop;
    const auto directory = fs.directory("wal");
    std::vector<std::string> texts;
    {
      DiskThreadOptions options = small_disk();
      options.durability = durability;
      DiskThread disk(*directory, opened(*directory), base, options, loop.wake());
      CHECK(disk.durability() == durability);
      int called = 0;
      std::uint64_t last = 0;
      for (int i = 0; i < 500; ++i) {
        texts.push_back("r" + std::to_string(i));
        disk.append(records(texts.back(), static_cast<std::size_t>(i)),
                    [&, i](std::uint64_t position) {
                      CHECK(called++ == i);
                      CHECK(position >= last);
                      last = position;
                    });
        if (i % 100 == 0) disk.deliver();
      }
      loop.run(disk, [&] { return called == 500; });
      const DiskThread::Figures figures = disk.figures();
      CHECK(figures.records == 500);
      CHECK(figures.groups <= 500);
      CHECK(disk.wal_bytes() > 0);
    }
    if (durability != Durability::kNone) fs.crash([](std::size_t) { return false; }, 0);
    CHECK(heads(*fs.directory("wal")) == texts);
  }
}

TEST_CASE("disk thread: with sync, nothing is called back before its sync returned") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  std::atomic<std::uint64_t> syncs = 0;
  const auto directory = fs.directory("wal");
  auto wal = opened(*directory);
  fs.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    if (call.op == FaultFs::Op::kSync && call.path.ends_with(".wal")) ++syncs;
    return std::nullopt;
  });
  DiskThreadOptions options = small_disk();
  options.spares = 0;
  DiskThread disk(*directory, std::move(wal), base, options, loop.wake());
  std::uint64_t before = syncs;
  for (int i = 0; i < 20; ++i) {
    bool done = false;
    disk.append(records("x"), [&](std::uint64_t) {
      CHECK(syncs > before);
      done = true;
    });
    loop.run(disk, [&] { return done; });
    before = syncs;
  }
}

TEST_CASE("disk thread: what arrives during a sync shares the next group") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  auto wal = opened(*directory);
  std::mutex mutex;
  std::condition_variable changed;
  bool in_sync = false, let_go = false;
  fs.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    if (call.op != FaultFs::Op::kSync || !call.path.ends_with(".wal")) return std::nullopt;
    std::unique_lock lock(mutex);
    in_sync = true;
    changed.notify_all();
    changed.wait(lock, [&] { return let_go; });
    return std::nullopt;
  });
  DiskThreadOptions options = small_disk();
  options.spares = 0;
  DiskThread disk(*directory, std::move(wal), base, options, loop.wake());
  std::vector<std::uint64_t> positions;
  const auto note = [&](std::uint64_t position) { positions.push_back(position); };
  disk.append(records("first"), note);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return in_sync; });
  }
  for (int i = 0; i < 30; ++i) disk.append(records("meanwhile"), note);
  {
    const std::scoped_lock lock(mutex);
    let_go = true;
    changed.notify_all();
  }
  loop.run(disk, [&] { return positions.size() == 31; });
  CHECK(positions[1] > positions[0]);
  for (std::size_t i = 1; i < positions.size(); ++i) CHECK(positions[i] == positions[1]);
}

TEST_CASE("disk thread: an append of many megabytes is split, and all of it comes back") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  {
    DiskThread disk(*directory, opened(*directory), base, small_disk(), loop.wake());
    std::vector<Record> many;
    for (int i = 0; i < 40; ++i) {
      many.push_back({RecordType::kEntry, std::to_string(i),
                      shared_bytes(std::string(i == 20 ? 4'000'000 : 200'000, 'm'))});
    }
    std::uint64_t position = 0;
    disk.append(std::move(many), [&](std::uint64_t at) { position = at; });
    loop.run(disk, [&] { return position != 0; });
    CHECK(position == 1);  // of its first group: releasing below it loses none of them
    CHECK(disk.figures().groups > 8);
  }
  CHECK(heads(*directory).size() == 40);
}

TEST_CASE("disk thread: checkpoints, stages and installs happen in the order they were asked for") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  DiskThread disk(*directory, opened(*directory), base, small_disk(), loop.wake());
  Table table(base);
  table.put(Space::kNow, "k", "checkpointed");
  std::string order;
  disk.checkpoint(table.freeze(), [&] {
    table.thaw_done();
    order += "c";
  });
  table.put(Space::kNow, "l", "active");
  loop.run(disk, [&] { return order == "c"; });
  CHECK(*table.get(Space::kNow, "k") == "checkpointed");
  disk.stage({{Space::kNow, "never", "x"}}, [&] { order += "s"; });
  disk.drop_staged();
  disk.stage({{Space::kNow, "k", "staged"}}, [&] { order += "s"; });
  disk.install([&] {
    table.reset();
    order += "i";
  });
  loop.run(disk, [&] { return order == "cssi"; });
  CHECK(*table.get(Space::kNow, "k") == "staged");
  CHECK(table.get(Space::kNow, "l") == std::nullopt);
  CHECK(table.get(Space::kNow, "never") == std::nullopt);
  CHECK(disk.figures().checkpoint_micros.count() >= 4);
}

TEST_CASE("disk thread: over LMDB, reads on the loop go on while the keeper commits") {
  const test::TempDir temp;
  FaultFs fs;
  Loop loop;
  const auto base = *open_lmdb_base(temp.path(), 1 << 26);
  const auto directory = fs.directory("wal");
  DiskThread disk(*directory, opened(*directory), *base, small_disk(), loop.wake());
  Table table(*base);
  int rounds = 0;
  for (int i = 0; i < 20; ++i) {
    for (int k = 0; k < 200; ++k) table.put(Space::kNow, std::to_string(k), std::to_string(i));
    disk.checkpoint(table.freeze(), [&] {
      table.thaw_done();
      ++rounds;
    });
    while (rounds <= i) {
      for (int k = 0; k < 50; ++k) {
        CHECK(*table.get(Space::kNow, std::to_string(k)) == std::to_string(i));
      }
      int seen = 0;
      table.scan(Space::kNow, "", "", [&](ByteView, ByteView value) {
        CHECK(value == std::to_string(i));
        ++seen;
        return true;
      });
      CHECK(seen == 200);
      disk.deliver();
    }
  }
}

TEST_CASE("disk thread: a full disk refuses writes, keeps what was begun, and recovers by itself") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  std::atomic<bool> full = false;
  fs.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    const bool grows = call.op == FaultFs::Op::kCreate;
    if (full && grows) return Error{ErrorCode::kNoSpace, "No space left on device"};
    return std::nullopt;
  });
  std::size_t called = 0, sent = 0;
  {
    DiskThread disk(*directory, opened(*directory), base, small_disk(), loop.wake());
    full = true;
    for (; sent < 60; ++sent) {
      disk.append(records("r" + std::to_string(sent), 6000), [&](std::uint64_t) { ++called; });
    }
    // Three segments hold about 24; then it must stop, and say so.
    while (disk.writes_allowed()) std::this_thread::yield();
    disk.deliver();
    CHECK(called < sent);
    full = false;
    loop.run(disk, [&] { return called == sent; });
    while (!disk.writes_allowed()) std::this_thread::yield();
  }
  CHECK(heads(*directory).size() == 60);
}

TEST_CASE("disk thread: on a full disk, what a checkpoint releases lets waiting writes through") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  auto wal = opened(*directory);
  while (*wal->prepare_spares(1) == Wal::Spares::kFilling) {
  }
  std::atomic<int> refused = 0;
  fs.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    if (call.op != FaultFs::Op::kCreate) return std::nullopt;
    ++refused;
    return Error{ErrorCode::kNoSpace, "No space left on device"};
  });
  DiskThreadOptions options = small_disk();
  options.spares = 0;
  DiskThread disk(*directory, std::move(wal), base, options, loop.wake());
  std::vector<std::uint64_t> positions;
  while (refused == 0) {  // two segments fill, then a third is refused
    const std::size_t before = positions.size();
    disk.append(records("r", 6000), [&](std::uint64_t position) { positions.push_back(position); });
    while (refused == 0 && positions.size() == before) disk.deliver();
  }
  CHECK(positions.size() > 8);
  while (disk.writes_allowed()) std::this_thread::yield();
  const std::size_t stuck = positions.size();
  disk.release(positions.back());
  loop.run(disk, [&] { return positions.size() > stuck; });
}

TEST_CASE("disk thread: below the free space asked for, writes are refused until there is more") {
  FaultFs fs;
  MemoryBase base;
  const auto directory = fs.directory("wal");
  DiskThreadOptions options = small_disk();
  options.spares = 0;
  auto wal = opened(*directory);
  fs.set_capacity(kWalOptions.segment_bytes + options.free_bytes_min - 1);
  {
    const DiskThread disk(*directory, std::move(wal), base, options, [] {});
    CHECK(!disk.writes_allowed());
  }
  fs.set_capacity(kWalOptions.segment_bytes + options.free_bytes_min);
  const DiskThread disk(*directory, opened(*directory), base, options, [] {});
  CHECK(disk.writes_allowed());
}

TEST_CASE("disk thread: a full base holds its checkpoint back and lets it through later") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  base.fail_writes(Error{ErrorCode::kNoSpace, "full"});
  Table table(base);
  table.put(Space::kNow, "k", "v");
  bool done = false;
  {
    DiskThread disk(*directory, opened(*directory), base, small_disk(), loop.wake());
    disk.checkpoint(table.freeze(), [&] { done = true; });
    while (disk.writes_allowed()) std::this_thread::yield();
    CHECK(!done);
  }  // and the stop is not held up
  base.fail_writes(std::nullopt);
  DiskThread disk(*directory, opened(*directory), base, small_disk(), loop.wake());
  table.thaw_done();
  table.put(Space::kNow, "k", "v");
  disk.checkpoint(table.freeze(), [&] { done = true; });
  loop.run(disk, [&] { return done; });
  CHECK(disk.writes_allowed());
  CHECK(*base.get(Space::kNow, "k") == "v");
}

// Runs `body` in a child and returns its exit code.
int exit_code_of(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("disk thread: a failed sync, write or checkpoint ends the process with 74, unanswered") {
  const auto with_failing = [](FaultFs::Op op, bool base_fails) {
    return exit_code_of([=] {
      FaultFs fs;
      MemoryBase base;
      Loop loop;
      const auto directory = fs.directory("wal");
      auto wal = opened(*directory);
      fs.set_hook([=](const FaultFs::Call& call) -> std::optional<Error> {
        if (base_fails || call.op != op) return std::nullopt;
        return Error{ErrorCode::kIo, "Input/output error"};
      });
      if (base_fails) base.fail_writes(Error{ErrorCode::kIo, "Input/output error"});
      DiskThreadOptions options = small_disk();
      options.spares = 0;
      DiskThread disk(*directory, std::move(wal), base, options, loop.wake());
      Table table(base);
      bool answered = false;
      disk.append(records("x"), [&](std::uint64_t) { answered = !base_fails; });
      if (base_fails) disk.checkpoint(table.freeze(), [&] { answered = true; });
      loop.run(disk, [&] { return answered; });
    });
  };
  CHECK(with_failing(FaultFs::Op::kSync, false) == 74);
  CHECK(with_failing(FaultFs::Op::kWrite, false) == 74);
  CHECK(with_failing(FaultFs::Op::kSync, true) == 74);
}

TEST_CASE("disk thread: a quiet log seals itself, so that its last group is provably durable") {
  FaultFs fs;
  MemoryBase base;
  Loop loop;
  const auto directory = fs.directory("wal");
  auto wal = opened(*directory);
  std::atomic<int> writes = 0;
  fs.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    if (call.op == FaultFs::Op::kWrite && call.path.ends_with(".wal")) ++writes;
    return std::nullopt;
  });
  DiskThreadOptions options = small_disk();
  options.spares = 0;
  DiskThread disk(*directory, std::move(wal), base, options, loop.wake());
  disk.append(records("last"), [](std::uint64_t) {});
  while (writes < 2) std::this_thread::yield();  // the group, then the seal
}

}  // namespace
}  // namespace capstan::net
