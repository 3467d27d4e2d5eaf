// One AP message of each kind, every field away from its default: what the codec's tests take
// apart and the fuzz target starts from.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ap/message.h"
#include "core/limits.h"

namespace capstan::ap::samples {

inline const Actor kA{{~0ull}, 7}, kB{{5}, 1};

inline Delta some_delta() {
  Delta delta;
  delta.origin = kB;
  delta.first = {41};
  delta.last = {43};
  delta.deps = {{kA, {1ull << 40}}};
  delta.ahead = {{3, {{kA, {9}}}}, {4, {{kA, {9}}}}, {200, {{kB, {2}}}}};
  const Stamp stamp{1'790'000'000'000ull << 16 | 3};
  delta.updates = {{"k", std::string(300, 'v'), false, stamp, {41}},
                   {std::string("\0x", 2), "", true, {stamp.value - (70ull << 16)}, {42}},
                   {"empty", "", false, {stamp.value + 1}, {43}}};
  return delta;
}

inline SyncSlice some_slice() {
  SyncSlice slice;
  slice.session = ~0ull;
  slice.run = 77;
  slice.number = 3;
  slice.first_bucket = 10;
  slice.end_bucket = 256;
  slice.last = slice.full = true;
  slice.whole_buckets = {10, 255};
  slice.vector = {{kA, {4}}, {kB, {6}}};
  slice.ahead = {{11, {{kB, {8}}}}};
  slice.trimmed = {{kA, {2}}};
  slice.forgotten = {3ull << 16};
  slice.cells = {{"one", "1", false, {5ull << 16}, {kA, {4}}},
                 {"two", "", true, {4ull << 16 | 0xffff}, {kB, {8}}},
                 {"three", "", false, {6ull << 16}, {kA, {1}}}};
  return slice;
}

inline std::vector<Message> all_kinds() {
  const std::vector<MemberView> views{{{1}, 2, Liveness::kSuspect},
                                      {{1ull << 63}, 0, Liveness::kUnreachable}};
  SyncRequest full{12, {{kA, {3}}}, {{0, {{kB, {1}}}}}, true, std::vector<Hash128>(kBuckets)};
  full.digests[9] = {1, 2};
  return {
      {{6}, some_delta()},
      {{6}, Beat{kA, {{kB, {3}}}, 99, {4, 5}, {7ull << 16}, {6ull << 16}, kB, true, 2, views}},
      {{6}, Ping{8}},
      {{6}, Pong{9, {10}}},
      {{6}, PingFor{11, {12}}},
      {{6}, std::move(full)},
      {{6}, SyncMore{13}},
      {{6}, some_slice()},
      {{6}, SyncRefused{14, SyncRefused::Why::kUnknownSession}},
  };
}

}  // namespace capstan::ap::samples
