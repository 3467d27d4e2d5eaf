#include "ap/requests.h"

#include <functional>
#include <utility>

namespace capstan::ap {
namespace {

KeyValue to_kv(ByteView key, Cell cell) {
  KeyValue kv;
  kv.key = key;
  kv.value = std::move(cell.value);
  kv.create_revision = cell.create;
  kv.mod_revision = cell.mod;
  kv.version = cell.version;
  return kv;
}

std::optional<Reply> no_leases() {
  return refused(
      Reason::kNotSupported,
      "refused: leases are not in this build for AP mode. Not applied; put without a lease works. "
      "Lock and elect, which need them, have no honest meaning in AP mode, where both sides of a "
      "cut would be granted the same: use CP mode.");
}

bool is_about_leases(const RequestBody& body) {
  return std::holds_alternative<LeaseGrantRequest>(body) ||
         std::holds_alternative<LeaseRevokeRequest>(body) ||
         std::holds_alternative<LeaseKeepAliveRequest>(body) ||
         std::holds_alternative<LeaseTimeToLiveRequest>(body) ||
         std::holds_alternative<LeasesRequest>(body);
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
    done.reply.body = erase(*request, done);
  } else if (const auto* request = std::get_if<TxnRequest>(&body)) {
    done.in_txn = true;
    if (!(no = refuse(*request))) done.reply.body = txn(*request, done);
  } else if (std::holds_alternative<CompactRequest>(body)) {
    no = refused(Reason::kNotInAp,
                 "refused: an AP cluster has no common history, so there is no revision to compact "
                 "up to. Nothing was changed, and nothing is needed: a node keeps one version of a "
                 "key.");
  } else if (is_about_leases(body)) {
    no = no_leases();
  } else if (const auto* alarm = std::get_if<AlarmRequest>(&body)) {
    if (alarm->action == AlarmRequest::Action::kList) {
      done.reply.body = AlarmResult{};
    } else {
      no = refused(
          Reason::kNotInAp,
          "refused: an alarm would have to be raised everywhere at once, which AP mode does "
          "not promise. A node that is full refuses writes by itself.");
    }
  } else if (std::holds_alternative<DefragmentRequest>(body)) {
    done.reply.body = DefragmentResult{};
  } else if (std::holds_alternative<OutcomeRequest>(body)) {
    no = refused(Reason::kNotInAp,
                 "refused: in AP mode a write stands in the books of its nodes, as survived, "
                 "superseded or lost (GET /api/v1/books); nothing decides for all of them.");
  } else if (std::holds_alternative<AuthRequest>(body) ||
             std::holds_alternative<AuthenticateRequest>(body)) {
    no = refused(Reason::kNotSupported,
                 "refused: users and roles are not in this build for AP mode. Nothing was changed; "
                 "let clients show certificates (--client-cert-auth).");
  } else if (std::holds_alternative<MoveLeaderRequest>(body)) {
    no = refused(Reason::kNotInAp, "refused: in AP mode nobody leads; every node takes writes.");
  } else if (std::holds_alternative<MemberChangeRequest>(body)) {
    no = refused(Reason::kNotSupported,
                 "refused: in AP mode the members are those of the start. Nothing was changed.");
  } else if (std::holds_alternative<HashRequest>(body)) {
    no = refused(Reason::kNotInAp,
                 "refused: an AP cluster has no common history, so there is no revision to hash. "
                 "capstan status says whether the nodes hold the same.");
  } else {
    no = refused(Reason::kInvalid, "refused: not a request for keys.");
  }
  if (no) done.reply = std::move(*no);
  replica_.cut_if_large();
  return done;
}

// ---- What has no meaning here -------------------------------------------------------------------

std::optional<Reply> Requests::refuse(const RangeRequest& request) const {
  if (request.revision <= 0) return std::nullopt;
  return refused(Reason::kNotInAp,
                 "refused: an AP cluster has no common history, so there is no revision " +
                     std::to_string(request.revision) +
                     " to read at. Read without --rev, or keep these keys in CP mode.");
}

std::optional<Reply> Requests::refuse(const PutRequest& request) const {
  if (request.lease != 0) return no_leases();
  if (!request.ignore_value && !request.ignore_lease) return std::nullopt;
  const std::optional<Cell> cell = replica_.load(request.key);
  if (cell && !cell->deletes) return std::nullopt;
  return refused(Reason::kKeyNotFound,
                 "refused: the key is not on this node, so there is nothing to keep. Not applied.");
}

std::optional<Reply> Requests::refuse(const TxnRequest& request) const {
  if (!request.compare.empty()) {
    return refused(Reason::kNotInAp,
                   "refused: a comparison holds only on the node that makes it; another may accept "
                   "the opposite at the same moment. Not applied. A transaction without compares "
                   "works here; compare-and-set needs CP mode.");
  }
  // Without compares the failure branch never runs; only what will run is checked.
  for (const RequestOp& op : request.success) {
    std::optional<Reply> no;
    if (const auto* range = std::get_if<RangeRequest>(&op.op)) {
      no = refuse(*range);
    } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
      no = refuse(*put);
    } else if (const auto* txn = std::get_if<TxnRequest>(&op.op)) {
      no = refuse(*txn);
    }
    if (no) return no;
  }
  return std::nullopt;
}

// ---- Doing --------------------------------------------------------------------------------------

void Requests::scan(const KeyBounds& bounds, const Visitor& visit) const {
  const auto live = [&](ByteView key, ByteView bytes) {
    return is_tombstone(bytes) || visit(key, bytes);
  };
  if (bounds.single) {
    if (const auto stored = table_.get(Space::kCell, bounds.from)) live(bounds.from, *stored);
  } else if (!bounds.empty()) {
    table_.scan(Space::kCell, bounds.from, bounds.to, live);
  }
}

RangeResult Requests::range(const RangeRequest& request) const {
  RangeResult out;
  const std::size_t keep_max = rows_to_keep(request);
  scan(KeyBounds(request.range), [&](ByteView key, ByteView bytes) {
    ++out.count;
    if (request.count_only || out.kvs.size() >= keep_max) return true;
    KeyValue kv = to_kv(key, decode_cell(bytes));
    if (request.keys_only && request.sort_target != SortTarget::kValue) kv.value.clear();
    if (passes_filters(request, kv)) out.kvs.push_back(std::move(kv));
    return true;
  });
  out.more = sort_and_limit(request, out.kvs, std::identity());
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
  std::vector<std::string> keys;
  scan(KeyBounds(request.range), [&](ByteView key, ByteView bytes) {
    keys.emplace_back(key);
    if (request.prev_kv) out.prevs.push_back(to_kv(key, decode_cell(bytes)));
    return true;
  });
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
