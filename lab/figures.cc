#include "lab/figures.h"

#include <algorithm>

#include "core/metrics.h"

namespace capstan::lab {
namespace {

constexpr std::uint32_t kAlone = 0;  // n1

bool at_side(const Operation& op, bool alone) { return (op.node == kAlone) == alone; }

// The longest stretch of [from, to] in which no write of that side was acknowledged.
Micros longest_silence(const History& history, bool alone, Micros from, Micros to) {
  std::vector<Micros> ends;
  for (const Operation& op : history) {
    if (op.is_write() && op.acknowledged() && at_side(op, alone) && op.end > from && op.end < to) {
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

SideFigures side_figures(const ModeRun& run, bool alone) {
  SideFigures side;
  Histogram refusals;
  for (const Operation& op : run.history) {
    if (!at_side(op, alone) || op.start < run.cut_at || op.start >= run.heal_at) continue;
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
  side.longest_silence = longest_silence(run.history, alone, run.cut_at, run.heal_at);
  return side;
}

// From the heal to the first write that n1 accepted after it.
Micros correct_after(const ModeRun& run) {
  Micros first = -1;
  for (const Operation& op : run.history) {
    if (op.node != kAlone || !op.is_write() || !op.acknowledged() || op.start < run.heal_at)
      continue;
    const Micros after = op.end - run.heal_at;
    if (first < 0 || after < first) first = after;
  }
  return first;
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

ModeFigures mode_figures(const ModeRun& run) {
  ModeFigures figures{.mode = run.mode};
  figures.alone = side_figures(run, true);
  figures.together = side_figures(run, false);
  figures.stale = count_stale_reads(run.history, run.cut_at, run.heal_at);
  figures.keys_with_two_values = run.keys_with_two_values;
  latencies(run, figures);
  figures.correct_after = correct_after(run);
  figures.heal_stall = longest_silence(run.history, false, run.heal_at,
                                       std::min(run.heal_at + kSecond, run.load_end));
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
  Figures figures{.cp = mode_figures(record.cp), .ap = mode_figures(record.ap)};
  const bool nothing_cut = figures.cp.alone.refused + figures.cp.alone.unknown == 0 &&
                           figures.cp.together.refused + figures.cp.together.unknown == 0 &&
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
