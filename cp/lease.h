// Leases: keys that live as long as their owner gives signs of life. Part of the replicated state,
// so it reads no clock; time is something it is told.
//
//   LeaseTime     the leader's count of the time that passed, put into the log in front of every
//                 grant and renewal, and every second while there are leases
//   renewal       goes through the log like any write: it ends at that time plus the time to live,
//                 on every member, and what was answered survives any leader
//   LeaseExpiry   the leader's word that one is over, of its term and for one renewal: if either is
//                 not the present one, it does nothing
//
// Time stands still while nobody leads: a new leader counts on from the last it finds in the log.
// So none ends early, whatever becomes of leaders, and what a leader change costs is at most the
// second since time was last told: none lives for ever.
//
// Which keys hang on a lease is Mvcc's to know.
//
// Cost   grant, renewal: one row of the table; an index of 64 bytes a lease, about, in memory.
// Source etcd v3 API; Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism", 1989
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "core/table.h"
#include "core/time.h"
#include "cp/command.h"

namespace capstan::cp {

class Leases {
 public:
  struct Lease {
    std::int64_t ttl = 0;          // seconds
    Micros ends = 0;               // at this time, unless it is renewed
    std::uint64_t generation = 0;  // of its grant or last renewal; never used again
  };
  // What the state machine keeps beside the rows.
  struct Facts {
    Micros time = 0;
    std::uint64_t generation = 0;  // the last one
    std::uint64_t digest = 0;      // of everything that was ever done to leases, in order
  };

  explicit Leases(Table& table) : table_(table) {}

  const Facts& facts() const { return facts_; }
  // Takes the rows from the table, as at start.
  void load(const Facts& facts);

  void tell_time(Micros time);
  // Refused where the id is taken.
  std::optional<Refusal> grant(const LeaseGrantRequest& grant);
  // Its time to live from now on; 0: there is none.
  std::int64_t renew(std::int64_t id);
  void remove(std::int64_t id);

  bool holds(std::int64_t id) const;
  std::optional<Lease> find(std::int64_t id) const;
  std::size_t size() const { return by_end_.size(); }
  // Those that end up to `time`, the first to end first, until `visit` returns false. Up to
  // kLeaseTimeMax: all.
  using EndVisitor = std::function<bool(std::int64_t id, std::uint64_t generation)>;
  void each_ending(Micros time, const EndVisitor& visit) const;

 private:
  void store(std::int64_t id, Lease lease);
  void fold(std::uint8_t what, std::int64_t id, Micros value);

  Table& table_;
  Facts facts_;
  std::map<std::pair<Micros, std::int64_t>, std::uint64_t> by_end_;  // end and id: generation
};

std::string lease_key(std::int64_t id);  // of Space::kLease
Refusal no_lease(std::int64_t id);

}  // namespace capstan::cp
