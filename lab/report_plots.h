// The pictures of a report: pure functions of a record and its figures, CP left and AP right on the
// same scales, the cut shaded in all of them.
#pragma once

#include <string>

#include "lab/figures.h"
#include "lab/run_record.h"
#include "lab/svg_chart.h"

namespace capstan::lab {

Sign sign_of(Outcome outcome);

// One lane a node: what the node answered to writes, as signs over time.
std::string lanes_plots(const RunRecord& record, const Figures& figures);

// Writes accepted per second by n1 and by the others.
std::string accepted_plots(const RunRecord& record, const Figures& figures);

// How long answers to writes took, on a logarithmic axis, refused and unknown ones as their signs.
std::string latency_plots(const RunRecord& record, const Figures& figures);

// Keys that differ between nodes.
std::string divergence_plots(const RunRecord& record);

// The exercise's decision, each box with this run's counts.
std::string exercise_diagram(const RunRecord& record, const Figures& figures);

}  // namespace capstan::lab
