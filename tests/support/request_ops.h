// Requests and operations of a transaction, in one word each.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/request.h"

namespace capstan::test {

inline PutRequest put_of(std::string key, std::string value = "") {
  PutRequest put;
  put.key = std::move(key);
  put.value = std::move(value);
  return put;
}
inline RequestOp put(std::string key, std::string value = "v") {
  return {put_of(std::move(key), std::move(value))};
}
inline RequestOp get(std::string key, std::string end = "") {
  RangeRequest op;
  op.range = {std::move(key), std::move(end)};
  return {op};
}
inline RequestOp del(std::string key, std::string end = "") {
  DeleteRangeRequest op;
  op.range = {std::move(key), std::move(end)};
  return {op};
}
inline TxnRequest txn_of(std::vector<RequestOp> success, std::vector<RequestOp> failure = {}) {
  TxnRequest txn;
  txn.success = std::move(success);
  txn.failure = std::move(failure);
  return txn;
}
inline RequestOp txn(std::vector<RequestOp> success, std::vector<RequestOp> failure = {}) {
  return {txn_of(std::move(success), std::move(failure))};
}

}  // namespace capstan::test
