// The clients' side of the engine: taking requests, giving them to the log or the leader,
// answering.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "core/check.h"
#include "cp/command.h"
#include "cp/engine_state.h"
#include "cp/mutants.h"
#include "cp/txn.h"

namespace capstan::cp {
namespace {

// A write under way when the quorum goes is given this long to be saved by a heal.
constexpr Micros kGraceAfterLoss = 500 * kMillisecond;
constexpr Micros kRequestTimeout = 5 * kSecond;
// How many E a new request waits for an election while a quorum is in reach.
constexpr Micros kPatience = 3;

bool is_read(const RequestBody& body) {
  return std::holds_alternative<RangeRequest>(body) || std::holds_alternative<TxnRequest>(body) ||
         std::holds_alternative<LeaseTimeToLiveRequest>(body) ||
         std::holds_alternative<LeasesRequest>(body) ||
         std::holds_alternative<AlarmRequest>(body) || std::holds_alternative<AuthRequest>(body) ||
         std::holds_alternative<AuthenticateRequest>(body);
}

}  // namespace

Reply Engine::State::reply() const {
  Reply out;
  out.header = {config.cluster, config.self, machine.revision(), raft->term()};
  out.epoch = config.epoch;
  out.durability = disk.durability();
  return out;
}

Reply Engine::State::refusal(Reason reason, std::string detail) const {
  Reply out = reply();
  out.outcome = Outcome::kFailed;
  out.reason = reason;
  out.detail = std::move(detail);
  return out;
}

Reply Engine::State::unknown(const WriteId& id, Reason reason, Micros waited) const {
  Reply out = reply();
  out.outcome = Outcome::kUnknown;
  out.reason = reason;
  out.write_id = id;
  out.detail = "unknown: no majority confirmed " + to_text(id, config.name) + " within " +
               seconds_text(waited) + "; it may still be applied. Ask: capstan outcome " +
               to_text(id, config.name);
  return out;
}

// Members not heard within E, by name; empty: all are.
std::string Engine::State::unheard(std::string_view between) const {
  std::string names_of_them;
  for (const Member& member : raft->config().members) {
    if (reaches(member.id) || !raft->config().is_voter(member.id)) continue;
    if (!names_of_them.empty()) names_of_them += between;
    names_of_them += name_of(member.id);
  }
  return names_of_them;
}

std::string Engine::State::no_quorum_text() const {
  if (raft->standing() == Standing::kFresh) {
    const std::string missing = unheard(",");
    return "the cluster is not formed yet. At its first start every member must be there; " +
           config.name + " waits for " + (missing.empty() ? "an answer" : missing) + ".";
  }
  const std::size_t reached = in_reach();
  Micros silent = now.monotonic - std::max<Micros>(started_at, 0);
  for (const auto& [member, at] : heard_at) {
    const Micros quiet = now.monotonic - at;
    if (quiet >= election_timeout() && raft->config().is_voter(member)) {
      silent = std::min(silent, quiet);
    }
  }
  return "no quorum. " + config.name + " reaches " + std::to_string(reached) + " of " +
         std::to_string(raft->config().voters.size()) + " voters (needs " +
         std::to_string(raft->quorum()) + "); " + (reached == 1 ? "nobody" : "nobody else") +
         " heard for " + seconds_text(silent) + ".";
}

// A quorum in reach and yet no leader: either an election is on, or those in reach follow one whom
// this member does not hear.
std::string Engine::State::no_leader_text() const {
  const Micros last = std::max({leader_heard_at, started_at, Micros{0}});
  const std::string others = unheard(" or ");
  return "no leader. " + config.name + " reaches " + std::to_string(in_reach()) + " of " +
         std::to_string(raft->config().voters.size()) + " voters, but has heard no leader for " +
         seconds_text(now.monotonic - last) + "; " +
         (others.empty() ? "an election is on." : others + ", whom it does not hear, may lead.");
}

bool Engine::State::election_is_stuck() const {
  return !raft->leader() && leaderless_since >= 0 &&
         now.monotonic - leaderless_since >= kPatience * election_timeout();
}

Reason Engine::State::no_quorum_reason() const {
  return raft->standing() == Standing::kFresh ? Reason::kRecovering : Reason::kNoQuorum;
}

std::string_view Engine::State::old_values() const {
  return raft->standing() == Standing::kFresh ? ""
                                              : " Old values are here: serializable reads work.";
}

// ---- Taking requests ----------------------------------------------------------------------------

void Engine::State::submit(Request request, Answer answer) {
  if (stopping) {
    return answer(refusal(Reason::kShuttingDown,
                          "refused: " + config.name + " is stopping." + std::string(kNotApplied)));
  }
  if (removed) return answer(refusal(Reason::kRemoved, "refused: " + removed_text()));
  if (is_witness()) {
    Refusal no = witness_refusal();
    return answer(refusal(no.reason, std::move(no.detail)));
  }
  const std::size_t pending =
      writes.size() + read_queue.size() + indexed_reads.size() + asked_reads.size();
  if (pending >= kPendingRequestsMax) {
    return answer(refusal(Reason::kOverloaded,
                          "refused: too many requests are waiting." + std::string(kNotApplied)));
  }
  if (answered_at_once(request, answer)) return;
  if (const auto* move = std::get_if<MoveLeaderRequest>(&request.body)) {
    return move_leader(*move, std::move(answer));
  }
  if (is_write(request.body)) return submit_write(std::move(request), std::move(answer));
  if (is_read(request.body)) return submit_read(std::move(request), std::move(answer));
  answer(refusal(Reason::kNotSupported, "refused: CP keys have no conflicts and no books"));
}

// What this node alone can say, or has nothing to do for.
bool Engine::State::answered_at_once(const Request& request, Answer& answer) {
  const auto* hash = std::get_if<HashRequest>(&request.body);
  const auto* outcome = std::get_if<OutcomeRequest>(&request.body);
  const bool defragment = std::holds_alternative<DefragmentRequest>(request.body);
  if (hash == nullptr && outcome == nullptr && !defragment) return false;
  Reply out = reply();
  std::optional<Refusal> no = denied(principal_of(request.caller), request.body);
  if (!no && hash != nullptr) {
    no = machine.read(*hash, out.body.emplace<HashResult>());
  } else if (!no && outcome != nullptr) {
    // What is decided stays so; what is not goes through the log.
    const OutcomeResult known = machine.outcome(*outcome);
    if (known.fate == Fate::kOpen) return false;
    out.body = known;
  } else if (!no) {
    out.body = DefragmentResult{};
  }
  answer(no ? refusal(no->reason, no->detail) : std::move(out));
  return true;
}

void Engine::State::submit_write(Request request, Answer answer) {
  if (request.request_id.size() > kRequestIdBytesMax) {
    return answer(refusal(Reason::kInvalid, "refused: the request id is longer than 256 bytes"));
  }
  // May they? is asked again where it is applied; nobody need go there to be told to log in.
  const Who who = principal_of(request.caller);
  if (!who || !*who || Mutants::on(Mutant::kAccessCheckedWhenTaken)) {
    if (const auto no = denied(who, request.body)) {
      return answer(refusal(no->reason, no->detail));
    }
  }
  const auto* auth = std::get_if<AuthRequest>(&request.body);
  if (auth != nullptr && auth->action == AuthRequest::Action::kEnable &&
      auth->secret.size() != kAuthKeyBytes) {
    return answer(refusal(Reason::kInvalid, "refused: auth needs a key that signs tokens"));
  }
  const auto* compact = std::get_if<CompactRequest>(&request.body);
  const bool needs_space = takes_space(request.body);
  if (needs_space && machine.alarms().any(AlarmType::kNoSpace)) {
    return answer(refusal(Reason::kNoSpace,
                          "refused: " + alarms_text(AlarmType::kNoSpace) + " Not applied."));
  }
  if (needs_space && !disk.writes_allowed()) {
    return answer(
        refusal(Reason::kNoSpace,
                "refused: the disk of " + config.name +
                    " is nearly full. Not applied; reads, deletes and compaction work. Free some "
                    "space and it takes writes again by itself."));
  }
  if (lost_since >= 0) {
    return answer(
        refusal(no_quorum_reason(), "refused: " + no_quorum_text() + std::string(kNotApplied)));
  }
  if (election_is_stuck()) {
    return answer(
        refusal(Reason::kNoLeader, "refused: " + no_leader_text() + std::string(kNotApplied)));
  }
  if (auto* grant = std::get_if<LeaseGrantRequest>(&request.body)) {
    grant->ttl = std::max(grant->ttl, kLeaseTtlMin);
    while (grant->id == 0) grant->id = static_cast<std::int64_t>(rng.next() >> 1);
  }
  auto* change = std::get_if<MemberChangeRequest>(&request.body);
  while (change != nullptr && !change->member) change->member = {rng.next()};
  lease_time_wanted = lease_time_wanted || tells_life(request.body);
  const std::uint64_t sequence = ++last_sequence;
  Write write;
  write.command = encode_command(write_id(sequence), request.request_id, request.body,
                                 who.value_or(std::nullopt));
  if (write.command.size() > kRequestBytesMax + kKeyBytesMax) {
    return answer(refusal(Reason::kTooLarge, "refused: the request is larger than 1.5 MiB"));
  }
  write.answer = std::move(answer);
  write.since = now.monotonic;
  write.deadline = now.monotonic + (request.timeout > 0 ? std::min(request.timeout, kRequestTimeout)
                                                        : kRequestTimeout);
  if (change != nullptr) write.change = *change;
  if (compact != nullptr && compact->physical && compact->revision > 0) {
    write.physical = {static_cast<std::uint64_t>(compact->revision)};
    write.physical_by = request.timeout > 0 ? now.monotonic + request.timeout : 0;
  }
  writes.emplace_hint(writes.end(), sequence, std::move(write));
  queue.push_back(sequence);
}

void Engine::State::submit_read(Request request, Answer answer) {
  Read read;
  bool local = false;
  if (const auto* range = std::get_if<RangeRequest>(&request.body)) {
    local = range->serializable;
  } else if (const auto* txn = std::get_if<TxnRequest>(&request.body)) {
    local = is_serializable(*txn);
  }
  read.body = std::move(request.body);
  read.caller = std::move(request.caller);
  read.answer = std::move(answer);
  read.more_ready = std::move(request.more_ready);
  read.since = now.monotonic;
  read.deadline = now.monotonic + (request.timeout > 0 ? std::min(request.timeout, kRequestTimeout)
                                                       : kRequestTimeout);
  if (local) {
    indexed_reads.emplace(Index{}, std::move(read));  // served at the end of this turn
    return;
  }
  if (lost_since >= 0) {
    return read.answer(
        refusal(no_quorum_reason(), "refused: " + no_quorum_text() + std::string(old_values())));
  }
  if (election_is_stuck()) {
    return read.answer(
        refusal(Reason::kNoLeader, "refused: " + no_leader_text() + std::string(old_values())));
  }
  read_queue.push_back(std::move(read));
}

// ---- Giving them away ---------------------------------------------------------------------------

void Engine::State::give_work() {
  if (!raft->is_leader()) changes.clear();
  if (raft->is_leader()) {
    if (!raft->transferring()) give_writes_as_leader();
  } else {
    forwarded.clear();  // of a term in which we no longer lead
    if (raft->leader() && !queue.empty()) forward_writes();
  }
  give_reads();
}

// All commands of a turn share one entry up to kEntryBytesMax; a larger one goes alone.
void Engine::State::give_writes_as_leader() {
  std::string batch;
  std::vector<std::uint64_t> members;
  const auto flush = [&] {
    if (batch.empty()) return;
    const bool accepted = raft->propose(shared_bytes(std::exchange(batch, {}))).has_value();
    for (std::uint64_t sequence : std::exchange(members, {})) {
      const auto at = writes.find(sequence);
      if (accepted) {
        at->second.given = raft->term();
      } else {
        Answer answer = std::move(at->second.answer);
        writes.erase(at);
        answer(refusal(
            Reason::kOverloaded,
            "refused: more is uncommitted than this node will hold." + std::string(kNotApplied)));
      }
    }
  };
  const auto add = [&](const std::string& command) {
    if (!batch.empty() && batch.size() + command.size() + 5 > kEntryBytesMax) flush();
    put_bytes(batch, command);
  };
  if (const auto time = lease_time_command()) add(*time);
  for (const std::string& command : std::exchange(forwarded, {})) add(command);
  for (std::uint64_t sequence : std::exchange(queue, {})) {
    const auto at = writes.find(sequence);
    if (at == writes.end()) continue;  // answered meanwhile
    if (at->second.change) {
      at->second.given = raft->term();
      take_change(*decode_command(at->second.command), {}, 0);
      continue;
    }
    add(at->second.command);
    members.push_back(sequence);
  }
  flush();
  propose_expiries();
  advance_changes();
}

void Engine::State::give_reads() {
  if (read_queue.empty() || !raft->leader()) return;
  Asked asked;
  asked.at = now.monotonic;
  for (Read& read : std::exchange(read_queue, {})) asked.reads.push_back(std::move(read));
  if (raft->is_leader()) {
    std::vector<Read>& joined = round_reads[raft->join_read_round()].reads;
    std::ranges::move(asked.reads, std::back_inserter(joined));
    return;
  }
  sender.send(raft->leader(), {raft->term(), ReadRequest{actor, ++last_read}});
  asked_reads.emplace(last_read, std::move(asked));
}

// Reads change nothing, so they are simply asked again.
void Engine::State::requeue_reads() {
  for (auto& [round, asked] : std::exchange(round_reads, {})) {
    for (Read& read : asked.reads) read_queue.push_back(std::move(read));
  }
  for (auto& [number, asked] : std::exchange(asked_reads, {})) {
    for (Read& read : asked.reads) read_queue.push_back(std::move(read));
  }
  round_requests.clear();
}

// ---- Answering ----------------------------------------------------------------------------------

void Engine::State::apply(const Entry& entry) {
  CAPSTAN_ASSERT(entry.index == next(applied.index));
  if (observer) observer(entry);
  const Micros time_before = machine.leases().facts().time;
  if (entry.kind == EntryKind::kConfig) apply_config(raft->config_at(entry.index));
  if (entry.bytes() > 0 && entry.kind == EntryKind::kCommands) {
    Reader in(*entry.data);
    while (in.ok() && !in.done()) {
      const ByteView command = in.bytes();
      if (Mutants::on(Mutant::kExpiryByApplyClock) && !over_by_own_clock(command)) continue;
      if (in.ok()) answer_write(machine.apply(command, entry.term), entry.index);
    }
  }
  const bool new_term = entry.term > applied.term;
  applied = entry.id();
  if (machine.leases().facts().time != time_before) lease_time_applied();
  compare.applied(applied.index, machine.fingerprint(), now.monotonic);
  if (new_term) offer_dead_writes_again(entry.term);
}

void Engine::State::answer_write(const Applied& applied_write, Index index) {
  if (applied_write.id.actor != actor) return;
  writes_wait_since = -1;
  const auto at = writes.find(applied_write.id.sequence.value);
  if (at == writes.end()) return;  // its client was told `unknown` before
  Write write = std::move(at->second);
  writes.erase(at);
  if (applied_write.refusal) {
    Reply out = refusal(applied_write.refusal->reason, applied_write.refusal->detail);
    if (out.reason == Reason::kNoSpace || out.reason == Reason::kCorrupt) {
      const bool space = out.reason == Reason::kNoSpace;
      out.detail = "refused: " + alarms_text(space ? AlarmType::kNoSpace : AlarmType::kCorrupt) +
                   " Not applied.";
    }
    return write.answer(std::move(out));
  }
  Reply out = reply();
  out.header.revision = applied_write.revision;
  out.write_id = applied_write.first ? applied_write.first : applied_write.id;
  out.body = applied_write.body;
  out.replicas_all = static_cast<int>(raft->config().voters.size());
  out.replicas_have = static_cast<int>(raft->quorum());
  if (raft->is_leader()) {
    int have = raft->log().stable() >= index ? 1 : 0;
    for (const auto& [member, progress] : raft->progress()) have += progress.match >= index;
    out.replicas_have = std::max(out.replicas_have, have);
  }
  if (write.physical) return hold_physical(std::move(write), std::move(out));
  write.answer(std::move(out));
}

// Everything given to earlier terms lies before this entry or nowhere.
void Engine::State::offer_dead_writes_again(Term applied_term) {
  bool any = false;
  for (auto& [sequence, write] : writes) {
    if (!write.given || write.given >= applied_term || write.begun) continue;
    write.given = {};
    queue.push_back(sequence);
    any = true;
  }
  if (!any) return;
  std::ranges::sort(queue);
  lease_time_wanted = true;  // for those among them that it matters to
}

std::optional<Refusal> Engine::State::serve(const Read& read, Reply& out) {
  const RequestBody& body = read.body;
  if (is_witness()) return witness_refusal();
  if (auto no = denied(principal_of(read.caller), body)) return no;
  if (std::holds_alternative<RangeRequest>(body)) return read_range(read, out);
  if (const auto* txn = std::get_if<TxnRequest>(&body)) {
    return machine.read(*txn, out.body.emplace<TxnResult>());
  }
  if (const auto* lease = std::get_if<LeaseTimeToLiveRequest>(&body)) {
    read_lease(*lease, out.body.emplace<LeaseTimeToLiveResult>());
  } else if (const auto* auth = std::get_if<AuthRequest>(&body)) {
    return machine.auth().answer(*auth, out.body.emplace<AuthResult>());
  } else if (const auto* login = std::get_if<AuthenticateRequest>(&body)) {
    return authenticate(*login, out.body.emplace<AuthenticateResult>());
  } else if (const auto* alarm = std::get_if<AlarmRequest>(&body)) {
    out.body = machine.alarms().list(alarm->member, alarm->type);
  } else {
    CAPSTAN_ASSERT(std::holds_alternative<LeasesRequest>(body));
    auto& ids = out.body.emplace<LeasesResult>().ids;
    machine.leases().each_ending(kLeaseTimeMax, [&ids](std::int64_t id, std::uint64_t) {
      ids.push_back(id);
      return true;
    });
  }
  return std::nullopt;
}

void Engine::State::serve_reads() {
  while (!indexed_reads.empty() && indexed_reads.begin()->first <= applied.index) {
    const bool local = !indexed_reads.begin()->first;
    Read read = std::move(indexed_reads.begin()->second);
    indexed_reads.erase(indexed_reads.begin());
    if (installing) {
      read.answer(
          refusal(Reason::kRecovering,
                  "refused: " + config.name + " is installing a snapshot; try again shortly."));
      continue;
    }
    Reply out = reply();
    if (const std::optional<Refusal> problem = serve(read, out)) {
      read.answer(refusal(problem->reason, problem->detail));
      continue;
    }
    if (local && !hears_leader()) {
      out.age_at_least = now.monotonic - std::max(leader_heard_at, started_at);
    }
    read.answer(std::move(out));
  }
}

// Time passes for whoever waits.
void Engine::State::expire() {
  expire_writes();
  expire_reads();
}

void Engine::State::expire_writes() {
  const bool lost = lost_since >= 0;
  const bool hopeless = lost && now.monotonic - lost_since >= kGraceAfterLoss;
  const Micros patience = kPatience * election_timeout();
  bool dropped = false;
  for (auto at = writes.begin(); at != writes.end();) {
    Write& write = at->second;
    const Micros waited = now.monotonic - write.since;
    const bool given = bool(write.given);
    const bool late = now.monotonic >= write.deadline;
    const bool drop = late || (given ? hopeless : lost || (waited >= patience && !raft->leader()));
    if (!drop) {
      ++at;
      continue;
    }
    dropped = true;
    Reply out;
    if (given) {
      out = unknown(write_id(at->first), late ? Reason::kTimeout : Reason::kLeaderLost, waited);
    } else if (lost) {
      out = refusal(no_quorum_reason(), "refused: " + no_quorum_text() + std::string(kNotApplied));
    } else {
      out = refusal(late ? Reason::kTimeout : Reason::kNoLeader,
                    "refused: " + no_leader_text() + std::string(kNotApplied));
    }
    Answer answer = std::move(write.answer);
    at = writes.erase(at);
    answer(std::move(out));
  }
  if (dropped) {
    std::erase_if(queue, [this](std::uint64_t sequence) { return !writes.contains(sequence); });
  }
}

void Engine::State::expire_reads() {
  const bool lost = lost_since >= 0;
  const Micros patience = kPatience * election_timeout();
  // Taken out first and answered after: an answer may bring the next request.
  std::vector<Read> expired;
  const auto expire_read = [&](Read& read) {
    const bool late = now.monotonic >= read.deadline;
    const bool waits_for_leader = !raft->leader() && now.monotonic - read.since >= patience;
    if (!late && !lost && !waits_for_leader) return false;
    expired.push_back(std::move(read));
    return true;
  };
  std::erase_if(read_queue, expire_read);
  for (auto at = asked_reads.begin(); at != asked_reads.end();) {
    Asked& asked = at->second;
    std::erase_if(asked.reads, expire_read);
    const bool unanswered = now.monotonic - asked.at >= kResendAfter;
    if (unanswered) std::ranges::move(asked.reads, std::back_inserter(read_queue));
    at = unanswered || asked.reads.empty() ? asked_reads.erase(at) : std::next(at);
  }
  for (auto& [round, asked] : round_reads) std::erase_if(asked.reads, expire_read);
  // Behind the local ones: those ask nobody and are served at the end of this turn.
  for (auto at = indexed_reads.upper_bound(Index{}); at != indexed_reads.end();) {
    at = expire_read(at->second) ? indexed_reads.erase(at) : std::next(at);
  }
  for (Read& read : expired) {
    const bool late = now.monotonic >= read.deadline;
    const Reason reason = lost ? no_quorum_reason() : late ? Reason::kTimeout : Reason::kNoLeader;
    const std::string why = lost              ? no_quorum_text()
                            : !raft->leader() ? no_leader_text()
                                              : "no leader confirmed the read within " +
                                                    seconds_text(now.monotonic - read.since) + ".";
    read.answer(refusal(reason, "refused: " + why + std::string(old_values())));
  }
}

}  // namespace capstan::cp
