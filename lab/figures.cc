#include "lab/figures.h"

#include <algorithm>

#include "core/metrics.h"

namespace capstan::lab {
namespace {

bool at_side(const Operation& op, const Side& side) {
  return std::ranges::find(side, op.node) != side.end();
}

// The longest stretch of [from, to] in which no write of that side was acknowledged.
Micros longest_silence(const History& history, const Side& nodes, Micros from, Micros to) {
  std::vector<Micros> ends;
  for (const Operation& op : history) {
    if (op.is_write() && op.acknowledged() && at_side(op, nodes) && op.end > from && op.end < to) {
      ends.push_back(op.end);
    }
  }
  std::ranges::sort(ends);
  Micros longest = 0, last = from;
  for (Micros end : ends) {
    longest = std::max(longest, end - last);
    last = end;
  }
  return std::max(longest, to - last);
}

SideFigures side_figures(const ModeRun& run, Side nodes) {
  SideFigures side{.nodes = std::move(nodes)};
  Histogram refusals;
  for (const Operation& op : run.history) {
    if (!at_side(op, side.nodes) || op.start < run.cut_at || op.start >= run.heal_at) continue;
    if (!op.is_write()) {
      ++side.reads;
      side.reads_answered += op.acknowledged() ? 1 : 0;
      continue;
    }
    ++side.writes;
    if (op.acknowledged()) {
      ++side.accepted;
    } else if (op.outcome == Outcome::kFailed) {
      ++side.refused;
      refusals.record(static_cast<std::uint64_t>(op.end - op.start));
    } else {
      ++side.unknown;
      if (op.end != Operation::kNever) {
        side.unknown_max = std::max(side.unknown_max, op.end - op.start);
      }
    }
  }
  if (refusals.count() > 0) side.refusal_p99 = static_cast<Micros>(refusals.quantile(0.99));
  side.longest_silence = longest_silence(run.history, side.nodes, run.cut_at, run.heal_at);
  return side;
}

// From the heal to the first write that the node accepted after it; -1: none.
Micros accepts_after(const ModeRun& run, std::uint32_t node) {
  Micros first = -1;
  for (const Operation& op : run.history) {
    if (op.node != node || !op.is_write() || !op.acknowledged() || op.start < run.heal_at) continue;
    const Micros after = op.end - run.heal_at;
    if (first < 0 || after < first) first = after;
  }
  return first;
}

// The same for the last of these nodes.
Micros correct_after(const ModeRun& run, const Side& nodes) {
  Micros last = -1;
  for (const std::uint32_t node : nodes) {
    const Micros after = accepts_after(run, node);
    if (after < 0) return -1;
    last = std::max(last, after);
  }
  return last;
}

void latencies(const ModeRun& run, ModeFigures& figures) {
  Histogram writes, reads;
  for (const Operation& op : run.history) {
    if (!op.acknowledged()) continue;
    (op.is_write() ? writes : reads).record(static_cast<std::uint64_t>(op.end - op.start));
  }
  figures.write_p50 = static_cast<Micros>(writes.quantile(0.50));
  figures.write_p99 = static_cast<Micros>(writes.quantile(0.99));
  figures.read_p50 = static_cast<Micros>(reads.quantile(0.50));
  figures.read_p99 = static_cast<Micros>(reads.quantile(0.99));
}

ModeFigures mode_figures(const ModeRun& run, const Sides& sides) {
  ModeFigures figures{.mode = run.mode};
  const std::optional<std::size_t> majority = majority_side(sides);
  Side others;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    figures.sides.push_back(side_figures(run, sides[i]));
    figures.sides.back().majority = i == majority;
    if (i > 0) others.insert(others.end(), sides[i].begin(), sides[i].end());
  }
  figures.alone = figures.sides.front();
  figures.together = side_figures(run, std::move(others));
  figures.stale = count_stale_reads(run.history, run.cut_at, run.heal_at);
  figures.keys_with_two_values = run.keys_with_two_values;
  latencies(run, figures);
  figures.correct_after = correct_after(run, cut_off(sides));
  if (majority) {
    figures.heal_stall = longest_silence(run.history, sides[*majority], run.heal_at,
                                         std::min(run.heal_at + kSecond, run.load_end));
  }
  figures.equal_after = run.equal_after;
  figures.reconcile_bytes = run.reconcile_bytes;
  figures.accounts = settle_accounts(run.mode, run.history, run.finals);
  figures.linearizable = check_linearizable(run.history);
  figures.convergence = check_convergence(run.mode, run.finals);
  if (run.finals.empty())
    figures.convergence = {.verdict = Verdict::kUnknown,
                           .detail = "the nodes' final states are missing"};
  return figures;
}

Verdict worse(Verdict a, Verdict b) {
  if (a == Verdict::kNo || b == Verdict::kNo) return Verdict::kNo;
  return a == Verdict::kUnknown || b == Verdict::kUnknown ? Verdict::kUnknown : Verdict::kYes;
}

}  // namespace

Figures figures_of(const RunRecord& record) {
  const Sides& sides = record.plan.sides;
  Figures figures{.cp = mode_figures(record.cp, sides), .ap = mode_figures(record.ap, sides)};
  const bool nothing_cut =
      std::ranges::all_of(figures.cp.sides,
                          [](const SideFigures& s) { return s.refused + s.unknown == 0; }) &&
      figures.ap.keys_with_two_values == 0;
  figures.cut_was_real = nothing_cut ? Verdict::kNo : Verdict::kYes;

  Verdict all = figures.cp.linearizable.verdict;
  for (const ModeFigures* mode : {&figures.cp, &figures.ap}) {
    all = worse(all, mode->convergence.verdict);
    all = worse(all, mode->accounts.verdict);
  }
  all = worse(all, figures.cut_was_real);
  if (!record.cp.problems.empty() || !record.ap.problems.empty()) {
    all = worse(all, Verdict::kUnknown);
  }
  figures.verdict = all;
  return figures;
}

int exit_code(Verdict verdict) {
  return verdict == Verdict::kYes ? 0 : verdict == Verdict::kNo ? 1 : 5;
}

}  // namespace capstan::lab
