#include "tests/ap/schedule.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "ap/packed.h"
#include "core/check.h"

namespace capstan::ap::test {
namespace {

constexpr std::size_t kFramesMax = 60;  // older ones are lost

MemberId member(std::size_t i) { return {100 + i}; }

std::string show(const Dot& dot) {
  return std::to_string(dot.actor.node.value) + ':' + std::to_string(dot.actor.incarnation) + ':' +
         std::to_string(dot.sequence.value);
}

std::string show(const VersionVector& vector) {
  std::string out = "{";
  for (const auto& [actor, sequence] : vector.entries()) out += ' ' + show({actor, sequence});
  return out + " }";
}

// Two keys of one bucket and three of others, so that slices part and combine.
std::vector<std::string> make_keys() {
  std::vector<std::string> keys{"a"};
  for (int i = 0; keys.size() < 2; ++i) {
    const std::string candidate = "k" + std::to_string(i);
    if (bucket_of(candidate) == bucket_of("a")) keys.push_back(candidate);
  }
  for (const char* other : {"b", "c", "d"}) keys.emplace_back(other);
  return keys;
}

}  // namespace

struct Schedule::Node {
  // What is on disk.
  struct DiskImage {
    capstan::test::MemoryBase::Contents base;
    std::vector<RecoveredRecord> log;
  };

  std::size_t index = 0;
  NodeId id;
  Incarnation incarnation = 0;
  DiskImage disk;
  std::optional<DiskImage> backup;
  std::unique_ptr<capstan::test::MemoryBase> base;
  std::unique_ptr<Table> table;
  std::unique_ptr<Replica> replica;
  struct Group {
    std::uint64_t number;
    std::vector<RecoveredRecord> records;
    std::vector<std::pair<MemberId, Body>> after;
    std::vector<Dot> writes;
  };
  std::deque<Group> groups;  // not yet durable
  std::vector<Dot> turn_writes;
  std::uint64_t behind_ms = 0;  // of its clock
};

const std::vector<std::string>& Schedule::keys() {
  static const std::vector<std::string> keys = make_keys();
  return keys;
}

Schedule::Schedule(ScheduleOptions options) : options_(options), rng_(options.seed) {
  for (std::size_t i = 0; i < options_.nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>());
    nodes_.back()->index = i;
    nodes_.back()->id = {next_node_id_++};
  }
  for (auto& node : nodes_) start(*node, 1);
  // They get to know each other, as they would before a client does.
  for (int round = 0; round < 2; ++round) {
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
      for (std::size_t b = 0; b < nodes_.size(); ++b) {
        if (a == b) continue;
        beat(a, b);
        deliver(a, b);
      }
    }
  }
}

Schedule::~Schedule() = default;

Replica& Schedule::replica(std::size_t i) { return *nodes_[i]->replica; }

void Schedule::start(Node& node, Incarnation incarnation) {
  node.incarnation = incarnation;
  node.groups.clear();
  node.turn_writes.clear();
  node.replica.reset();
  node.base = std::make_unique<capstan::test::MemoryBase>(node.disk.base);
  node.table = std::make_unique<Table>(*node.base);
  ReplicaOptions options;
  options.node = node.id;
  options.incarnation = incarnation;
  for (std::size_t i = 0; i < options_.nodes; ++i) {
    if (i != node.index) options.peers.push_back(member(i));
  }
  // A slice for every cell, so that syncs break off everywhere, or for some buckets.
  options.slice_bytes = options_.seed % 3 == 0 ? 100 : 1;
  options.seed = options_.seed * 1000 + node.index * 10 + incarnation;
  node.replica = std::make_unique<Replica>(options, *node.table);
  Recovered recovered;
  recovered.records = node.disk.log;
  node.replica->recover(recovered);
  for (std::size_t i = 0; i < options_.nodes; ++i) {
    if (i != node.index) node.replica->peer_heard(member(i), true);
  }
}

void Schedule::begin(Node& node) {
  node.replica->begin_turn(static_cast<Micros>(wall_ms_ - node.behind_ms) * kMillisecond);
}

void Schedule::set_behind(std::size_t i, std::uint64_t ms) { nodes_[i]->behind_ms = ms; }

// A life that had forgotten deletes writes anew what it wrote too early (I9): writes that only the
// replica itself knows of.
void Schedule::note_written_anew(Node& node) {
  const Actor actor = node.replica->actor();
  for (const std::string& key : keys()) {
    const std::optional<Cell> cell = node.replica->load(key);
    if (!cell || cell->tag.dot.actor != actor || writes_.contains(cell->tag.dot)) continue;
    Write write;
    write.key = key;
    if (!cell->deletes) write.value = cell->value;
    write.tag = cell->tag;
    write.seen = node.replica->bucket_vector(bucket_of(key));
    writes_[cell->tag.dot] = std::move(write);
    node.turn_writes.push_back(cell->tag.dot);
    ++counts_.anew;
  }
}

// One turn of a node: what it says goes on its way, what it logs waits for the disk.
void Schedule::turn(Node& node) {
  Ready ready = node.replica->take_ready();
  for (auto& [to, body] : ready.send_now) {
    if (const auto* request = std::get_if<SyncRequest>(&body)) {
      ++(request->full ? counts_.full_syncs : counts_.syncs);
    }
    frames_.push_back({node.index, to.value - 100, std::move(body)});
  }
  if (ready.number != 0) {
    Node::Group group{ready.number, {}, std::move(ready.send_after_durable), {}};
    for (Record& record : ready.records) {
      group.records.push_back({record.type, std::move(record.head), std::move(record.body), 0});
    }
    group.writes = std::exchange(node.turn_writes, {});
    node.groups.push_back(std::move(group));
  } else if (!ready.send_after_durable.empty()) {
    if (node.groups.empty()) {
      for (auto& [to, body] : ready.send_after_durable) {
        frames_.push_back({node.index, to.value - 100, std::move(body)});
      }
    } else {
      std::ranges::move(ready.send_after_durable, std::back_inserter(node.groups.back().after));
    }
  }
  while (frames_.size() > kFramesMax) frames_.pop_front();
}

void Schedule::persist(Node& node, std::size_t groups) {
  for (; groups > 0 && !node.groups.empty(); --groups) {
    Node::Group group = std::move(node.groups.front());
    node.groups.pop_front();
    std::ranges::move(group.records, std::back_inserter(node.disk.log));
    for (const Dot& dot : group.writes) writes_[dot].durable = true;
    node.replica->persisted(group.number);
    for (auto& [to, body] : group.after) {
      frames_.push_back({node.index, to.value - 100, std::move(body)});
    }
  }
}

Dot Schedule::write(std::size_t i, const std::string& key, std::optional<std::string> value) {
  Node& node = *nodes_[i];
  begin(node);
  Write write;
  write.key = key;
  write.value = value;
  write.seen = node.replica->bucket_vector(bucket_of(key));
  if (const auto old = node.replica->load(key)) write.before = old->tag.dot;
  const Dot dot = node.replica->write(key, std::move(value));
  write.tag = node.replica->load(key)->tag;
  if (writes_.contains(dot)) broken_ = "one dot names two writes: " + show(dot);
  writes_[dot] = std::move(write);
  node.turn_writes.push_back(dot);
  ++counts_.writes;
  turn(node);
  return dot;
}

void Schedule::arrive(const Frame& frame) {
  Node& node = *nodes_[frame.to];
  begin(node);
  const MemberId from = member(frame.from);
  // Through bytes, as on a wire.
  Result<Body> body = unpack(kind_of(frame.body), shared_bytes(pack(frame.body)));
  CAPSTAN_ASSERT(body);
  if (auto* delta = std::get_if<Delta>(&*body)) node.replica->receive(from, std::move(*delta));
  if (auto* beat = std::get_if<Beat>(&*body)) node.replica->receive(from, *beat);
  if (auto* request = std::get_if<SyncRequest>(&*body)) node.replica->receive(from, *request);
  if (auto* more = std::get_if<SyncMore>(&*body)) node.replica->receive(from, *more);
  if (auto* slice = std::get_if<SyncSlice>(&*body)) node.replica->receive(from, std::move(*slice));
  if (auto* refused = std::get_if<SyncRefused>(&*body)) node.replica->receive(from, *refused);
  note_written_anew(node);
  turn(node);
}

void Schedule::deliver(std::size_t from, std::size_t to) {
  std::deque<Frame> now;
  for (auto at = frames_.begin(); at != frames_.end();) {
    if (at->from == from && at->to == to) {
      now.push_back(std::move(*at));
      at = frames_.erase(at);
    } else {
      ++at;
    }
  }
  for (const Frame& frame : now) arrive(frame);
  persist(*nodes_[to], SIZE_MAX);
}

void Schedule::drop(std::size_t from, std::size_t to) {
  std::erase_if(frames_, [&](const Frame& f) { return f.from == from && f.to == to; });
}

void Schedule::hold(std::size_t from, std::size_t to) {
  for (const Frame& frame : frames_) {
    if (frame.from == from && frame.to == to) held_.push_back(frame);
  }
  drop(from, to);
}

void Schedule::release() {
  std::ranges::move(held_, std::back_inserter(frames_));
  held_.clear();
}

void Schedule::beat(std::size_t from, std::size_t to) {
  frames_.push_back({from, to, nodes_[from]->replica->beat(member(to))});
}

void Schedule::tick(std::size_t i, int times) {
  Node& node = *nodes_[i];
  begin(node);
  for (; times > 0; --times) node.replica->tick();
  turn(node);
}

void Schedule::back_up(std::size_t i) { nodes_[i]->backup = nodes_[i]->disk; }

void Schedule::restore(std::size_t i) {
  Node& node = *nodes_[i];
  CAPSTAN_ASSERT(node.backup);
  node.disk = *node.backup;
  start(node, node.incarnation + 1);
  ++counts_.restores;
}

void Schedule::wipe(std::size_t i) {
  Node& node = *nodes_[i];
  node.disk = {};
  start(node, node.incarnation + 1);
  ++counts_.wipes;
}

void Schedule::crash(std::size_t i) {
  Node& node = *nodes_[i];
  // A disk parts what it is given as it likes: some of the records may be there already.
  std::vector<Dot> torn;
  if (!node.groups.empty()) {
    Node::Group& first = node.groups.front();
    const auto kept = static_cast<std::ptrdiff_t>(rng_.below(first.records.size()));
    std::move(first.records.begin(), first.records.begin() + kept,
              std::back_inserter(node.disk.log));
    torn = std::move(first.writes);
  }
  start(node, node.incarnation + 1);
  for (const Dot& dot : torn) {
    if (node.replica->vector().covers(dot)) writes_[dot].durable = true;
  }
  ++counts_.crashes;
}

void Schedule::step() {
  const std::uint64_t x = rng_.below(1000);
  const std::size_t a = rng_.below(options_.nodes);
  const std::size_t b = (a + 1 + rng_.below(options_.nodes - 1)) % options_.nodes;
  Node& node = *nodes_[a];
  wall_ms_ += rng_.below(3);
  if (options_.wipes && rng_.chance(0.02)) set_behind(a, rng_.below(2) * rng_.below(200));
  if (x < 300) {
    const std::string& key = keys()[rng_.below(keys().size())];
    std::optional<std::string> value;
    if (rng_.chance(0.65)) value = "v" + std::to_string(counts_.writes);
    // Clocks differ by some milliseconds, either way.
    const std::uint64_t now = wall_ms_;
    wall_ms_ += rng_.below(9);
    wall_ms_ -= std::min<std::uint64_t>(rng_.below(5), 4);
    write(a, key, std::move(value));
    wall_ms_ = now;
  } else if (x < 620) {
    if (frames_.empty()) return;
    const std::size_t pick = rng_.below(frames_.size());
    const Frame frame = frames_[pick];
    if (rng_.chance(0.7)) frames_.erase(frames_.begin() + static_cast<std::ptrdiff_t>(pick));
    arrive(frame);
  } else if (x < 740) {
    beat(a, b);
  } else if (x < 840) {
    tick(a, 1 + static_cast<int>(rng_.below(12)));
  } else if (x < 950) {
    persist(node, 1 + rng_.below(4));
  } else if (x < 965) {
    // A checkpoint: the base may be ahead of the log, and the log below it goes.
    if (!node.groups.empty()) persist(node, SIZE_MAX);
    node.replica->save();
    turn(node);
    persist(node, SIZE_MAX);
    CAPSTAN_ASSERT(node.base->commit(*node.table->freeze()));
    node.table->thaw_done();
    node.disk.base = node.base->contents();
    if (rng_.chance(0.7)) node.disk.log.clear();
  } else if (x < 972) {
    if (options_.crashes) crash(a);
  } else if (x < 982) {
    back_up(a);
  } else if (x < 990) {
    if (options_.wipes) wipe(a);
  } else if (options_.wipes && node.backup) {
    restore(a);
  }
}

std::string Schedule::run() {
  for (std::size_t i = 0; i < options_.steps; ++i) {
    step();
    if (broken_.empty()) broken_ = check_now();
    if (!broken_.empty()) return "step " + std::to_string(i) + ": " + broken_;
  }
  heal();
  return check_end();
}

void Schedule::heal() {
  for (int round = 0; round < 40; ++round) {
    wall_ms_ += 50;
    for (auto& node : nodes_) persist(*node, SIZE_MAX);
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
      tick(a, 5);
      for (std::size_t b = 0; b < nodes_.size(); ++b) {
        if (a != b) beat(a, b);
      }
    }
    for (int more = 0; more < 200 && !frames_.empty(); ++more) {
      const Frame frame = std::move(frames_.front());
      frames_.pop_front();
      arrive(frame);
      persist(*nodes_[frame.to], SIZE_MAX);
    }
  }
}

std::optional<std::string> Schedule::value(std::size_t i, const std::string& key) {
  const std::optional<Cell> cell = nodes_[i]->replica->load(key);
  if (!cell || cell->deletes) return std::nullopt;
  return cell->value;
}

// I2 for every pair and bucket, and each node's digest against its cells.
std::string Schedule::check_now() {
  for (auto& node : nodes_) {
    Digest digest;
    std::uint64_t live = 0;
    for (const std::string& key : keys()) {
      const std::optional<Cell> cell = node->replica->load(key);
      if (cell && !cell->deletes) {
        digest.add(hash_of(key, *cell));
        ++live;
      }
    }
    if (digest.sum() != node->replica->digest()) return "a digest does not match the cells";
    if (live != node->replica->keys()) return "the count of keys is wrong";
    if (node->replica->diverged()) return "a node has raised the divergence alarm";
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      for (const std::string& key : keys()) {
        const Bucket bucket = bucket_of(key);
        const std::optional<Cell> a = nodes_[i]->replica->load(key);
        const std::optional<Cell> b = nodes_[j]->replica->load(key);
        const std::optional<Dot> x = a && !a->deletes ? std::optional(a->tag.dot) : std::nullopt;
        const std::optional<Dot> y = b && !b->deletes ? std::optional(b->tag.dot) : std::nullopt;
        if (x == y) continue;
        if (nodes_[i]->replica->bucket_vector(bucket) ==
            nodes_[j]->replica->bucket_vector(bucket)) {
          return "equal vectors, different contents of " + key + ": " + (x ? show(*x) : "-") +
                 " and " + (y ? show(*y) : "-");
        }
      }
    }
  }
  return {};
}

std::string Schedule::check_end() {
  if (std::string broken = check_now(); !broken.empty()) return "at the end: " + broken;
  const VersionVector& vector = nodes_[0]->replica->vector();
  for (auto& node : nodes_) {
    // A disk that was lost in the middle of a sync leaves buckets ahead for good, everywhere.
    if (node->replica->vector() != vector ||
        node->replica->ahead_hash() != nodes_[0]->replica->ahead_hash() ||
        (!options_.wipes && !node->replica->whole())) {
      return "vectors differ after the heal: " + show(node->replica->vector()) + " and " +
             show(vector);
    }
    if (node->replica->digest() != nodes_[0]->replica->digest()) return "digests differ";
  }
  // The value of every key is a function of the set of writes that exist at all.
  for (const std::string& key : keys()) {
    const Write* winner = nullptr;
    for (const auto& [dot, write] : writes_) {
      if (write.key != key || !nodes_[0]->replica->bucket_vector(bucket_of(key)).covers(dot)) {
        continue;
      }
      if (winner == nullptr || winner->tag < write.tag) winner = &write;
    }
    const std::optional<std::string> want = winner == nullptr ? std::nullopt : winner->value;
    if (value(0, key) != want) return "the content of " + key + " is not the latest write";
  }
  return options_.wipes ? std::string() : check_accounts();
}

// Every write on disk anywhere has exactly the fate that the trees of writes give it (ap/books.h).
std::string Schedule::check_accounts() {
  std::set<Dot> survived, superseded, lost;
  for (auto& node : nodes_) {
    for (const std::string& key : keys()) {
      if (const auto cell = node->replica->load(key)) survived.insert(cell->tag.dot);
    }
    const Books& books = node->replica->books();
    books.for_each_collected([&](const Dot& dot) { survived.insert(dot); });
    books.for_each_superseded([&](const Dot& dot) { superseded.insert(dot); });
    books.for_each_lost([&](const Dot& dot) { lost.insert(dot); });
    for (const auto& [number, loss] : books.losses(0, SIZE_MAX)) {
      const Write& loser = writes_.at(loss.loser.tag.dot);
      const Write& winner = writes_.at(loss.winner.tag.dot);
      if (loser.seen.covers(loss.winner.tag.dot) || winner.seen.covers(loss.loser.tag.dot)) {
        return "the log calls a write lost to one that had seen it: " + show(loss.loser.tag.dot) +
               ", to " + show(loss.winner.tag.dot) + " at node " + std::to_string(node->index);
      }
      if (loser.tag > winner.tag) return "the log has winner and loser the wrong way round";
      if (loser.value.value_or("") != loss.loser.value) return "the log has another body";
    }
  }
  counts_.losses += lost.size();
  const VersionVector& vector = nodes_[0]->replica->vector();
  // A successor that its writer's disk lost again may have taken the evidence with it; what it
  // replaced may then stand as lost to somebody else.
  std::set<Dot> replaced, provable;
  for (const auto& [dot, write] : writes_) {
    if (!vector.covers(dot) || !write.before) continue;
    replaced.insert(*write.before);
    if (write.durable) provable.insert(*write.before);
  }
  // A tombstone that its successor's node had seen, and collected by then: nothing was found there.
  const auto written_over = [&](const Dot& dot, const Write& write) {
    return !write.value && std::ranges::any_of(writes_, [&](const auto& other) {
      return other.second.key == write.key && !other.second.before && vector.covers(other.first) &&
             other.second.seen.covers(dot);
    });
  };
  for (const auto& [dot, write] : writes_) {
    if (!vector.covers(dot)) {
      if (write.durable) return "a durable write is gone: " + show(dot);
      continue;
    }
    const bool is_replaced = replaced.contains(dot);
    if (survived.contains(dot)) {
      if (is_replaced) return "a replaced write survived: " + show(dot);
    } else if (provable.contains(dot)) {
      if (!superseded.contains(dot)) return "superseded without evidence: " + show(dot);
    } else if (!lost.contains(dot) && !superseded.contains(dot)) {
      return "unaccounted for: " + show(dot) + " of " + write.key;
    }
    if (superseded.contains(dot) && !is_replaced && !written_over(dot, write)) {
      return "evidence that is not true: " + show(dot);
    }
  }
  return {};
}

}  // namespace capstan::ap::test
