#include "lab/report_plots.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "lab/scorecard.h"
#include "lab/svg_chart.h"

namespace capstan::lab {
namespace {

double seconds(Micros t) { return static_cast<double>(t) / kSecond; }
double millis(Micros t) { return static_cast<double>(t) / kMillisecond; }
std::string upper(Mode mode) { return mode == Mode::kCp ? "CP" : "AP"; }

std::string part_of(std::uint64_t part, std::uint64_t whole) {
  return std::to_string(part) + " of " + std::to_string(whole);
}

// All plots of a record end together, also where the nodes took longer than the load.
double seconds_shown(const RunRecord& record) {
  Micros end = 0;
  for (const ModeRun* run : {&record.cp, &record.ap}) {
    end = std::max(end, run->load_end);
    if (!run->divergence.empty()) end = std::max(end, run->divergence.back().at);
  }
  return seconds(end);
}

Chart chart_of(const RunRecord& record, const ModeRun& run, const std::string& title,
               std::string unit) {
  return {.title = upper(run.mode) + ": " + title,
          .summary = "",
          .unit = std::move(unit),
          .seconds = seconds_shown(record),
          .cut_from = seconds(run.cut_at),
          .cut_to = seconds(run.heal_at),
          .cut_text = "cut: n1 | n2 n3"};
}

std::string figure(Mode mode, const Chart& chart) {
  return "<figure><h3>" + upper(mode) + "</h3>" + svg(chart) + "<figcaption>" +
         escaped(chart.summary) + "</figcaption></figure>\n";
}

std::string pair(Chart& cp, Chart& ap) {
  same_scale(cp, ap);
  return "<div class=\"pair\">" + figure(Mode::kCp, cp) + figure(Mode::kAp, ap) + "</div>\n";
}

// ---- Lanes --------------------------------------------------------------------------------------

// The worst answer in each slot: one refusal among many accepted writes is worth seeing.
Chart lanes_chart(const RunRecord& record, const ModeRun& run, const ModeFigures& figures) {
  constexpr Micros kSlots = 28;
  Chart chart = chart_of(record, run, "answers to writes, one lane a node", "node");
  chart.lanes = {"n1", "n2", "n3"};
  const SideFigures& n1 = figures.alone;
  chart.summary = "During the cut n1 accepted " + part_of(n1.accepted, n1.writes) +
                  " writes, refused " + std::to_string(n1.refused) + " and left " +
                  std::to_string(n1.unknown) + " unknown; n2 and n3 accepted " +
                  part_of(figures.together.accepted, figures.together.writes) + ".";
  const Micros slot = std::max<Micros>(run.load_end / kSlots, 1);
  std::map<std::pair<Micros, std::uint32_t>, Sign> worst;
  for (const Operation& op : run.history) {
    if (!op.is_write() || op.node >= chart.lanes.size() || op.start < 0) continue;
    Sign& sign = worst[{std::min(op.start / slot, kSlots - 1), op.node}];
    sign = std::max(sign, sign_of(op.outcome));
  }
  for (Sign sign : {Sign::kOk, Sign::kLocal, Sign::kRefused, Sign::kUnknown}) {
    chart.series.push_back({.name = std::string(to_text(sign)), .style = "", .sign = sign});
  }
  for (const auto& [place, sign] : worst) {
    chart.series[static_cast<std::size_t>(sign)].points.emplace_back(
        seconds(place.first * slot + slot / 2), place.second);
  }
  return chart;
}

// ---- Accepted writes ----------------------------------------------------------------------------

Chart accepted_chart(const RunRecord& record, const ModeRun& run, const ModeFigures& figures) {
  constexpr Micros kBucket = 250 * kMillisecond;
  const auto buckets = static_cast<std::size_t>(run.load_end / kBucket);
  std::array<std::vector<double>, 2> counts;
  for (auto& side : counts) side.resize(buckets);
  for (const Operation& op : run.history) {
    const auto bucket = static_cast<std::size_t>(std::max<Micros>(op.end, 0) / kBucket);
    if (op.is_write() && op.acknowledged() && bucket < buckets) ++counts[op.node != 0][bucket];
  }
  Chart chart = chart_of(record, run, "writes accepted per second, by side", "writes/s");
  chart.summary = "Longest time without an accepted write during the cut: n1 " +
                  duration_text(figures.alone.longest_silence) + ", n2 n3 " +
                  duration_text(figures.together.longest_silence) + ".";
  if (figures.together.longest_silence >= kBucket) {
    chart.summary += " A peak after such a silence is of writes that had waited.";
  }
  chart.series = {{"n1", "n1"}, {"n2 n3", "others"}};
  for (std::size_t side = 0; side < 2; ++side) {
    for (std::size_t i = 0; i < buckets; ++i) {
      chart.series[side].points.emplace_back((static_cast<double>(i) + 0.5) * seconds(kBucket),
                                             counts[side][i] / seconds(kBucket));
    }
  }
  return chart;
}

// ---- Latency ------------------------------------------------------------------------------------

// The slowest accepted write of each fifth of a second and side; a line ends where a side accepts
// nothing.
Chart latency_chart(const RunRecord& record, const ModeRun& run, const ModeFigures& figures) {
  constexpr Micros kSlot = 200 * kMillisecond;
  std::array<std::map<Micros, Micros>, 4> slowest;  // n1, the others, refused, unknown
  for (const Operation& op : run.history) {
    if (!op.is_write() || op.end == Operation::kNever) continue;
    const std::size_t refused_or_unknown = op.outcome == Outcome::kFailed ? 2 : 3;
    Micros& worst = slowest[op.acknowledged() ? std::size_t{op.node != 0} : refused_or_unknown]
                           [op.start / kSlot];
    worst = std::max(worst, op.end - op.start);
  }
  Chart chart = chart_of(record, run, "write latency over time, slowest of each 0.2 s", "ms");
  chart.summary = "Accepted: median " + duration_text(figures.write_p50) + ", 99th percentile " +
                  duration_text(figures.write_p99) + ".";
  if (figures.alone.refusal_p99 >= 0) {
    chart.summary +=
        " A refusal at n1: " + duration_text(figures.alone.refusal_p99) + " or less for 99 of 100.";
  }
  chart.logarithmic = true;
  chart.gap = 0.5;
  chart.series = {{"n1", "n1"},
                  {"n2 n3", "others"},
                  {"refused", "", Sign::kRefused},
                  {"unknown", "", Sign::kUnknown}};
  for (std::size_t i = 0; i < slowest.size(); ++i) {
    for (const auto& [slot, worst] : slowest[i]) {
      chart.series[i].points.emplace_back(seconds(slot * kSlot + kSlot / 2), millis(worst));
    }
  }
  return chart;
}

// ---- Divergence ---------------------------------------------------------------------------------

Chart divergence_chart(const RunRecord& record, const ModeRun& run) {
  Chart chart = chart_of(record, run, "keys that differ between nodes over time", "keys");
  chart.summary = "Clients could read two values for " + std::to_string(run.keys_with_two_values) +
                  (run.keys_with_two_values == 1 ? " key." : " keys.");
  if (run.mode == Mode::kCp) {
    chart.summary +=
        " n1 falls behind, and does not answer from what it has unless asked for a stale read.";
  }
  chart.series = {{"", "apart"}};
  for (const DivergenceSample& sample : run.divergence) {
    chart.series[0].points.emplace_back(seconds(sample.at), static_cast<double>(sample.keys));
  }
  return chart;
}

// ---- The diagram of the exercise ----------------------------------------------------------------

std::string whole(double v) { return std::to_string(static_cast<int>(v)); }

struct BoxLine {
  std::string text;
  std::string style = "boxtext";
};

// Centred at (x, y).
std::string box(double x, double y, const std::vector<BoxLine>& lines) {
  constexpr double kBoxWidth = 196, kLineHeight = 17;
  const double height = kLineHeight * static_cast<double>(lines.size()) + 14;
  std::string out = "<rect class=\"box\" rx=\"6\" x=\"" + whole(x - kBoxWidth / 2) + "\" y=\"" +
                    whole(y - height / 2) + "\" width=\"" + whole(kBoxWidth) + "\" height=\"" +
                    whole(height) + "\"/>";
  double baseline = y - height / 2 + 19;
  for (const BoxLine& line : lines) {
    out += "<text class=\"" + line.style + "\" text-anchor=\"middle\" x=\"" + whole(x) + "\" y=\"" +
           whole(baseline) + "\">" + escaped(line.text) + "</text>";
    baseline += kLineHeight;
  }
  return out;
}

std::string arrow(double x1, double y1, double x2, double y2) {
  return "<line class=\"arrow\" marker-end=\"url(#tip)\" x1=\"" + whole(x1) + "\" y1=\"" +
         whole(y1) + "\" x2=\"" + whole(x2) + "\" y2=\"" + whole(y2) + "\"/>";
}

}  // namespace

Sign sign_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return Sign::kOk;
    case Outcome::kOkLocal:
      return Sign::kLocal;
    case Outcome::kFailed:
      return Sign::kRefused;
    case Outcome::kUnknown:
      return Sign::kUnknown;
  }
  return Sign::kUnknown;
}

std::string lanes_plots(const RunRecord& record, const Figures& figures) {
  Chart cp = lanes_chart(record, record.cp, figures.cp);
  Chart ap = lanes_chart(record, record.ap, figures.ap);
  return pair(cp, ap) +
         "<p class=\"faint under\">Each sign is the worst answer within its time. ok-local: "
         "durable "
         "on this node, another one out of reach. refused: surely not applied. unknown: applied or "
         "not, nobody could say.</p>\n";
}

std::string accepted_plots(const RunRecord& record, const Figures& figures) {
  Chart cp = accepted_chart(record, record.cp, figures.cp);
  Chart ap = accepted_chart(record, record.ap, figures.ap);
  return pair(cp, ap);
}

std::string latency_plots(const RunRecord& record, const Figures& figures) {
  Chart cp = latency_chart(record, record.cp, figures.cp);
  Chart ap = latency_chart(record, record.ap, figures.ap);
  return pair(cp, ap);
}

std::string divergence_plots(const RunRecord& record) {
  Chart cp = divergence_chart(record, record.cp);
  Chart ap = divergence_chart(record, record.ap);
  return pair(cp, ap);
}

std::string exercise_diagram(const RunRecord& record, const Figures& figures) {
  constexpr double kMiddle = 210, kCp = 103, kAp = 317;
  const ModeFigures& cp = figures.cp;
  const ModeFigures& ap = figures.ap;
  const auto count = [](std::uint64_t n, const char* what) { return std::to_string(n) + what; };
  std::string out =
      "<svg class=\"diagram\" viewBox=\"0 0 420 450\" role=\"img\" aria-label=\"The exercise's "
      "diagram with this run's counts\"><title>Consistency or availability</title><defs><marker "
      "id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
      "orient=\"auto\"><path class=\"arrow\" d=\"M0 0L8 4L0 8\"/></marker></defs>";
  out +=
      box(kMiddle, 26,
          {{"Network partition occurs"},
           {"n1 | n2 n3 for " + duration_text(record.cp.heal_at - record.cp.cut_at), "boxnumber"}});
  out += box(kMiddle, 110, {{"Consistency first?"}, {"same load, same seed", "boxnumber"}});
  out += box(kCp, 213,
             {{"CP: reject writes at n1"},
              {count(cp.alone.refused, " refused"), "boxnumber refused"},
              {count(cp.alone.unknown, " unknown"), "boxnumber unknown"}});
  out += box(kAp, 213,
             {{"AP: accept writes at n1"},
              {count(ap.alone.accepted, " accepted"), "boxnumber ok-local"},
              {count(ap.alone.refused, " refused"), "boxnumber refused"}});
  out += box(kCp, 322,
             {{"Data remain consistent"},
              {"keys with two values:"},
              {std::to_string(cp.keys_with_two_values), "boxnumber"}});
  out += box(kAp, 322,
             {{"Temporary inconsistency"},
              {"keys with two values:"},
              {std::to_string(ap.keys_with_two_values), "boxnumber"}});
  out += box(
      kMiddle, 424,
      {{"Reconcile after the heal"},
       {"lost: CP " + std::to_string(cp.accounts.lost) + ", AP " + std::to_string(ap.accounts.lost),
        "boxnumber lost"}});
  out += arrow(kMiddle, 50, kMiddle, 84) + arrow(170, 134, 120, 178) + arrow(250, 134, 300, 178) +
         arrow(kCp, 246, kCp, 288) + arrow(kAp, 246, kAp, 288) + arrow(120, 355, 165, 399) +
         arrow(300, 355, 255, 399);
  out +=
      "<text text-anchor=\"end\" x=\"135\" y=\"158\">yes</text><text x=\"285\" "
      "y=\"158\">no</text>";
  return out + "</svg>\n";
}

}  // namespace capstan::lab
