#include "node/router.h"

#include <doctest/doctest.h>

#include "core/limits.h"

namespace capstan::node {
namespace {

PutRequest put(std::string key, std::string value = {}) {
  PutRequest request;
  request.key = std::move(key);
  request.value = std::move(value);
  return request;
}
RequestOp put_op(std::string key, std::string value = {}) {
  return {put(std::move(key), std::move(value))};
}
TxnRequest txn_of(std::vector<RequestOp> success) {
  TxnRequest txn;
  txn.success = std::move(success);
  return txn;
}

Reason reason_of(const RequestBody& body) {
  const auto refusal = check_request(body);
  return refusal ? refusal->reason : Reason::kNone;
}

TxnRequest nested(std::size_t depth) {
  TxnRequest txn;
  if (depth > 1) txn.success.push_back({nested(depth - 1)});
  return txn;
}

}  // namespace

TEST_CASE("router: requests that make no sense are refused whatever the data say") {
  CHECK(reason_of(put("k", "v")) == Reason::kNone);
  CHECK(reason_of(put("")) == Reason::kKeyMissing);
  CHECK(reason_of(RangeRequest{}) == Reason::kKeyMissing);
  CHECK(reason_of(DeleteRangeRequest{}) == Reason::kKeyMissing);
  PutRequest both = put("k", "v");
  both.ignore_value = true;
  CHECK(reason_of(both) == Reason::kValueProvided);
  PutRequest lease = put("k");
  lease.lease = 1;
  lease.ignore_lease = true;
  CHECK(reason_of(lease) == Reason::kLeaseProvided);
  CHECK(reason_of(txn_of({RequestOp{}})) == Reason::kKeyNotFound);
  TxnRequest no_key;
  no_key.compare.emplace_back();
  CHECK(reason_of(no_key) == Reason::kKeyMissing);
  CHECK(reason_of(StatusRequest{}) == Reason::kNone);
}

TEST_CASE("router: bounds hold at the bound and break one above it") {
  CHECK(reason_of(put(std::string(kKeyBytesMax, 'k'))) == Reason::kNone);
  CHECK(reason_of(put(std::string(kKeyBytesMax + 1, 'k'))) == Reason::kTooLarge);
  CHECK(reason_of(put("k", std::string(kRequestBytesMax - 1, 'v'))) == Reason::kNone);
  CHECK(reason_of(put("k", std::string(kRequestBytesMax, 'v'))) == Reason::kTooLarge);
  TxnRequest txn;
  for (std::size_t i = 0; i < kTxnOpsMax; ++i) txn.success.push_back(put_op("k"));
  CHECK(reason_of(txn) == Reason::kNone);
  txn.success.push_back(put_op("k"));
  CHECK(reason_of(txn) == Reason::kTooManyOps);
  CHECK(reason_of(nested(kTxnDepthMax)) == Reason::kNone);
  CHECK(reason_of(nested(kTxnDepthMax + 1)) == Reason::kTooManyOps);
}

TEST_CASE("router: a large value split over a transaction's operations still counts as a whole") {
  TxnRequest txn;
  for (int i = 0; i < 4; ++i) {
    txn.success.push_back(put_op("k", std::string(kRequestBytesMax / 4, 'v')));
  }
  CHECK(reason_of(txn) == Reason::kTooLarge);
  CHECK(request_bytes(txn) == kRequestBytesMax + 4);
}

TEST_CASE("router: with one rule every request falls under it, keys or none") {
  const KeyspaceRules rules(Mode::kAp);
  const RequestBody bodies[] = {put("a"), StatusRequest{}, BooksRequest{},
                                txn_of({put_op("a"), put_op("z")})};
  for (const RequestBody& body : bodies) {
    const KeyspaceRule* rule = route(rules, body);
    REQUIRE(rule != nullptr);
    CHECK(rule->mode == Mode::kAp);
    CHECK(rule->merge == MergeRule::kLww);
  }
}

}  // namespace capstan::node
