// The storage floor, piece by piece: log, table, base, coding, hashes. TMPDIR says which disk.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "bench/no_base.h"
#include "core/base.h"
#include "core/coding.h"
#include "core/hash.h"
#include "core/metrics.h"
#include "core/random.h"
#include "core/table.h"
#include "core/wal.h"

namespace capstan {
namespace {

// A directory below TMPDIR for one benchmark.
class Scratch {
 public:
  Scratch() {
    const char* root = std::getenv("TMPDIR");
    path_ = std::string(root != nullptr ? root : "/tmp") + "/capstan-micro-XXXXXX";
    CAPSTAN_ASSERT(::mkdtemp(path_.data()) != nullptr);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Records of 256 bytes, as many as fill a group of range(0) bytes; range(1): with the sync.
void wal_append(benchmark::State& state) {
  const Scratch scratch;
  const auto directory = *open_directory(scratch.path(), false);
  Wal::Recovery log = *Wal::open(*directory, {.cluster = {1}, .node = {2}, .salt_seed = 3});
  const auto bytes = static_cast<std::size_t>(state.range(0));
  const std::vector<Record> records(
      std::max<std::size_t>(1, bytes / 256),
      Record{RecordType::kEntry, std::string(16, 'h'), shared_bytes(std::string(240, 'b'))});
  std::int64_t groups = 0;
  for (auto _ : state) {
    const std::uint64_t position = *log.wal->append(records);
    if (state.range(1) != 0) CAPSTAN_ASSERT(log.wal->sync().has_value());
    if (++groups % 64 == 0) CAPSTAN_ASSERT(log.wal->release(position).has_value());
  }
  state.SetBytesProcessed(groups * static_cast<std::int64_t>(records.size()) * 256);
  state.SetItemsProcessed(groups * static_cast<std::int64_t>(records.size()));
}
BENCHMARK(wal_append)
    ->ArgNames({"group_bytes", "sync"})
    ->ArgsProduct({{256, 4096, 64 << 10, 256 << 10, 1 << 20}, {0, 1}})
    ->UseRealTime();

std::string key_of(std::uint64_t n) { return "key-" + std::to_string(10'000'000 + n); }

// Random puts of 256-byte values; a freeze at each 64 MiB, as in a node.
void table_put(benchmark::State& state) {
  const NoBase base;
  Table table(base);
  Rng rng{1};
  const std::string value(256, 'v');
  for (auto _ : state) {
    table.put(Space::kNow, key_of(rng.below(static_cast<std::uint64_t>(state.range(0)))), value);
    if (table.bytes() > kCheckpointTableBytes) {
      table.freeze();
      table.thaw_done();
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(table_put)->ArgName("keys")->Arg(1000)->Arg(100'000)->Arg(10'000'000);

void table_get(benchmark::State& state) {
  const NoBase base;
  Table table(base);
  Rng rng{1};
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t i = 0; i < keys; ++i) {
    table.put(Space::kNow, key_of(i), std::string(256, 'v'));
  }
  for (auto _ : state) benchmark::DoNotOptimize(table.get(Space::kNow, key_of(rng.below(keys))));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(table_get)->ArgName("keys")->Arg(1000)->Arg(100'000);

// A checkpoint of range(0) keys in order, synced, over a base of 200 000; and gets from it.
void base_commit(benchmark::State& state) {
  const Scratch scratch;
  const auto base = *open_lmdb_base(scratch.path());
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t round = 0;
  const auto commit = [&](std::uint64_t count, std::uint64_t step) {
    std::vector<Change> changes;
    for (std::uint64_t i = 0; i < count; ++i) {
      changes.push_back({Space::kNow, key_of(i * step + round), std::string(256, 'v')});
    }
    CAPSTAN_ASSERT(base->commit(changes).has_value());
  };
  commit(200'000, 1);
  for (auto _ : state) {
    ++round;
    commit(keys, 200'000 / keys);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(base_commit)
    ->ArgName("keys")
    ->Arg(1000)
    ->Arg(50'000)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void base_get(benchmark::State& state) {
  const Scratch scratch;
  const auto base = *open_lmdb_base(scratch.path());
  std::vector<Change> changes;
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    changes.push_back({Space::kNow, key_of(i), std::string(256, 'v')});
  }
  CAPSTAN_ASSERT(base->commit(changes).has_value());
  Rng rng{1};
  for (auto _ : state) benchmark::DoNotOptimize(base->get(Space::kNow, key_of(rng.below(200'000))));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(base_get);

void coding_record(benchmark::State& state) {
  const std::string value(256, 'v');
  std::string out;
  for (auto _ : state) {
    out.clear();
    put_varint(out, 123456789);
    put_u64(out, 42);
    put_bytes(out, value);
    Reader reader(out);
    benchmark::DoNotOptimize(reader.varint());
    benchmark::DoNotOptimize(reader.u64());
    benchmark::DoNotOptimize(reader.bytes());
  }
}
BENCHMARK(coding_record);

void hash_xxh3(benchmark::State& state) {
  const std::string bytes(static_cast<std::size_t>(state.range(0)), 'b');
  for (auto _ : state) benchmark::DoNotOptimize(xxh3(bytes, 7));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(hash_xxh3)->Arg(16)->Arg(256)->Arg(4096)->Arg(64 << 10);

void hash_xxh3_128(benchmark::State& state) {
  const std::string bytes(static_cast<std::size_t>(state.range(0)), 'b');
  for (auto _ : state) benchmark::DoNotOptimize(xxh3_128(bytes, 7));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(hash_xxh3_128)->Arg(256)->Arg(64 << 10);

void histogram_record(benchmark::State& state) {
  Histogram histogram;
  Rng rng{1};
  for (auto _ : state) histogram.record(rng.next() >> 44);
}
BENCHMARK(histogram_record);

}  // namespace
}  // namespace capstan
