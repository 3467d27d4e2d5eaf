#include "tests/sim/lease_holders.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/overloaded.h"

namespace capstan::sim {

namespace {

constexpr std::uint32_t kFirstClient = 200;

std::string about(const Asked& asked) {
  return "[" + lab::describe(asked.op) + ", attempts " + std::to_string(asked.attempts) + "]";
}

// The lease an operation is about; 0: none.
std::int64_t lease_in(const RequestBody& body) {
  return std::visit(Overloaded{
                        [](const LeaseGrantRequest& r) { return r.id; },
                        [](const LeaseRevokeRequest& r) { return r.id; },
                        [](const LeaseKeepAliveRequest& r) { return r.id; },
                        [](const LeaseTimeToLiveRequest& r) { return r.id; },
                        [](const PutRequest& r) { return r.lease; },
                        [](const auto&) { return std::int64_t{0}; },
                    },
                    body);
}

bool is_sign_of_life(const RequestBody& body) {
  return std::holds_alternative<LeaseGrantRequest>(body) ||
         std::holds_alternative<LeaseKeepAliveRequest>(body);
}

// What a node said of a lease: there, gone, or nothing for certain.
enum class Word { kNothing, kThere, kGone };
Word word_of(const Asked& asked) {
  if (asked.op.reason == Reason::kLeaseNotFound) return Word::kGone;
  if (!asked.op.acknowledged()) return Word::kNothing;
  if (const auto* kept = std::get_if<LeaseKeepAliveResult>(&asked.reply.body)) {
    return kept->ttl > 0 ? Word::kThere : Word::kGone;
  }
  if (const auto* asked_for = std::get_if<LeaseTimeToLiveResult>(&asked.reply.body)) {
    return asked_for->ttl >= 0 ? Word::kThere : Word::kGone;
  }
  return Word::kThere;
}

}  // namespace

LeaseHolders::LeaseHolders(Cluster& cluster) : cluster_(cluster), rng_(cluster.world.rng.leases) {
  for (int i = 0; i < cluster.options.lease_holders; ++i) {
    holders_.push_back(std::make_unique<Holder>());
    holders_.back()->client = kFirstClient + static_cast<std::uint32_t>(i);
  }
}

void LeaseHolders::start() {
  for (const auto& holder : holders_) {
    cluster_.world.after(rng_.between(0, kSecond), [this, h = holder.get()] { next(*h); });
  }
}

PutRequest LeaseHolders::put_under(Holder& holder) {
  PutRequest put{
      .key = "lease/" + std::to_string(holder.lease) + "/" + std::to_string(rng_.below(4)),
      .value = "l" + std::to_string(++values_)};
  // Now and then one is taken from under it.
  if (rng_.chance(0.8)) put.lease = holder.lease;
  return put;
}

RequestBody LeaseHolders::draw(Holder& holder) {
  if (holder.lease == 0) {
    const auto ttl = static_cast<std::int64_t>(2 + rng_.below(3));
    holder = {.client = holder.client, .lease = static_cast<std::int64_t>(leases_.size()) + 1};
    leases_[holder.lease].ttl = ttl;
    return LeaseGrantRequest{ttl, holder.lease};
  }
  if (rng_.chance(0.05)) return LeaseRevokeRequest{holder.lease};
  if (rng_.chance(0.05)) holder.silent = true;
  if (rng_.chance(0.3)) return put_under(holder);
  if (holder.silent || rng_.chance(0.2)) return LeaseTimeToLiveRequest{holder.lease, true};
  return LeaseKeepAliveRequest{holder.lease};
}

void LeaseHolders::next(Holder& holder) {
  if (stopped_) return;
  Request request;
  request.body = draw(holder);
  if (is_write(request.body) && rng_.chance(cluster_.options.request_ids)) {
    request.request_id = "l" + std::to_string(holder.client) + "." + std::to_string(++values_);
  }
  const int node = static_cast<int>(rng_.below(cluster_.nodes.size()));
  cluster_.clients.ask(holder.client, node, std::move(request), cluster_.options.client_timeout,
                       [this, &holder](const Asked& asked) {
                         if (word_of(asked) == Word::kGone) holder.lease = 0;
                         if (word_of(asked) == Word::kThere) {
                           cluster_.counters.add("signs of life and questions answered");
                         }
                         const Micros pause = rng_.between(0, 1'500 * kMillisecond);
                         cluster_.world.after(pause, [this, &holder] { next(holder); });
                       });
}

void LeaseHolders::node_turned(int node, const cp::Engine& engine) {
  const std::uint64_t digest = engine.leases().facts().digest;
  if (digest == std::exchange(digests_[node], digest)) return;
  for (auto& [id, lease] : leases_) {
    if (lease.ended != 0) continue;
    if (engine.leases().holds(id)) {
      if (!lease.held || engine.applied() < lease.held) lease.held = engine.applied();
    } else if (lease.held && engine.applied() >= lease.held) {
      lease.ended = cluster_.world.now();
      cluster_.counters.add("leases ended");
    }
  }
}

std::string LeaseHolders::check_one(const Asked& asked) const {
  const std::int64_t id = lease_in(asked.request.body);
  if (id == 0 || asked.attempts > 1) return {};
  const Lease& lease = leases_.at(id);
  const Word word = word_of(asked);
  const bool had_ended = lease.ended > 0 && lease.ended < asked.op.start;
  if (word == Word::kThere && had_ended) {
    return about(asked) + " found lease " + std::to_string(id) + ", which had ended before";
  }
  return {};
}

std::string LeaseHolders::check_early(const AskedList& all) const {
  std::map<std::int64_t, Micros> revoked;  // since when one may be
  std::map<std::int64_t, const Asked*> granted;
  for (const auto& asked : all) {
    if (asked->op.outcome == Outcome::kFailed) continue;
    const std::int64_t id = lease_in(asked->request.body);
    if (std::holds_alternative<LeaseRevokeRequest>(asked->request.body)) {
      revoked.emplace(id, asked->op.start);
    } else if (std::holds_alternative<LeaseGrantRequest>(asked->request.body) &&
               asked->op.acknowledged()) {
      granted[id] = asked.get();
    }
  }
  for (const auto& asked : all) {
    const std::int64_t id = lease_in(asked->request.body);
    if (id == 0) continue;
    const Lease& lease = leases_.at(id);
    const auto revoke = revoked.find(id);
    const bool may_be_revoked = revoke != revoked.end() && revoke->second <= lease.ended;
    const Word word = word_of(*asked);
    if (is_sign_of_life(asked->request.body) && word == Word::kThere && lease.ended > 0 &&
        !may_be_revoked && lease.ended < asked->op.start + lease.ttl * kSecond) {
      return "lease " + std::to_string(id) + " of " + std::to_string(lease.ttl) + " s ended at " +
             std::to_string(lease.ended) + ", too early after " + about(*asked);
    }
    const auto grant = granted.find(id);
    const bool lived = grant != granted.end() && grant->second->op.end < asked->op.start &&
                       lease.held && (lease.ended == 0 || asked->op.end < lease.ended);
    if (word == Word::kGone && lived) {
      return about(*asked) + " did not find lease " + std::to_string(id) + ", which lived";
    }
  }
  return {};
}

std::string LeaseHolders::check_together(const Truth& truth) const {
  for (std::uint64_t revision = 2; revision < truth.size(); ++revision) {
    std::set<std::int64_t> ended;
    for (const auto& [key, kv] : truth[revision - 1]) {
      if (!key.starts_with("lease/") || truth[revision].contains(key)) continue;
      if (kv.lease == 0) {
        return key + " went at revision " + std::to_string(revision) + " and hung on no lease";
      }
      ended.insert(kv.lease);
    }
    if (ended.size() > 1) {
      return "revision " + std::to_string(revision) + " ended " + std::to_string(ended.size()) +
             " leases";
    }
    for (const auto& [key, kv] : truth[revision]) {
      if (ended.contains(kv.lease)) {
        return key + " outlived its lease, which ended at revision " + std::to_string(revision);
      }
      const bool of_gone_lease = kv.lease != 0 && !leases_.contains(kv.lease);
      if (of_gone_lease) return key + " hangs on a lease that nobody asked for";
    }
  }
  for (const auto& [key, kv] : truth.back()) {
    if (kv.lease != 0) return key + " outlived its lease";
  }
  return {};
}

std::string LeaseHolders::check(const AskedList& all, const Truth& truth) const {
  for (const auto& asked : all) {
    if (std::string wrong = check_one(*asked); !wrong.empty()) return wrong;
  }
  if (std::string wrong = check_early(all); !wrong.empty()) return wrong;
  return check_together(truth);
}

}  // namespace capstan::sim
