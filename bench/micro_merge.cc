// The available path alone: local writes, and merging what another replica wrote.
#include <benchmark/benchmark.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "ap/packed.h"
#include "ap/replica.h"
#include "bench/no_base.h"
#include "core/check.h"

namespace capstan::ap {
namespace {

constexpr int kBatch = 64;  // writes a turn, and so a delta

// Two replicas that hear each other; what one writes is handed to the other when asked.
struct Pair {
  Pair() {
    for (std::size_t i = 0; i < 2; ++i) {
      ReplicaOptions options;
      options.node = {i + 1};
      options.peers = {{2 - i}};
      replicas[i].emplace(options, tables[i]);
      replicas[i]->recover({});
      replicas[i]->peer_heard({2 - i}, true);
      turn(i);
    }
  }
  // Ends a turn of replica i; its delta, if it wrote.
  std::optional<Delta> turn(std::size_t i) {
    replicas[i]->begin_turn(1'790'000'000 * kSecond + ++turns * kMillisecond);
    std::optional<Delta> out;
    Ready ready = replicas[i]->take_ready();
    if (ready.number != 0) replicas[i]->persisted(ready.number);
    for (auto& [to, body] : ready.send_now) {
      if (Delta* delta = std::get_if<Delta>(&body)) {
        // It travels packed; decoding is another benchmark's.
        Result<Body> whole = unpack(Kind::kDelta, delta->packed);
        CAPSTAN_ASSERT(whole.has_value());
        out = std::get<Delta>(*std::move(whole));
      }
    }
    return out;
  }
  Delta write_batch(std::size_t i, std::uint64_t first_key) {
    for (int k = 0; k < kBatch; ++k) {
      replicas[i]->write("key-" + std::to_string(10'000'000 + first_key + k),
                         std::string(256, 'v'));
    }
    // The peer says what it has, so that the window of the push stays open.
    replicas[i]->receive({2 - i}, replicas[1 - i]->beat({2}));
    std::optional<Delta> delta = turn(i);
    CAPSTAN_ASSERT(delta && delta->updates.size() == kBatch);
    return *std::move(delta);
  }
  void deliver(std::size_t to, Delta delta) {
    replicas[to]->receive({2 - to}, std::move(delta));
    turn(to);
  }

  NoBase base;
  Table tables[2] = {Table(base), Table(base)};
  std::optional<Replica> replicas[2];
  std::int64_t turns = 0;
};

void ap_write(benchmark::State& state) {
  Pair pair;
  std::uint64_t key = 0;
  for (auto _ : state) {
    Delta delta = pair.write_batch(0, key);
    state.PauseTiming();
    pair.deliver(1, std::move(delta));
    key = (key + kBatch) % 65'536;
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(ap_write);

enum class Meets { kNothing, kSeen, kConcurrent };

// Merging a delta of 64 cells that meet nothing, older versions the writer had seen, or versions
// written at the same time (then one of each pair is lost and goes to the books with its body).
template <Meets meets>
void ap_merge(benchmark::State& state) {
  std::optional<Pair> pair(std::in_place);
  std::uint64_t key = 0;
  for (auto _ : state) {
    state.PauseTiming();
    if (key == 65'536) {
      if (meets == Meets::kNothing) pair.emplace();
      key = 0;
    }
    std::optional<Delta> theirs;
    if (meets == Meets::kConcurrent) theirs = pair->write_batch(1, key);
    Delta delta = pair->write_batch(0, key);
    state.ResumeTiming();
    pair->deliver(1, std::move(delta));
    state.PauseTiming();
    if (theirs) pair->deliver(0, *std::move(theirs));
    key += kBatch;
    state.ResumeTiming();
  }
  const std::uint64_t conflicts = pair->replicas[1]->books().total();
  CAPSTAN_ASSERT((conflicts > 0) == (meets == Meets::kConcurrent));
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(ap_merge<Meets::kNothing>)->Name("ap_merge_new");
BENCHMARK(ap_merge<Meets::kSeen>)->Name("ap_merge_superseding");
BENCHMARK(ap_merge<Meets::kConcurrent>)->Name("ap_merge_concurrent");

}  // namespace
}  // namespace capstan::ap
