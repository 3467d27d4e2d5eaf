// Messages between nodes to bytes and back, with 64 commands, entries or cells of 256 bytes where
// they carry any.
#include <benchmark/benchmark.h>

#include <string>

#include "core/check.h"
#include "net/codec_ap.h"
#include "net/codec_cp.h"
#include "net/frame.h"

namespace capstan::net {
namespace {

constexpr int kItems = 64;

// A leader's turn: one entry with all its commands.
cp::Message an_append() {
  cp::Append append{{{3}, {1000}}, {990}, {}};
  append.entries.push_back(
      {{3}, {1001}, cp::EntryKind::kCommands, shared_bytes(std::string(kItems * 300, 'c'))});
  return {{3}, std::move(append)};
}

// Turns of one write each, sent together to a member that trails.
cp::Message an_append_of_entries() {
  cp::Append append{{{3}, {1000}}, {990}, {}};
  for (std::uint64_t i = 1; i <= kItems; ++i) {
    append.entries.push_back(
        {{3}, {1000 + i}, cp::EntryKind::kCommands, shared_bytes(std::string(256, 'c'))});
  }
  return {{3}, std::move(append)};
}

cp::Message a_heartbeat() { return {{3}, cp::Heartbeat{{990}, {7}, {1000}, {}, {}}}; }

ap::Message a_delta() {
  ap::Delta delta;
  delta.origin = {NodeId{1}, 1};
  delta.first = {101};
  delta.last = {100 + kItems};
  delta.deps.raise({NodeId{2}, 1}, {50});
  for (std::uint64_t i = 0; i < kItems; ++i) {
    ap::Update update;
    update.key = "key-" + std::to_string(10'000'000 + i * 37);
    update.value = std::string(256, 'v');
    update.stamp = {((1'790'000'000'000ull + i) << 16)};
    update.sequence = {101 + i};
    delta.updates.push_back(std::move(update));
  }
  return {Epoch{1}, std::move(delta)};
}

ap::Message a_slice() {
  ap::SyncSlice slice;
  slice.session = 7;
  slice.end_bucket = 1;
  slice.vector.raise({NodeId{1}, 1}, {5000});
  slice.vector.raise({NodeId{2}, 1}, {50});
  for (std::uint64_t i = 0; i < kItems; ++i) {
    ap::CellState cell;
    cell.key = "key-" + std::to_string(10'000'000 + i * 37);
    cell.value = std::string(256, 'v');
    cell.stamp = {((1'790'000'000'000ull + i) << 16)};
    cell.dot = {{NodeId{1}, 1}, {101 + i * 11}};
    slice.cells.push_back(std::move(cell));
  }
  return {Epoch{1}, std::move(slice)};
}

ap::Message a_beat() {
  ap::Beat beat;
  beat.actor = {NodeId{1}, 1};
  for (std::uint64_t n = 1; n <= 5; ++n) beat.vector.raise({NodeId{n}, 1}, {1'000'000 + n});
  beat.clock = {1'790'000'000'000ull << 16};
  for (std::uint64_t n = 1; n <= 5; ++n) beat.views.push_back({{n}, 1, ap::Liveness::kAlive});
  return {Epoch{1}, std::move(beat)};
}

template <class Message>
void encode_message(benchmark::State& state, const Message& message) {
  std::size_t bytes = 0;
  for (auto _ : state) {
    const std::string out = encode(message);
    bytes = out.size();
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}
template <class Message, class Decode>
void decode_message(benchmark::State& state, const Message& message, Decode decode) {
  const std::string bytes = encode(message);
  for (auto _ : state) {
    auto got = decode(bytes);
    CAPSTAN_ASSERT(got.has_value());
    benchmark::DoNotOptimize(got);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK_CAPTURE(encode_message, append, an_append());
BENCHMARK_CAPTURE(decode_message, append, an_append(), decode_cp);
BENCHMARK_CAPTURE(encode_message, append_of_entries, an_append_of_entries());
BENCHMARK_CAPTURE(decode_message, append_of_entries, an_append_of_entries(), decode_cp);
BENCHMARK_CAPTURE(encode_message, heartbeat, a_heartbeat());
BENCHMARK_CAPTURE(decode_message, heartbeat, a_heartbeat(), decode_cp);
BENCHMARK_CAPTURE(encode_message, delta, a_delta());
BENCHMARK_CAPTURE(decode_message, delta, a_delta(), decode_ap);
BENCHMARK_CAPTURE(encode_message, slice, a_slice());
BENCHMARK_CAPTURE(decode_message, slice, a_slice(), decode_ap);
BENCHMARK_CAPTURE(encode_message, beat, a_beat());
BENCHMARK_CAPTURE(decode_message, beat, a_beat(), decode_ap);

void frame_encode(benchmark::State& state) {
  const std::string payload(static_cast<std::size_t>(state.range(0)), 'p');
  for (auto _ : state) {
    benchmark::DoNotOptimize(encode_frame(FrameKind::kCp, ClusterId{1}, payload));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(frame_encode)->Arg(100)->Arg(20'000);

void frame_decode(benchmark::State& state) {
  const std::string bytes = encode_frame(
      FrameKind::kCp, ClusterId{1}, std::string(static_cast<std::size_t>(state.range(0)), 'p'));
  FrameDecoder decoder(kFrameBytesMax);
  for (auto _ : state) {
    decoder.feed(bytes);
    Frame frame;
    const auto got = decoder.next(frame);
    CAPSTAN_ASSERT(got && *got);
    benchmark::DoNotOptimize(frame.payload.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(frame_decode)->Arg(100)->Arg(20'000);

}  // namespace
}  // namespace capstan::net
