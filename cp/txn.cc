#include "cp/txn.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "core/limits.h"

namespace capstan::cp {
namespace {

using Problem = std::optional<Refusal>;

Problem key_missing() { return Refusal{Reason::kKeyMissing, "key is not provided"}; }
Problem duplicate_key(const std::string& key) {
  return Refusal{Reason::kDuplicateKey, "key \"" + key + "\" is written twice in one transaction"};
}

Problem check_op(const RangeRequest& range) {
  if (range.range.key.empty()) return key_missing();
  return std::nullopt;
}
Problem check_op(const DeleteRangeRequest& erase) {
  if (erase.range.key.empty()) return key_missing();
  return std::nullopt;
}
Problem check_op(const PutRequest& put) {
  if (put.key.empty()) return key_missing();
  if (put.ignore_value && !put.value.empty()) {
    return Refusal{Reason::kValueProvided, "value is provided beside ignore_value"};
  }
  if (put.ignore_lease && put.lease != 0) {
    return Refusal{Reason::kLeaseProvided, "lease is provided beside ignore_lease"};
  }
  return std::nullopt;
}

// Nested transactions have what the outer ones left of the allowance, as in etcd.
Problem check_shape(const TxnRequest& txn, std::size_t ops_left, std::size_t depth) {
  const std::size_t ops = std::max({txn.compare.size(), txn.success.size(), txn.failure.size()});
  if (ops > ops_left || depth > kTxnDepthMax) {
    return Refusal{Reason::kTooManyOps, "too many operations in txn request (" +
                                            std::to_string(ops) + "; at most " +
                                            std::to_string(kTxnOpsMax) + ", nested " +
                                            std::to_string(kTxnDepthMax) + " deep)"};
  }
  for (const Compare& compare : txn.compare) {
    if (compare.range.key.empty()) return key_missing();
  }
  for (const auto* branch : {&txn.success, &txn.failure}) {
    for (const RequestOp& op : *branch) {
      Problem problem;
      if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
        problem = check_shape(*nested, ops_left - ops, depth + 1);
      } else if (const auto* range = std::get_if<RangeRequest>(&op.op)) {
        problem = check_op(*range);
      } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
        problem = check_op(*put);
      } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
        problem = check_op(*erase);
      } else {
        problem = Refusal{Reason::kKeyNotFound, "an operation of the transaction is empty"};
      }
      if (problem) return problem;
    }
  }
  return std::nullopt;
}

// What one branch writes.
struct Writes {
  std::set<std::string> puts;
  std::vector<KeyBounds> deletes;
  bool deletes_key(const std::string& key) const {
    return std::ranges::any_of(deletes, [&](const KeyBounds& b) { return b.contains(key); });
  }
};

// A key may be put once, and not also be deleted. The two branches of one nested transaction may
// repeat each other, since only one of them runs; siblings may not.
Problem collect_writes(const std::vector<RequestOp>& ops, Writes& out) {
  for (const RequestOp& op : ops) {
    if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
      out.deletes.emplace_back(erase->range);
    }
  }
  for (const RequestOp& op : ops) {
    const auto* nested = std::get_if<TxnRequest>(&op.op);
    if (nested == nullptr) continue;
    Writes then, otherwise;
    if (Problem problem = collect_writes(nested->success, then)) return problem;
    if (Problem problem = collect_writes(nested->failure, otherwise)) return problem;
    std::set<std::string> both = then.puts;
    both.insert(otherwise.puts.begin(), otherwise.puts.end());
    for (const std::string& key : both) {
      if (out.puts.contains(key) || out.deletes_key(key)) return duplicate_key(key);
    }
    out.puts.merge(both);
    std::ranges::move(then.deletes, std::back_inserter(out.deletes));
    std::ranges::move(otherwise.deletes, std::back_inserter(out.deletes));
  }
  for (const RequestOp& op : ops) {
    const auto* put = std::get_if<PutRequest>(&op.op);
    if (put == nullptr) continue;
    if (out.deletes_key(put->key) || !out.puts.insert(put->key).second)
      return duplicate_key(put->key);
  }
  return std::nullopt;
}

template <class T>
bool holds(CompareResult result, const T& is, const T& than) {
  switch (result) {
    case CompareResult::kEqual:
      return is == than;
    case CompareResult::kGreater:
      return is > than;
    case CompareResult::kLess:
      return is < than;
    case CompareResult::kNotEqual:
      return is != than;
  }
  return false;
}

// `kv` null: the key is missing, which counts as all zeroes, and has no value to compare.
bool holds(const Compare& compare, const KeyValue* kv) {
  const auto number = [](Revision revision) { return static_cast<std::int64_t>(revision.value); };
  switch (compare.target) {
    case CompareTarget::kVersion:
      return holds(compare.result, kv ? static_cast<std::int64_t>(kv->version) : 0, compare.number);
    case CompareTarget::kCreate:
      return holds(compare.result, kv ? number(kv->create_revision) : 0, compare.number);
    case CompareTarget::kMod:
      return holds(compare.result, kv ? number(kv->mod_revision) : 0, compare.number);
    case CompareTarget::kLease:
      return holds(compare.result, kv ? kv->lease : 0, compare.number);
    case CompareTarget::kValue:
      return kv != nullptr && holds(compare.result, kv->value, compare.value);
  }
  return false;
}

bool holds(const Mvcc& mvcc, const Compare& compare) {
  const KeyBounds bounds(compare.range);
  if (bounds.single) {
    const auto kv = mvcc.get(bounds.from);
    return holds(compare, kv ? &*kv : nullptr);
  }
  bool any = false, all = true;
  const bool by_value = compare.target == CompareTarget::kValue;
  mvcc.each(bounds, by_value ? Mvcc::Values::kRead : Mvcc::Values::kLeftOut,
            [&](const KeyValue& kv) {
              any = true;
              return all = holds(compare, &kv);
            });
  return any ? all : holds(compare, nullptr);
}

const std::vector<RequestOp>& branch_of(const TxnRequest& txn, bool success) {
  return success ? txn.success : txn.failure;
}

template <class Predicate>
bool any_op(const TxnRequest& txn, const Predicate& predicate) {
  for (const auto* branch : {&txn.success, &txn.failure}) {
    for (const RequestOp& op : *branch) {
      if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
        if (any_op(*nested, predicate)) return true;
      } else if (predicate(op)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

std::optional<Refusal> check_static(const RequestBody& body) {
  if (const auto* range = std::get_if<RangeRequest>(&body)) return check_op(*range);
  if (const auto* put = std::get_if<PutRequest>(&body)) return check_op(*put);
  if (const auto* erase = std::get_if<DeleteRangeRequest>(&body)) return check_op(*erase);
  const auto* txn = std::get_if<TxnRequest>(&body);
  if (txn == nullptr) return std::nullopt;
  if (Problem problem = check_shape(*txn, kTxnOpsMax, 1)) return problem;
  Writes success, failure;
  if (Problem problem = collect_writes(txn->success, success)) return problem;
  return collect_writes(txn->failure, failure);
}

bool is_read_only(const TxnRequest& txn) {
  return !any_op(txn, [](const RequestOp& op) {
    return std::holds_alternative<PutRequest>(op.op) ||
           std::holds_alternative<DeleteRangeRequest>(op.op);
  });
}

bool is_serializable(const TxnRequest& txn) {
  const auto local = [](const RequestOp& op) {
    const auto* range = std::get_if<RangeRequest>(&op.op);
    return range != nullptr && range->serializable;
  };
  return any_op(txn, local) && !any_op(txn, std::not_fn(local));
}

std::optional<Refusal> check_put(const Mvcc& mvcc, const PutView& put) {
  if (put.lease != 0) return Refusal{Reason::kLeaseNotFound, "requested lease not found"};
  if ((put.ignore_value || put.ignore_lease) && !mvcc.get(put.key)) {
    return Refusal{Reason::kKeyNotFound, "key not found, and its value or lease was to be kept"};
  }
  return std::nullopt;
}

TxnRun::TxnRun(Mvcc& mvcc, const TxnRequest& txn) : mvcc_(mvcc), txn_(txn) { decide(txn); }

void TxnRun::decide(const TxnRequest& txn) {
  const bool success =
      std::ranges::all_of(txn.compare, [this](const Compare& c) { return holds(mvcc_, c); });
  path_.push_back(success);
  for (const RequestOp& op : branch_of(txn, success)) {
    if (const auto* nested = std::get_if<TxnRequest>(&op.op)) decide(*nested);
  }
}

std::optional<Refusal> TxnRun::check() const {
  std::size_t step = 0;
  return check(txn_, step);
}

std::optional<Refusal> TxnRun::check(const TxnRequest& txn, std::size_t& step) const {
  for (const RequestOp& op : branch_of(txn, path_[step++])) {
    Problem problem;
    if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
      problem = check(*nested, step);
    } else if (const auto* range = std::get_if<RangeRequest>(&op.op)) {
      problem = mvcc_.check_revision(range->revision);
    } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
      problem = check_put(mvcc_, view_of(*put));
    }
    if (problem) return problem;
  }
  return std::nullopt;
}

TxnResult TxnRun::run() {
  std::size_t step = 0;
  return run(txn_, step);
}

TxnResult TxnRun::run(const TxnRequest& txn, std::size_t& step) {
  TxnResult result;
  result.succeeded = path_[step++];
  for (const RequestOp& op : branch_of(txn, result.succeeded)) {
    ResponseOp response;
    if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
      response.result = run(*nested, step);
    } else if (const auto* range = std::get_if<RangeRequest>(&op.op)) {
      response.result = mvcc_.range(*range);
    } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
      response.result = mvcc_.put(view_of(*put));
    } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
      response.result = mvcc_.erase(*erase);
    }
    response.revision = mvcc_.revision();
    result.responses.push_back(std::move(response));
  }
  return result;
}

}  // namespace capstan::cp
