#include "tests/ap/engine_world.h"

#include <utility>

#include "ap/packed.h"
#include "core/check.h"
#include "core/trace.h"

namespace capstan::ap::test {
namespace {

MemberId member(std::size_t i) { return {100 + i}; }

class FakeDisk final : public Disk {
 public:
  struct Job {
    std::vector<Record> records;
    std::move_only_function<void(std::uint64_t)> done;
  };

  FakeDisk(std::vector<RecoveredRecord>& log, std::uint64_t& next, capstan::test::MemoryBase& base,
           Durability durability)
      : log_(log), next_(next), base_(base), durability_(durability) {}

  void append(std::vector<Record> records,
              std::move_only_function<void(std::uint64_t)> done) override {
    jobs.push_back({std::move(records), std::move(done)});
  }
  void checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) override {
    CAPSTAN_ASSERT(base_.commit(*frozen));
    checkpoints.push_back(std::move(done));
  }
  void amend(Amendment, std::move_only_function<void()>) override {}
  void release(std::uint64_t position) override {
    std::erase_if(log_, [&](const RecoveredRecord& r) { return r.position < position; });
  }
  void stage(std::vector<Change>, std::move_only_function<void()>) override {}
  void install(std::move_only_function<void()>) override {}
  void drop_staged() override {}
  Durability durability() const override { return durability_; }
  bool writes_allowed() const override { return !full; }
  std::uint64_t wal_bytes() const override { return log_.size(); }

  void complete() {
    while (!jobs.empty()) {
      Job job = std::move(jobs.front());
      jobs.pop_front();
      const std::uint64_t position = next_++;
      for (Record& r : job.records) {
        log_.push_back({r.type, std::move(r.head), std::move(r.body), position});
      }
      job.done(position);
    }
    for (auto& done : std::exchange(checkpoints, {})) done();
  }

  std::deque<Job> jobs;
  std::vector<std::move_only_function<void()>> checkpoints;
  bool held = false, full = false;

 private:
  std::vector<RecoveredRecord>& log_;
  std::uint64_t& next_;
  capstan::test::MemoryBase& base_;
  Durability durability_;
};

}  // namespace

struct EngineWorld::Node final : Sender {
  void send(MemberId to, Message message) override {
    world->frames_.push_back({index, to.value - 100, pack(message.body), message.epoch,
                              static_cast<std::uint8_t>(kind_of(message.body)), world->ticks_ + 1});
    ++world->frames_sent_;
  }

  EngineWorld* world = nullptr;
  std::size_t index = 0;
  NodeId id;
  Incarnation incarnation = 0;
  std::vector<RecoveredRecord> log;
  std::uint64_t next_position = 1;
  std::unique_ptr<capstan::test::MemoryBase> base = std::make_unique<capstan::test::MemoryBase>();
  std::unique_ptr<FakeDisk> disk;
  std::unique_ptr<Engine> engine;
};

EngineWorld::EngineWorld(std::size_t nodes, Durability durability) : durability_(durability) {
  set_trace_level(Level::kOff);
  for (std::size_t i = 0; i < nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>());
    nodes_[i]->world = this;
    nodes_[i]->index = i;
    nodes_[i]->id = {1000 + i};
  }
  for (std::size_t i = 0; i < nodes; ++i) start(i);
  run(20);
}

EngineWorld::~EngineWorld() = default;

Engine& EngineWorld::engine(std::size_t i) { return *nodes_[i]->engine; }

void EngineWorld::start(std::size_t i) {
  Node& node = *nodes_[i];
  node.engine.reset();
  node.disk = std::make_unique<FakeDisk>(node.log, node.next_position, *node.base, durability_);
  EngineConfig config;
  config.cluster = {1};
  config.self = member(i);
  config.name = "n" + std::to_string(i + 1);
  config.node = node.id;
  config.incarnation = ++node.incarnation;
  for (std::size_t m = 0; m < nodes_.size(); ++m) {
    config.members.push_back({member(m), "n" + std::to_string(m + 1)});
  }
  config.checkpoint_interval = kSecond;
  config.seed = i;
  Recovered recovered;
  recovered.records = node.log;
  recovered.fresh = node.log.empty();
  node.engine =
      std::make_unique<Engine>(config, *node.base, *node.disk, node, std::move(recovered));
}

void EngineWorld::crash(std::size_t i) {
  nodes_[i]->engine.reset();
  nodes_[i]->disk.reset();
  for (std::size_t other = 0; other < nodes_.size(); ++other) {
    if (other != i && nodes_[other]->engine && passes(i, other)) {
      nodes_[other]->engine->peer_disconnected(member(i));
    }
  }
}

void EngineWorld::wipe(std::size_t i) {
  Node& node = *nodes_[i];
  CAPSTAN_ASSERT(!node.engine);
  node.log.clear();
  node.base = std::make_unique<capstan::test::MemoryBase>();
  node.id.value += 1000;
  node.incarnation = 0;
}

void EngineWorld::stop(std::size_t i) {
  bool done = false;
  nodes_[i]->engine->stop([&] { done = true; });
  for (int n = 0; n < 200 && !done; ++n) run(1);
  CAPSTAN_ASSERT(done);
  crash(i);
}

bool EngineWorld::passes(std::size_t a, std::size_t b) const {
  if (sides_.empty()) return true;
  for (const auto& side : sides_) {
    if (side.contains(a) && side.contains(b)) return true;
  }
  return false;
}

void EngineWorld::cut(std::vector<std::set<std::size_t>> sides) {
  sides_ = std::move(sides);
  cut_at_ = ticks_;
  closed_told_ = false;
}

void EngineWorld::heal() { sides_.clear(); }

void EngineWorld::hold_disk(std::size_t node, bool held) { nodes_[node]->disk->held = held; }
void EngineWorld::full_disk(std::size_t node, bool full) { nodes_[node]->disk->full = full; }

void EngineWorld::turn(std::size_t i, bool tick) {
  Node& node = *nodes_[i];
  if (!node.engine) return;
  const Micros now = static_cast<Micros>(ticks_) * kTick;
  node.engine->begin_turn({now, 1'000'000 * kSecond + now});
  for (auto at = frames_.begin(); at != frames_.end();) {
    if (at->to != i || at->due > ticks_) {
      ++at;
      continue;
    }
    const Frame frame = std::move(*at);
    at = frames_.erase(at);
    if (!passes(frame.from, i)) continue;
    Result<Body> body = unpack(static_cast<Kind>(frame.kind), shared_bytes(frame.bytes));
    CAPSTAN_ASSERT(body);
    node.engine->receive(member(frame.from), Message{frame.epoch, std::move(*body)});
  }
  if (!node.disk->held) node.disk->complete();
  if (tick) node.engine->tick();
  node.engine->end_turn();
}

void EngineWorld::run(int ticks) {
  for (; ticks > 0; --ticks) {
    ++ticks_;
    if (!closed_told_ && ticks_ - cut_at_ >= 25) {
      closed_told_ = true;
      for (std::size_t a = 0; a < nodes_.size(); ++a) {
        for (std::size_t b = 0; b < nodes_.size(); ++b) {
          if (a != b && nodes_[a]->engine && !passes(a, b)) {
            nodes_[a]->engine->peer_disconnected(member(b));
          }
        }
      }
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) turn(i, true);
  }
}

int EngineWorld::run_until_equal(int limit) {
  for (int n = 0; n <= limit; ++n) {
    bool equal = true;
    std::optional<Engine::Fingerprint> first;
    for (auto& node : nodes_) {
      if (!node->engine) continue;
      const Engine::Fingerprint mine = node->engine->fingerprint();
      if (!first) first = mine;
      equal = equal && mine.ahead_hash == 0 && mine.vector == first->vector &&
              mine.digest == first->digest;
    }
    if (equal) return n;
    run(1);
  }
  return -1;
}

std::optional<Reply> EngineWorld::ask(std::size_t i, RequestBody body, std::string request_id) {
  Node& node = *nodes_[i];
  auto reply = std::make_shared<std::optional<Reply>>();
  const Micros now = static_cast<Micros>(ticks_) * kTick;
  node.engine->begin_turn({now, 1'000'000 * kSecond + now});
  Request request;
  request.body = std::move(body);
  request.request_id = std::move(request_id);
  node.engine->submit(std::move(request), [reply](Reply r) { *reply = std::move(r); });
  node.engine->end_turn();
  if (!node.disk->held) {
    node.engine->begin_turn({now, 1'000'000 * kSecond + now});
    node.disk->complete();
    node.engine->end_turn();
  }
  return std::move(*reply);
}

Reply EngineWorld::get(std::size_t i, RequestBody body, std::string request_id) {
  std::optional<Reply> reply = ask(i, std::move(body), std::move(request_id));
  CAPSTAN_ASSERT(reply);
  return std::move(*reply);
}

Reply EngineWorld::put(std::size_t i, const std::string& key, const std::string& value) {
  PutRequest request;
  request.key = key;
  request.value = value;
  return get(i, request);
}

Reply EngineWorld::erase(std::size_t i, const std::string& key, const std::string& end) {
  return get(i, DeleteRangeRequest{{key, end}, false});
}

std::optional<std::string> EngineWorld::read(std::size_t i, const std::string& key) {
  RangeRequest request;
  request.range.key = key;
  const Reply reply = get(i, request);
  const auto& result = std::get<RangeResult>(reply.body);
  if (result.kvs.empty()) return std::nullopt;
  return result.kvs.front().value;
}

StatusResult EngineWorld::status(std::size_t i) {
  StatusResult status;
  for (std::size_t m = 0; m < nodes_.size(); ++m) {
    PeerStatus peer;
    peer.id = member(m);
    status.peers.push_back(peer);
  }
  nodes_[i]->engine->describe(status);
  return status;
}

}  // namespace capstan::ap::test
