#include "tests/sim/faults.h"

#include <algorithm>
#include <cstring>

namespace capstan::sim {

Faults::Faults(World& world, const Options& options, Counters& counters, Nodes& nodes, SimNet& net,
               std::function<bool(int node)> whole)
    : world_(world),
      options_(options),
      counters_(counters),
      nodes_(nodes),
      net_(net),
      whole_(std::move(whole)),
      members_(world, options, counters, nodes, net) {
  const auto offer = [&](bool on, const char* name, void (Faults::*strike)()) {
    if (on) kinds_.emplace_back(name, [this, strike] { (this->*strike)(); });
  };
  offer(options.crash, "crash", &Faults::strike_crash);
  offer(options.crash_all, "crash of all", &Faults::strike_crash_all);
  offer(options.cut, "cut", &Faults::strike_cut);
  offer(options.one_way, "one-way cut", &Faults::strike_one_way);
  offer(options.isolate, "isolation", &Faults::strike_isolate);
  offer(options.bridge, "bridge", &Faults::strike_bridge);
  offer(options.flap, "flapping", &Faults::strike_flap);
  offer(options.pause, "pause", &Faults::strike_pause);
  offer(options.slow_process, "slow process", &Faults::strike_slow_process);
  offer(options.clock, "clock jump", &Faults::strike_clock);
  offer(options.stall, "disk stall", &Faults::strike_stall);
  offer(options.dying, "dying disk", &Faults::strike_dying_disk);
  offer(options.restart, "clean restart", &Faults::strike_restart);
  offer(options.sync_error, "sync error", &Faults::strike_sync_error);
  offer(options.no_space, "disk full", &Faults::strike_no_space);
  if (options.wipe) kinds_.emplace_back("wiped disk", [this] { strike_damage("wipe"); });
  if (options.rot) kinds_.emplace_back("rotten log", [this] { strike_damage("rot"); });
  offer(options.backup, "restored backup", &Faults::strike_backup);
  offer(options.hole, "hole", &Faults::strike_hole);
  offer(options.moves, "leader moved", &Faults::strike_move);
  offer(options.alarms, "alarm", &Faults::strike_alarm);
  // Often, since each must find the one before ended.
  for (int i = 0; i < (options.members ? 6 : 0); ++i) {
    kinds_.emplace_back("change of members", [this] { members_.strike(); });
  }
}

// With its vote on the way, perhaps not durable, and the same election still on.
void Faults::crash_voters() {
  net_.tap.drop = [this](int from, int, const node::PeerMessage& message) {
    const auto* cp = std::get_if<cp::Message>(&message);
    const auto* vote = cp != nullptr ? std::get_if<cp::VoteReply>(&cp->body) : nullptr;
    if (stopped_ || vote == nullptr || vote->pre || !vote->granted) return false;
    if (!world_.rng.faults.chance(0.3)) return false;
    world_.after(some(0, 3 * kMillisecond), [this, from] {
      SimNode& voter = *nodes_[static_cast<std::size_t>(from)];
      if (stopped_ || !voter.running()) return;
      counters_.add("crashed after a vote");
      voter.crash(world_.rng.faults.chance(0.5));
      restart_later(from, some(100, 5 * kMillisecond));
    });
    return false;
  };
}

void Faults::start() {
  if (options_.vote_crash) crash_voters();
  if (!kinds_.empty()) next();
}

void Faults::next() {
  const bool close = options_.bursts && world_.rng.faults.chance(0.4);
  const Micros gap =
      close ? some(0, 50 * kMillisecond) : some(options_.fault_gap / 4, options_.fault_gap * 7 / 4);
  world_.after(gap, [this] {
    if (stopped_) return;
    strike();
    next();
  });
}

void Faults::strike() {
  const auto& [name, act] = kinds_[world_.rng.faults.below(kinds_.size())];
  world_.note(Kind::kFault, 0, 0, 0, name);
  ++struck_;
  act();
}

int Faults::pick() { return static_cast<int>(world_.rng.faults.below(nodes_.size())); }

void Faults::heal() {
  stopped_ = true;
  world_.note(Kind::kFault, 0, 0, 0, "everything heals");
  while (!cuts_.empty()) lift(cuts_.begin()->first);
  for (auto& node : nodes_) {
    if (members_.absent(node->number())) continue;
    if (!node->running()) {
      node->start();
    } else if (node->paused()) {
      node->resume();
    }
    node->slow_down(0, 0);
    node->heal_disk();
  }
}

int Faults::block(Cut pairs, const char* what) {
  world_.note(Kind::kFault, pairs.size(), 0, 0, what);
  for (const auto& [from, to] : pairs) {
    world_.note(Kind::kFault, static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(to), 0,
                "blocked");
    net_.block(from, to);
  }
  cuts_.emplace(++cuts_made_, std::move(pairs));
  return cuts_made_;
}

void Faults::lift(int cut) {
  const auto found = cuts_.find(cut);
  if (found == cuts_.end()) return;
  world_.note(Kind::kFault, found->second.size(), 0, 0, "lifted");
  for (const auto& [from, to] : found->second) net_.unblock(from, to);
  cuts_.erase(found);
}

void Faults::lift_later(int cut, Micros delay) {
  world_.after(delay, [this, cut] { lift(cut); });
}

int Faults::cut(const std::vector<std::vector<int>>& sides, const char* what) {
  Cut pairs;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    for (std::size_t j = 0; j < sides.size(); ++j) {
      if (i == j) continue;
      for (const int a : sides[i]) {
        for (const int b : sides[j]) {
          if (a != b) pairs.emplace_back(a, b);
        }
      }
    }
  }
  return block(std::move(pairs), what);
}

void Faults::restart_later(int node, Micros delay) {
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  world_.after(delay, [&target, life = target.life()] {
    if (!target.running() && target.life() == life) target.start();
  });
}

void Faults::strike_crash() {
  const int node = pick();
  if (!nodes_[static_cast<std::size_t>(node)]->running()) return;
  nodes_[static_cast<std::size_t>(node)]->crash(world_.rng.faults.chance(0.6));
  restart_later(
      node, some(kMillisecond, world_.rng.faults.chance(0.5) ? 100 * kMillisecond : 2 * kSecond));
}

void Faults::strike_crash_all() {
  counters_.add("all crashed at once");
  const bool abruptly = world_.rng.faults.chance(0.7);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (members_.absent(static_cast<int>(i))) continue;
    if (nodes_[i]->running()) nodes_[i]->crash(abruptly);
    restart_later(static_cast<int>(i), some(10 * kMillisecond, 400 * kMillisecond));
  }
}

void Faults::strike_damage(const char* kind) {
  std::erase_if(damaged_, [this](const auto& entry) {
    return nodes_[static_cast<std::size_t>(entry.first)]->running() && whole_(entry.first);
  });
  const int node = options_.witness ? options_.nodes - 1 : pick();
  if (!damaged_.contains(node) && damaged_.size() >= (nodes_.size() - 1) / 2) return;
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  if (target.running()) target.crash(world_.rng.faults.chance(0.5));
  if (std::strcmp(kind, "wipe") == 0) {
    target.wipe();
    counters_.add("disk wiped");
    damaged_[node] = true;
    disks_were_lost_ = true;
  } else if (target.rot()) {
    counters_.add("bit flipped in the log");
    damaged_[node] = true;
  }
  restart_later(node, some(kMillisecond, 500 * kMillisecond));
}

void Faults::strike_backup() {
  if (backups_.empty() || world_.rng.faults.chance(0.5)) {
    const int node = pick();
    backups_.emplace_back(node, nodes_[static_cast<std::size_t>(node)]->back_up());
    return;
  }
  const auto& [node, backup] = backups_[world_.rng.faults.below(backups_.size())];
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  if (target.running()) target.crash(false);
  target.restore(backup);
  counters_.add("old backup restored");
  disks_were_lost_ = true;
  restart_later(node, some(kMillisecond, 300 * kMillisecond));
}

// Two sides, or three: every node draws one, and both of the first two have somebody.
std::vector<std::vector<int>> Faults::split() {
  const std::size_t sides = nodes_.size() >= 4 && world_.rng.faults.chance(0.3) ? 3 : 2;
  std::vector<std::vector<int>> result(sides);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    result[world_.rng.faults.below(sides)].push_back(static_cast<int>(i));
  }
  return result;
}

void Faults::strike_cut() { lift_later(cut(split()), some(20 * kMillisecond, 3 * kSecond)); }

void Faults::strike_isolate() {
  const int alone = pick();
  std::vector<int> others;
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    if (i != alone) others.push_back(i);
  }
  lift_later(cut({{alone}, others}, "isolated"), some(20 * kMillisecond, 3 * kSecond));
}

void Faults::strike_one_way() {
  Cut pairs;
  const int count = static_cast<int>(world_.rng.faults.between(1, 3));
  for (int i = 0; i < count; ++i) {
    const int from = pick(), to = pick();
    if (from != to) pairs.emplace_back(from, to);
  }
  if (pairs.empty()) return;
  counters_.add("one-way cut");
  lift_later(block(std::move(pairs), "one-way"), some(20 * kMillisecond, 3 * kSecond));
}

// Two halves that share one node.
void Faults::strike_bridge() {
  const int bridge = pick();
  std::vector<std::vector<int>> sides(2);
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    if (i != bridge) sides[static_cast<std::size_t>(i) % 2].push_back(i);
  }
  counters_.add("bridge");
  lift_later(cut(sides, "bridge"), some(50 * kMillisecond, 3 * kSecond));
}

void Faults::strike_hole() {
  net_.open_hole(pick(), world_.now() + some(500 * kMillisecond, 6 * kSecond),
                 world_.rng.faults.chance(0.5));
}

void Faults::strike_flap() {
  counters_.add("flapping");
  flap(split(), static_cast<int>(world_.rng.faults.between(2, 8)));
}

void Faults::flap(const std::vector<std::vector<int>>& sides, int times) {
  if (stopped_ || times == 0) return;
  const Micros down = some(20 * kMillisecond, 500 * kMillisecond);
  lift_later(cut(sides, "flap"), down);
  world_.after(down + some(20 * kMillisecond, 500 * kMillisecond),
               [this, sides, times] { flap(sides, times - 1); });
}

void Faults::strike_pause() {
  SimNode& target = *nodes_[static_cast<std::size_t>(pick())];
  if (!target.running() || target.paused()) return;
  counters_.add("paused");
  target.pause();
  world_.after(some(10 * kMillisecond, 3 * kSecond), [&target, life = target.life()] {
    if (target.life() == life && target.paused()) target.resume();
  });
}

void Faults::strike_slow_process() {
  SimNode& target = *nodes_[static_cast<std::size_t>(pick())];
  if (!target.running()) return;
  counters_.add("process slowed down");
  target.slow_down(some(kMillisecond, 30 * kMillisecond),
                   world_.now() + some(100 * kMillisecond, 3 * kSecond));
}

void Faults::strike_clock() {
  counters_.add("wall clock moved");
  const Micros by = world_.rng.clock.chance(0.5)
                        ? world_.rng.clock.between(-3'600 * kSecond, 3'600 * kSecond)
                        : world_.rng.clock.between(-200 * kMillisecond, 200 * kMillisecond);
  nodes_[static_cast<std::size_t>(pick())]->shift_wall(by);
}

void Faults::strike_stall() {
  SimNode& target = *nodes_[static_cast<std::size_t>(pick())];
  if (!target.running()) return;
  target.disk()->stall(world_.now() + some(50 * kMillisecond, 3 * kSecond));
}

// It hangs, and what it was given meanwhile is lost with the power.
void Faults::strike_dying_disk() {
  const int node = pick();
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  if (!target.running()) return;
  target.disk()->stall(world_.now() + 3 * kSecond);
  const Micros lives = some(kMillisecond, 300 * kMillisecond);
  const Micros down = some(kMillisecond, 200 * kMillisecond);
  world_.after(lives, [this, &target, node, down, life = target.life()] {
    if (stopped_ || target.life() != life || !target.running()) return;
    counters_.add("power lost in a stall");
    target.crash(true);
    restart_later(node, down);
  });
}

void Faults::strike_restart() {
  const int node = pick();
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  if (!target.running() || target.paused() || target.stopping()) return;
  target.stop_cleanly([this, node, &target] {
    if (target.running()) return;
    counters_.add("stopped cleanly");
    restart_later(node, stopped_ ? 0 : some(kMillisecond, 500 * kMillisecond));
  });
}

// Whoever leads is asked, so all are; to any member, itself and dead ones too.
void Faults::strike_move() {
  Request request;
  request.body = MoveLeaderRequest{nodes_[static_cast<std::size_t>(pick())]->id()};
  for (auto& node : nodes_) {
    if (!node->running()) continue;
    node->submit(request, [this](const Reply& reply) {
      if (reply.outcome == Outcome::kOk) counters_.add("leader moved");
      if (reply.outcome == Outcome::kUnknown) counters_.add("leader moved, or not");
    });
  }
}

// Raised by hand, once, so it stays until it is cleared. That is said again and again: the one that
// raises it may be late.
void Faults::strike_alarm() {
  if (alarm_) return;
  alarm_ = nodes_[static_cast<std::size_t>(pick())]->id();
  set_alarm(AlarmRequest::Action::kRaise);
  world_.after(some(0, 500 * kMillisecond), [this] { clear_alarm(); });
}

void Faults::clear_alarm() {
  set_alarm(AlarmRequest::Action::kClear);
  world_.after(200 * kMillisecond, [this] { clear_alarm(); });
}

void Faults::set_alarm(AlarmRequest::Action action) {
  SimNode& node = *nodes_[static_cast<std::size_t>(pick())];
  if (!node.running()) return;
  Request request;
  request.body = AlarmRequest{
      .action = action, .member = alarm_, .type = AlarmType::kNoSpace, .by_itself = false};
  node.submit(std::move(request), [this, action](const Reply& reply) {
    if (reply.outcome == Outcome::kOk && action == AlarmRequest::Action::kRaise) {
      counters_.add("alarm raised");
    }
  });
}

void Faults::strike_sync_error() {
  const int node = pick();
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  if (!target.running()) return;
  target.fail_next_sync();
  world_.after(some(100 * kMillisecond, kSecond), [&target] {
    if (!target.running()) target.start();
  });
}

void Faults::strike_no_space() {
  SimNode& target = *nodes_[static_cast<std::size_t>(pick())];
  if (!target.running()) return;
  counters_.add("disk full");
  target.disk()->set_writes_allowed(false);
  world_.after(some(50 * kMillisecond, 2 * kSecond), [&target, life = target.life()] {
    if (target.life() == life) target.disk()->set_writes_allowed(true);
  });
}

}  // namespace capstan::sim
