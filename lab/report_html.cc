#include <algorithm>
#include <array>
#include <map>

#include "lab/report.h"
#include "lab/scorecard.h"
#include "lab/svg_chart.h"

namespace capstan::lab {
namespace {

constexpr std::size_t kLostShown = 200;
constexpr Micros kBucket = 250 * kMillisecond;

// Colours by meaning: sides (s1 n1, s2 the others), refused, unknown, lost. Both schemes keep the
// contrast of text above 4.5 : 1.
constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --ink: #1d2430; --paper: #ffffff; --faint: #5b6472; --grid: #d9dee6;
  --cut: #f3ead2; --s1: #b3420e; --s2: #1456b8; --refused: #a3238e; --unknown: #9a6100; --bad: #b00020; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf2; --paper: #12161d; --faint: #a4aebd;
  --grid: #2b3340; --cut: #2c2819; --s1: #ff9a66; --s2: #7fb2ff; --refused: #f08adf; --unknown: #e5b454;
  --bad: #ff8a8a; } }
@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --grid: #ccc; --cut: #eee; --s1: #b3420e;
  --s2: #1456b8; } section { break-inside: avoid; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
h3 { font-size: .95rem; margin: 1.2rem 0 .2rem; }
p.verdict { font-size: 1.1rem; } .faint { color: var(--faint); } .bad { color: var(--bad); font-weight: 600; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--grid); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.group { padding-top: 1rem; } td.in1 { padding-left: 1rem; } td.in2 { padding-left: 2rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .85rem; } pre { overflow-x: auto; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--faint); }
svg path { fill: none; stroke-width: 1.8; } .cut { fill: var(--cut); }
.grid { stroke: var(--grid); stroke-width: 1; } .s1 { stroke: var(--s1); }
.s2 { stroke: var(--s2); stroke-dasharray: 6 3; } path.refused { stroke: var(--refused); }
path.unknown { stroke: var(--unknown); } .box { fill: var(--paper); stroke: var(--ink); stroke-width: 1.2; }
svg .boxtext { fill: var(--ink); } svg .boxnumber { fill: var(--ink); font-weight: 700; }
.arrow { stroke: var(--ink); stroke-width: 1.2; }
)css";

double seconds(Micros t) { return static_cast<double>(t) / kSecond; }
double millis(Micros t) { return static_cast<double>(t) / kMillisecond; }
std::string upper(Mode mode) { return mode == Mode::kCp ? "CP" : "AP"; }

std::string section(const std::string& title, const std::string& body) {
  return "<section><h2>" + escaped(title) + "</h2>\n" + body + "</section>\n";
}

// ---- The table ----------------------------------------------------------------------------------

std::string table_html(const RunRecord& record, const Figures& figures) {
  std::string out = "<table><thead><tr><th>" + escaped(score_title(record)) +
                    "</th><th class=\"n\">CP</th><th class=\"n\">AP</th></tr></thead><tbody>\n";
  std::string side;
  for (const ScoreRow& row : score_rows(record, figures)) {
    if (row.cp.empty() && row.ap.empty() && !row.label.starts_with(' ')) {
      out += "<tr><th class=\"group\" colspan=\"3\">" + escaped(row.label) + "</th></tr>\n";
      continue;
    }
    const std::size_t indent = std::min(row.label.find_first_not_of(' '), row.label.size());
    out += "<tr><td class=\"" + std::string(indent > 2 ? "in2" : "in1") + "\">" +
           escaped(row.label.substr(indent)) + "</td><td class=\"n\">" + escaped(row.cp) +
           "</td><td class=\"n\">" + escaped(row.ap) + "</td></tr>\n";
  }
  return out + "</tbody></table>\n";
}

// ---- The plots ----------------------------------------------------------------------------------

Chart chart_of(const ModeRun& run, std::string title, std::string unit) {
  return {.title = std::move(title),
          .summary = "",
          .unit = std::move(unit),
          .seconds = seconds(run.load_end),
          .cut_from = seconds(run.cut_at),
          .cut_to = seconds(run.heal_at)};
}

std::string accepted_plot(const ModeRun& run, const ModeFigures& figures) {
  const auto buckets = static_cast<std::size_t>(run.load_end / kBucket);
  std::array<std::vector<double>, 2> counts;
  for (auto& side : counts) side.resize(buckets);
  for (const Operation& op : run.history) {
    const auto bucket = static_cast<std::size_t>(std::max<Micros>(op.end, 0) / kBucket);
    if (op.is_write() && op.acknowledged() && bucket < buckets) ++counts[op.node != 0][bucket];
  }
  Chart chart =
      chart_of(run, upper(run.mode) + ": writes accepted per second, by side", "writes/s");
  chart.summary = "During the cut n1 accepted " + std::to_string(figures.alone.accepted) + " of " +
                  std::to_string(figures.alone.writes) + ", n2 and n3 " +
                  std::to_string(figures.together.accepted) + " of " +
                  std::to_string(figures.together.writes) + ".";
  chart.series = {{"n1", "s1"}, {"n2 n3", "s2"}};
  for (std::size_t side = 0; side < 2; ++side) {
    for (std::size_t i = 0; i < buckets; ++i) {
      chart.series[side].points.emplace_back((static_cast<double>(i) + 0.5) * seconds(kBucket),
                                             counts[side][i] / seconds(kBucket));
    }
  }
  return svg(chart);
}

// The slowest accepted write of each tenth of a second and side; refusals and unknown ones as
// marks.
std::string latency_plot(const ModeRun& run, const ModeFigures& figures) {
  constexpr Micros kSlot = 100 * kMillisecond;
  std::array<std::map<Micros, Micros>, 2> slowest;
  std::map<Micros, Micros> refused, unknown;
  const auto keep = [](std::map<Micros, Micros>& into, const Operation& op) {
    Micros& worst = into[op.start / kSlot];
    worst = std::max(worst, op.end - op.start);
  };
  for (const Operation& op : run.history) {
    if (!op.is_write() || op.end == Operation::kNever) continue;
    if (op.acknowledged()) {
      keep(slowest[op.node != 0], op);
    } else {
      keep(op.outcome == Outcome::kFailed ? refused : unknown, op);
    }
  }
  Chart chart =
      chart_of(run, upper(run.mode) + ": write latency over time, slowest of each 0.1 s", "ms");
  chart.summary = "Accepted writes: median " + duration_text(figures.write_p50) +
                  ", 99th percentile " + duration_text(figures.write_p99) + ".";
  chart.logarithmic = true;
  chart.series = {
      {"n1", "s1"}, {"n2 n3", "s2"}, {"refused", "refused", true}, {"unknown", "unknown", true}};
  const std::map<Micros, Micros>* maps[] = {&slowest[0], &slowest[1], &refused, &unknown};
  for (std::size_t i = 0; i < 4; ++i) {
    for (const auto& [slot, worst] : *maps[i]) {
      chart.series[i].points.emplace_back(seconds(slot * kSlot + kSlot / 2), millis(worst));
    }
  }
  return svg(chart);
}

std::string divergence_plot(const RunRecord& record) {
  Chart chart = chart_of(record.ap, "Keys that differ between nodes over time", "keys");
  chart.summary = "Before the heal clients could read two values for " +
                  std::to_string(record.cp.keys_with_two_values) + " keys in CP and for " +
                  std::to_string(record.ap.keys_with_two_values) + " keys in AP.";
  chart.series = {{"AP", "s1"}, {"CP", "s2"}};
  const ModeRun* runs[] = {&record.ap, &record.cp};
  for (std::size_t i = 0; i < 2; ++i) {
    for (const DivergenceSample& sample : runs[i]->divergence) {
      chart.series[i].points.emplace_back(seconds(sample.at), static_cast<double>(sample.keys));
    }
  }
  return svg(chart) +
         "<p class=\"faint\">CP's nodes differ too: n1 falls behind. It does not answer from what "
         "it has, unless a client asks for a stale read.</p>\n";
}

// ---- The diagram of the exercise ----------------------------------------------------------------

std::string box(double x, double y, const std::string& text, const std::string& count) {
  const auto n = [](double v) { return std::to_string(static_cast<int>(v)); };
  return "<rect class=\"box\" rx=\"6\" x=\"" + n(x - 115) + "\" y=\"" + n(y - 24) +
         "\" width=\"230\" height=\"48\"/><text class=\"boxtext\" text-anchor=\"middle\" x=\"" +
         n(x) + "\" y=\"" + n(y - 5) + "\">" + escaped(text) +
         "</text><text class=\"boxnumber\" text-anchor=\"middle\" x=\"" + n(x) + "\" y=\"" +
         n(y + 13) + "\">" + escaped(count) + "</text>";
}

std::string arrow(double x1, double y1, double x2, double y2, const std::string& label) {
  const auto n = [](double v) { return std::to_string(static_cast<int>(v)); };
  std::string out = "<line class=\"arrow\" marker-end=\"url(#tip)\" x1=\"" + n(x1) + "\" y1=\"" +
                    n(y1) + "\" x2=\"" + n(x2) + "\" y2=\"" + n(y2) + "\"/>";
  if (!label.empty()) {
    out += "<text text-anchor=\"middle\" x=\"" + n((x1 + x2) / 2 + (x2 < x1 ? -18 : 18)) +
           "\" y=\"" + n((y1 + y2) / 2) + "\">" + escaped(label) + "</text>";
  }
  return out;
}

std::string diagram(const RunRecord& record, const Figures& figures) {
  const ModeFigures& cp = figures.cp;
  const ModeFigures& ap = figures.ap;
  const std::string cut = duration_text(record.plan.heal_at - record.plan.cut_at);
  const auto count = [](std::uint64_t n, const char* what) { return std::to_string(n) + what; };
  std::string out =
      "<svg viewBox=\"0 0 720 440\" role=\"img\" aria-label=\"The exercise's diagram with this "
      "run's counts\"><title>Consistency or availability</title><defs><marker id=\"tip\" "
      "viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
      "orient=\"auto\"><path class=\"arrow\" d=\"M0 0L8 4L0 8\"/></marker></defs>";
  out += box(360, 34, "Network partition occurs", "n1 | n2 n3 for " + cut);
  out += box(360, 118, "Consistency first?", "same load, same seed");
  out += box(170, 214, "Yes: reject writes",
             count(cp.alone.refused + cp.alone.unknown, " of n1's writes not accepted"));
  out += box(550, 214, "No: accept writes", count(ap.alone.accepted, " of n1's writes accepted"));
  out += box(170, 310, "Data remain consistent",
             count(cp.keys_with_two_values, " keys with two values"));
  out += box(550, 310, "Temporary inconsistency",
             count(ap.keys_with_two_values, " keys with two values"));
  out += box(
      360, 404, "Reconcile after the heal",
      "lost: CP " + std::to_string(cp.accounts.lost) + ", AP " + std::to_string(ap.accounts.lost));
  out += arrow(360, 58, 360, 92, "") + arrow(300, 142, 200, 188, "yes") +
         arrow(420, 142, 520, 188, "no") + arrow(170, 238, 170, 284, "") +
         arrow(550, 238, 550, 284, "") + arrow(200, 334, 300, 378, "") +
         arrow(520, 334, 420, 378, "");
  return out + "</svg>\n";
}

// ---- What was lost, what clients saw, the checks ------------------------------------------------

std::string lost_table(const ModeRun& run, const Accounts& accounts) {
  if (accounts.lost_writes.empty()) return "<p>No acknowledged write was lost.</p>\n";
  std::map<std::string, const Conflict*> by_loser;
  for (const Conflict& conflict : run.conflicts) by_loser.emplace(conflict.loser_id, &conflict);
  std::string out =
      "<p>Each was answered ok, and a concurrent write of the other side won. Rule: last writer "
      "wins by hybrid clock. The bodies are in the nodes' conflict logs.</p>\n"
      "<div class=\"scroll\"><table><thead><tr><th>key</th><th>lost value</th><th>its id</th>"
      "<th>what won</th><th>its id</th></tr></thead><tbody>\n";
  std::size_t shown = 0;
  for (const Operation& op : accounts.lost_writes) {
    if (shown++ == kLostShown) break;
    const auto conflict = by_loser.find(op.write_id);
    const bool known = conflict != by_loser.end();
    out += "<tr><td><code>" + escaped(op.key) + "</code></td><td><code>" + escaped(op.value) +
           "</code></td><td><code>" + escaped(op.write_id) + "</code></td><td><code>" +
           (known ? escaped(conflict->second->winner_value) : "") + "</code></td><td><code>" +
           (known ? escaped(conflict->second->winner_id) : "") + "</code></td></tr>\n";
  }
  out += "</tbody></table></div>\n";
  if (accounts.lost_writes.size() > kLostShown) {
    out += "<p class=\"faint\">" + std::to_string(accounts.lost_writes.size() - kLostShown) +
           " more are in the JSON.</p>\n";
  }
  return out;
}

// A few operations of each side in the middle of the cut, word for word.
std::string client_view(const ModeRun& run) {
  std::string out = "<h3>" + upper(run.mode) + "</h3><pre>";
  const Micros middle = (run.cut_at + run.heal_at) / 2;
  std::array<int, 2> writes{}, reads{};
  for (const Operation& op : run.history) {
    if (op.start < middle || op.start >= run.heal_at) continue;
    int& count = (op.is_write() ? writes : reads)[op.node != 0];
    if (count == 2) continue;
    ++count;
    out += escaped(describe(op));
    if (op.reason != Reason::kNone) out += " (" + escaped(to_text(op.reason)) + ")";
    out += '\n';
  }
  return out + "</pre>\n";
}

std::string check_line(const std::string& what, Verdict verdict, const std::string& evidence) {
  std::string out = "<li>" + escaped(what) + ": ";
  out += verdict == Verdict::kYes
             ? "yes"
             : "<span class=\"bad\">" + std::string(to_text(verdict)) + "</span>";
  if (!evidence.empty()) out += "<pre>" + escaped(evidence) + "</pre>";
  return out + "</li>\n";
}

std::string checks_html(const Figures& figures) {
  std::string out = "<ul>\n";
  for (const ModeFigures* mode : {&figures.cp, &figures.ap}) {
    const std::string name = upper(mode->mode) + ", ";
    if (mode->mode == Mode::kCp) {
      out += check_line(name + "the history is linearizable, key by key",
                        mode->linearizable.verdict, mode->linearizable.counterexample);
    } else {
      out += "<li>AP does not promise linearizability; this history " +
             std::string(mode->linearizable.verdict == Verdict::kYes  ? "happens to be"
                         : mode->linearizable.verdict == Verdict::kNo ? "is not"
                                                                      : "may or may not be") +
             ".";
      if (!mode->linearizable.counterexample.empty()) {
        out += "<pre>" + escaped(mode->linearizable.counterexample) + "</pre>";
      }
      out += "</li>\n";
    }
    out += check_line(name + "all nodes are equal at the end", mode->convergence.verdict,
                      mode->convergence.detail);
    out += check_line(name + "every acknowledged write is accounted for (" +
                          std::to_string(mode->accounts.accounted()) + " of " +
                          std::to_string(mode->accounts.acknowledged) + ")",
                      mode->accounts.verdict, mode->accounts.detail);
  }
  return out + "</ul>\n";
}

std::string story_html(const RunRecord& record) {
  std::string out = "<pre>";
  for (const Event& event : record.events) out += escaped(event_line(event));
  return out + "</pre>\n";
}

}  // namespace

std::string report_html(const RunRecord& record, const Figures& figures) {
  const std::string broken = broken_promises(record, figures);
  std::string out =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>Capstan: both sides of one "
      "partition, "
      "seed " +
      std::to_string(record.plan.seed) + "</title><style>" + kStyle + "</style></head><body>\n";
  out += "<h1>Both sides of one partition</h1>\n";
  out += broken.empty()
             ? "<p class=\"verdict\">" + escaped(verdict_sentences(record, figures)) + "</p>\n"
             : "<p class=\"verdict bad\">A promise was broken, or could not be decided."
               "</p>\n<pre>" +
                   escaped(broken) + "</pre>\n";
  out += section("What each choice cost", table_html(record, figures));
  out += section("The exercise's diagram, with this run's counts", diagram(record, figures));
  out += section("Writes accepted per second",
                 "<h3>CP</h3>" + accepted_plot(record.cp, figures.cp) + "<h3>AP</h3>" +
                     accepted_plot(record.ap, figures.ap));
  out += section("Latency over time", "<h3>CP</h3>" + latency_plot(record.cp, figures.cp) +
                                          "<h3>AP</h3>" + latency_plot(record.ap, figures.ap));
  out += section("How far the nodes were apart", divergence_plot(record));
  out += section("Writes lost in AP", lost_table(record.ap, figures.ap.accounts));
  out += section("What happened", story_html(record));
  out += section("What clients saw in the middle of the cut",
                 client_view(record.cp) + client_view(record.ap));
  out += section("Checks", checks_html(figures));
  out += section("Repeat it", "<pre>" + escaped(repeat_command(record.plan)) +
                                  "</pre><p class=\"faint\">Capstan " + escaped(record.version) +
                                  (record.machine.empty() ? "" : ", " + escaped(record.machine)) +
                                  ". Figures are of this run on this machine.</p>\n");
  return out + "</body></html>\n";
}

}  // namespace capstan::lab
