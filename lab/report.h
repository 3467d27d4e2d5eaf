// A comparison's record and figures as files: JSON for programs, one HTML page for people.
#pragma once

#include <string>

#include "lab/figures.h"
#include "lab/run_record.h"

namespace capstan::lab {

// One object, {"v":1,...}: the plan, the figures of both modes with units in their names, the
// checks with their evidence, the story, the lost writes with their bodies, the divergence samples.
std::string report_json(const RunRecord& record, const Figures& figures);

// One page that needs nothing else: inline SVG, no script, light and dark, printable. Keys and
// values come from a run, so all text is escaped.
std::string report_html(const RunRecord& record, const Figures& figures);

}  // namespace capstan::lab
