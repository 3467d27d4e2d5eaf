// Consensus alone: three cp::Raft, messages handed over in memory, disks that are done at once.
#include <benchmark/benchmark.h>

#include <array>
#include <utility>
#include <vector>

#include "bench/no_base.h"
#include "core/check.h"
#include "cp/mvcc.h"
#include "cp/raft.h"

namespace capstan::cp {
namespace {

class Trio {
 public:
  Trio() {
    Roll roll;
    for (std::uint64_t m = 1; m <= 3; ++m) roll.push_back({{m}, {NodeId{100 + m}, 1}});
    for (std::uint64_t m = 1; m <= 3; ++m) {
      RaftState state;
      state.hard.term = {1};
      state.hard.standing = Standing::kNormal;
      state.hard.life = roll[m - 1].life;
      state.hard.roll = roll;
      state.config.voters = {{1}, {2}, {3}};
      RaftOptions options;
      options.self = {m};
      options.life = roll[m - 1].life;
      members_.emplace_back(options, std::move(state), Rng{m});
    }
    while (!members_[0].is_leader()) {
      members_[0].tick();
      settle();
    }
  }

  Raft& leader() { return members_[0]; }
  Raft& follower() { return members_[1]; }

  // One turn of each member after the other, until nobody has anything to say.
  void settle() {
    for (bool quiet = false; !quiet;) {
      quiet = true;
      for (std::size_t i = 0; i < members_.size(); ++i) {
        Ready ready = members_[i].take_ready();
        if (ready.write != 0) members_[i].persisted(ready.write);
        applied_ += ready.committed.size();
        for (auto* out : {&ready.send_now, &ready.send_after_durable}) {
          for (Outgoing& message : *out) {
            quiet = false;
            members_[message.to.value - 1].step({i + 1}, message.message);
          }
        }
        quiet = quiet && ready.committed.empty();
        // As after checkpoints: the window behind the commit does not grow.
        members_[i].checkpointed(members_[i].handed_out());
      }
    }
  }
  std::uint64_t applied() const { return applied_; }

 private:
  std::vector<Raft> members_;
  std::uint64_t applied_ = 0;
};

// From the proposal until all three have the entry to apply: all steps of all three members.
// range(0): entries proposed in one turn. An entry holds all commands of a turn, so this is the
// cost of consensus a turn, not a command.
void raft_commit(benchmark::State& state) {
  Trio trio;
  const SharedBytes commands = shared_bytes(std::string(4096, 'c'));
  const std::uint64_t before = trio.applied();
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      CAPSTAN_ASSERT(trio.leader().propose(commands).has_value());
    }
    trio.settle();
  }
  CAPSTAN_ASSERT(trio.applied() - before ==
                 3 * static_cast<std::uint64_t>(state.iterations() * state.range(0)));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(raft_commit)->ArgName("entries")->Arg(1)->Arg(64);

// What a follower does for an append: check, take, hand to its disk, acknowledge, hand out to
// apply. range(0): entries of 256 bytes in it. The message is made outside the time.
void raft_follower_append(benchmark::State& state) {
  Trio trio;
  Raft& follower = trio.follower();
  const Term term = trio.leader().term();
  const SharedBytes commands = shared_bytes(std::string(256, 'c'));
  const auto count = static_cast<std::uint64_t>(state.range(0));
  EntryId last = {term, follower.log().last_index()};
  for (auto _ : state) {
    state.PauseTiming();
    Append append{last, last.index, {}};
    for (std::uint64_t i = 1; i <= count; ++i) {
      append.entries.push_back({term, {last.index.value + i}, EntryKind::kCommands, commands});
    }
    const Message message{term, std::move(append)};
    state.ResumeTiming();
    follower.step({1}, message);
    Ready ready = follower.take_ready();
    follower.persisted(ready.write);
    benchmark::DoNotOptimize(ready);
    follower.checkpointed(follower.handed_out());
    last.index.value += count;
  }
  CAPSTAN_ASSERT(follower.log().last_index() == last.index);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(raft_follower_append)->ArgName("entries")->Arg(1)->Arg(64);

// A read round: what any number of linearizable reads of one turn cost.
void raft_read_round(benchmark::State& state) {
  Trio trio;
  for (auto _ : state) {
    benchmark::DoNotOptimize(trio.leader().join_read_round());
    trio.settle();
  }
}
BENCHMARK(raft_read_round);

// Applying one put of 256 bytes: what each member does for each command. A freeze at 64 MiB, as in
// a node.
void mvcc_put(benchmark::State& state) {
  const NoBase base;
  Table table(base);
  Mvcc mvcc(table);
  Rng rng{1};
  const std::string value(256, 'v');
  for (auto _ : state) {
    const std::string key =
        "key-" + std::to_string(10'000'000 + rng.below(static_cast<std::uint64_t>(state.range(0))));
    mvcc.begin();
    mvcc.put({key, value, 0, false, false, false});
    mvcc.end();
    if (table.bytes() > kCheckpointTableBytes) {
      state.PauseTiming();
      table.reset();
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(mvcc_put)->ArgName("keys")->Arg(1000)->Arg(100'000);

}  // namespace
}  // namespace capstan::cp
