#include "core/request_check.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "core/key_range.h"
#include "core/limits.h"
#include "core/overloaded.h"

namespace capstan {
namespace {

using Problem = std::optional<Refusal>;

// ---- Size ---------------------------------------------------------------------------------------

std::size_t bytes_of(const KeyRange& range) { return range.key.size() + range.end.size(); }
std::size_t bytes_of(const RangeRequest& r) { return bytes_of(r.range); }
std::size_t bytes_of(const PutRequest& r) { return r.key.size() + r.value.size(); }
std::size_t bytes_of(const DeleteRangeRequest& r) { return bytes_of(r.range); }

std::size_t bytes_of(const TxnRequest& txn) {
  const auto of_op = [](const RequestOp& op) {
    return std::visit(Overloaded{[](std::monostate) -> std::size_t { return 0; },
                                 [](const auto& r) { return bytes_of(r); }},
                      op.op);
  };
  std::size_t sum = 0;
  for (const Compare& compare : txn.compare) sum += bytes_of(compare.range) + compare.value.size();
  for (const RequestOp& op : txn.success) sum += of_op(op);
  for (const RequestOp& op : txn.failure) sum += of_op(op);
  return sum;
}

// ---- Shape --------------------------------------------------------------------------------------

Problem check_key(const std::string& key) {
  if (key.empty()) return Refusal{Reason::kKeyMissing, "a key is missing"};
  if (key.size() > kKeyBytesMax) {
    return Refusal{Reason::kTooLarge, "a key of " + std::to_string(key.size()) +
                                          " bytes; at most " + std::to_string(kKeyBytesMax)};
  }
  return std::nullopt;
}

Problem check(const RangeRequest& r) { return check_key(r.range.key); }
Problem check(const DeleteRangeRequest& r) { return check_key(r.range.key); }
Problem check(const PutRequest& r) {
  if (Problem bad = check_key(r.key)) return bad;
  if (r.ignore_value && !r.value.empty()) {
    return Refusal{Reason::kValueProvided, "a value and ignore_value contradict each other"};
  }
  if (r.ignore_lease && r.lease != 0) {
    return Refusal{Reason::kLeaseProvided, "a lease and ignore_lease contradict each other"};
  }
  return std::nullopt;
}

Problem check(const LeaseGrantRequest& r) {
  if (r.ttl <= kLeaseTtlMax) return std::nullopt;
  return Refusal{Reason::kLeaseTtlTooLarge, "a time to live of " + std::to_string(r.ttl) +
                                                " s; at most " + std::to_string(kLeaseTtlMax)};
}

// One address a member, with the port that others dial.
Problem check(const MemberChangeRequest& r) {
  using Action = MemberChangeRequest::Action;
  if (r.action != Action::kAdd && r.action != Action::kUpdate) return std::nullopt;
  const std::size_t colon = r.peer.rfind(':');
  const std::string_view port =
      colon == std::string::npos ? std::string_view() : std::string_view(r.peer).substr(colon + 1);
  int number = 0;
  const auto got = std::from_chars(port.data(), port.data() + port.size(), number);
  if (colon != std::string::npos && colon > 0 && got.ec == std::errc{} &&
      got.ptr == port.data() + port.size() && number > 0 && number < 65536 &&
      r.peer.size() <= kPeerAddressMax) {
    return std::nullopt;
  }
  return Refusal{Reason::kBadPeerUrl,
                 "\"" + r.peer + "\" is no peer address of the kind HOST:PORT"};
}

Problem check_name(const std::string& name) {
  if (name.size() <= kAuthNameMax) return std::nullopt;
  return Refusal{Reason::kTooLarge, "the name of a user or role has at most " +
                                        std::to_string(kAuthNameMax) + " bytes"};
}
Problem check(const AuthRequest& r) {
  if (Problem bad = check_name(r.user)) return bad;
  if (Problem bad = check_name(r.role)) return bad;
  if (r.action != AuthRequest::Action::kGrantPermission) return std::nullopt;
  const KeyRange& range = r.permission.range;
  if (range.key.size() <= kKeyBytesMax && range.end.size() <= kKeyBytesMax) return std::nullopt;
  return Refusal{Reason::kTooLarge,
                 "a key of a range has at most " + std::to_string(kKeyBytesMax) + " bytes"};
}

Problem check(const OutcomeRequest& r) {
  if (bool(r.id) != !r.of_request.empty() && r.of_request.size() <= kRequestIdBytesMax) {
    return std::nullopt;
  }
  return Refusal{Reason::kInvalid, "the id of one write, or of one request, is needed"};
}

// Nested transactions have what the outer ones left of the allowance.
Problem check_txn(const TxnRequest& txn, std::size_t ops_max, std::size_t depth) {
  if (depth > kTxnDepthMax) {
    return Refusal{Reason::kTooManyOps,
                   "transactions nest deeper than " + std::to_string(kTxnDepthMax)};
  }
  const std::size_t ops = std::max({txn.compare.size(), txn.success.size(), txn.failure.size()});
  if (ops > ops_max) {
    return Refusal{Reason::kTooManyOps, "more operations in one transaction than the " +
                                            std::to_string(kTxnOpsMax) + " allowed"};
  }
  for (const Compare& compare : txn.compare) {
    if (Problem bad = check_key(compare.range.key)) return bad;
  }
  const auto check_op = [&](const RequestOp& op) {
    return std::visit(
        Overloaded{[](std::monostate) -> Problem {
                     return Refusal{Reason::kKeyNotFound, "an operation of a transaction is empty"};
                   },
                   [&](const TxnRequest& r) { return check_txn(r, ops_max - ops, depth + 1); },
                   [](const auto& r) { return check(r); }},
        op.op);
  };
  for (const auto* branch : {&txn.success, &txn.failure}) {
    for (const RequestOp& op : *branch) {
      if (Problem bad = check_op(op)) return bad;
    }
  }
  return std::nullopt;
}

// ---- Keys written twice -------------------------------------------------------------------------

// What one branch writes.
struct Writes {
  std::set<std::string> puts;
  std::vector<KeyBounds> deletes;
  bool deletes_key(const std::string& key) const {
    return std::ranges::any_of(deletes, [&](const KeyBounds& b) { return b.contains(key); });
  }
};

Problem duplicate_key(const std::string& key) {
  return Refusal{Reason::kDuplicateKey, "key \"" + key + "\" is written twice in one transaction"};
}

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
    if (out.deletes_key(put->key) || !out.puts.insert(put->key).second) {
      return duplicate_key(put->key);
    }
  }
  return std::nullopt;
}

Problem check(const TxnRequest& txn) {
  if (Problem bad = check_txn(txn, kTxnOpsMax, 1)) return bad;
  Writes success, failure;
  if (Problem bad = collect_writes(txn.success, success)) return bad;
  return collect_writes(txn.failure, failure);
}

}  // namespace

std::size_t request_bytes(const RequestBody& body) {
  return std::visit(
      [](const auto& r) -> std::size_t {
        if constexpr (requires { bytes_of(r); }) return bytes_of(r);
        return 0;
      },
      body);
}

std::optional<Refusal> check_request(const RequestBody& body) {
  const std::size_t bytes = request_bytes(body);
  if (bytes > kRequestBytesMax) {
    return Refusal{Reason::kTooLarge, "a request of " + std::to_string(bytes) + " bytes; at most " +
                                          std::to_string(kRequestBytesMax)};
  }
  return std::visit(
      [](const auto& r) -> Problem {
        if constexpr (requires { check(r); }) return check(r);
        return std::nullopt;
      },
      body);
}

}  // namespace capstan
