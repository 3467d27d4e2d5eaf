#include "cp/txn.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

namespace capstan::cp {
namespace {

using Problem = std::optional<Refusal>;

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

bool is_read_only(const TxnRequest& txn) {
  return !any_op(txn, [](const RequestOp& op) {
    return std::holds_alternative<PutRequest>(op.op) ||
           std::holds_alternative<DeleteRangeRequest>(op.op);
  });
}

bool puts_something(const TxnRequest& txn) {
  return any_op(txn, [](const RequestOp& op) { return std::holds_alternative<PutRequest>(op.op); });
}

bool is_serializable(const TxnRequest& txn) {
  const auto local = [](const RequestOp& op) {
    const auto* range = std::get_if<RangeRequest>(&op.op);
    return range != nullptr && range->serializable;
  };
  return any_op(txn, local) && !any_op(txn, std::not_fn(local));
}

std::optional<Refusal> check_put(const Mvcc& mvcc, const Leases& leases, const PutView& put) {
  if (put.lease != 0 && !leases.holds(put.lease)) return no_lease(put.lease);
  if ((put.ignore_value || put.ignore_lease) && !mvcc.get(put.key)) {
    return Refusal{Reason::kKeyNotFound, "key not found, and its value or lease was to be kept"};
  }
  return std::nullopt;
}

TxnRun::TxnRun(Mvcc& mvcc, const Leases& leases, const TxnRequest& txn)
    : mvcc_(mvcc), leases_(leases), txn_(txn) {
  decide(txn);
}

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
      problem = check_put(mvcc_, leases_, view_of(*put));
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
