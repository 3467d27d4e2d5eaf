// Transactions on one state: decide, check, run. Their shape was checked before
// (core/request_check.h).
//
// A transaction is decided on the state before it: every compare of every nested one first, which
// fixes the path; then what may fail on that path; then the operations in order, in one revision.
// So it happens whole or not at all.
#pragma once

#include <optional>
#include <vector>

#include "cp/lease.h"
#include "cp/mvcc.h"

namespace capstan::cp {

// True if no branch holds a put or a delete.
bool is_read_only(const TxnRequest& txn);
// True if it holds ranges only, each of which may be served from local state.
bool is_serializable(const TxnRequest& txn);

// One transaction against one state.
class TxnRun {
 public:
  TxnRun(Mvcc& mvcc, const Leases& leases, const TxnRequest& txn);

  // What on the chosen path cannot be done; then nothing may be run.
  std::optional<Refusal> check() const;
  // Between mvcc.begin() and mvcc.end() if it writes.
  TxnResult run();

 private:
  void decide(const TxnRequest& txn);
  std::optional<Refusal> check(const TxnRequest& txn, std::size_t& step) const;
  TxnResult run(const TxnRequest& txn, std::size_t& step);

  Mvcc& mvcc_;
  const Leases& leases_;
  const TxnRequest& txn_;
  std::vector<bool> path_;  // success or failure, of each transaction met, outer first
};

// What applying a put would refuse: a lease must be there, ignore_* needs the key.
std::optional<Refusal> check_put(const Mvcc& mvcc, const Leases& leases, const PutView& put);

}  // namespace capstan::cp
