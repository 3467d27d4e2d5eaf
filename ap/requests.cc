#include "ap/requests.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/check.h"
#include "core/limits.h"

namespace capstan::ap {
namespace {

// etcd's ranges as [from, to) of the table, where an empty `to` is the end of the space.
struct Bounds {
  std::string from, to;
};
Bounds bounds_of(const KeyRange& range) {
  if (range.end.empty()) return {range.key, range.key + '\0'};
  if (range.end.size() == 1 && range.end[0] == '\0') return {range.key, {}};
  return {range.key, range.end};
}
bool is_empty(const Bounds& b) { return !b.to.empty() && b.to <= b.from; }
bool contains(const Bounds& b, ByteView key) {
  return key >= b.from && (b.to.empty() || key < b.to);
}

KeyValue to_kv(ByteView key, Cell cell) {
  KeyValue kv;
  kv.key = key;
  kv.value = std::move(cell.value);
  kv.create_revision = cell.create;
  kv.mod_revision = cell.mod;
  kv.version = cell.version;
  return kv;
}

bool within(std::uint64_t value, std::int64_t min, std::int64_t max) {
  const auto v = static_cast<std::int64_t>(value);
  return (min <= 0 || v >= min) && (max <= 0 || v <= max);
}

bool less_by(SortTarget target, const KeyValue& a, const KeyValue& b) {
  switch (target) {
    case SortTarget::kKey:
      return a.key < b.key;
    case SortTarget::kVersion:
      return a.version < b.version;
    case SortTarget::kCreate:
      return a.create_revision < b.create_revision;
    case SortTarget::kMod:
      return a.mod_revision < b.mod_revision;
    case SortTarget::kValue:
      return a.value < b.value;
  }
  return false;
}

std::optional<Reply> bad_key(const std::string& key) {
  if (key.empty()) return refused(Reason::kKeyMissing, "refused: the key is empty. Not applied.");
  if (key.size() > kKeyBytesMax) {
    return refused(Reason::kTooLarge, "refused: the key has " + std::to_string(key.size()) +
                                          " bytes, the limit is " + std::to_string(kKeyBytesMax) +
                                          ". Not applied.");
  }
  return std::nullopt;
}

std::optional<Reply> no_leases() {
  return refused(Reason::kNotSupported,
                 "refused: leases are not in this build. Not applied. Put without a lease works.");
}

}  // namespace

Executed Requests::execute(const RequestBody& body) {
  Executed done;
  std::optional<Reply> no;
  if (const auto* request = std::get_if<RangeRequest>(&body)) {
    if (!(no = refuse(*request))) done.reply.body = range(*request);
  } else if (const auto* request = std::get_if<PutRequest>(&body)) {
    if (!(no = refuse(*request))) done.reply.body = put(*request, done);
  } else if (const auto* request = std::get_if<DeleteRangeRequest>(&body)) {
    if (!(no = refuse(*request))) done.reply.body = erase(*request, done);
  } else if (const auto* request = std::get_if<TxnRequest>(&body)) {
    no = refuse(*request, 1);
    if (!no) no = refuse_duplicates(*request);
    done.in_txn = true;
    if (!no) done.reply.body = txn(*request, done);
  } else {
    no = refused(Reason::kInvalid, "refused: not a request for keys.");
  }
  if (no) done.reply = std::move(*no);
  replica_.cut_if_large();
  return done;
}

// ---- Checks -------------------------------------------------------------------------------------

std::optional<Reply> Requests::refuse(const RangeRequest& request) const {
  if (request.range.key.empty()) return bad_key(request.range.key);
  if (request.revision > 0) {
    return refused(Reason::kNotInAp,
                   "refused: an AP cluster has no common history, so there is no revision " +
                       std::to_string(request.revision) +
                       " to read at. Read without --rev, or keep these keys in CP mode.");
  }
  return std::nullopt;
}

std::optional<Reply> Requests::refuse(const PutRequest& request) const {
  if (auto no = bad_key(request.key)) return no;
  if (request.value.size() > kRequestBytesMax) {
    return refused(Reason::kTooLarge, "refused: the value has " +
                                          std::to_string(request.value.size()) +
                                          " bytes, the limit is " +
                                          std::to_string(kRequestBytesMax) + ". Not applied.");
  }
  if (request.ignore_value && !request.value.empty()) {
    return refused(Reason::kValueProvided,
                   "refused: ignore_value was asked for, yet a value was given. Not applied.");
  }
  if (request.ignore_lease && request.lease != 0) {
    return refused(Reason::kLeaseProvided,
                   "refused: ignore_lease was asked for, yet a lease was given. Not applied.");
  }
  if (request.lease != 0) return no_leases();
  if (request.ignore_value || request.ignore_lease) {
    const std::optional<Cell> cell = replica_.load(request.key);
    if (!cell || cell->deletes) {
      return refused(Reason::kKeyNotFound,
                     "refused: the key is not on this node, so there is nothing to keep. "
                     "Not applied.");
    }
  }
  return std::nullopt;
}

std::optional<Reply> Requests::refuse(const DeleteRangeRequest& request) const {
  return request.range.key.empty() ? bad_key(request.range.key) : std::nullopt;
}

std::optional<Reply> Requests::refuse(const TxnRequest& request, std::size_t depth) const {
  if (!request.compare.empty()) {
    return refused(Reason::kNotInAp,
                   "refused: a comparison holds only on the node that makes it; another may accept "
                   "the opposite at the same moment. Not applied. A transaction without compares "
                   "works here; compare-and-set needs CP mode.");
  }
  if (request.success.size() > kTxnOpsMax || request.failure.size() > kTxnOpsMax) {
    return refused(Reason::kTooManyOps, "refused: more than " + std::to_string(kTxnOpsMax) +
                                            " operations in one transaction. Not applied.");
  }
  if (depth > kTxnDepthMax) {
    return refused(Reason::kInvalid, "refused: transactions nest deeper than " +
                                         std::to_string(kTxnDepthMax) + ". Not applied.");
  }
  // Without compares the failure branch never runs; only what will run is checked.
  for (const RequestOp& op : request.success) {
    std::optional<Reply> no;
    if (const auto* range = std::get_if<RangeRequest>(&op.op)) {
      no = refuse(*range);
    } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
      no = refuse(*put);
    } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
      no = refuse(*erase);
    } else if (const auto* txn = std::get_if<TxnRequest>(&op.op)) {
      no = refuse(*txn, depth + 1);
    } else {
      no = refused(Reason::kKeyNotFound, "refused: an operation is empty. Not applied.");
    }
    if (no) return no;
  }
  return std::nullopt;
}

namespace {

void collect_writes(const TxnRequest& txn, std::vector<const std::string*>& puts,
                    std::vector<Bounds>& erases) {
  for (const RequestOp& op : txn.success) {
    if (const auto* put = std::get_if<PutRequest>(&op.op)) {
      puts.push_back(&put->key);
    } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
      erases.push_back(bounds_of(erase->range));
    } else if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
      collect_writes(*nested, puts, erases);
    }
  }
}

}  // namespace

// As etcd: a key may be put once in a transaction, and not also be deleted by it.
std::optional<Reply> Requests::refuse_duplicates(const TxnRequest& request) const {
  std::vector<const std::string*> puts;
  std::vector<Bounds> erases;
  collect_writes(request, puts, erases);
  std::set<ByteView> seen;
  for (const std::string* key : puts) {
    const bool erased =
        std::ranges::any_of(erases, [&](const Bounds& b) { return contains(b, *key); });
    if (!seen.insert(*key).second || erased) {
      return refused(Reason::kDuplicateKey,
                     "refused: a key is written twice in one transaction. Not applied.");
    }
  }
  return std::nullopt;
}

// ---- Doing --------------------------------------------------------------------------------------

RangeResult Requests::range(const RangeRequest& request) const {
  RangeResult out;
  const Bounds bounds = bounds_of(request.range);
  if (is_empty(bounds)) return out;
  const bool filters = request.min_mod_revision > 0 || request.max_mod_revision > 0 ||
                       request.min_create_revision > 0 || request.max_create_revision > 0;
  SortOrder order = request.sort_order;
  if (order == SortOrder::kNone && request.sort_target != SortTarget::kKey) {
    order = SortOrder::kAscend;
  }
  const bool stops_early = order == SortOrder::kNone && !filters && request.limit > 0;
  const auto take = [&](ByteView key, ByteView bytes) {
    if (is_tombstone(bytes)) return true;
    ++out.count;
    if (request.count_only) return true;
    if (stops_early && out.kvs.size() >= static_cast<std::size_t>(request.limit)) {
      out.more = true;
      return true;  // only counted
    }
    KeyValue kv = to_kv(key, decode_cell(bytes));
    if (filters &&
        (!within(kv.mod_revision.value, request.min_mod_revision, request.max_mod_revision) ||
         !within(kv.create_revision.value, request.min_create_revision,
                 request.max_create_revision))) {
      return true;
    }
    if (request.keys_only && request.sort_target != SortTarget::kValue) kv.value.clear();
    out.kvs.push_back(std::move(kv));
    return true;
  };
  if (request.range.end.empty()) {
    if (const auto stored = table_.get(Space::kCell, request.range.key)) {
      take(request.range.key, *stored);
    }
  } else {
    table_.scan(Space::kCell, bounds.from, bounds.to, take);
  }
  if (order == SortOrder::kAscend) {
    std::ranges::stable_sort(out.kvs, [&](const KeyValue& a, const KeyValue& b) {
      return less_by(request.sort_target, a, b);
    });
  } else if (order == SortOrder::kDescend) {
    std::ranges::stable_sort(out.kvs, [&](const KeyValue& a, const KeyValue& b) {
      return less_by(request.sort_target, b, a);
    });
  }
  if (request.limit > 0 && out.kvs.size() > static_cast<std::size_t>(request.limit)) {
    out.kvs.resize(static_cast<std::size_t>(request.limit));
    out.more = true;
  }
  if (request.keys_only) {
    for (KeyValue& kv : out.kvs) kv.value.clear();
  }
  return out;
}

PutResult Requests::put(const PutRequest& request, Executed& done) {
  PutResult out;
  std::string value = request.value;
  if (request.prev_kv || request.ignore_value) {
    if (std::optional<Cell> old = replica_.load(request.key); old && !old->deletes) {
      if (request.ignore_value) value = old->value;
      if (request.prev_kv) out.prev = to_kv(request.key, std::move(*old));
    }
  }
  done.last = replica_.write(request.key, std::move(value));
  done.wrote = true;
  return out;
}

DeleteRangeResult Requests::erase(const DeleteRangeRequest& request, Executed& done) {
  DeleteRangeResult out;
  const Bounds bounds = bounds_of(request.range);
  if (is_empty(bounds)) return out;
  std::vector<std::string> keys;
  const auto take = [&](ByteView key, ByteView bytes) {
    if (is_tombstone(bytes)) return true;
    keys.emplace_back(key);
    if (request.prev_kv) out.prevs.push_back(to_kv(key, decode_cell(bytes)));
    return true;
  };
  if (request.range.end.empty()) {
    if (const auto stored = table_.get(Space::kCell, request.range.key)) {
      take(request.range.key, *stored);
    }
  } else {
    table_.scan(Space::kCell, bounds.from, bounds.to, take);
  }
  for (const std::string& key : keys) {
    done.last = replica_.write(key, std::nullopt);
    done.wrote = true;
    // A transaction stays whole; a large plain delete need not travel as one batch.
    if (!done.in_txn) replica_.cut_if_large();
  }
  out.deleted = static_cast<std::int64_t>(keys.size());
  return out;
}

TxnResult Requests::txn(const TxnRequest& request, Executed& done) {
  TxnResult out;
  out.succeeded = true;
  for (const RequestOp& op : request.success) {
    ResponseOp response;
    if (const auto* range_op = std::get_if<RangeRequest>(&op.op)) {
      response.result = range(*range_op);
    } else if (const auto* put_op = std::get_if<PutRequest>(&op.op)) {
      response.result = put(*put_op, done);
    } else if (const auto* erase_op = std::get_if<DeleteRangeRequest>(&op.op)) {
      response.result = erase(*erase_op, done);
    } else if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
      response.result = txn(*nested, done);
    }
    response.revision = replica_.revision();
    out.responses.push_back(std::move(response));
  }
  return out;
}

}  // namespace capstan::ap
