// One CP message of each kind, every field away from its default: what the codec's tests take
// apart and the fuzz target starts from.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cp/message.h"

namespace capstan::cp::samples {

inline std::vector<Message> all_kinds() {
  const Actor life{NodeId{~0ull}, 7};
  const Roll roll = {{MemberId{1}, life}, {MemberId{1ull << 63}, {NodeId{2}, 0}}};
  const EntryId last{{5}, {9}};
  Append append{{{3}, {41}}, {40}, {}};
  append.entries.push_back({{3}, {42}, EntryKind::kCommands, shared_bytes("command")});
  const Config config{.voters = {{1}, {2}, {3}}, .learners = {{4}}};
  append.entries.push_back({{6}, {43}, EntryKind::kConfig, shared_bytes(encode_config(config))});
  SnapshotChunk chunk{last, 77, 3, true, {}};
  chunk.changes.push_back({Space::kNow, std::string("k\0", 2), std::string(300, 'v')});
  chunk.changes.push_back({Space::kMeta, "m", ""});
  chunk.changes.push_back({Space::kGone, "gone", std::nullopt});
  return {
      {{6}, Hello{Standing::kImpaired, life, roll}},
      {{6}, VoteRequest{true, true, last}},
      {{6}, VoteReply{true, true, life, roll}},
      {{6}, std::move(append)},
      {{6}, AppendReply{true, false, life, {8}, last}},
      {{6}, Heartbeat{{1}, {2}, {3}, MemberId{4}, life}},
      {{6}, HeartbeatReply{{1}, {2}, {3}, false, true}},
      {{6}, TimeoutNow{}},
      {{6}, Restored{life}},
      {{6}, Forward{life, 9, {"one", std::string(5000, 'x')}}},
      {{6}, ForwardRefused{life, 9, Reason::kNoSpace, "full"}},
      {{6}, ReadRequest{life, 4}},
      {{6}, ReadReply{life, 4, true, {12}}},
      {{6}, std::move(chunk)},
      {{6}, SnapshotReply{last, 77, life, 4, true}},
      {{6}, StateDigest{{12}, 0xfeedfacecafebeef}},
  };
}

}  // namespace capstan::cp::samples
