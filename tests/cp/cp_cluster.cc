#include "tests/cp/cp_cluster.h"

#include <doctest/doctest.h>

namespace capstan::test {

// ---- Disk ---------------------------------------------------------------------------------------

void CpDisk::append(std::vector<Record> records,
                    std::move_only_function<void(std::uint64_t)> done) {
  auto shared = std::make_shared<std::move_only_function<void(std::uint64_t)>>(std::move(done));
  auto group = std::make_shared<std::vector<Record>>(std::move(records));
  jobs_.push_back({[this, group, shared] {
                     ++position_;
                     for (Record& record : *group) {
                       records_.push_back({record.type, record.head, record.body, position_});
                     }
                     (*shared)(position_);
                   },
                   false});
}

void CpDisk::checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) {
  auto shared = std::make_shared<std::move_only_function<void()>>(std::move(done));
  jobs_.push_back({[this, frozen, shared] {
                     if (on_checkpoint) on_checkpoint();
                     ++checkpoints;
                     REQUIRE(base_.commit(*frozen).has_value());
                     (*shared)();
                   },
                   true});
}

void CpDisk::amend(Amendment amendment, std::move_only_function<void()> done) {
  auto shared = std::make_shared<std::move_only_function<void()>>(std::move(done));
  jobs_.push_back({[this, amendment, shared] {
                     ++amendments;
                     REQUIRE(base_.amend(amendment).has_value());
                     (*shared)();
                   },
                   true});
}

void CpDisk::release(std::uint64_t position) {
  std::erase_if(records_, [position](const RecoveredRecord& r) { return r.position < position; });
}

void CpDisk::stage(std::vector<Change> changes, std::move_only_function<void()> done) {
  auto shared = std::make_shared<std::move_only_function<void()>>(std::move(done));
  auto piece = std::make_shared<std::vector<Change>>(std::move(changes));
  jobs_.push_back({[this, piece, shared] {
                     REQUIRE(base_.stage(*piece).has_value());
                     (*shared)();
                   },
                   true});
}

void CpDisk::install(std::move_only_function<void()> done) {
  auto shared = std::make_shared<std::move_only_function<void()>>(std::move(done));
  jobs_.push_back({[this, shared] {
                     ++installs;
                     REQUIRE(base_.install().has_value());
                     (*shared)();
                   },
                   true});
}

void CpDisk::drop_staged() {
  jobs_.push_back({[this] { REQUIRE(base_.drop_staged().has_value()); }, true});
}

bool CpDisk::work() {
  bool any = false;
  std::deque<Job> jobs = std::exchange(jobs_, {}), kept;
  for (Job& job : jobs) {
    if (job.keeper ? checkpoints_held : held) {
      kept.push_back(std::move(job));
      continue;
    }
    job.run();
    any = true;
  }
  jobs_.insert(jobs_.begin(), kept.begin(), kept.end());
  return any;
}

void CpDisk::crash() { jobs_.clear(); }

void CpDisk::adopt(std::vector<RecoveredRecord> records, std::uint64_t position) {
  records_ = std::move(records);
  position_ = position;
}

std::vector<RecoveredRecord> CpDisk::recovered() const { return records_; }

// ---- Cluster ------------------------------------------------------------------------------------

struct CpCluster::Node final : cp::Sender {
  Node(CpCluster& cluster, int number) : cluster(cluster), number(number) {}
  void send(MemberId to, cp::Message message) override {
    cluster.packets_.push_back({number, static_cast<int>(to.value), std::move(message)});
  }
  CpCluster& cluster;
  int number;
  NodeId node;
  Incarnation incarnation = 0;
  std::unique_ptr<MemoryBase> base;
  std::unique_ptr<CpDisk> disk;
  std::unique_ptr<cp::Engine> engine;
  std::deque<Packet> inbox;
  std::string impaired;
  std::uint64_t impaired_position = 0;
  std::deque<std::function<void(cp::Engine&)>> calls;
};

CpCluster::CpCluster(Options options) : options_(options) {
  for (int n = 1; n <= options_.members; ++n) {
    nodes_.emplace(n, std::make_unique<Node>(*this, n));
    wipe(n);
  }
  for (int n = 1; n <= options_.members; ++n) start(n);
}

CpCluster::~CpCluster() {
  for (auto& [n, node] : nodes_) node->engine.reset();
}

cp::Engine& CpCluster::engine(int n) { return *nodes_.at(n)->engine; }
CpDisk& CpCluster::disk(int n) { return *nodes_.at(n)->disk; }
const MemoryBase& CpCluster::base(int n) const { return *nodes_.at(n)->base; }
bool CpCluster::up(int n) const { return nodes_.at(n)->engine != nullptr; }

Member CpCluster::member(int n) {
  const std::string name = "n" + std::to_string(n);
  return {id(n), name, name + ":2380", {"http://" + name + ":2379"}};
}

void CpCluster::add_machine(int n) {
  nodes_.emplace(n, std::make_unique<Node>(*this, n));
  wipe(n);
}

void CpCluster::wipe(int n) {
  Node& node = *nodes_.at(n);
  REQUIRE(node.engine == nullptr);
  node.node = {1000 + ++disks_};
  node.incarnation = 0;
  node.base = std::make_unique<MemoryBase>();
  node.disk = std::make_unique<CpDisk>(*node.base);
  node.impaired.clear();
}

void CpCluster::change_base(int n, Space space, const std::string& key,
                            const std::function<void(std::string&)>& change) {
  Node& node = *nodes_.at(n);
  REQUIRE(node.engine == nullptr);
  auto row = *node.base->get(space, key);
  REQUIRE(row.has_value());
  change(*row);
  REQUIRE(node.base->commit({{space, key, *row}}).has_value());
}

void CpCluster::rot(int n) {
  Node& node = *nodes_.at(n);
  REQUIRE(node.engine == nullptr);
  const std::vector<RecoveredRecord> all = node.disk->recovered();
  REQUIRE(!all.empty());
  const std::uint64_t from = all[all.size() / 2].position;
  // What is left: the records before. Later ones are written behind the gap.
  std::vector<RecoveredRecord> kept = all;
  std::erase_if(kept, [from](const RecoveredRecord& r) { return r.position >= from; });
  const std::uint64_t position = node.disk->position();
  node.disk = std::make_unique<CpDisk>(*node.base);
  node.disk->adopt(std::move(kept), position);
  node.impaired = "test: group checksum";
  node.impaired_position = from;
}

void CpCluster::start(int n) {
  Node& node = *nodes_.at(n);
  REQUIRE(node.engine == nullptr);
  EngineConfig config;
  config.cluster = {7};
  config.self = id(n);
  config.name = "n" + std::to_string(n);
  config.node = node.node;
  config.incarnation = ++node.incarnation;
  for (int m = 1; m <= options_.members; ++m) {
    config.members.push_back(member(m));
    config.members.back().witness = m == options_.witness;
  }
  config.joins = n > options_.members;
  if (config.joins) config.members.push_back(member(n));
  config.checkpoint_table_bytes = options_.checkpoint_table_bytes;
  config.log_window_bytes = options_.log_window_bytes;
  config.sweep_changes = options_.sweep_changes;
  config.range_slice_keys = options_.range_slice_keys;
  config.wants_turn = [this] { ++turns_wanted; };
  config.auto_compaction = options_.auto_compaction;
  if (n == 1) config.quota_bytes = options_.quota_bytes;
  config.seed = options_.seed;
  Recovered recovered;
  recovered.records = node.disk->recovered();
  recovered.fresh = recovered.records.empty() && node.impaired.empty();
  recovered.impaired = node.impaired;
  recovered.impaired_position = recovered.impaired_last = node.impaired_position;
  node.engine =
      std::make_unique<cp::Engine>(config, *node.base, *node.disk, node, std::move(recovered));
  for (auto& [m, other] : nodes_) {
    if (m == n || !other->engine) continue;
    const auto connect = [](Node& to, int peer) {
      to.calls.push_back([peer](cp::Engine& e) {
        e.describes_itself(id(peer), member(peer).name, member(peer).client_urls);
        e.peer_connected(id(peer));
      });
    };
    connect(node, m);
    connect(*other, n);
  }
}

void CpCluster::crash(int n) {
  Node& node = *nodes_.at(n);
  REQUIRE(node.engine != nullptr);
  node.engine.reset();
  node.disk->crash();
  // As a process that opens its base anew.
  node.base = std::make_unique<MemoryBase>(node.base->contents());
  auto disk = std::make_unique<CpDisk>(*node.base);
  disk->adopt(node.disk->recovered(), node.disk->position());
  node.disk = std::move(disk);
  node.inbox.clear();
  node.calls.clear();
  std::erase_if(packets_, [n](const Packet& p) { return p.from == n || p.to == n; });
  for (auto& [m, other] : nodes_) {
    if (m != n && other->engine && joined(n, m)) {
      other->calls.push_back([n](cp::Engine& e) { e.peer_disconnected(id(n)); });
    }
  }
}

bool CpCluster::turn(Node& node, bool tick) {
  node.engine->begin_turn(now_);
  bool any = node.disk->work();
  for (auto& call : std::exchange(node.calls, {})) {
    call(*node.engine);
    any = true;
  }
  for (Packet& packet : std::exchange(node.inbox, {})) {
    node.engine->receive(id(packet.from), std::move(packet.message));
    any = true;
  }
  if (tick) node.engine->tick();
  node.engine->end_turn();
  return any;
}

void CpCluster::settle() {
  for (int rounds = 0; rounds < 200; ++rounds) {
    bool any = !packets_.empty();
    for (Packet& packet : std::exchange(packets_, {})) {
      if (!nodes_.contains(packet.to)) continue;
      Node& to = *nodes_.at(packet.to);
      if (!to.engine || !joined(packet.from, packet.to)) continue;
      if (filter && !filter(packet.from, packet.to, packet.message)) continue;
      to.inbox.push_back(std::move(packet));
    }
    for (auto& [n, node] : nodes_) {
      if (node->engine) any |= turn(*node, false);
    }
    if (!any) return;
  }
  FAIL("the cluster does not come to rest");
}

void CpCluster::run(int ticks) {
  for (int i = 0; i < ticks; ++i) {
    now_.monotonic += kTick;
    for (auto& [n, node] : nodes_) {
      if (node->engine) turn(*node, true);
    }
    settle();
  }
}

bool CpCluster::run_until(const std::function<bool()>& done) {
  settle();
  for (int i = 0; i < 1000; ++i) {
    if (done()) return true;
    run();
  }
  return false;
}

int CpCluster::leader() const {
  int best = 0;
  for (const auto& [n, node] : nodes_) {
    if (!node->engine || !node->engine->raft().established()) continue;
    const Term term = node->engine->raft().term();
    if (best == 0 || term > nodes_.at(best)->engine->raft().term()) best = n;
  }
  return best;
}

int CpCluster::elect() {
  REQUIRE(run_until([this] { return leader() != 0; }));
  return leader();
}

void CpCluster::cut(std::set<int> side) { side_ = std::move(side); }

std::shared_ptr<std::optional<Reply>> CpCluster::submit(int n, RequestBody body,
                                                        std::string request_id, Micros timeout,
                                                        Caller caller) {
  Request request;
  request.body = std::move(body);
  request.request_id = std::move(request_id);
  request.timeout = timeout;
  request.caller = std::move(caller);
  return submit(n, std::move(request));
}

std::shared_ptr<std::optional<Reply>> CpCluster::submit(int n, Request request) {
  auto place = std::make_shared<std::optional<Reply>>();
  auto shared = std::make_shared<Request>(std::move(request));
  nodes_.at(n)->calls.push_back([shared, place](cp::Engine& e) {
    e.submit(std::move(*shared), [place](Reply reply) {
      CHECK(!place->has_value());  // exactly once
      *place = std::move(reply);
    });
  });
  return place;
}

std::shared_ptr<std::optional<Reply>> CpCluster::put(int n, std::string key, std::string value) {
  PutRequest put;
  put.key = std::move(key);
  put.value = std::move(value);
  return submit(n, std::move(put));
}

std::shared_ptr<std::optional<Reply>> CpCluster::get(int n, std::string key, bool serializable) {
  RangeRequest range;
  range.range.key = std::move(key);
  range.serializable = serializable;
  return submit(n, std::move(range));
}

Reply CpCluster::wait(const std::shared_ptr<std::optional<Reply>>& reply) {
  REQUIRE(run_until([&] { return reply->has_value(); }));
  return **reply;
}

Reply CpCluster::put_now(int n, std::string key, std::string value) {
  return wait(put(n, std::move(key), std::move(value)));
}
Reply CpCluster::get_now(int n, std::string key) { return wait(get(n, std::move(key))); }

void CpCluster::inject(int from, int to, cp::Message message) {
  packets_.push_back({from, to, std::move(message)});
}

}  // namespace capstan::test
