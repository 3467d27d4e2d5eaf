#include "tests/sim/history_check.h"

#include <algorithm>
#include <set>

namespace capstan::sim {

namespace {

// Its answer is of one attempt, and of the present.
bool is_plain(const Asked& asked) { return !asked.serializable && asked.attempts == 1; }
bool counts(const Asked& asked) { return asked.op.acknowledged() && is_plain(asked); }

// Did this acknowledged operation make a revision of its own?
bool changed(const Asked& asked) {
  if (const auto* removed = std::get_if<DeleteRangeResult>(&asked.reply.body)) {
    return removed->deleted > 0;
  }
  if (const auto* txn = std::get_if<TxnResult>(&asked.reply.body)) return txn->succeeded;
  return std::holds_alternative<PutRequest>(asked.request.body);
}

std::string about(const Asked& asked) {
  return "[" + lab::describe(asked.op) + ", revision " + std::to_string(asked.op.revision) + "]";
}

const Snapshot& at(const Truth& truth, std::uint64_t revision) {
  static const Snapshot nothing;
  return revision < truth.size() ? truth[revision] : nothing;
}

std::string check_range(const Asked& asked, const KeyRange& range, const RangeResult& got,
                        const Snapshot& want) {
  std::vector<KeyValue> expected;
  for (const auto& [key, kv] : want) {
    const bool inside = range.end.empty() ? key == range.key : key >= range.key && key < range.end;
    if (inside) expected.push_back(kv);
  }
  if (expected == got.kvs) return {};
  return about(asked) + " read " + std::to_string(got.kvs.size()) + " keys that are not what " +
         std::to_string(expected.size()) + " keys were at that revision";
}

std::string check_put(const Asked& asked, const std::string& key, const std::string& value,
                      const Truth& truth) {
  const Snapshot& now = at(truth, asked.op.revision);
  const auto found = now.find(key);
  if (found != now.end() && found->second.value == value &&
      found->second.mod_revision.value == asked.op.revision) {
    return {};
  }
  return about(asked) + " was acknowledged, and is not there at its revision";
}

std::string check_txn(const Asked& asked, const TxnResult& result, const Truth& truth) {
  const auto& txn = std::get<TxnRequest>(asked.request.body);
  const std::uint64_t before = asked.op.revision - (result.succeeded ? 1 : 0);
  const Compare& compare = txn.compare.front();
  const bool exists = at(truth, before).contains(compare.range.key);
  const bool holds = compare.result == CompareResult::kGreater ? exists : !exists;
  if (holds != result.succeeded) return about(asked) + " took the wrong branch";
  if (!result.succeeded) {
    const auto& range = std::get<RangeRequest>(txn.failure.front().op);
    const auto* got = std::get_if<RangeResult>(&result.responses.front().result);
    return got ? check_range(asked, range.range, *got, at(truth, before)) : std::string();
  }
  const auto* old = std::get_if<RangeRequest>(&txn.success.back().op);
  const auto* got = old && result.responses.size() == txn.success.size()
                        ? std::get_if<RangeResult>(&result.responses.back().result)
                        : nullptr;
  if (got) {
    const auto revision = static_cast<std::uint64_t>(old->revision);
    if (std::string wrong = check_range(asked, old->range, *got, at(truth, revision));
        !wrong.empty()) {
      return wrong;
    }
  }
  const auto& put = std::get<PutRequest>(txn.success.front().op);
  return check_put(asked, put.key, put.value, truth);
}

std::string check_one(const Asked& asked, const Truth& truth) {
  if (const auto* range = std::get_if<RangeRequest>(&asked.request.body)) {
    const auto* got = std::get_if<RangeResult>(&asked.reply.body);
    const std::uint64_t revision =
        range->revision > 0 ? static_cast<std::uint64_t>(range->revision) : asked.op.revision;
    return got ? check_range(asked, range->range, *got, at(truth, revision)) : std::string();
  }
  if (asked.attempts > 1) return {};  // its reply may be that of an earlier attempt
  if (const auto* put = std::get_if<PutRequest>(&asked.request.body)) {
    return check_put(asked, put->key, put->value, truth);
  }
  if (const auto* removal = std::get_if<DeleteRangeRequest>(&asked.request.body)) {
    if (!changed(asked)) return {};
    const bool was = at(truth, asked.op.revision - 1).contains(removal->range.key);
    const bool is = at(truth, asked.op.revision).contains(removal->range.key);
    return was && !is ? std::string() : about(asked) + " deleted, and did not at its revision";
  }
  if (const auto* txn = std::get_if<TxnResult>(&asked.reply.body))
    return check_txn(asked, *txn, truth);
  return {};
}

// The revision an operation asks for by number; 0: none.
std::uint64_t revision_asked(const Asked& asked) {
  std::int64_t revision = 0;
  if (const auto* range = std::get_if<RangeRequest>(&asked.request.body)) {
    revision = range->revision;
  } else if (const auto* txn = std::get_if<TxnRequest>(&asked.request.body)) {
    const auto* last = std::get_if<RangeRequest>(&txn->success.back().op);
    revision = last ? last->revision : 0;
  } else if (const auto* compact = std::get_if<CompactRequest>(&asked.request.body)) {
    revision = compact->revision;
  }
  return static_cast<std::uint64_t>(std::max<std::int64_t>(revision, 0));
}

// The value a write would leave; empty: none.
std::string value_of(const Asked& asked) {
  if (const auto* put = std::get_if<PutRequest>(&asked.request.body)) return put->value;
  if (const auto* txn = std::get_if<TxnRequest>(&asked.request.body)) {
    return std::get<PutRequest>(txn->success.front().op).value;
  }
  return {};
}

}  // namespace

std::string check_real_time(const AskedList& all) {
  std::vector<const Asked*> by_start, by_end;
  for (const auto& asked : all) {
    if (!counts(*asked)) continue;
    by_start.push_back(asked.get());
    by_end.push_back(asked.get());
  }
  std::ranges::stable_sort(by_start, {}, [](const Asked* a) { return a->op.start; });
  std::ranges::stable_sort(by_end, {}, [](const Asked* a) { return a->op.end; });
  const Asked* newest = nullptr;  // of those that ended before
  auto ended = by_end.begin();
  for (const Asked* asked : by_start) {
    for (; ended != by_end.end() && (*ended)->op.end < asked->op.start; ++ended) {
      if (newest == nullptr || (*ended)->op.revision > newest->op.revision) newest = *ended;
    }
    if (newest == nullptr) continue;
    if (asked->op.revision < newest->op.revision) {
      return about(*asked) + " went back behind " + about(*newest) + ", which had ended before";
    }
    if (changed(*asked) && asked->op.revision == newest->op.revision) {
      return about(*asked) + " changed something at a revision seen before by " + about(*newest);
    }
  }
  std::map<std::uint64_t, const Asked*> owners;
  for (const Asked* asked : by_start) {
    if (!changed(*asked)) continue;
    const auto [owner, first] = owners.emplace(asked->op.revision, asked);
    if (!first) return about(*asked) + " has the revision of " + about(*owner->second);
  }
  return {};
}

std::string check_content(const AskedList& all, const Truth& truth) {
  for (const auto& asked : all) {
    if (!asked->op.acknowledged()) continue;
    if (asked->op.revision >= truth.size()) {
      return about(*asked) + " is past the last revision of the nodes";
    }
    if (std::string wrong = check_one(*asked, truth); !wrong.empty()) return wrong;
  }
  return {};
}

std::string check_once(const AskedList& all, const Truth& truth) {
  std::map<std::string, std::vector<std::uint64_t>> places;  // of each value
  for (std::uint64_t revision = 1; revision < truth.size(); ++revision) {
    for (const auto& [key, kv] : truth[revision]) {
      if (kv.mod_revision.value == revision) places[kv.value].push_back(revision);
    }
  }
  for (const auto& asked : all) {
    const std::string value = value_of(*asked);
    const auto found = places.find(value);
    const std::size_t times = value.empty() || found == places.end() ? 0 : found->second.size();
    if (times > 1) return about(*asked) + " was applied more than once";
    if (times > 0 && asked->op.outcome == Outcome::kFailed) {
      return about(*asked) + " was refused, and applied all the same";
    }
    const bool must = asked->op.acknowledged() && changed(*asked) && !value.empty();
    if (must && times == 0) return about(*asked) + " was acknowledged, and is gone";
  }
  return {};
}

std::string check_compaction(const AskedList& all, bool by_rule) {
  std::vector<const Asked*> compactions;
  for (const auto& asked : all) {
    if (std::holds_alternative<CompactRequest>(asked->request.body)) {
      compactions.push_back(asked.get());
    }
  }
  std::uint64_t newest = 1;  // revision that was acknowledged, of operations by end
  std::vector<std::pair<Micros, std::uint64_t>> newest_by;
  for (const auto& asked : all) {
    if (asked->op.acknowledged()) newest_by.emplace_back(asked->op.end, asked->op.revision);
  }
  std::ranges::sort(newest_by);
  for (auto& [end, revision] : newest_by) revision = newest = std::max(newest, revision);

  for (const auto& asked : all) {
    const std::uint64_t revision = revision_asked(*asked);
    if (revision == 0) continue;
    const bool is_compaction = std::holds_alternative<CompactRequest>(asked->request.body);
    // A transaction that took its other branch did not read it.
    const auto* txn = std::get_if<TxnResult>(&asked->reply.body);
    const bool done = asked->op.acknowledged() && (txn == nullptr || txn->succeeded);
    bool may_be_compacted = by_rule;
    for (const Asked* compaction : compactions) {
      if (compaction == asked.get()) continue;
      const std::uint64_t to = revision_asked(*compaction);
      if (is_compaction ? to < revision : to <= revision) continue;
      if (compaction->op.start < asked->op.end && compaction->op.outcome != Outcome::kFailed) {
        may_be_compacted = true;
      }
      if (done && counts(*asked) && compaction->op.acknowledged() &&
          compaction->op.end < asked->op.start) {
        return about(*asked) + " went below " + about(*compaction) + ", which had ended before";
      }
    }
    if (asked->op.reason == Reason::kCompacted && !may_be_compacted) {
      return about(*asked) + " was refused as compacted, and nobody had compacted as far";
    }
    if (asked->op.reason == Reason::kFutureRevision && is_plain(*asked)) {
      const auto later = std::ranges::lower_bound(newest_by, asked->op.start, {},
                                                  &std::pair<Micros, std::uint64_t>::first);
      if (later != newest_by.begin() && std::prev(later)->second >= revision) {
        return about(*asked) + " was refused as of the future, and that revision had been seen";
      }
    }
  }
  return {};
}

lab::History single_key_history(const AskedList& all) {
  lab::History history;
  for (const auto& asked : all) {
    if (asked->serializable) continue;
    const bool txn = std::holds_alternative<TxnRequest>(asked->request.body);
    if (!asked->single_key && !txn) continue;
    // A transaction that took the other branch wrote nothing; one that did not is a put.
    if (txn && asked->op.acknowledged() && !changed(*asked)) continue;
    lab::Operation op = asked->op;
    if (asked->attempts > 1) op.saw_previous = false;
    history.push_back(std::move(op));
  }
  return history;
}

}  // namespace capstan::sim
