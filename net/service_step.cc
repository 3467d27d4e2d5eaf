#include "net/service_step.h"

#include <utility>

#include "net/json_text.h"

namespace capstan::net {

CallEnd not_leader() {
  return {GrpcCode::kUnknown, "election: not leader", Reason::kKeyNotFound,
          "There is no such key, or it was created at another revision: somebody else leads."};
}

CallEnd no_leader() {
  return {GrpcCode::kUnknown, "election: no leader", Reason::kKeyNotFound, "Nobody leads."};
}

CallEnd session_expired() {
  return {GrpcCode::kUnknown, "mutex: session is expired", Reason::kLeaseNotFound,
          "The claim was gone before it was first: its lease ended, or somebody deleted it."};
}

CallEnd no_watches() {
  return end_of(refused(Reason::kNotSupported, "there are no watches to wait with"));
}

CallEnd end_of(const Reply& reply) {
  const GrpcCode code = grpc_status_of(reply.outcome, reply.reason).code;
  return {code == GrpcCode::kUnavailable ? code : GrpcCode::kUnknown, grpc_message_of(reply),
          reply.reason, reply.detail};
}

std::optional<CallEnd> end_of(const WatchMessage& message) {
  if (message.end) return end_of(refused(message.end->reason, message.end->detail));
  if (!message.canceled || message.compacted) return std::nullopt;
  return end_of(refused(Reason::kOverloaded, message.cancel_reason));
}

bool is_ok(const Reply& reply) {
  return reply.outcome == Outcome::kOk || reply.outcome == Outcome::kOkLocal;
}

KeyRange claims_of(const std::string& name) {
  std::string prefix = name + "/";
  std::string end = end_of_prefix(prefix);
  return {std::move(prefix), std::move(end)};
}

RangeRequest first_of(const std::string& name) {
  RangeRequest first;
  first.range = claims_of(name);
  first.limit = 1;
  first.sort_order = SortOrder::kAscend;
  first.sort_target = SortTarget::kCreate;
  return first;
}

TxnRequest if_created(const std::string& key, std::int64_t revision, RequestOp op) {
  TxnRequest txn;
  Compare created;
  created.target = CompareTarget::kCreate;
  created.range = {key, ""};
  created.number = revision;
  txn.compare.push_back(std::move(created));
  txn.success.push_back(std::move(op));
  return txn;
}

Step::~Step() {
  if (!asked_) return;
  asked_->left = true;
  if (asked_->reply && asked_->late) asked_->late(*asked_->reply);
}

void Step::ask(RequestBody body, Late late) {
  asked_ = std::make_shared<Asked>(ready_, std::move(late));
  asker_.ask(std::move(body), [asked = asked_](Reply reply) {
    if (!asked->left) {
      asked->reply = std::move(reply);
      asked->ready();
    } else if (asked->late) {
      asked->late(reply);
    }
  });
}

std::optional<Reply> Step::take() {
  if (!asked_ || !asked_->reply) return std::nullopt;
  return std::move(*std::exchange(asked_, nullptr)->reply);
}

}  // namespace capstan::net
