#include "node/router.h"

#include <algorithm>

#include "core/limits.h"

namespace capstan::node {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

// ---- Size ---------------------------------------------------------------------------------------

std::size_t bytes_of(const KeyRange& range) { return range.key.size() + range.end.size(); }

std::size_t bytes_of(const TxnRequest& txn);

std::size_t bytes_of(const RequestOp& op) {
  return std::visit(Overloaded{
                        [](std::monostate) -> std::size_t { return 0; },
                        [](const RangeRequest& r) { return bytes_of(r.range); },
                        [](const PutRequest& r) { return r.key.size() + r.value.size(); },
                        [](const DeleteRangeRequest& r) { return bytes_of(r.range); },
                        [](const TxnRequest& r) { return bytes_of(r); },
                    },
                    op.op);
}

std::size_t bytes_of(const TxnRequest& txn) {
  std::size_t sum = 0;
  for (const Compare& compare : txn.compare) sum += bytes_of(compare.range) + compare.value.size();
  for (const RequestOp& op : txn.success) sum += bytes_of(op);
  for (const RequestOp& op : txn.failure) sum += bytes_of(op);
  return sum;
}

// ---- Checks -------------------------------------------------------------------------------------

using Checked = std::optional<Refusal>;

Checked key_missing() { return Refusal{Reason::kKeyMissing, "a key is missing"}; }

Checked check_key(const std::string& key) {
  if (key.empty()) return key_missing();
  if (key.size() > kKeyBytesMax) {
    return Refusal{Reason::kTooLarge, "a key of " + std::to_string(key.size()) +
                                          " bytes; at most " + std::to_string(kKeyBytesMax)};
  }
  return std::nullopt;
}

Checked check(const RangeRequest& r) { return check_key(r.range.key); }
Checked check(const DeleteRangeRequest& r) { return check_key(r.range.key); }
Checked check(const PutRequest& r) {
  if (Checked bad = check_key(r.key)) return bad;
  if (r.ignore_value && !r.value.empty()) {
    return Refusal{Reason::kValueProvided, "a value and ignore_value contradict each other"};
  }
  if (r.ignore_lease && r.lease != 0) {
    return Refusal{Reason::kLeaseProvided, "a lease and ignore_lease contradict each other"};
  }
  return std::nullopt;
}

Checked check_txn(const TxnRequest& txn, std::size_t ops_max, std::size_t depth);

Checked check_op(const RequestOp& op, std::size_t ops_max, std::size_t depth) {
  return std::visit(Overloaded{
                        [](std::monostate) -> Checked {
                          return Refusal{Reason::kKeyNotFound,
                                         "an operation of a transaction is empty"};
                        },
                        [&](const TxnRequest& r) { return check_txn(r, ops_max, depth + 1); },
                        [](const auto& r) { return check(r); },
                    },
                    op.op);
}

Checked check_txn(const TxnRequest& txn, std::size_t ops_max, std::size_t depth) {
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
    if (Checked bad = check_key(compare.range.key)) return bad;
  }
  for (const RequestOp& op : txn.success) {
    if (Checked bad = check_op(op, ops_max - ops, depth)) return bad;
  }
  for (const RequestOp& op : txn.failure) {
    if (Checked bad = check_op(op, ops_max - ops, depth)) return bad;
  }
  return std::nullopt;
}

// ---- Rules --------------------------------------------------------------------------------------

// Collects the rules that a request touches; holds as long as all of them agree.
class Touched {
 public:
  explicit Touched(const KeyspaceRules& rules) : rules_(rules) {}

  void add(ByteView key) { meet(rules_.of(key)); }
  // A range is where its first key is. Rules by prefix will have to look at its end as well.
  void add(const KeyRange& range) { add(ByteView(range.key)); }
  void add(const TxnRequest& txn) {
    for (const Compare& compare : txn.compare) add(compare.range);
    for (const RequestOp& op : txn.success) add(op);
    for (const RequestOp& op : txn.failure) add(op);
  }
  void add(const RequestOp& op) {
    std::visit(
        Overloaded{[](std::monostate) {}, [&](const PutRequest& r) { add(ByteView(r.key)); },
                   [&](const TxnRequest& r) { add(r); }, [&](const auto& r) { add(r.range); }},
        op.op);
  }
  const KeyspaceRule* rule() {
    if (rule_ == nullptr && agree_) rule_ = &rules_.of("");
    return agree_ ? rule_ : nullptr;
  }

 private:
  void meet(const KeyspaceRule& rule) {
    if (rule_ == nullptr) rule_ = &rule;
    agree_ = agree_ && rule_->mode == rule.mode && rule_->epoch == rule.epoch;
  }

  const KeyspaceRules& rules_;
  const KeyspaceRule* rule_ = nullptr;
  bool agree_ = true;
};

}  // namespace

std::size_t request_bytes(const RequestBody& body) {
  return std::visit(Overloaded{
                        [](const RangeRequest& r) { return bytes_of(r.range); },
                        [](const PutRequest& r) { return r.key.size() + r.value.size(); },
                        [](const DeleteRangeRequest& r) { return bytes_of(r.range); },
                        [](const TxnRequest& r) { return bytes_of(r); },
                        [](const auto&) -> std::size_t { return 0; },
                    },
                    body);
}

std::optional<Refusal> check_request(const RequestBody& body) {
  const std::size_t bytes = request_bytes(body);
  if (bytes > kRequestBytesMax) {
    return Refusal{Reason::kTooLarge, "a request of " + std::to_string(bytes) + " bytes; at most " +
                                          std::to_string(kRequestBytesMax)};
  }
  return std::visit(Overloaded{
                        [](const RangeRequest& r) { return check(r); },
                        [](const PutRequest& r) { return check(r); },
                        [](const DeleteRangeRequest& r) { return check(r); },
                        [](const TxnRequest& r) { return check_txn(r, kTxnOpsMax, 1); },
                        [](const auto&) -> Checked { return std::nullopt; },
                    },
                    body);
}

const KeyspaceRule* route(const KeyspaceRules& rules, const RequestBody& body) {
  Touched touched(rules);
  std::visit(Overloaded{
                 [&](const RangeRequest& r) { touched.add(r.range); },
                 [&](const PutRequest& r) { touched.add(ByteView(r.key)); },
                 [&](const DeleteRangeRequest& r) { touched.add(r.range); },
                 [&](const TxnRequest& r) { touched.add(r); },
                 [](const auto&) {},
             },
             body);
  return touched.rule();
}

}  // namespace capstan::node
