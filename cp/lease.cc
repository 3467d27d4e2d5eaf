#include "cp/lease.h"

#include <string>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;

std::string encode(const Leases::Lease& lease) {
  std::string out;
  put_u8(out, kFormat);
  put_varint(out, static_cast<std::uint64_t>(lease.ttl));
  put_varint(out, static_cast<std::uint64_t>(lease.ends));
  put_varint(out, lease.generation);
  return out;
}

Leases::Lease decode(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t format = in.u8();
  CAPSTAN_ASSERT(format == kFormat);
  Leases::Lease lease;
  lease.ttl = static_cast<std::int64_t>(in.varint());
  lease.ends = static_cast<Micros>(in.varint());
  lease.generation = in.varint();
  CAPSTAN_ASSERT(in.done());
  return lease;
}

std::int64_t id_of(ByteView key) {
  Reader in(key);
  return static_cast<std::int64_t>(in.u64_be());
}

enum : std::uint8_t { kTold = 1, kGranted, kRenewed, kRemoved };

}  // namespace

std::string lease_key(std::int64_t id) {
  std::string out;
  put_u64_be(out, static_cast<std::uint64_t>(id));
  return out;
}

Refusal no_lease(std::int64_t id) {
  return {Reason::kLeaseNotFound, "there is no lease " + id_text(id) + ": it ended, or never was"};
}

void Leases::load(const Facts& facts) {
  facts_ = facts;
  by_end_.clear();
  table_.scan(Space::kLease, {}, {}, [this](ByteView key, ByteView row) {
    const Lease lease = decode(row);
    by_end_[{lease.ends, id_of(key)}] = lease.generation;
    return true;
  });
}

void Leases::fold(std::uint8_t what, std::int64_t id, Micros value) {
  std::string bytes;
  put_u8(bytes, what);
  put_u64(bytes, static_cast<std::uint64_t>(id));
  put_u64(bytes, static_cast<std::uint64_t>(value));
  facts_.digest = xxh3(bytes, facts_.digest);
}

void Leases::tell_time(Micros time) {
  if (time <= facts_.time) return;
  facts_.time = time;
  fold(kTold, 0, time);
}

void Leases::store(std::int64_t id, Lease lease) {
  lease.ends = facts_.time + lease.ttl * kSecond;
  lease.generation = ++facts_.generation;
  by_end_[{lease.ends, id}] = lease.generation;
  table_.put(Space::kLease, lease_key(id), encode(lease));
}

std::optional<Refusal> Leases::grant(const LeaseGrantRequest& grant) {
  if (holds(grant.id)) return Refusal{Reason::kLeaseExists, "the lease exists already"};
  store(grant.id, {.ttl = grant.ttl});
  fold(kGranted, grant.id, grant.ttl);
  return std::nullopt;
}

std::int64_t Leases::renew(std::int64_t id) {
  const std::optional<Lease> lease = find(id);
  if (!lease) return 0;
  by_end_.erase({lease->ends, id});
  store(id, *lease);
  fold(kRenewed, id, 0);
  return lease->ttl;
}

void Leases::remove(std::int64_t id) {
  const std::optional<Lease> lease = find(id);
  CAPSTAN_ASSERT(lease.has_value());
  by_end_.erase({lease->ends, id});
  table_.erase(Space::kLease, lease_key(id));
  fold(kRemoved, id, 0);
}

bool Leases::holds(std::int64_t id) const {
  return table_.get(Space::kLease, lease_key(id)).has_value();
}

std::optional<Leases::Lease> Leases::find(std::int64_t id) const {
  const auto row = table_.get(Space::kLease, lease_key(id));
  if (!row) return std::nullopt;
  return decode(*row);
}

void Leases::each_ending(Micros time, const EndVisitor& visit) const {
  for (const auto& [key, generation] : by_end_) {
    const auto& [ends, id] = key;
    if (ends > time || !visit(id, generation)) return;
  }
}

}  // namespace capstan::cp
