#include "node/router.h"

#include <doctest/doctest.h>

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

}  // namespace

TEST_CASE("router: with one rule every request falls under it, keys or none") {
  const KeyspaceRules rules(Mode::kAp, Epoch{4});
  const RequestBody bodies[] = {put("a"), StatusRequest{}, BooksRequest{},
                                txn_of({put_op("a"), put_op("z")})};
  for (const RequestBody& body : bodies) {
    const KeyspaceRule* rule = route(rules, body);
    REQUIRE(rule != nullptr);
    CHECK(rule->mode == Mode::kAp);
    CHECK(rule->epoch == Epoch{4});
    CHECK(rule->merge == MergeRule::kLww);
  }
}

}  // namespace capstan::node
