#include "lab/scorecard.h"

#include <doctest/doctest.h>

#include "lab_fixture.h"

namespace capstan::lab {
namespace {

constexpr char kWant[] =
    R"(Same load, same seed, same cut: n1 | n2 n3 for 8.0 s             CP            AP
---------------------------------------------------------------------------------
during the cut
  n1        writes accepted                                  0 of 2        1 of 1
              refused / unknown                               1 / 1         0 / 0
              time to a refusal, p99                         0.4 ms             -
  n2 n3     writes accepted                                  1 of 1        1 of 1
              longest silence                                 6.0 s         6.0 s
  reads older than an acknowledged write                          0     2 (100 %)
  two values for one key at once                                  0         1 key
always
  write latency p50 / p99                              1.0 / 1.0 ms  0.2 / 0.2 ms
  durability of an acknowledged write                          sync          sync
after the heal
  n1 accepts again / all nodes equal again            0.1 s / 0.2 s     - / 0.2 s
  acknowledged writes                                             3             3
    survived / superseded / merged / expired                1/2/0/0       1/1/0/0
    lost (a concurrent write won; body kept)                      0             1
  "unknown" ones: applied / not                               0 / 1             -
  bytes to reconcile                                          52 KB         800 B
checks
  linearizable                                                  yes  not promised
  all nodes equal at the end                                    yes           yes
  every acknowledged write accounted for                        3/3           3/3

CP gave up n1 for 8.0 s and lost nothing: 2 of 2 writes there not accepted, none
acknowledged is gone. AP never said no; 1 key had two values, and 1 acknowledged
write lost to a concurrent one, bodies kept.
)";

TEST_CASE("scorecard: a small run gives exactly this table") {
  const RunRecord record = small_record();
  CHECK(scorecard(record, figures_of(record)) == kWant);
}

TEST_CASE("scorecard: no line is wider than 81 columns, also with large numbers") {
  RunRecord record = small_record();
  Figures figures = figures_of(record);
  for (ModeFigures* mode : {&figures.cp, &figures.ap}) {
    mode->accounts.survived = 123'456;
    mode->accounts.superseded = 7'654'321;
    mode->sides[1].writes = 3'200'000;
    mode->sides[1].accepted = 3'199'999;
  }
  const std::string text = scorecard(record, figures);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    CHECK_MESSAGE(end - at <= 81, text.substr(at, end - at));
    at = end + 1;
  }
}

// Runs of blanks as one, so that a row can be named without counting columns.
std::string squeezed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  }
  return out;
}

// Each check of the scorecard, broken once.
struct Planted {
  const char* what;
  const char* line;  // what the table must show
  Verdict verdict;
  void (*plant)(RunRecord&);
};

constexpr Planted kPlanted[] = {
    {"a stale read in CP", " linearizable no not promised\n", Verdict::kNo,
     [](RunRecord& r) { r.cp.history.push_back(read_at(2, "a", "v1", 8 * kSecond)); }},
    {"CP nodes unequal at the end", " all nodes equal at the end no yes", Verdict::kNo,
     [](RunRecord& r) { r.cp.finals[2].dump["a"] = {"v3", 3}; }},
    {"AP nodes unequal at the end", " all nodes equal at the end yes no", Verdict::kNo,
     [](RunRecord& r) { r.ap.finals[1].dump["a"].value = "v3"; }},
    {"equal vectors, unequal digests", " all nodes equal at the end yes no", Verdict::kNo,
     [](RunRecord& r) { r.ap.finals[1].digest_text = "00fe"; }},
    {"an acknowledged CP write vanished", "accounted for no 2/3 3/3", Verdict::kNo,
     [](RunRecord& r) {
       for (FinalState& node : r.cp.finals) node.dump["a"] = {"v3", 3};
     }},
    {"an AP loser is in no conflict log", " every acknowledged write accounted for 3/3 no 2/3",
     Verdict::kNo,
     [](RunRecord& r) {
       for (FinalState& node : r.ap.finals) node.lost_ids.clear();
     }},
    {"a lost body is not what was written", "3/3 no 3/3", Verdict::kNo,
     [](RunRecord& r) {
       for (FinalState& node : r.ap.finals) node.lost_bodies["n2:1:1"] = "v1";
     }},
    {"a cut that cut nothing", " the cut cut something no no", Verdict::kNo,
     [](RunRecord& r) {
       r.ap.keys_with_two_values = 0;
       std::erase_if(r.cp.history, [](const Operation& op) { return !op.acknowledged(); });
     }},
    {"a node that died", "CP: n2 exited with code 74", Verdict::kUnknown,
     [](RunRecord& r) { r.cp.problems = {"n2 exited with code 74"}; }},
    {"final states missing", " all nodes equal at the end yes unknown", Verdict::kUnknown,
     [](RunRecord& r) {
       r.ap.finals.clear();
       r.ap.history.clear();
     }},
};

TEST_CASE("scorecard: each check says no when its violation is planted, and how to repeat it") {
  CHECK(figures_of(small_record()).verdict == Verdict::kYes);
  for (const Planted& planted : kPlanted) {
    CAPTURE(planted.what);
    RunRecord record = small_record();
    planted.plant(record);
    const Figures figures = figures_of(record);
    CHECK(figures.verdict == planted.verdict);
    CHECK(exit_code(figures.verdict) == (planted.verdict == Verdict::kNo ? 1 : 5));
    const std::string text = scorecard(record, figures);
    INFO(text);
    CHECK(squeezed(text).find(planted.line) != std::string::npos);
    CHECK(text.find("repeat it: capstan compare --seed 7\n") != std::string::npos);
    CHECK(text.find("lost nothing") == std::string::npos);
  }
  CHECK(exit_code(Verdict::kYes) == 0);
}

TEST_CASE("figures: sides, silences, stale reads and the heal are counted from the history") {
  const RunRecord record = small_record();
  const Figures figures = figures_of(record);
  CHECK(figures.cp.alone.writes == 2);
  CHECK(figures.cp.alone.refused == 1);
  CHECK(figures.cp.alone.unknown == 1);
  CHECK(figures.cp.alone.unknown_max == 600 * kMillisecond);
  CHECK(figures.cp.together.accepted == 1);
  CHECK(figures.cp.together.longest_silence == 6 * kSecond - 1000);  // from its end to the heal
  CHECK(figures.cp.correct_after == 101 * kMillisecond);
  CHECK(figures.ap.alone.accepted == 1);
  CHECK(figures.ap.stale.reads == 2);
  CHECK(figures.ap.stale.stale == 2);  // v3 while v2 stood at n1, v1 at n3
  CHECK(figures.ap.accounts.lost == 1);
}

// The small run by five nodes, parted so that no side has a majority: n1 and n2 are node 0's side.
// n3's write is refused in CP; n3 and n5 each accept one in AP.
RunRecord record_of_five() {
  RunRecord record = small_record();
  record.plan.nodes = 5;
  record.plan.sides = {{0, 1}, {2, 3}, {4}};
  std::erase_if(record.cp.history,
                [](const Operation& op) { return op.node == 1 || op.start > 10 * kSecond; });
  record.cp.history.push_back(wrote({.node = 2,
                                     .key = "a",
                                     .value = "v5",
                                     .start = 6 * kSecond,
                                     .took = 3000,
                                     .outcome = Outcome::kFailed}));
  for (std::uint32_t node = 0; node < 5; ++node) {
    const std::string value = "w" + std::to_string(node);
    record.cp.history.push_back(
        wrote({.node = node,
               .key = "a",
               .value = value,
               .start = 11 * kSecond + (node + 1) * 100 * kMillisecond,
               .id = node_name(node) + ":1:9",
               .revision = 3 + node,
               .previous = node == 0 ? "v1" : "w" + std::to_string(node - 1)}));
  }
  for (std::uint32_t node = 2; node < 5; node += 2) {
    record.ap.history.push_back(wrote({.node = node,
                                       .key = node_name(node),
                                       .value = "w",
                                       .start = 7 * kSecond,
                                       .took = 200,
                                       .outcome = Outcome::kOkLocal,
                                       .id = node_name(node) + ":1:1"}));
  }
  record.cp.finals.clear();
  const FinalState ap = record.ap.finals[0];
  record.ap.finals.clear();
  for (std::uint32_t node = 0; node < 5; ++node) {
    record.cp.finals.push_back(final_state(node_name(node), {{"a", {"w4", 7}}}));
    record.ap.finals.push_back(ap);
    FinalState& final = record.ap.finals.back();
    final.name = node_name(node);
    final.dump["n3"] = final.dump["n5"] = {"w", 0};
    final.survived_ids.insert({"n3:1:1", "n5:1:1"});
  }
  return record;
}

TEST_CASE("scorecard: a cut into three sides has rows for each, and none is called a majority") {
  const RunRecord record = record_of_five();
  const Figures figures = figures_of(record);
  CHECK(figures.verdict == Verdict::kYes);
  const std::string text = scorecard(record, figures);
  INFO(text);
  for (const char* row : {
           "same cut: n1 n2 | n3 n4 | n5 for 8.0 s CP AP\n",
           "\n n1 n2 writes accepted 0 of 2 2 of 2\n refused / unknown 1 / 1 0 / 0\n",
           "\n n3 n4 writes accepted 0 of 1 1 of 1\n refused / unknown 1 / 0 0 / 0\n",
           "\n n5 writes accepted 0 of 0 1 of 1\n refused / unknown 0 / 0 0 / 0\n",
           "\n all nodes accept again / all equal again 0.5 s / 0.2 s",  // n5 is the last to
           "\nNo side had a majority: for 8.0 s CP accepted 0 of 3 writes and lost nothing",
           " AP never said no;",
       }) {
    CAPTURE(row);
    CHECK(squeezed(text).find(row) != std::string::npos);
  }
  CHECK(text.find("longest silence") == std::string::npos);
}

TEST_CASE("scorecard: refusals on any side of an AP cut are told") {
  RunRecord record = record_of_five();
  record.ap.history.push_back(wrote(
      {.node = 3, .key = "a", .value = "x", .start = 7 * kSecond, .outcome = Outcome::kFailed}));
  const std::string text = scorecard(record, figures_of(record));
  CHECK(text.find("never said no") == std::string::npos);
  CHECK(squeezed(text).find("AP accepted 4 of 5 writes") != std::string::npos);
}

TEST_CASE("figures: all is well after the heal once the last node that was cut off accepts") {
  RunRecord record = record_of_five();
  CHECK(figures_of(record).cp.correct_after == 501 * kMillisecond);  // n5
  CHECK(figures_of(record).cp.heal_stall == -1);                     // nobody went on meanwhile
  record.plan.sides = {{0, 1}, {2, 3, 4}};
  CHECK(figures_of(record).cp.correct_after == 201 * kMillisecond);  // n2
  CHECK(figures_of(record).cp.heal_stall == 500 * kMillisecond - 1000);
  std::erase_if(record.cp.history, [](const Operation& op) { return op.node == 1; });
  CHECK(figures_of(record).cp.correct_after == -1);  // it never did
}

TEST_CASE("scorecard: the command that repeats a run names every flag that was not standard") {
  PlanOptions plan;
  plan.seed = 9;
  CHECK(repeat_command(plan) == "capstan compare --seed 9");
  plan = quick(plan);
  plan.writes_per_second = 50;
  plan.keys = 20;
  plan.zipf = true;
  CHECK(repeat_command(plan) == "capstan compare --seed 9 --quick --rate 50 --keys 20 --zipf");
  plan = PlanOptions{.nodes = 5, .sides = first_alone(5)};
  CHECK(repeat_command(plan) == "capstan compare --seed 7 --nodes 5");
  plan.sides = {{0, 1}, {2, 3}, {4}};
  CHECK(repeat_command(plan) == "capstan compare --seed 7 --nodes 5 --cut n1,n2/n3,n4/n5");
}

TEST_CASE("scorecard: durations and sizes carry their unit") {
  CHECK(duration_text(-1) == "-");
  CHECK(duration_text(400) == "0.4 ms");
  CHECK(duration_text(31'000) == "31.0 ms");
  CHECK(duration_text(900'000) == "0.9 s");
  CHECK(duration_text(12'000'000) == "12 s");
  CHECK(bytes_text(812) == "812 B");
  CHECK(bytes_text(52'400) == "52 KB");
  CHECK(bytes_text(1'300'000) == "1.3 MB");
}

}  // namespace
}  // namespace capstan::lab
