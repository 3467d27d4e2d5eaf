// What strikes the nodes during a schedule, drawn from the seed, and how it ends again.
//
// The fault atlas: a disk that lost or garbled what it had acknowledged (wiped, rotten) is out of
// the promise once a majority of disks are like that. So at most a minority is damaged at a time,
// until the owner of the atlas says that a damaged one is whole again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tests/sim/counters.h"
#include "tests/sim/member_changes.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace capstan::sim {

using Nodes = std::vector<std::unique_ptr<SimNode>>;

class Faults {
 public:
  // `whole`: has this node, once damaged, been repaired?
  Faults(World& world, const Options& options, Counters& counters, Nodes& nodes, SimNet& net,
         std::function<bool(int node)> whole);

  void start();
  // Everything ends: cuts, pauses, stalls; whoever is down starts. No new ones.
  void heal();

  // Sides that cannot reach each other, by node number; lasts until lift() or heal().
  using Cut = std::vector<std::pair<int, int>>;  // directed pairs that are blocked
  int cut(const std::vector<std::vector<int>>& sides, const char* what = "cut");
  void lift(int cut);

  void restart_later(int node, Micros delay);
  std::uint64_t struck() const { return struck_; }
  MemberChanges& members() { return members_; }
  bool disks_were_lost() const { return disks_were_lost_; }

 private:
  void next();
  void strike();
  int pick();
  Micros some(Micros low, Micros high) { return world_.rng.faults.between(low, high); }
  int block(Cut pairs, const char* what);
  void lift_later(int cut, Micros delay);

  void strike_crash();
  void strike_crash_all();
  void strike_damage(const char* kind);
  void strike_backup();
  void strike_cut();
  void strike_one_way();
  void strike_isolate();
  void strike_bridge();
  void strike_flap();
  void strike_hole();
  void flap(const std::vector<std::vector<int>>& sides, int times);
  void strike_pause();
  void strike_slow_process();
  void strike_clock();
  void strike_stall();
  void strike_dying_disk();
  void strike_restart();
  void strike_sync_error();
  void strike_no_space();
  void strike_move();
  void crash_voters();
  void strike_alarm();
  void clear_alarm();
  void set_alarm(AlarmRequest::Action action);
  std::vector<std::vector<int>> split();

  World& world_;
  const Options& options_;
  Counters& counters_;
  Nodes& nodes_;
  SimNet& net_;
  std::function<bool(int)> whole_;
  MemberChanges members_;
  std::vector<std::pair<const char*, std::function<void()>>> kinds_;
  std::map<int, Cut> cuts_;
  int cuts_made_ = 0;
  std::map<int, bool> damaged_;
  std::vector<std::pair<int, std::shared_ptr<const Backup>>> backups_;
  std::uint64_t struck_ = 0;
  bool disks_were_lost_ = false;
  bool stopped_ = false;
  MemberId alarm_;
};

}  // namespace capstan::sim
