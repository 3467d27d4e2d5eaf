#include "core/request_check.h"

#include <doctest/doctest.h>

#include "core/limits.h"
#include "tests/support/request_ops.h"

using namespace capstan;
using namespace capstan::test;

namespace {

TxnRequest nested(std::size_t depth) {
  TxnRequest txn;
  if (depth > 1) txn.success.push_back({nested(depth - 1)});
  return txn;
}

Reason reason_of(const RequestBody& body) {
  const auto refusal = check_request(body);
  return refusal ? refusal->reason : Reason::kNone;
}
Reason static_check(std::vector<RequestOp> success, std::vector<RequestOp> failure = {}) {
  return reason_of(txn_of(std::move(success), std::move(failure)));
}

}  // namespace

TEST_CASE("request check: requests that make no sense are refused whatever the data say") {
  CHECK(reason_of(put_of("k", "v")) == Reason::kNone);
  CHECK(reason_of(put_of("")) == Reason::kKeyMissing);
  CHECK(reason_of(RangeRequest{}) == Reason::kKeyMissing);
  CHECK(reason_of(DeleteRangeRequest{}) == Reason::kKeyMissing);
  PutRequest both = put_of("k", "v");
  both.ignore_value = true;
  CHECK(reason_of(both) == Reason::kValueProvided);
  PutRequest lease = put_of("k", "");
  lease.lease = 1;
  lease.ignore_lease = true;
  CHECK(reason_of(lease) == Reason::kLeaseProvided);
  CHECK(reason_of(txn_of({RequestOp{}})) == Reason::kKeyNotFound);
  TxnRequest no_key;
  no_key.compare.emplace_back();
  CHECK(reason_of(no_key) == Reason::kKeyMissing);
  CHECK(reason_of(StatusRequest{}) == Reason::kNone);
}

TEST_CASE("request check: bounds hold at the bound and break one above it") {
  CHECK(reason_of(put_of(std::string(kKeyBytesMax, 'k'))) == Reason::kNone);
  CHECK(reason_of(put_of(std::string(kKeyBytesMax + 1, 'k'))) == Reason::kTooLarge);
  CHECK(reason_of(put_of("k", std::string(kRequestBytesMax - 1, 'v'))) == Reason::kNone);
  CHECK(reason_of(put_of("k", std::string(kRequestBytesMax, 'v'))) == Reason::kTooLarge);
  TxnRequest txn;
  for (std::size_t i = 0; i < kTxnOpsMax; ++i) txn.success.push_back(get("k"));
  CHECK(reason_of(txn) == Reason::kNone);
  txn.success.push_back(get("k"));
  CHECK(reason_of(txn) == Reason::kTooManyOps);
  CHECK(reason_of(nested(kTxnDepthMax)) == Reason::kNone);
  CHECK(reason_of(nested(kTxnDepthMax + 1)) == Reason::kTooManyOps);
}

TEST_CASE(
    "request check: a large value split over a transaction's operations still counts as a whole") {
  TxnRequest txn;
  for (int i = 0; i < 4; ++i) {
    txn.success.push_back(put("k", std::string(kRequestBytesMax / 4, 'v')));
  }
  CHECK(reason_of(txn) == Reason::kTooLarge);
  CHECK(request_bytes(txn) == kRequestBytesMax + 4);
}

TEST_CASE("request check: the static checks are etcd's") {
  struct Row {
    const char* what;
    std::vector<RequestOp> success, failure;
    Reason want;
  };
  const Row rows[] = {
      {"two keys", {put("a"), put("b")}, {}, Reason::kNone},
      {"one key twice", {put("a"), put("a")}, {}, Reason::kDuplicateKey},
      {"in both branches", {put("a")}, {put("a")}, Reason::kNone},
      {"put inside a deleted range", {put("b"), del("a", "c")}, {}, Reason::kDuplicateKey},
      {"put beside a deleted range", {put("c"), del("a", "c")}, {}, Reason::kNone},
      {"put behind an open deleted range",
       {del("a", std::string(1, '\0')), put("z")},
       {},
       Reason::kDuplicateKey},
      {"overlapping deletes", {del("a", "c"), del("b", "d")}, {}, Reason::kNone},
      {"then and else of one nested", {txn({put("a")}, {put("a")})}, {}, Reason::kNone},
      {"nested and sibling put", {txn({put("a")}), put("a")}, {}, Reason::kDuplicateKey},
      {"two nested siblings", {txn({put("a")}), txn({}, {put("a")})}, {}, Reason::kDuplicateKey},
      {"nested put, outer delete", {txn({put("b")}), del("a", "c")}, {}, Reason::kDuplicateKey},
      {"empty key", {put("")}, {}, Reason::kKeyMissing},
      {"empty key in a get", {}, {get("")}, Reason::kKeyMissing},
      {"empty key in a delete", {txn({del("")})}, {}, Reason::kKeyMissing},
      {"nothing in an op", {RequestOp{}}, {}, Reason::kKeyNotFound},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(static_check(row.success, row.failure) == row.want);
  }
}

TEST_CASE("request check: operations are bounded, nested ones by what is left") {
  std::vector<RequestOp> many;
  for (std::size_t i = 0; i < kTxnOpsMax; ++i) many.push_back(get("k"));
  CHECK(static_check(many) == Reason::kNone);
  CHECK(static_check({txn(many)}) == Reason::kTooManyOps);
  many.push_back(get("k"));
  CHECK(static_check(many) == Reason::kTooManyOps);
  RequestOp deep = get("k");
  for (std::size_t i = 0; i <= kTxnDepthMax; ++i) deep = txn({deep});
  CHECK(static_check({deep}) == Reason::kTooManyOps);
}
