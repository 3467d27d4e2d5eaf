#include "lab/scorecard.h"

#include <algorithm>
#include <cstdio>

namespace capstan::lab {
namespace {

constexpr std::size_t kWidth = 81;
constexpr std::size_t kCpWidth = 16, kApWidth = 14;

std::string formatted(const char* format, double number) {
  char text[48];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

std::string right(std::string text, std::size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

// A label, and one cell for each mode. Long cells push into the label's blank space.
std::string text_row(const ScoreRow& row) {
  const auto& [label, cp, ap] = row;
  std::string line = label;
  const std::string cells = right(cp, kCpWidth) + right(ap.empty() ? "" : " " + ap, kApWidth);
  const std::size_t first = cells.find_first_not_of(' ');
  const std::size_t blank = first == std::string::npos ? cells.size() : first;
  const std::size_t room = kWidth > cells.size() ? kWidth - cells.size() : 0;
  if (line.size() < room) line.append(room - line.size(), ' ');
  const std::size_t overrun = std::min(line.size() - std::min(line.size(), room), blank);
  line += cells.substr(overrun);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::string of(std::uint64_t part, std::uint64_t whole) {
  return std::to_string(part) + " of " + std::to_string(whole);
}
std::string slash(std::uint64_t a, std::uint64_t b) {
  return std::to_string(a) + " / " + std::to_string(b);
}
std::string number(std::uint64_t n) { return std::to_string(n); }

// "1.1 / 3.0 ms": two durations with one unit, that of the larger.
std::string two_durations(Micros a, Micros b) {
  const bool seconds = b >= kSecond;
  const auto unit = static_cast<double>(seconds ? kSecond : kMillisecond);
  return formatted("%.1f", static_cast<double>(a) / unit) + " / " +
         formatted("%.1f", static_cast<double>(b) / unit) + (seconds ? " s" : " ms");
}

std::string stale_text(const StaleReads& stale) {
  if (stale.stale == 0) return "0";
  const double percent =
      100.0 * static_cast<double>(stale.stale) / static_cast<double>(stale.reads);
  return number(stale.stale) + " (" + formatted(percent < 1 ? "%.1f" : "%.0f", percent) + " %)";
}

std::string counted(std::uint64_t n, const char* what) {
  return number(n) + ' ' + what + (n == 1 ? "" : "s");
}

// Broken into lines at blanks.
std::string wrapped(const std::string& text) {
  std::string out;
  std::size_t column = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (column > 0 && column + 1 + (end - at) > kWidth) {
      out += '\n';
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += text.substr(at, end - at);
    column += end - at;
    at = end + 1;
  }
  return out + '\n';
}

std::string keys_text(std::uint64_t keys) { return keys == 0 ? "0" : counted(keys, "key"); }

std::string fates_text(const Accounts& a) {
  return number(a.survived) + '/' + number(a.superseded) + '/' + number(a.merged) + '/' +
         number(a.expired);
}

std::string unknown_text(const Accounts& a) {
  if (a.unknown == 0) return "-";
  std::string text = slash(a.unknown_applied, a.unknown_not_applied);
  if (a.unknown_undecided > 0) text += " (" + number(a.unknown_undecided) + "?)";
  return text;
}

std::string accounted_text(const Accounts& a) {
  const std::string sums = number(a.accounted()) + '/' + number(a.acknowledged);
  return a.verdict == Verdict::kYes ? sums : std::string(to_text(a.verdict)) + ' ' + sums;
}

using Rows = std::vector<ScoreRow>;

// What a side was answered. One with a majority is asked how long nothing went through, one without
// how it was told so.
void side_rows(const SideFigures& cp, const SideFigures& ap, std::size_t name_width, Rows& rows) {
  std::string name = names_of(cp.nodes);
  name.resize(name_width, ' ');
  const std::string blank(name_width, ' ');
  rows.push_back(
      {"  " + name + "writes accepted", of(cp.accepted, cp.writes), of(ap.accepted, ap.writes)});
  if (cp.majority) {
    rows.push_back({"  " + blank + "  longest silence", duration_text(cp.longest_silence),
                    duration_text(ap.longest_silence)});
    return;
  }
  rows.push_back({"  " + blank + "  refused / unknown", slash(cp.refused, cp.unknown),
                  slash(ap.refused, ap.unknown)});
  rows.push_back({"  " + blank + "  time to a refusal, p99", duration_text(cp.refusal_p99),
                  duration_text(ap.refusal_p99)});
}

void during_the_cut(const ModeFigures& cp, const ModeFigures& ap, Rows& rows) {
  rows.push_back({"during the cut"});
  std::size_t name_width = 10;
  for (const SideFigures& side : cp.sides) {
    name_width = std::max(name_width, names_of(side.nodes).size() + 2);
  }
  for (std::size_t i = 0; i < cp.sides.size(); ++i) {
    side_rows(cp.sides[i], ap.sides[i], name_width, rows);
  }
  rows.push_back(
      {"  reads older than an acknowledged write", stale_text(cp.stale), stale_text(ap.stale)});
  rows.push_back({"  two values for one key at once", keys_text(cp.keys_with_two_values),
                  keys_text(ap.keys_with_two_values)});
}

// "  n1 accepts again / all nodes equal again"
std::string again_label(const Sides& sides) {
  if (!majority_side(sides)) return "  all nodes accept again / all equal again";
  const Side nodes = cut_off(sides);
  return "  " + names_of(nodes) + (nodes.size() == 1 ? " accepts" : " accept") +
         " again / all nodes equal again";
}

void after_the_heal(const Sides& sides, const ModeFigures& cp, const ModeFigures& ap, Rows& rows) {
  const auto again = [](const ModeFigures& mode) {
    return duration_text(mode.correct_after) + " / " + duration_text(mode.equal_after);
  };
  rows.push_back({"after the heal"});
  rows.push_back({again_label(sides), again(cp), again(ap)});
  rows.push_back({"  acknowledged writes", number(cp.accounts.acknowledged),
                  number(ap.accounts.acknowledged)});
  rows.push_back({"    survived / superseded / merged / expired", fates_text(cp.accounts),
                  fates_text(ap.accounts)});
  rows.push_back({"    lost (a concurrent write won; body kept)", number(cp.accounts.lost),
                  number(ap.accounts.lost)});
  rows.push_back(
      {"  \"unknown\" ones: applied / not", unknown_text(cp.accounts), unknown_text(ap.accounts)});
  rows.push_back(
      {"  bytes to reconcile", bytes_text(cp.reconcile_bytes), bytes_text(ap.reconcile_bytes)});
}

void checks(const Figures& figures, Rows& rows) {
  const ModeFigures& cp = figures.cp;
  const ModeFigures& ap = figures.ap;
  const auto text = [](Verdict verdict) { return std::string(to_text(verdict)); };
  rows.push_back({"checks"});
  rows.push_back({"  linearizable", text(cp.linearizable.verdict), "not promised"});
  rows.push_back(
      {"  all nodes equal at the end", text(cp.convergence.verdict), text(ap.convergence.verdict)});
  rows.push_back({"  every acknowledged write accounted for", accounted_text(cp.accounts),
                  accounted_text(ap.accounts)});
  if (figures.cut_was_real != Verdict::kYes) {
    rows.push_back(
        {"  the cut cut something", text(figures.cut_was_real), text(figures.cut_was_real)});
  }
}

std::string indented(const std::string& text) {
  std::string out = "  ";
  for (char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  out.erase(out.find_last_not_of(" \n") + 1);
  return out + '\n';
}

}  // namespace

std::string duration_text(Micros micros) {
  if (micros < 0) return "-";
  const double ms = static_cast<double>(micros) / kMillisecond;
  if (ms < 100) return formatted("%.1f ms", ms);
  if (ms < 10'000) return formatted("%.1f s", ms / 1000);
  return formatted("%.0f s", ms / 1000);
}

std::string bytes_text(std::int64_t bytes) {
  if (bytes < 0) return "-";
  const auto b = static_cast<double>(bytes);
  if (b < 1000) return formatted("%.0f B", b);
  if (b < 1e6) return formatted("%.0f KB", b / 1e3);
  return formatted("%.1f MB", b / 1e6);
}

std::string event_line(const Event& event) {
  char text[64];
  std::snprintf(text, sizeof text, "  %5.1f s  %-6s ", static_cast<double>(event.at) / kSecond,
                event.who.c_str());
  std::string line = text + event.text;
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::string repeat_command(const PlanOptions& plan) {
  const PlanOptions standard;
  std::string text = "capstan compare --seed " + std::to_string(plan.seed);
  if (plan.nodes != standard.nodes) text += " --nodes " + std::to_string(plan.nodes);
  if (plan.sides != first_alone(plan.nodes)) text += " --cut " + cut_text(plan.sides, "/");
  if (plan.heal_at < standard.heal_at) text += " --quick";
  if (plan.writes_per_second != standard.writes_per_second) {
    text += " --rate " + std::to_string(plan.writes_per_second);
  }
  if (plan.keys != standard.keys) text += " --keys " + std::to_string(plan.keys);
  if (plan.zipf) text += " --zipf";
  return text;
}

std::string verdict_sentences(const RunRecord& record, const Figures& figures) {
  if (figures.verdict != Verdict::kYes) return "";
  const Micros cut = record.cp.heal_at - record.cp.cut_at;
  const std::string seconds = formatted("%.1f s", static_cast<double>(cut) / kSecond);
  SideFigures given_up, ap;  // sums
  for (const SideFigures& side : figures.cp.sides) {
    if (side.majority) continue;
    given_up.writes += side.writes;
    given_up.accepted += side.accepted;
  }
  for (const SideFigures& side : figures.ap.sides) {
    ap.writes += side.writes;
    ap.accepted += side.accepted;
  }
  std::string out =
      majority_side(record.plan.sides)
          ? "CP gave up " + names_of(cut_off(record.plan.sides)) + " for " + seconds +
                " and lost nothing: " + of(given_up.writes - given_up.accepted, given_up.writes) +
                (given_up.writes == 1 ? " write" : " writes") + " there not accepted"
          : "No side had a majority: for " + seconds + " CP accepted " +
                of(given_up.accepted, given_up.writes) +
                (given_up.writes == 1 ? " write" : " writes") + " and lost nothing";
  out += ", none acknowledged is gone. ";
  out += ap.accepted == ap.writes ? std::string("AP never said no")
                                  : "AP accepted " + of(ap.accepted, ap.writes) + " writes";
  out += "; " + counted(figures.ap.keys_with_two_values, "key") + " had two values, and " +
         counted(figures.ap.accounts.lost, "acknowledged write") +
         " lost to a concurrent one, bodies kept.";
  return wrapped(out);
}

std::string broken_promises(const RunRecord& record, const Figures& figures) {
  std::string out;
  for (const ModeRun* run : {&record.cp, &record.ap}) {
    const ModeFigures& mode = run->mode == Mode::kCp ? figures.cp : figures.ap;
    const std::string name = run->mode == Mode::kCp ? "CP" : "AP";
    for (const std::string& problem : run->problems) out += name + ": " + problem + '\n';
    if (run->mode == Mode::kCp && mode.linearizable.verdict != Verdict::kYes) {
      out += "CP: linearizable: " + std::string(to_text(mode.linearizable.verdict)) + '\n' +
             indented(mode.linearizable.counterexample);
    }
    if (mode.convergence.verdict != Verdict::kYes) {
      out += name + ": not all nodes are equal: " + mode.convergence.detail + '\n';
    }
    if (mode.accounts.verdict != Verdict::kYes) {
      out += name + ": the accounts do not close\n" + indented(mode.accounts.detail);
    }
  }
  if (figures.cut_was_real != Verdict::kYes) {
    out += "the cut cut nothing: no write was refused in CP and no key differed in AP\n";
  }
  if (!out.empty()) out += "repeat it: " + repeat_command(record.plan) + '\n';
  return out;
}

std::string score_title(const RunRecord& record) {
  const Micros cut = record.plan.heal_at - record.plan.cut_at;
  return "Same load, same seed, same cut: " + to_text(record.plan.sides) + " for " +
         formatted("%.1f s", static_cast<double>(cut) / kSecond);
}

std::vector<ScoreRow> score_rows(const RunRecord& record, const Figures& figures) {
  const ModeFigures& cp = figures.cp;
  const ModeFigures& ap = figures.ap;
  Rows rows;
  during_the_cut(cp, ap, rows);
  rows.push_back({"always"});
  rows.push_back({"  write latency p50 / p99", two_durations(cp.write_p50, cp.write_p99),
                  two_durations(ap.write_p50, ap.write_p99)});
  rows.push_back(
      {"  durability of an acknowledged write", record.cp.durability, record.ap.durability});
  after_the_heal(record.plan.sides, cp, ap, rows);
  checks(figures, rows);
  return rows;
}

std::string scorecard(const RunRecord& record, const Figures& figures) {
  std::string out = text_row({score_title(record), "CP", "AP"});
  out += std::string(kWidth, '-') + '\n';
  for (const ScoreRow& row : score_rows(record, figures)) out += text_row(row);
  const std::string broken = broken_promises(record, figures);
  out += '\n' + (broken.empty() ? verdict_sentences(record, figures) : broken);
  return out;
}

}  // namespace capstan::lab
