#include "node/router.h"

#include "core/overloaded.h"

namespace capstan::node {
namespace {

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
