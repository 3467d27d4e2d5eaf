// A CP cluster in one thread: real engines over a message queue, a WAL that is a list, and
// MemoryBase. Nothing is random but what a test asks for; time passes only through run().
//
// A disk write becomes durable at the end of the turn that follows it, unless the disk is held: so
// crash() can lose what was written and not synced.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cp/engine.h"
#include "tests/support/memory_base.h"

namespace capstan::test {

class CpDisk final : public Disk {
 public:
  explicit CpDisk(MemoryBase& base) : base_(base) {}

  void append(std::vector<Record> records,
              std::move_only_function<void(std::uint64_t)> done) override;
  void checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) override;
  void amend(Amendment amendment, std::move_only_function<void()> done) override;
  void release(std::uint64_t position) override;
  void stage(std::vector<Change> changes, std::move_only_function<void()> done) override;
  void install(std::move_only_function<void()> done) override;
  void drop_staged() override;
  Durability durability() const override { return Durability::kSync; }
  bool writes_allowed() const override { return space; }
  std::uint64_t wal_bytes() const override { return records_.size(); }

  // Carries out what is queued. False: there was nothing.
  bool work();
  // The process died: forget what was not durable.
  void crash();
  std::vector<RecoveredRecord> recovered() const;
  // As a process finds it that opens the log anew; later groups go behind `position`.
  void adopt(std::vector<RecoveredRecord> records, std::uint64_t position);
  std::uint64_t position() const { return position_; }
  std::size_t records() const { return records_.size(); }

  bool held = false;  // nothing becomes durable
  bool checkpoints_held = false;
  bool space = true;
  int checkpoints = 0;
  int amendments = 0;
  int installs = 0;
  std::function<void()> on_checkpoint;  // before each is committed

 private:
  struct Job {
    std::function<void()> run;
    bool keeper;
  };
  MemoryBase& base_;
  std::deque<Job> jobs_;
  std::vector<RecoveredRecord> records_;
  std::uint64_t position_ = 0;
};

class CpCluster {
 public:
  struct Options {
    int members = 3;
    std::uint64_t seed = 1;
    std::size_t checkpoint_table_bytes = kCheckpointTableBytes;
    std::size_t log_window_bytes = kLogWindowBytes;
    std::size_t sweep_changes = kSweepChanges;
    std::size_t range_slice_keys = kRangeSliceKeys;
    CompactionRule auto_compaction = {};
    std::uint64_t quota_bytes = 0;  // of n1; the others have none
    int witness = 0;                // which of the first members; 0: none
  };
  explicit CpCluster(Options options);
  explicit CpCluster(int members) : CpCluster(Options{.members = members}) {}
  ~CpCluster();

  // Members are 1..n, called n1..nN.
  static MemberId id(int n) { return {static_cast<std::uint64_t>(n)}; }
  static Member member(int n);
  cp::Engine& engine(int n);
  CpDisk& disk(int n);
  const MemoryBase& base(int n) const;
  bool up(int n) const;

  // Lets `ticks` of 10 ms pass, every message and disk write carried out within each.
  void run(int ticks = 1);
  // Until `done` holds; false after 1000 ticks.
  bool run_until(const std::function<bool()>& done);
  // Exchanges messages and disk work without time passing.
  void settle();

  int leader() const;  // the established leader heard by most; 0: none
  // Runs until there is one; fails the test otherwise.
  int elect();

  void cut(std::set<int> side);                    // messages between the side and the rest vanish
  void cut_pair(int a, int b) { pair_ = {a, b}; }  // these two; the others hear both
  void heal() { side_.clear(), pair_ = {}; }
  void crash(int n);  // loses what is not durable; the others see connections break
  void start(int n);
  // A machine beyond the first members, which starts as one that joins them.
  void add_machine(int n);
  void wipe(int n);  // while down: a new disk, with a new node id
  // While down: one row of its base becomes another.
  void change_base(int n, Space space, const std::string& key,
                   const std::function<void(std::string&)>& change);
  void rot(int n);  // while down: the last half of its log becomes unreadable

  // Submits and returns the place the reply will be put.
  std::shared_ptr<std::optional<Reply>> submit(int n, Request request);
  std::shared_ptr<std::optional<Reply>> submit(int n, RequestBody body, std::string request_id = {},
                                               Micros timeout = 0, Caller caller = {});
  std::shared_ptr<std::optional<Reply>> put(int n, std::string key, std::string value);
  std::shared_ptr<std::optional<Reply>> get(int n, std::string key, bool serializable = false);
  // The same, run to the end.
  Reply put_now(int n, std::string key, std::string value);
  Reply get_now(int n, std::string key);
  Reply wait(const std::shared_ptr<std::optional<Reply>>& reply);

  Micros now() const { return now_.monotonic; }
  // Time passes and nobody turns.
  void skip(Micros duration) { now_.monotonic += duration; }
  int turns_wanted = 0;  // by any engine
  // Looks at, and may swallow, every message: return false to drop it.
  std::function<bool(int from, int to, const cp::Message&)> filter;
  // Messages held by a test and let go later.
  void inject(int from, int to, cp::Message message);

 private:
  struct Node;
  struct Packet {
    int from, to;
    cp::Message message;
  };
  bool joined(int a, int b) const {
    return side_.contains(a) == side_.contains(b) && pair_ != std::pair{a, b} &&
           pair_ != std::pair{b, a};
  }
  bool turn(Node& node, bool tick);

  Options options_;
  Now now_{1'000'000, 0};
  std::map<int, std::unique_ptr<Node>> nodes_;
  std::deque<Packet> packets_;
  std::set<int> side_;
  std::pair<int, int> pair_;
  std::uint64_t disks_ = 0;
};

}  // namespace capstan::test
