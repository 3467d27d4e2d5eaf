// Leases on this node: counting time and, as the leader, putting it into the log; proposing the end
// of those that are over. cp/lease.h tells the rules.
#include <algorithm>
#include <utility>

#include "core/trace.h"
#include "cp/command.h"
#include "cp/engine_state.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

// Time is told at least this often while there are leases: what a leader change can cost.
constexpr Micros kTellTimeEvery = kSecond;
constexpr std::size_t kExpiriesATurn = 1024;

}  // namespace

// Only what the log holds up to our own term says where time stands; before that is applied we
// count nothing.
bool Engine::State::leads_leases() const {
  return raft->is_leader() && applied.term == raft->term();
}

void Engine::State::count_lease_time() {
  // A process that was held up, or a leader whose disk was, has kept its clients from being heard:
  // that time is not theirs to pay.
  const Micros passed = std::min(now.monotonic - lease_counted_at, election_timeout());
  lease_counted_at = now.monotonic;
  lease_time += passed;
  if (!leads_leases()) return;
  if (lease_term != raft->term()) {
    lease_term = raft->term();
    lease_time = lease_time_told = machine.leases().facts().time;
    expiring.clear();
    lease_time_wanted = true;
  }
  if (machine.leases().size() == 0) return;
  lease_time_wanted = lease_time_wanted || lease_time - lease_time_told >= kTellTimeEvery;
}

// A follower's count is for answering questions only.
void Engine::State::lease_time_applied() {
  if (!leads_leases()) lease_time = machine.leases().facts().time;
}

// In front of what is given to the log in this turn, if it is needed.
std::optional<std::string> Engine::State::lease_time_command() {
  if (!std::exchange(lease_time_wanted, false) || !leads_leases() || lease_term != raft->term()) {
    return std::nullopt;
  }
  lease_time_told = lease_time;
  return encode_command(LeaseTime{lease_time});
}

// Behind what is given to the log in this turn, so that whoever was heard in time is saved.
void Engine::State::propose_expiries() {
  if (!leads_leases() || lease_term != raft->term() || stopping) return;
  std::string batch;
  std::size_t count = 0;
  const std::set<std::uint64_t> proposed = std::exchange(expiring, {});
  machine.leases().each_ending(
      lease_time - election_timeout(), [&](std::int64_t id, std::uint64_t generation) {
        expiring.insert(generation);
        if (proposed.contains(generation)) return true;
        if (Mutants::on(Mutant::kExpiryUnstamped)) {
          Request revoke;
          revoke.caller.node_itself = true;
          revoke.body = LeaseRevokeRequest{id};
          submit(std::move(revoke), [](const Reply&) {});
          return true;
        }
        put_bytes(batch, encode_command(LeaseExpiry{raft->term(), id, generation}));
        return ++count < kExpiriesATurn;
      });
  if (!batch.empty() && !raft->propose(shared_bytes(std::move(batch)))) expiring = proposed;
}

// The planted bug only.
bool Engine::State::over_by_own_clock(ByteView command) const {
  const std::optional<Command> decoded = decode_command(command);
  const auto* expiry = decoded ? std::get_if<LeaseExpiry>(&decoded->body) : nullptr;
  const auto lease = expiry != nullptr ? machine.leases().find(expiry->id) : std::nullopt;
  return !lease || lease->ends <= lease_time;
}

void Engine::State::read_lease(const LeaseTimeToLiveRequest& request,
                               LeaseTimeToLiveResult& out) const {
  out.id = request.id;
  const std::optional<Leases::Lease> lease = machine.leases().find(request.id);
  if (!lease) return;
  out.ttl = std::max<Micros>(lease->ends - lease_time, 0) / kSecond;
  out.granted_ttl = lease->ttl;
  if (request.keys) out.keys = machine.mvcc().keys_of(request.id);
}

}  // namespace capstan::cp
