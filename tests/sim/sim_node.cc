#include "tests/sim/sim_node.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/check.h"
#include "core/hash.h"
#include "cp/engine.h"

namespace capstan::sim {

namespace {

constexpr const char* kRoot = "root";
constexpr const char* kWal = "wal";
constexpr Micros kWallOrigin = 1'700'000'000 * kSecond;
constexpr ClusterId kCluster{0xc1a5};

}  // namespace

SimNode::SimNode(World& world, const Options& options, Counters& counters, int number,
                 std::vector<SimMember>& members, Observer observer)
    : world_(world),
      options_(options),
      counters_(counters),
      number_(number),
      members_(members),
      observer_(std::move(observer)) {}

SimNode::~SimNode() { tear_down(); }

const std::string& SimNode::name() const {
  return members_[static_cast<std::size_t>(number_)].name;
}

// -1: of a member that is gone.
int SimNode::index_of(MemberId id) const {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].id == id) return static_cast<int>(i);
  }
  return -1;
}

Now SimNode::now() const {
  // Origins differ, so that nobody can compare one node's monotonic time with another's.
  return {.monotonic = world_.now() + (number_ + 1) * 1'000 * kSecond,
          .wall = world_.now() + kWallOrigin + wall_offset_};
}

EngineConfig SimNode::engine_config(const Identity& identity) const {
  EngineConfig config;
  config.cluster = kCluster;
  config.self = members_[static_cast<std::size_t>(number_)].id;
  config.name = name();
  config.node = identity.node;
  config.incarnation = identity.incarnation;
  // The same flags for ever: those of the first start.
  for (int i = 0; i < options_.nodes; ++i) {
    const std::string& other = members_[static_cast<std::size_t>(i)].name;
    const bool witness = options_.witness && i == options_.nodes - 1;
    config.members.push_back({.id = {xxh3(other)}, .name = other, .witness = witness});
  }
  config.joins =
      std::ranges::find(config.members, config.self, &Member::id) == config.members.end();
  if (config.joins) config.members.push_back({config.self, config.name});
  std::sort(config.members.begin(), config.members.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  config.checkpoint_table_bytes = options_.checkpoint_bytes;
  config.checkpoint_interval = options_.checkpoint_interval;
  config.sync_list_keys = options_.sync_list_keys;
  config.sync_slice_bytes = options_.sync_slice_bytes;
  config.watches = options_.watches;
  config.sweep_changes = options_.sweep_changes;
  config.range_slice_keys = options_.range_slice_keys;
  config.compare_interval = options_.compare_interval;
  config.auto_compaction = options_.auto_compaction;
  config.seed = world_.rng.nodes.next();
  return config;
}

WalOptions SimNode::wal_options(const Identity& identity) {
  WalOptions options;
  options.cluster = kCluster;
  options.node = identity.node;
  options.segment_bytes = options_.segment_bytes;
  options.salt_seed = world_.rng.nodes.next();
  return options;
}

void SimNode::start() {
  CAPSTAN_ASSERT(!running());
  ++life_;
  stopped_because_.clear();
  std::unique_ptr<Directory> root = fs_->directory(kRoot);
  Result<Identity> found = load_identity(*root);
  Identity identity;
  if (found) {
    identity = *found;
  } else {
    identity.mode = options_.mode;
    identity.cluster = kCluster;
    identity.name = name();
    identity.node = {world_.rng.nodes.next()};
  }
  ++identity.incarnation;
  starts_ = std::max(starts_, identity.incarnation);
  wal_directory_ = fs_->directory(kWal);
  Result<Wal::Recovery> log = Wal::open(*wal_directory_, wal_options(identity));
  if (!log) return world_.fail("starts again", name() + ": " + log.error().context);
  if (Status stored = store_identity(*root, identity); !stored) {
    return world_.fail("starts again", name() + ": " + stored.error().context);
  }

  Recovered recovered;
  recovered.fresh = log->records.empty() && !log->impaired && base_->bytes_used() == 0;
  recovered.records = std::move(log->records);
  recovered.salvaged = std::move(log->salvaged);
  if (log->impaired) {
    recovered.impaired = log->impaired->why;
    recovered.impaired_position = log->impaired->position;
    recovered.impaired_last = log->impaired->last_position;
  }
  impaired_at_start_ = log->impaired.has_value();
  if (must_be_impaired_ && !impaired_at_start_) {
    world_.fail("rot is not a torn tail", name() + " cut a log that had rotted");
  }
  must_be_impaired_ = false;
  if (impaired_at_start_) counters_.add("rotten log found at start");
  if (log->torn_tail_cut) counters_.add("torn tail cut");
  if (recovered.fresh && life_ > 1) counters_.add("started on an empty disk");

  world_.note(Kind::kStart, static_cast<std::uint64_t>(number_), identity.incarnation,
              recovered.records.size());
  const std::uint64_t life = life_;
  SimDisk::Host host;
  host.node = number_;
  host.post = [this, life](SimDisk::Completion done) {
    if (life == life_) post([d = std::move(done)](node::Machine&) mutable { d(); }, kFromDisk);
  };
  host.die = [this, life](const Error& error) {
    if (life == life_) die_of(error);
  };
  disk_ = std::make_unique<SimDisk>(world_, options_, counters_, std::move(host),
                                    std::move(log->wal), *base_);
  node::MachineConfig config;
  config.mode = options_.mode;
  config.engine = engine_config(identity);
  for (const SimMember& member : members_) {
    config.order.push_back(member.id);
  }
  machine_ = std::make_unique<node::Machine>(std::move(config), *base_, *disk_, *this,
                                             std::move(recovered));
  if (const cp::Engine* engine = machine_->cp_engine()) {
    const bool normal = engine->raft().standing() == cp::Standing::kNormal;
    world_.note(Kind::kText, static_cast<std::uint64_t>(number_), 0, 0,
                normal ? "starts as a normal member" : "starts as a member that does not vote");
  }
  observer_.started(number_);
  net_->started(number_);
  tick_later();
  wake();
}

// A process that ends in the middle of one of its own turns is torn down when the turn is over.
void SimNode::die_of(const Error& error) {
  stopped_because_ = error.context;
  counters_.add("stopped by an I/O error");
  world_.note(Kind::kCrash, static_cast<std::uint64_t>(number_), 0, 0, error.context);
  dying_ = true;
  world_.after(0, [this, life = life_] {
    if (life == life_ && dying_) crash(false);
  });
}

void SimNode::tear_down() {
  ++life_;
  machine_.reset();
  disk_.reset();
  wal_directory_.reset();
  inbox_.clear();
  slow_until_ = 0;
  turn_scheduled_ = tick_due_ = paused_ = dying_ = stopping_ = false;
}

void SimNode::crash(bool abruptly) {
  CAPSTAN_ASSERT(!in_turn_);
  const bool was_running = running();
  if (was_running) {
    const std::size_t in_flight = disk_->in_flight();
    world_.note(Kind::kCrash, static_cast<std::uint64_t>(number_), in_flight, abruptly);
    if (in_flight > 0) counters_.add("crashed while writing");
  }
  tear_down();
  heal_disk();
  if (abruptly) {
    const std::uint64_t lost = fs_->counts().sectors_lost;
    fs_->crash(world_.rng.disk);
    if (fs_->counts().sectors_lost > lost) counters_.add("unsynced sectors lost");
  } else {
    fs_->kill();
  }
  base_ = std::make_unique<test::MemoryBase>(base_->contents());
  if (was_running) {
    counters_.add(abruptly ? "power lost" : "process killed");
    net_->died(number_, abruptly);
  }
}

void SimNode::fail_next_sync() {
  fs_->set_hook([armed = true](const test::FaultFs::Call& call) mutable -> std::optional<Error> {
    if (!armed || call.op != test::FaultFs::Op::kSync) return std::nullopt;
    armed = false;
    return Error{ErrorCode::kIo, "fdatasync: Input/output error (injected)"};
  });
}

void SimNode::heal_disk() {
  fs_->set_hook({});
  if (disk_) {
    disk_->stall(0);
    disk_->set_writes_allowed(true);
  }
}

void SimNode::stop_cleanly(std::move_only_function<void()> done) {
  stopping_ = true;
  post([this, d = std::move(done)](node::Machine& machine) mutable {
    machine.stop([this, life = life_, e = std::move(d)]() mutable {
      world_.after(0, [this, life, f = std::move(e)]() mutable {
        if (life == life_ && running()) crash(false);
        f();
      });
    });
  });
}

void SimNode::pause() {
  paused_ = true;
  net_->paused(number_);
}

void SimNode::resume() {
  paused_ = false;
  net_->resumed(number_);
  wake();
}

void SimNode::wipe() {
  CAPSTAN_ASSERT(!running());
  must_be_impaired_ = false;  // what had rotted is gone with the rest
  fs_ = std::make_unique<test::FaultFs>();
  base_ = std::make_unique<test::MemoryBase>();
}

void SimNode::renew() {
  wipe();
  starts_ = 0;
  SimMember& member = members_[static_cast<std::size_t>(number_)];
  member.id = {xxh3(member.name + " for the time " + std::to_string(++member.renewals))};
}

std::shared_ptr<const Backup> SimNode::back_up() const {
  return std::make_shared<const Backup>(*fs_, base_->contents());
}

void SimNode::restore(std::shared_ptr<const Backup> backup) {
  CAPSTAN_ASSERT(!running());
  must_be_impaired_ = false;
  fs_ = std::make_unique<test::FaultFs>(backup->fs);
  fs_->set_hook({});
  fs_->crash(world_.rng.disk);
  base_ = std::make_unique<test::MemoryBase>(backup->base);
  const std::unique_ptr<Directory> root = fs_->directory(kRoot);
  Result<Identity> identity = load_identity(*root);
  if (!identity) return;
  identity->incarnation = starts_;
  CAPSTAN_ASSERT(store_identity(*root, *identity));
}

// The record is found by its bytes, so that this needs to know nothing of the log's format. The
// last group is spared: before it is sealed, its rot cannot be told from a write that a crash tore.
bool SimNode::rot() {
  CAPSTAN_ASSERT(!running());
  test::FaultFs twin = *fs_;
  twin.set_hook({});
  const std::unique_ptr<Directory> root = twin.directory(kRoot);
  const Result<Identity> identity = load_identity(*root);
  if (!identity) return false;
  const std::unique_ptr<Directory> wal = twin.directory(kWal);
  Result<Wal::Recovery> log = Wal::open(*wal, wal_options(*identity));
  if (!log) return false;
  std::vector<const RecoveredRecord*> candidates;
  for (const RecoveredRecord& record : log->records) {
    if (record.position < log->records.back().position && record.body && record.body->size() >= 8) {
      candidates.push_back(&record);
    }
  }
  if (candidates.empty()) return false;
  const std::string& body = *candidates[world_.rng.faults.below(candidates.size())]->body;
  const auto offset = world_.rng.faults.below(body.size());
  const auto mask = static_cast<std::uint8_t>(1u << world_.rng.faults.below(8));
  bool flipped = false;
  for (const std::string& name : fs_->names(kWal)) {
    const std::string path = std::string(kWal) + "/" + name;
    const std::size_t at = fs_->image(path).find(body);
    if (at == std::string::npos) continue;
    fs_->flip(path, at + offset, mask);
    flipped = true;
  }
  must_be_impaired_ = must_be_impaired_ || flipped;
  return flipped;
}

void SimNode::post(Task task, int source) {
  if (!running()) return;
  inbox_.emplace_back(source, std::move(task));
  wake();
}

void SimNode::submit(Request request, Answer answer) {
  Caller& caller = request.caller;
  if (caller.token.empty() && caller.certificate_name.empty()) caller = kRootUser;
  post([r = std::move(request), a = std::move(answer)](node::Machine& machine) mutable {
    machine.submit(std::move(r), std::move(a));
  });
}

void SimNode::wake() {
  if (turn_scheduled_ || paused_ || in_turn_ || !running()) return;
  turn_scheduled_ = true;
  const bool slow = world_.now() < slow_until_;
  world_.after(world_.rng.nodes.between(1, slow ? slow_by_ : 60), [this, life = life_] {
    if (life != life_) return;
    turn_scheduled_ = false;
    if (!paused_ && !dying_) turn();
  });
}

void SimNode::turn() {
  in_turn_ = true;
  machine_->begin_turn(now());
  take_inbox();
  if (std::exchange(tick_due_, false)) machine_->tick();
  machine_->end_turn();
  in_turn_ = false;
  observer_.turned(number_);
  if (!inbox_.empty()) wake();
}

void SimNode::take_inbox() {
  std::map<int, std::size_t> taken;
  for (auto& [source, task] : std::exchange(inbox_, {})) {
    if (options_.turn_max == 0 || ++taken[source] <= options_.turn_max) {
      task(*machine_);
    } else {
      inbox_.emplace_back(source, std::move(task));
    }
  }
  if (!inbox_.empty()) counters_.add("turn left work waiting");
}

void SimNode::tick_later() {
  world_.after(tick_, [this, life = life_] {
    if (life != life_) return;
    tick_due_ = true;
    wake();
    tick_later();
  });
}

void SimNode::deliver(int from, node::PeerMessage message) {
  post(
      [this, from, m = std::move(message)](node::Machine& machine) mutable {
        world_.note(Kind::kDeliver, static_cast<std::uint64_t>(from),
                    static_cast<std::uint64_t>(number_));
        machine.receive(members_[static_cast<std::size_t>(from)].id, std::move(m));
      },
      from);
}

void SimNode::link_up(int peer) {
  post(
      [this, peer](node::Machine& machine) {
        const SimMember& who = members_[static_cast<std::size_t>(peer)];
        if (options_.members) machine.describes_itself(who.id, who.name, {"http://" + who.name});
        machine.peer_connected(who.id);
      },
      peer);
}

void SimNode::link_down(int peer) {
  post(
      [this, peer](node::Machine& machine) {
        machine.peer_disconnected(members_[static_cast<std::size_t>(peer)].id);
      },
      peer);
}

void SimNode::send(MemberId to, node::PeerMessage message) {
  const int peer = index_of(to);
  if (peer >= 0) net_->send(number_, peer, std::move(message));
}

}  // namespace capstan::sim
