#include "tests/sim/backups.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cp/backup.h"
#include "tests/support/memory_base.h"

namespace capstan::sim {

void Backups::start() {
  if (cluster_.options.backups) later();
}

void Backups::later() {
  cluster_.world.after(cluster_.world.rng.backups.between(50, 1'500) * kMillisecond, [this] {
    if (!stopped_) begin();
  });
}

void Backups::begin() {
  const std::uint64_t number = ++number_;
  file_.clear();
  node_ = static_cast<int>(cluster_.world.rng.backups.below(cluster_.nodes.size()));
  SimNode& node = cluster_.node(node_);
  if (!node.running()) return later();
  life_ = node.life();
  node.post([this, number](node::Machine& machine) {
    stream_ = machine.backup(
        kRootUser, [this, number] { cluster_.world.after(0, [this, number] { pull(number); }); });
  });
  // Given up after a while, as a client does, or because its node died.
  cluster_.world.after(3 * kSecond, [this, number] {
    if (number != number_) return;
    cluster_.counters.add("backup given up");
    ++number_;
    stream_.reset();
    later();
  });
}

// One piece, then the next a drawn moment later.
void Backups::pull(std::uint64_t number) {
  SimNode& node = cluster_.node(node_);
  if (number != number_ || !node.running() || node.life() != life_) return;
  node.post([this, number](node::Machine&) {
    if (number != number_ || stream_ == nullptr) return;
    auto piece = stream_->next();
    if (!piece) return;
    if (!*piece || (*piece)->last) {
      ++number_;
      stream_.reset();
      if (*piece) check();
      return later();
    }
    file_ += (*piece)->bytes;
    const Micros pause = cluster_.world.rng.backups.between(0, 50 * kMillisecond);
    cluster_.world.after(pause, [this, number] { pull(number); });
  });
}

void Backups::check() {
  std::vector<Change> rows;
  cp::BackupReader reader;
  const Status read = reader.feed(file_, [&rows](Change row) { rows.push_back(std::move(row)); });
  if (!read || !reader.whole()) {
    return cluster_.world.fail("backup", "a backup that came to its end cannot be read");
  }
  std::ranges::sort(rows, {}, [](const Change& row) { return std::pair(row.space, row.key); });
  test::MemoryBase base;
  if (!base.commit(rows)) return cluster_.world.fail("backup", "its rows do not fit a base");
  Table table(base);
  cp::StateMachine machine(table);
  const std::uint64_t revision = machine.revision().value;
  const bool placed = machine.load().applied == reader.head()->last &&
                      reader.head()->revision == machine.revision();
  RangeResult all;
  const bool answers = !machine.read(RangeRequest{.range = {"a", "z"}}, all);
  const auto same = [](const KeyValue& kv, const auto& row) { return kv == row.second; };
  if (!placed || !answers || revision >= truth_.truth().size() ||
      !std::ranges::equal(all.kvs, truth_.truth()[revision], same)) {
    return cluster_.world.fail(
        "backup", cluster_.node(node_).name() + " gave a backup at revision " +
                      std::to_string(revision) + " that does not hold what was applied there");
  }
  cluster_.counters.add("backup read back");
}

}  // namespace capstan::sim
