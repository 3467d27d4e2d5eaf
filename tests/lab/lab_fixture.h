// A small comparison written by hand: what a run could have recorded, small enough to count on
// fingers. Tests break one thing in it and look at what is said.
#pragma once

#include <string>
#include <utility>

#include "lab/run_record.h"

namespace capstan::lab {

struct Seen {
  std::uint32_t node = 0;
  std::string key{}, value{};
  Micros start = 0;
  Micros took = 1000;
  Outcome outcome = Outcome::kOk;
  std::string id{};
  std::uint64_t revision = 0;
  std::optional<std::string> previous{};
};

inline Operation wrote(Seen seen) {
  Operation op{.client = seen.node,
               .node = seen.node,
               .kind = OpKind::kPut,
               .key = seen.key,
               .value = seen.value,
               .start = seen.start,
               .end = seen.start + seen.took,
               .outcome = seen.outcome,
               .write_id = seen.id,
               .revision = seen.revision};
  if (op.outcome == Outcome::kFailed) op.reason = Reason::kNoQuorum;
  op.saw_previous = op.acknowledged();
  op.previous = std::move(seen.previous);
  return op;
}

inline Operation read_at(std::uint32_t node, std::string key, std::optional<std::string> value,
                         Micros start) {
  return {.client = 10 + node,
          .node = node,
          .kind = OpKind::kGet,
          .key = std::move(key),
          .start = start,
          .end = start + 500,
          .outcome = Outcome::kOk,
          .read = std::move(value)};
}

inline FinalState final_state(std::string name, Dump dump) {
  FinalState state{.name = std::move(name), .dump = std::move(dump)};
  return state;
}

// CP: key a written before, refused at n1 and overwritten at n2 during the cut, again after it.
// AP: key a written on both sides during the cut; n2's write loses.
inline RunRecord small_record() {
  RunRecord record;
  record.plan.seed = 7;
  record.version = "0.1.0";
  record.events = {{0, "load:", "a few writes"}, {3 * kSecond, "CUT", "n1 | n2 n3"}};
  ModeRun& cp = record.cp;
  cp.cut_at = 3 * kSecond;
  cp.heal_at = 11 * kSecond;
  cp.load_end = 14 * kSecond;
  cp.durability = "sync";
  cp.leader_at_cut = "n1";
  cp.equal_after = 180 * kMillisecond;
  cp.reconcile_bytes = 52'000;
  cp.divergence = {{3 * kSecond, 0}, {9 * kSecond, 1}, {12 * kSecond, 0}};
  ModeRun& ap = record.ap;
  ap = cp;
  ap.mode = Mode::kAp;
  ap.leader_at_cut.clear();
  ap.keys_with_two_values = 1;
  ap.reconcile_bytes = 800;

  cp.history = {
      wrote({.key = "a", .value = "v1", .start = kSecond, .id = "n1:1:1", .revision = 2}),
      wrote({.key = "a",
             .value = "v2",
             .start = 4 * kSecond,
             .took = 400,
             .outcome = Outcome::kFailed}),
      wrote({.node = 0,
             .key = "a",
             .value = "v9",
             .start = 3 * kSecond + 1,
             .took = 600 * kMillisecond,
             .outcome = Outcome::kUnknown}),
      wrote({.node = 1,
             .key = "a",
             .value = "v3",
             .start = 5 * kSecond,
             .id = "n2:1:1",
             .revision = 3,
             .previous = "v1"}),
      read_at(1, "a", "v3", 6 * kSecond),
      wrote({.node = 0,
             .key = "a",
             .value = "v4",
             .start = 11 * kSecond + 100'000,
             .id = "n1:1:2",
             .revision = 4,
             .previous = "v3"}),
  };
  cp.finals = {final_state("n1", {{"a", {"v4", 4}}}), final_state("n2", {{"a", {"v4", 4}}}),
               final_state("n3", {{"a", {"v4", 4}}})};

  ap.history = {
      wrote({.key = "a", .value = "v1", .start = kSecond, .took = 200, .id = "n1:1:1"}),
      wrote({.node = 1,
             .key = "a",
             .value = "v3",
             .start = 5 * kSecond,
             .took = 200,
             .outcome = Outcome::kOkLocal,
             .id = "n2:1:1",
             .previous = "v1"}),
      wrote({.key = "a",
             .value = "v2",
             .start = 6 * kSecond,
             .took = 200,
             .outcome = Outcome::kOkLocal,
             .id = "n1:1:2",
             .previous = "v1"}),
      read_at(1, "a", "v3", 7 * kSecond),
      read_at(2, "a", "v1", 8 * kSecond),
  };
  FinalState ap_final = final_state("n1", {{"a", {"v2", 0}}});
  ap_final.vector_text = "n1=2 n2=1";
  ap_final.digest_text = "00ff";
  ap_final.survived_ids = {"n1:1:2"};
  ap_final.lost_ids = {"n2:1:1"};
  ap_final.lost_bodies = {{"n2:1:1", "v3"}};
  ap.finals = {ap_final, ap_final, ap_final};
  ap.finals[1].name = "n2";
  ap.finals[2].name = "n3";
  Conflict conflict;
  conflict.number = 1;
  conflict.key = "a";
  conflict.loser_id = "n2:1:1";
  conflict.winner_id = "n1:1:2";
  conflict.loser_value = "v3";
  conflict.winner_value = "v2";
  conflict.rule = "lww";
  ap.conflicts = {conflict};
  return record;
}

}  // namespace capstan::lab
