#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <span>

#include "lab/report.h"
#include "lab/report_plots.h"
#include "lab/scorecard.h"
#include "lab/svg_chart.h"

namespace capstan::lab {
namespace {

constexpr std::size_t kLostInSight = 8;  // the others unfold
constexpr std::size_t kLostShown = 200;

// Colours by meaning. Outcomes: ok blue, ok-local teal, refused purple, unknown orange, lost red.
// Sides have none of these: n1 is ink, the others are green and dashed. Both schemes keep the
// contrast of text above 4.5 : 1.
constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --ink: #1d2430; --paper: #ffffff; --faint: #5b6472; --grid: #d9dee6;
  --cut: #f3ead2; --on-cut: #6b5617; --others: #4f7a12; --ok: #1456b8; --local: #0b7a75;
  --refused: #a3238e; --unknown: #9a5600; --lost: #b00020; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf2; --paper: #12161d; --faint: #a4aebd;
  --grid: #2b3340; --cut: #2f2a19; --on-cut: #d8c58c; --others: #a5cf66; --ok: #7fb2ff; --local: #4fc9c1;
  --refused: #f08adf; --unknown: #f0ac4e; --lost: #ff8a8a; } }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --grid: #ccc;
  --cut: #eee; --on-cut: #333; --others: #4f7a12; --ok: #1456b8; --local: #0b7a75; --refused: #a3238e;
  --unknown: #9a5600; --lost: #b00020; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; } h3 { font-size: .95rem; margin: 1rem 0 .2rem; }
p.verdict { font-size: 1.15rem; } .faint { color: var(--faint); } p.under { margin: .5rem 0; }
.bad { color: var(--lost); font-weight: 600; } .yes { font-weight: 600; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--faint); }
th, td { text-align: left; padding: .16rem .6rem .16rem 0; border-bottom: 1px solid var(--grid);
  vertical-align: baseline; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; width: 22%;
  padding: .16rem 0 .16rem .6rem; }
table.story td { border: 0; } table.story td.n { width: 4rem; white-space: nowrap; }
table.story td:nth-child(2) { width: 4.5rem; padding-left: 1rem; font-weight: 600; }
th.group { padding-top: .8rem; } td.in1 { padding-left: 1rem; } td.in2 { padding-left: 2rem; }
table.lost { table-layout: fixed; } table.lost th:first-child { width: 22%; }
code, pre { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { white-space: pre-wrap; margin: .4rem 0; } summary { cursor: pointer; color: var(--faint); }
ul.plain { list-style: none; padding: 0; } ul.plain li { margin: .35rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 0 1.5rem; }
figure { margin: 0; max-width: 36rem; min-width: 0; }
figcaption { color: var(--faint); font-size: .9rem; margin-top: .2rem; }
svg { display: block; width: 100%; height: auto; }
svg.diagram { max-width: 30rem; margin: 0 auto; }
svg.inline { display: inline-block; width: .95em; height: .95em; vertical-align: -.1em;
  margin-right: .3em; }
svg text { font: 12.5px system-ui, sans-serif; fill: var(--faint); }
svg path { fill: none; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
svg path.full { fill: currentColor; stroke: none; }
.grid { stroke: var(--grid); stroke-width: 1; } .cut { fill: var(--cut); }
svg rect.cut + text { fill: var(--on-cut); }
.split { stroke: var(--on-cut); stroke-width: 1.5; stroke-dasharray: 2 4; }
path.n1 { stroke: var(--ink); } path.others { stroke: var(--others); stroke-dasharray: 5 4; }
path.apart { stroke: var(--ink); }
svg .ok { color: var(--ok); } svg .ok-local { color: var(--local); } svg .refused { color: var(--refused); }
svg .unknown { color: var(--unknown); } svg .lost { color: var(--lost); }
path.ok, path.ok-local, path.refused { stroke: currentColor; }
svg text.sign { font-weight: 800; fill: currentColor; }
.box { fill: var(--paper); stroke: var(--ink); stroke-width: 1.2; }
.arrow { stroke: var(--ink); stroke-width: 1.2; } svg .boxtext { fill: var(--ink); }
svg .boxnumber { fill: currentColor; font-weight: 700; }
@media (max-width: 30rem) { body { font-size: 14px; margin: 1rem auto; } td.n, th.n { width: 28%; }
  td.n { font-size: .8rem; }
  table.story td.n { width: 3.2rem; } code, pre { font-size: .8rem; }
  td.in2 { padding-left: 1.6rem; } }
@media print { h2 { margin-top: 1.6rem; } body { font-size: 10pt; margin: 0; max-width: none; padding: 0; }
  .pair { grid-template-columns: 1fr 1fr; } figure, tr, li { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .cut { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

std::string upper(Mode mode) { return mode == Mode::kCp ? "CP" : "AP"; }

std::string section(const std::string& title, const std::string& body) {
  return "<section><h2>" + escaped(title) + "</h2>\n" + body + "</section>\n";
}

std::string faint(const std::string& text) {
  return "<p class=\"faint under\">" + escaped(text) + "</p>\n";
}

// What was done to both, so that nobody has to guess what "the same load" was.
std::string plan_sentence(const RunRecord& record) {
  const PlanOptions& plan = record.plan;
  return "Capstan " + record.version + ", seed " + std::to_string(plan.seed) + ": three CP and " +
         "three AP nodes, each asked for " + std::to_string(plan.writes_per_second) +
         " writes/s and " + std::to_string(2 * plan.writes_per_second) + " reads/s over " +
         std::to_string(plan.keys) + " keys.";
}

// ---- The table ----------------------------------------------------------------------------------

// On a narrow screen it may be broken after a slash.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : escaped(text)) {
    out += c;
    if (c == '/') out += "<wbr>";
  }
  return "<td class=\"n\">" + out + "</td>";
}

std::string table_html(const RunRecord& record, const Figures& figures) {
  std::string out = "<table><caption>" + escaped(score_title(record)) +
                    "</caption><thead><tr><td></td><th class=\"n\">CP</th><th class=\"n\">AP</th>"
                    "</tr></thead><tbody>\n";
  for (const ScoreRow& row : score_rows(record, figures)) {
    if (row.cp.empty() && row.ap.empty() && !row.label.starts_with(' ')) {
      out += "<tr><th class=\"group\" colspan=\"3\">" + escaped(row.label) + "</th></tr>\n";
      continue;
    }
    const std::size_t indent = std::min(row.label.find_first_not_of(' '), row.label.size());
    out += "<tr><td class=\"" + std::string(indent > 2 ? "in2" : "in1") + "\">" +
           escaped(row.label.substr(indent)) + "</td>" + cell(row.cp) + cell(row.ap) + "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

// ---- What was lost, what clients saw, the checks ------------------------------------------------

using Conflicts = std::map<std::string, const Conflict*>;  // by the loser's id

std::string value_cell(const std::string& value, const std::string& id) {
  return "<code>" + escaped(value) + "</code> <code class=\"faint\">" + escaped(id) + "</code>";
}

std::string lost_rows(std::span<const Operation> lost, const Conflicts& conflicts) {
  std::string out =
      "<table class=\"lost\"><thead><tr><th>key</th><th>lost value, its id</th>"
      "<th>what won, its id</th></tr></thead><tbody>\n";
  for (const Operation& op : lost) {
    const auto conflict = conflicts.find(op.write_id);
    out += "<tr><td><code>" + escaped(op.key) + "</code></td><td>" + inline_sign(Sign::kLost) +
           value_cell(op.value, op.write_id) + "</td><td>" +
           (conflict == conflicts.end()
                ? ""
                : value_cell(conflict->second->winner_value, conflict->second->winner_id)) +
           "</td></tr>\n";
  }
  return out + "</tbody></table>\n";
}

std::string lost_html(const ModeRun& run, const Accounts& accounts) {
  const std::span<const Operation> lost(accounts.lost_writes);
  const std::string name = upper(run.mode);
  if (lost.empty()) return "<p>" + name + ": no acknowledged write was lost.</p>\n";
  Conflicts conflicts;
  for (const Conflict& conflict : run.conflicts) conflicts.emplace(conflict.loser_id, &conflict);
  const std::size_t in_sight = std::min(lost.size(), kLostInSight);
  const std::size_t shown = std::min(lost.size(), kLostShown);
  std::string out =
      "<p>" + name + ": " + std::to_string(lost.size()) + " of " +
      std::to_string(accounts.acknowledged) +
      " acknowledged writes were lost. Each was answered ok, and a concurrent write of the other "
      "side won. Rule: last writer wins by hybrid clock. The bodies are in the nodes&#39; conflict "
      "logs.</p>\n" +
      lost_rows(lost.first(in_sight), conflicts);
  if (shown > in_sight) {
    out += "<details><summary>" + std::to_string(shown - in_sight) + " more</summary>\n" +
           lost_rows(lost.subspan(in_sight, shown - in_sight), conflicts) + "</details>\n";
  }
  if (lost.size() > shown) {
    out += faint(std::to_string(lost.size() - shown) + " more are in the JSON.");
  }
  return out;
}

// A few operations of each side in the middle of the cut, word for word.
std::string client_view(const ModeRun& run) {
  std::string out = "<h3>" + upper(run.mode) + "</h3><ul class=\"plain\">\n";
  const Micros middle = (run.cut_at + run.heal_at) / 2;
  std::array<int, 2> writes{}, reads{};
  for (const Operation& op : run.history) {
    if (op.start < middle || op.start >= run.heal_at) continue;
    int& count = (op.is_write() ? writes : reads)[op.node != 0];
    if (count == 2) continue;
    ++count;
    out += "<li>" + inline_sign(sign_of(op.outcome)) + "<code>" + escaped(describe(op));
    if (op.reason != Reason::kNone) out += " (" + escaped(to_text(op.reason)) + ")";
    out += "</code></li>\n";
  }
  return out + "</ul>\n";
}

// A check that found no answer is "undecided": on this page "unknown" is what became of a write.
std::string verdict_word(Verdict verdict) {
  return verdict == Verdict::kUnknown ? "undecided" : std::string(to_text(verdict));
}

// `seen` is what was looked at; `against` what speaks against a yes, word for word.
std::string check_line(const std::string& what, Verdict verdict, const std::string& seen,
                       const std::string& against) {
  return "<li>" + escaped(what) + "? <span class=\"" + (verdict == Verdict::kYes ? "yes" : "bad") +
         "\">" + verdict_word(verdict) + "</span> <span class=\"faint\">" + escaped(seen) +
         "</span>" + (against.empty() ? "" : "<pre>" + escaped(against) + "</pre>") + "</li>\n";
}

std::string linearizable_line(const ModeFigures& mode) {
  const LinearizableResult& result = mode.linearizable;
  const std::string seen = "key by key, " + std::to_string(result.operations) + " operations on " +
                           std::to_string(result.keys) + " keys";
  if (mode.mode == Mode::kCp) {
    return check_line("CP: is the history linearizable", result.verdict, seen,
                      result.counterexample);
  }
  // Without a promise nothing is broken: no colour of alarm.
  std::string out = "<li>AP: is the history linearizable? <span class=\"yes\">";
  out += verdict_word(result.verdict);
  out += "</span> <span class=\"faint\">(not promised) " + seen + "</span>";
  if (!result.counterexample.empty()) {
    out += "<details><summary>a key whose reads fit no order</summary><pre>" +
           escaped(result.counterexample) + "</pre></details>";
  }
  return out + "</li>\n";
}

std::string checks_html(const RunRecord& record, const Figures& figures) {
  std::string out = "<ul class=\"plain\">\n";
  for (const ModeFigures* mode : {&figures.cp, &figures.ap}) {
    const std::string name = upper(mode->mode);
    const ModeRun& run = mode->mode == Mode::kCp ? record.cp : record.ap;
    const Accounts& accounts = mode->accounts;
    out += linearizable_line(*mode);
    out += check_line(name + ": are all nodes equal at the end", mode->convergence.verdict,
                      std::to_string(run.finals.size()) + " full dumps compared, " +
                          std::to_string(mode->convergence.differing_keys) + " keys differ",
                      mode->convergence.detail);
    out += check_line(name + ": is every acknowledged write accounted for", accounts.verdict,
                      std::to_string(accounts.accounted()) + " of " +
                          std::to_string(accounts.acknowledged) + ": " +
                          std::to_string(accounts.survived) + " survived, " +
                          std::to_string(accounts.superseded) + " superseded, " +
                          std::to_string(accounts.lost) + " lost with a record",
                      accounts.detail);
  }
  out += check_line("Both: did the cut cut something", figures.cut_was_real,
                    "CP did not accept " +
                        std::to_string(figures.cp.alone.refused + figures.cp.alone.unknown) +
                        " writes at n1; in AP " + std::to_string(figures.ap.keys_with_two_values) +
                        " keys had two values",
                    "");
  return out + "</ul>\n";
}

std::string story_html(const RunRecord& record) {
  std::string out = "<table class=\"story\"><tbody>\n";
  for (const Event& event : record.events) {
    char at[32];
    std::snprintf(at, sizeof at, "%.1f s", static_cast<double>(event.at) / kSecond);
    out += "<tr><td class=\"n\">" + std::string(at) + "</td><td>" + escaped(event.who) +
           "</td><td>" + escaped(event.text) + "</td></tr>\n";
  }
  return out + "</tbody></table>\n";
}

std::string verdict_paragraph(const RunRecord& record, const Figures& figures) {
  const std::string broken = broken_promises(record, figures);
  if (broken.empty()) {
    return "<p class=\"verdict\">" + escaped(verdict_sentences(record, figures)) + "</p>\n";
  }
  return "<p class=\"verdict bad\">A promise was broken, or could not be decided.</p>\n<pre>" +
         escaped(broken) + "</pre>\n";
}

}  // namespace

std::string report_html(const RunRecord& record, const Figures& figures) {
  std::string out =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>Capstan: both sides of one "
      "partition, seed " +
      std::to_string(record.plan.seed) + "</title><style>" + kStyle + "</style></head><body>\n";
  out += "<h1>Both sides of one partition</h1>\n";
  out += verdict_paragraph(record, figures) + faint(plan_sentence(record));
  out += section("What each choice cost", table_html(record, figures));
  out += section("What each node answered to writes", lanes_plots(record, figures));
  out += section("Writes accepted per second", accepted_plots(record, figures));
  out += section("Latency of writes, slowest of each 0.2 s", latency_plots(record, figures));
  out += section("Keys that differ between nodes", divergence_plots(record));
  out += section("Writes lost", lost_html(record.cp, figures.cp.accounts) +
                                    lost_html(record.ap, figures.ap.accounts));
  out +=
      section("The exercise's diagram, with this run's counts", exercise_diagram(record, figures));
  out += section("What happened", story_html(record));
  out += section("What clients saw in the middle of the cut",
                 client_view(record.cp) + client_view(record.ap));
  out += section("Checks", checks_html(record, figures));
  out += section("Repeat it", "<pre>" + escaped(repeat_command(record.plan)) + "</pre>" +
                                  faint("Capstan " + record.version +
                                        (record.machine.empty() ? "" : ", " + record.machine) +
                                        ". Figures are of this run on this machine."));
  return out + "</body></html>\n";
}

}  // namespace capstan::lab
