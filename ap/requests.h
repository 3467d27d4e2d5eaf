// etcd's requests on one replica: what each means here, and a sentence for what cannot mean
// anything.
//
// A request's shape was checked before (core/request_check.h). Put, DeleteRange and a Txn without
// compares are one local batch, all or nothing: what may be refused is, before the first write.
// Reads are of this node as it is now. Revisions are this node's.
#pragma once

#include <cstdint>
#include <string>

#include "ap/replica.h"
#include "core/key_range.h"
#include "core/request.h"

namespace capstan::ap {

struct Executed {
  Reply reply;  // without header and outcome of a write: the engine fills them when durable
  bool wrote = false;
  bool in_txn = false;
  Dot last;  // of the last write, where there was one
};

class Requests {
 public:
  Requests(Replica& replica, const Table& table) : replica_(replica), table_(table) {}

  // Range, Put, DeleteRange or Txn.
  Executed execute(const RequestBody& body);

 private:
  // What cannot mean anything here; nullopt: may be carried out.
  std::optional<Reply> refuse(const RangeRequest& request) const;
  std::optional<Reply> refuse(const PutRequest& request) const;
  std::optional<Reply> refuse(const TxnRequest& request) const;

  // Every live key in the bounds, ascending, with its cell.
  void scan(const KeyBounds& bounds, const Visitor& visit) const;
  RangeResult range(const RangeRequest& request) const;
  PutResult put(const PutRequest& request, Executed& done);
  DeleteRangeResult erase(const DeleteRangeRequest& request, Executed& done);
  TxnResult txn(const TxnRequest& request, Executed& done);

  Replica& replica_;
  const Table& table_;
};

}  // namespace capstan::ap
