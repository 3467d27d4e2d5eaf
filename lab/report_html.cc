#include "lab/report.h"
#include "lab/scorecard.h"

namespace capstan::lab {

std::string report_html(const RunRecord& record, const Figures& figures) {
  return "<!doctype html><pre>" + scorecard(record, figures) + "</pre>\n";
}

}  // namespace capstan::lab
