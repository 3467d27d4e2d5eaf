// One simulated node: what survives a crash (a disk, a base) and what does not (a machine, its disk
// thread, its inbox), and the loop that drives node/machine.h in turns as the server does.
//
// Whatever happens to the node (a message, a request, a completion, a tick) waits in the inbox
// until its next turn, a drawn moment later. One turn takes all of it or, where the schedule says
// so, a few of each source, as a loop does that reads a bounded number of bytes from each of its
// sockets: what two peers or a client said is then seen in another order than it was said in. A
// paused node's inbox fills up.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/identity.h"
#include "node/machine.h"
#include "tests/sim/counters.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/world.h"
#include "tests/support/fault_fs.h"
#include "tests/support/memory_base.h"

namespace capstan::sim {

struct SimMember {
  MemberId id;
  std::string name;
  int renewals = 0;
};

// Whoever does not say who it is.
inline const Caller kRootUser{.certificate_name = "root"};

class SimNode : public Port, public node::PeerSender {
 public:
  struct Observer {
    std::function<void(int node)> started;
    std::function<void(int node)> turned;  // after each turn
  };

  SimNode(World& world, const Options& options, Counters& counters, int number,
          std::vector<SimMember>& members, Observer observer);
  ~SimNode() override;

  void connect(SimNet& net) { net_ = &net; }

  // --- life ---
  void start();
  // `abruptly`: power loss, what was not synced may be lost or torn; otherwise the process alone.
  void crash(bool abruptly);
  // As SIGTERM; `done` when it is down.
  void stop_cleanly(std::move_only_function<void()> done);
  void pause();
  void resume();
  bool running() const { return machine_ != nullptr; }
  bool paused() const { return paused_; }
  bool stopping() const { return stopping_; }
  // Nothing waits for a turn.
  bool idle() const { return inbox_.empty(); }

  // --- what only people and bad disks do; the node is down ---
  void wipe();
  // An empty disk, and another member from now on.
  void renew();
  // Of this node's own disk. A restored disk keeps its node id and counts its starts on from where
  // the lost one was, as the tool that restores does: no life is lived twice.
  void restore(std::shared_ptr<const struct Backup> backup);
  std::shared_ptr<const struct Backup> back_up() const;
  // Flips one bit that was once durable and has a valid group behind it. False: nothing to rot.
  bool rot();

  // The process must end at that call, and must not believe its cache when it starts again.
  void fail_next_sync();
  // No stall, no error to come, space enough.
  void heal_disk();

  void shift_wall(Micros by) { wall_offset_ += by; }
  // Each turn begins up to `by` later than it could, until `until`.
  void slow_down(Micros by, Micros until) { slow_by_ = by, slow_until_ = until; }
  void drift(double share) { tick_ = static_cast<Micros>(kTick * (1.0 + share)); }
  SimDisk* disk() { return disk_.get(); }

  // Runs `task` in a turn of this life; a crash before drops it. Tasks of one source stay in order.
  static constexpr int kFromClients = -1, kFromDisk = -2;  // else: a peer's number
  using Task = std::move_only_function<void(node::Machine&)>;
  void post(Task task, int source = kFromClients);
  void submit(Request request, Answer answer);

  node::Machine* machine() { return machine_.get(); }
  const node::Machine* machine() const { return machine_.get(); }
  const std::string& name() const;
  MemberId id() const { return members_[static_cast<std::size_t>(number_)].id; }
  int number() const { return number_; }
  std::uint64_t life() const { return life_; }
  // Of this life: what the log gave back.
  bool impaired_at_start() const { return impaired_at_start_; }
  const std::string& stopped_because() const { return stopped_because_; }

  // Port
  void deliver(int from, node::PeerMessage message) override;
  void link_up(int peer) override;
  void link_down(int peer) override;
  // PeerSender
  void send(MemberId to, node::PeerMessage message) override;

 private:
  Now now() const;
  void wake();
  void turn();
  void take_inbox();
  void tick_later();
  void die_of(const Error& error);
  void tear_down();
  WalOptions wal_options(const Identity& identity);
  EngineConfig engine_config(const Identity& identity) const;
  int index_of(MemberId id) const;

  World& world_;
  const Options& options_;
  Counters& counters_;
  const int number_;
  std::vector<SimMember>& members_;
  Observer observer_;
  SimNet* net_ = nullptr;

  // Survives crashes.
  std::unique_ptr<test::FaultFs> fs_ = std::make_unique<test::FaultFs>();
  std::unique_ptr<test::MemoryBase> base_ = std::make_unique<test::MemoryBase>();
  Micros wall_offset_ = 0;
  Micros tick_ = kTick;
  Micros slow_by_ = 0, slow_until_ = 0;
  bool must_be_impaired_ = false;
  Incarnation starts_ = 0;

  // One life.
  std::uint64_t life_ = 0;
  std::unique_ptr<Directory> wal_directory_;
  std::unique_ptr<SimDisk> disk_;
  std::unique_ptr<node::Machine> machine_;
  std::vector<std::pair<int, Task>> inbox_;  // by source
  bool turn_scheduled_ = false, in_turn_ = false, tick_due_ = false;
  bool paused_ = false, dying_ = false, stopping_ = false;
  bool impaired_at_start_ = false;
  std::string stopped_because_;
};

struct Backup {
  test::FaultFs fs;
  test::MemoryBase::Contents base;
};

}  // namespace capstan::sim
