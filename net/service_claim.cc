#include "net/service_claim.h"

#include <array>
#include <charconv>
#include <utility>

namespace capstan::net {

namespace {

constexpr std::int64_t kAheadId = 1, kOwnId = 2;  // of the two watches

// As Go's %x: a minus sign before a negative number.
std::string hex(std::int64_t number) {
  std::array<char, 20> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), number, 16).ptr};
}

const RangeResult* range_in(const TxnResult& txn, std::size_t at) {
  return at < txn.responses.size() ? std::get_if<RangeResult>(&txn.responses[at].result) : nullptr;
}

// The only row of a range, if it has any.
const KeyValue* row_in(const TxnResult& txn, std::size_t at) {
  const RangeResult* range = range_in(txn, at);
  return range == nullptr || range->kvs.empty() ? nullptr : &range->kvs[0];
}

RangeRequest get(const std::string& key) { return {.range = {key, ""}}; }

void do_unheard(const Asker& asker, RequestBody body) {
  asker.ask(std::move(body), [](const Reply&) {});
}

void delete_claim(const Asker& asker, const std::string& key, std::int64_t revision) {
  do_unheard(asker, if_created(key, revision, {DeleteRangeRequest{.range = {key, ""}}}));
}

}  // namespace

Claim::Claim(Asker asker, std::function<void()> ready, LockRequest request)
    : asker_(std::move(asker)), ready_(ready), step_(asker_, std::move(ready)), campaigns_(false) {
  claim_.name = std::move(request.name);
  claim_.lease = request.lease;
  begin();
}

Claim::Claim(Asker asker, std::function<void()> ready, CampaignRequest request)
    : asker_(std::move(asker)), ready_(ready), step_(asker_, std::move(ready)), campaigns_(true) {
  claim_.name = std::move(request.name);
  claim_.lease = request.lease;
  value_ = std::move(request.value);
  begin();
}

Claim::~Claim() {
  if (phase_ != Phase::kOver) give_up();
}

void Claim::give_up() {
  if (lease_is_ours_) {
    do_unheard(asker_, LeaseRevokeRequest{claim_.lease});
  } else if (claim_.revision != 0) {
    delete_claim(asker_, claim_.key, claim_.revision);
  }
}

// ---- Asking -------------------------------------------------------------------------------------

void Claim::begin() {
  if (claim_.lease != 0) return put();
  phase_ = Phase::kGrant;
  step_.ask(LeaseGrantRequest{.ttl = kSessionTtl}, [on = asker_](const Reply& reply) {
    const auto* granted = std::get_if<LeaseGrantResult>(&reply.body);
    if (is_ok(reply) && granted != nullptr) do_unheard(on, LeaseRevokeRequest{granted->id});
  });
}

void Claim::put() {
  phase_ = Phase::kPut;
  claim_.key = claim_.name + "/" + hex(claim_.lease);
  PutRequest own{.key = claim_.key, .value = value_};
  own.lease = claim_.lease;
  TxnRequest txn = if_created(claim_.key, 0, {std::move(own)});
  txn.success.push_back({first_of(claim_.name)});
  txn.failure.push_back({get(claim_.key)});
  txn.failure.push_back({first_of(claim_.name)});
  step_.ask(std::move(txn),
            [on = asker_, key = claim_.key, revoked = lease_is_ours_](const Reply& reply) {
              // One that was there before belongs to an earlier call of the same lease.
              const auto* done = std::get_if<TxnResult>(&reply.body);
              if (revoked || !is_ok(reply) || done == nullptr || !done->succeeded) return;
              delete_claim(on, key, static_cast<std::int64_t>(reply.header.revision.value));
            });
}

void Claim::proclaim() {
  phase_ = Phase::kProclaim;
  PutRequest own{.key = claim_.key, .value = std::move(value_)};
  own.lease = claim_.lease;
  step_.ask(if_created(claim_.key, claim_.revision, {std::move(own)}));
}

void Claim::look() {
  phase_ = Phase::kLook;
  RangeRequest ahead;
  ahead.range = claims_of(claim_.name);
  ahead.limit = 1;
  ahead.sort_order = SortOrder::kDescend;
  ahead.sort_target = SortTarget::kCreate;
  ahead.keys_only = true;
  ahead.max_create_revision = claim_.revision - 1;
  RangeRequest own = get(claim_.key);
  own.keys_only = true;
  TxnRequest both;
  both.success.push_back({std::move(ahead)});
  both.success.push_back({std::move(own)});
  step_.ask(std::move(both));
}

std::optional<ServiceMessage> Claim::wait(const std::string& ahead, Revision seen) {
  phase_ = Phase::kWait;
  ahead_ = ahead;
  stream_ = asker_.watch({.ready = ready_});
  if (stream_ == nullptr) return lost(no_watches());
  WatchRequest end_of_it;
  end_of_it.no_put = true;
  end_of_it.start_revision = static_cast<std::int64_t>(seen.value) + 1;
  for (const auto& [id, key] : {std::pair{kAheadId, &ahead_}, std::pair{kOwnId, &claim_.key}}) {
    end_of_it.id = id;
    end_of_it.range = {*key, ""};
    stream_->create(end_of_it);
  }
  return std::nullopt;
}

// ---- Taking answers -----------------------------------------------------------------------------

std::optional<ServiceMessage> Claim::next() {
  while (phase_ != Phase::kOver) {
    std::optional<ServiceMessage> end;
    if (phase_ == Phase::kWait) {
      if (!woken(end)) return std::nullopt;
      if (!end) look();
    } else {
      std::optional<Reply> reply = step_.take();
      if (!reply) return std::nullopt;
      end = is_ok(*reply) ? take(*reply) : lost(end_of(*reply));
    }
    if (end) return end;
  }
  return std::nullopt;
}

std::optional<ServiceMessage> Claim::take(Reply& reply) {
  switch (phase_) {
    case Phase::kGrant:
      if (const auto* granted = std::get_if<LeaseGrantResult>(&reply.body)) {
        claim_.lease = granted->id;
        lease_is_ours_ = true;
      }
      put();
      return std::nullopt;
    case Phase::kPut:
      return take_put(reply);
    case Phase::kProclaim: {
      const auto* txn = std::get_if<TxnResult>(&reply.body);
      if (txn == nullptr || !txn->succeeded) return lost(not_leader());
      look();
      return std::nullopt;
    }
    case Phase::kLook:
      return take_look(reply);
    case Phase::kWait:
    case Phase::kOver:
      break;
  }
  return std::nullopt;
}

std::optional<ServiceMessage> Claim::take_put(Reply& reply) {
  header_ = reply.header;
  const auto* txn = std::get_if<TxnResult>(&reply.body);
  if (txn == nullptr) return lost(session_expired());
  if (txn->succeeded) {
    claim_.revision = static_cast<std::int64_t>(reply.header.revision.value);
  } else {
    const KeyValue* own = row_in(*txn, 0);
    if (own == nullptr) return lost(session_expired());
    claim_.revision = static_cast<std::int64_t>(own->create_revision.value);
    if (campaigns_ && own->value != value_) {
      proclaim();
      return std::nullopt;
    }
  }
  value_ = {};
  const KeyValue* first = row_in(*txn, 1);
  if (first != nullptr && first->key == claim_.key) return won();
  look();
  return std::nullopt;
}

std::optional<ServiceMessage> Claim::take_look(Reply& reply) {
  const auto* txn = std::get_if<TxnResult>(&reply.body);
  const KeyValue* own = txn == nullptr ? nullptr : row_in(*txn, 1);
  if (own == nullptr || static_cast<std::int64_t>(own->create_revision.value) != claim_.revision) {
    claim_.revision = 0;  // there is nothing to delete
    return lost(campaigns_ ? not_leader() : session_expired());
  }
  const KeyValue* ahead = row_in(*txn, 0);
  if (ahead == nullptr) {
    // etcd tells of a lock when it was won, of an election when the claim was made.
    if (!campaigns_) header_ = reply.header;
    return won();
  }
  return wait(ahead->key, reply.header.revision);
}

bool Claim::woken(std::optional<ServiceMessage>& end) {
  while (std::optional<WatchMessage> message = stream_->next()) {
    if (std::optional<CallEnd> broken = end_of(*message)) {
      end = lost(std::move(*broken));
      return true;
    }
    bool gone = message->canceled;  // behind a compaction
    for (const WatchEvent& event : message->events) {
      gone |= event.deleted && (event.kv.key == ahead_ || event.kv.key == claim_.key);
    }
    if (!gone) continue;
    stream_.reset();
    return true;
  }
  return false;
}

ServiceMessage Claim::won() {
  phase_ = Phase::kOver;
  return ServiceReply{.header = header_, .claim = std::move(claim_)};
}

ServiceMessage Claim::lost(CallEnd why) {
  phase_ = Phase::kOver;
  stream_.reset();
  give_up();
  return std::unexpected(std::move(why));
}

}  // namespace capstan::net
