// CP: is what the clients saw one history? Every reply carries a revision, so the whole order is
// known and can be checked across keys, ranges and transactions in one pass (strict
// serializability):
//
//   real time   an operation that began after another had ended has no smaller revision, and a
//               change a greater one
//   content     the truth is what the nodes hold at each revision, the same on every node; each
//               acknowledged change is in it at its revision, each read matches it at its revision
//   once        no value is in it twice, and no refused one at all
//   compaction  below an acknowledged one nothing is read any more; what is refused as compacted
//               lies below one that was asked for, and what is refused as future was not there
//
// The lab's per-key checker judges the same history by another method, knowing no revisions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/request.h"
#include "tests/sim/clients.h"

namespace capstan::sim {

// All keys as of one revision.
using Snapshot = std::map<std::string, KeyValue>;
// By revision, from 1 (empty) on.
using Truth = std::vector<Snapshot>;

using AskedList = std::vector<std::unique_ptr<Asked>>;

// Each returns the first contradiction as a sentence, or nothing.
std::string check_real_time(const AskedList& all);
std::string check_content(const AskedList& all, const Truth& truth);
std::string check_once(const AskedList& all, const Truth& truth);
// `by_rule`: nodes compact without being asked, too.
std::string check_compaction(const AskedList& all, bool by_rule);

// For the lab's checker: the operations on single keys.
lab::History single_key_history(const AskedList& all);

}  // namespace capstan::sim
