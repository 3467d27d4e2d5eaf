// The scorecard: a comparison's figures as text for people, at most 81 columns, plain ASCII.
#pragma once

#include <string>
#include <vector>

#include "lab/figures.h"
#include "lab/run_record.h"

namespace capstan::lab {

// "   3.0 s  CUT    n1 | n2 n3"
std::string event_line(const Event& event);

// The table's content, for text and page alike. A heading has no cells.
struct ScoreRow {
  std::string label;  // indented by spaces
  std::string cp{}, ap{};
};
std::vector<ScoreRow> score_rows(const RunRecord& record, const Figures& figures);
// "Same load, same seed, same cut: n1 | n2 n3 for 8.0 s"
std::string score_title(const RunRecord& record);

// The table with its checks, and the sentences under it. A broken promise is told with its evidence
// and the command that repeats the run, and nothing celebratory.
std::string scorecard(const RunRecord& record, const Figures& figures);

// The sentences alone: what each choice cost in this run.
std::string verdict_sentences(const RunRecord& record, const Figures& figures);

// What went wrong, with evidence; empty when every check holds.
std::string broken_promises(const RunRecord& record, const Figures& figures);

// "capstan compare --seed 7 --quick": repeats this run's plan.
std::string repeat_command(const PlanOptions& plan);

// 0.4 ms, 31.0 ms, 0.9 s, 12 s; "-" below 0.
std::string duration_text(Micros micros);
// 812 B, 52 KB, 1.3 MB (powers of 1000); "-" below 0.
std::string bytes_text(std::int64_t bytes);

}  // namespace capstan::lab
