#include "cp/state_machine.h"

#include <array>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"
#include "cp/access.h"
#include "cp/mutants.h"
#include "cp/txn.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 3;
constexpr std::uint8_t kFormatWithoutLeases = 1;
constexpr std::uint8_t kFormatOfVoters = 2;  // alone, where the whole configuration stands now
constexpr std::size_t kSettledKind = 255;    // of a request's row, in place of a command's kind

std::string id_key(ByteView request_id) { return "i" + std::string(request_id); }
std::string number_key(std::uint64_t number) {
  std::string out = "n";
  put_u64_be(out, number);
  return out;
}

Refusal settled_refusal() {
  return {Reason::kSettled,
          "refused: somebody asked for its outcome before it was applied, and was told that it "
          "never will be. Not applied; write again under a new id."};
}

// What every row of a request begins with.
std::string request_row(std::uint64_t number, const WriteId& id, Revision revision,
                        std::size_t kind) {
  std::string row;
  put_varint(row, number);
  put_u64(row, id.actor.node.value);
  put_varint(row, id.actor.incarnation);
  put_varint(row, id.sequence.value);
  put_varint(row, revision.value);
  put_varint(row, kind);
  return row;
}

struct Row {
  StateMachine::Position position;
  Mvcc::Facts facts;
  Leases::Facts leases;
  std::uint64_t requests_first = 0, requests_next = 0;
};

std::string row_of(const Row& row) {
  std::string out;
  put_u8(out, kFormat);
  put_varint(out, row.position.applied.index.value);
  put_varint(out, row.position.applied.term.value);
  put_varint(out, row.facts.revision.value);
  put_varint(out, row.facts.compacted.value);
  put_varint(out, row.facts.keys);
  put_u64(out, row.facts.digest);
  put_varint(out, row.requests_first);
  put_varint(out, row.requests_next);
  put_bytes(out, encode_config(row.position.config));
  put_varint(out, static_cast<std::uint64_t>(row.leases.time));
  put_varint(out, row.leases.generation);
  put_u64(out, row.leases.digest);
  return out;
}

Row parse_row(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t format = in.u8();
  CAPSTAN_ASSERT(format >= kFormatWithoutLeases && format <= kFormat);
  Row row;
  row.position.applied.index = {in.varint()};
  row.position.applied.term = {in.varint()};
  row.position.revision = row.facts.revision = {in.varint()};
  row.facts.compacted = {in.varint()};
  row.facts.keys = in.varint();
  row.facts.digest = in.u64();
  row.requests_first = in.varint();
  row.requests_next = in.varint();
  if (format <= kFormatOfVoters) {
    const std::uint64_t voters = in.varint();
    CAPSTAN_ASSERT(in.plausible(voters, 8));
    for (std::uint64_t i = 0; i < voters; ++i) row.position.config.voters.push_back({in.u64()});
  } else {
    std::optional<Config> config = decode_config(in.bytes());
    CAPSTAN_ASSERT(config.has_value());
    row.position.config = *std::move(config);
  }
  if (format != kFormatWithoutLeases) {
    row.leases.time = static_cast<Micros>(in.varint());
    row.leases.generation = in.varint();
    row.leases.digest = in.u64();
  }
  CAPSTAN_ASSERT(in.done());  // the base checks its records; what it returns is what we wrote
  return row;
}

}  // namespace

StateMachine::Position StateMachine::load() {
  mvcc_.load_sweep();
  const auto bytes = table_.get(Space::kMeta, kStateKey);
  Row row = bytes ? parse_row(*bytes) : Row{};
  mvcc_.set_facts(row.facts);
  leases_.load(row.leases);
  alarms_.load();
  auth_.load();
  outcomes_.load();
  requests_first_ = row.requests_first;
  requests_next_ = row.requests_next;
  return std::move(row.position);
}

std::uint64_t StateMachine::fingerprint() const {
  const Mvcc::Facts& facts = mvcc_.facts();
  const std::array<std::uint64_t, 7> others{
      facts.revision.value, facts.compacted.value, facts.keys,        leases_.facts().digest,
      alarms_.digest(),     auth_.digest(),        outcomes_.digest()};
  return xxh3({reinterpret_cast<const char*>(others.data()), sizeof others}, facts.digest);
}

void StateMachine::apply(const Config& config) {
  for (const MemberAlarm& alarm : alarms_.list({}, AlarmType::kNone).alarms) {
    if (config.was_removed(alarm.member)) clear(alarm);
  }
}

void StateMachine::clear(const MemberAlarm& alarm) {
  alarms_.apply({AlarmRequest::Action::kClear, alarm.member, alarm.type});
}

StateMachine::Position StateMachine::parse(ByteView row) { return parse_row(row).position; }

void StateMachine::save(const Position& position) {
  outcomes_.save();
  table_.put(Space::kMeta, kStateKey,
             row_of({position, mvcc_.facts(), leases_.facts(), requests_first_, requests_next_}));
}

Change StateMachine::nothing_at(const Position& position) {
  return {Space::kMeta, std::string(kStateKey), row_of({position, {}, {}, 0, 0})};
}

Applied StateMachine::apply(ByteView bytes, Term term) {
  const std::optional<Command> command = decode_command(bytes);
  if (!command) {
    Applied out;
    out.refusal = Refusal{Reason::kInvalid, "the log holds something that is no command"};
    out.revision = revision();
    return out;
  }
  if (!command->request_id.empty()) {
    if (auto before = recall(*command)) {
      if (!before->refusal) outcomes_.applied(command->id);
      return *std::move(before);
    }
  }
  Applied out;
  out.id = command->id;
  if (outcomes_.settled(command->id) && !Mutants::on(Mutant::kSettledStillApplied)) {
    out.refusal = settled_refusal();
  } else {
    apply_body(*command, term, out);
  }
  out.revision = revision();
  if (out.refusal) return out;
  outcomes_.applied(command->id);
  if (!command->request_id.empty()) remember(*command, out);
  return out;
}

void StateMachine::apply_body(const Command& command, Term term, Applied& out) {
  if (std::holds_alternative<MemberChangeRequest>(command.body)) return;  // no leader logs one
  if (!Mutants::on(Mutant::kAccessCheckedWhenTaken) &&
      (out.refusal = access_refusal(auth_, mvcc_, command))) {
    return;
  }
  if ((out.refusal = alarms_.refusal(command))) return;
  if (const auto* put = std::get_if<PutView>(&command.body)) {
    if ((out.refusal = check_put(mvcc_, leases_, *put))) return;
    mvcc_.begin();
    out.body = mvcc_.put(*put);
  } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&command.body)) {
    mvcc_.begin();
    out.body = mvcc_.erase(*erase);
  } else if (const auto* compact = std::get_if<CompactRequest>(&command.body)) {
    if (!(out.refusal = mvcc_.compact(compact->revision))) out.body = CompactResult{};
    return;
  } else if (const auto* alarm = std::get_if<AlarmRequest>(&command.body)) {
    out.body = alarms_.apply(*alarm);
    return;
  } else if (const auto* auth = std::get_if<AuthRequest>(&command.body)) {
    if (!(out.refusal = auth_.apply(*auth))) out.body = AuthResult{};
    return;
  } else if (const auto* outcome = std::get_if<OutcomeRequest>(&command.body)) {
    out.body = decide(command, *outcome);
    return;
  } else if (const auto* txn = std::get_if<TxnRequest>(&command.body)) {
    TxnRun run(mvcc_, leases_, *txn);
    if ((out.refusal = run.check())) return;
    mvcc_.begin();
    out.body = run.run();
  } else {
    out.refusal = apply_lease(command, term, out.body);
    return;
  }
  mvcc_.end();
}

std::optional<Refusal> StateMachine::apply_lease(const Command& command, Term term,
                                                 ReplyBody& out) {
  if (const auto* time = std::get_if<LeaseTime>(&command.body)) {
    leases_.tell_time(time->time);
  } else if (const auto* grant = std::get_if<LeaseGrantRequest>(&command.body)) {
    if (auto refusal = leases_.grant(*grant)) return refusal;
    out = LeaseGrantResult{grant->id, grant->ttl};
  } else if (const auto* keep = std::get_if<LeaseKeepAliveRequest>(&command.body)) {
    out = LeaseKeepAliveResult{keep->id, leases_.renew(keep->id)};
  } else if (const auto* revoke = std::get_if<LeaseRevokeRequest>(&command.body)) {
    if (!leases_.holds(revoke->id)) return no_lease(revoke->id);
    end_lease(revoke->id);
    out = LeaseRevokeResult{};
  } else {
    const auto& expiry = std::get<LeaseExpiry>(command.body);
    const std::optional<Leases::Lease> lease = leases_.find(expiry.id);
    if (expiry.term == term && lease && lease->generation == expiry.generation) {
      end_lease(expiry.id);
    }
  }
  return std::nullopt;
}

void StateMachine::end_lease(std::int64_t id) {
  mvcc_.begin();
  mvcc_.erase_keys_of(id);
  mvcc_.end();
  leases_.remove(id);
}

std::optional<Refusal> StateMachine::read(const RangeRequest& request, RangeResult& out) const {
  if (auto refusal = mvcc_.check_revision(request.revision)) return refusal;
  out = mvcc_.range(request);
  return std::nullopt;
}

std::optional<Refusal> StateMachine::read(const TxnRequest& request, TxnResult& out) {
  CAPSTAN_ASSERT(is_read_only(request));
  TxnRun run(mvcc_, leases_, request);
  if (auto refusal = run.check()) return refusal;
  out = run.run();
  return std::nullopt;
}

std::optional<Refusal> StateMachine::read(const HashRequest& request, HashResult& out) const {
  if (auto refusal = mvcc_.check_revision(request.revision)) return refusal;
  out.compacted = facts().compacted;
  const Revision at = request.revision > 0 ? Revision{static_cast<std::uint64_t>(request.revision)}
                                           : facts().revision;
  if (request.revision > 0 && at == out.compacted) {
    return Refusal{Reason::kCompacted, "history begins at revision " + std::to_string(at.value) +
                                           ", which is not hashed"};
  }
  const std::optional<std::uint64_t> digest = mvcc_.digest_at(at);
  if (!digest) {
    return Refusal{Reason::kNotSupported, "revision " + std::to_string(at.value) +
                                              " was written by a build that kept no digests"};
  }
  out.hash = static_cast<std::uint32_t>(*digest ^ *digest >> 32);
  return std::nullopt;
}

// ---- What became of writes ----------------------------------------------------------------------

OutcomeResult StateMachine::outcome(const OutcomeRequest& request) const {
  if (request.of_request.empty()) return {outcomes_.fate(request.id), {}};
  const auto row = table_.get(Space::kRequests, id_key(request.of_request));
  if (!row) return {Fate::kOpen, {}};
  Reader in(*row);
  in.varint();
  in.u64();
  in.varint();
  in.varint();
  const Revision revision{in.varint()};
  if (in.varint() == kSettledKind) return {Fate::kNotApplied, {}};
  return {Fate::kApplied, revision};
}

OutcomeResult StateMachine::decide(const Command& command, const OutcomeRequest& request) {
  OutcomeResult known = outcome(request);
  if (known.fate != Fate::kOpen) return known;
  if (request.of_request.empty()) {
    outcomes_.settle(request.id);
  } else {
    std::string row = request_row(requests_next_, command.id, revision(), kSettledKind);
    put_varint(row, 0);
    remember(request.of_request, std::move(row));
  }
  return {Fate::kNotApplied, {}};
}

// ---- Requests with an id of their own -----------------------------------------------------------

// A row: number, write id, revision, then what the reply cannot do without.
std::optional<Applied> StateMachine::recall(const Command& command) const {
  const auto row = table_.get(Space::kRequests, id_key(command.request_id));
  if (!row) return std::nullopt;
  Reader in(*row);
  in.varint();
  Applied out;
  out.id = command.id;
  out.first.actor.node = {in.u64()};
  out.first.actor.incarnation = static_cast<Incarnation>(in.varint());
  out.first.sequence = {in.varint()};
  out.revision = {in.varint()};
  const std::size_t kind = in.varint();
  const std::uint64_t detail = in.varint();
  const std::uint64_t lease = in.done() ? 0 : in.u64();
  CAPSTAN_ASSERT(in.done());
  const auto lease_id = static_cast<std::int64_t>(lease);
  const auto ttl = static_cast<std::int64_t>(detail);
  if (kind == kSettledKind && Mutants::on(Mutant::kSettledStillApplied)) return std::nullopt;
  if (kind == kSettledKind) {
    out.refusal = settled_refusal();
  } else if (kind != command.body.index()) {
    out.refusal = Refusal{Reason::kInvalid, "this request id belongs to another request"};
  } else if (kind == 0) {
    out.body = PutResult{};
  } else if (kind == 1) {
    out.body = DeleteRangeResult{static_cast<std::int64_t>(detail), {}};
  } else if (kind == 2) {
    out.body = TxnResult{detail != 0, {}};
  } else if (kind == 3) {
    out.body = CompactResult{};
  } else if (kind == 4) {
    out.body = LeaseGrantResult{lease_id, ttl};
  } else if (kind == 5) {
    out.body = LeaseRevokeResult{};
  } else if (kind == 6) {
    out.body = LeaseKeepAliveResult{lease_id, ttl};
  } else if (std::holds_alternative<AuthRequest>(command.body)) {
    out.body = AuthResult{};
  } else if (const auto* outcome = std::get_if<OutcomeRequest>(&command.body)) {
    out.body = this->outcome(*outcome);
  } else {
    out.body = AlarmResult{};  // the alarm is not remembered, only that it was done
  }
  return out;
}

void StateMachine::remember(const Command& command, const Applied& applied) {
  std::uint64_t detail = 0;
  std::int64_t lease = 0;
  if (const auto* erased = std::get_if<DeleteRangeResult>(&applied.body)) {
    detail = static_cast<std::uint64_t>(erased->deleted);
  } else if (const auto* txn = std::get_if<TxnResult>(&applied.body)) {
    detail = txn->succeeded;
  } else if (const auto* granted = std::get_if<LeaseGrantResult>(&applied.body)) {
    detail = static_cast<std::uint64_t>(granted->ttl);
    lease = granted->id;
  } else if (const auto* kept = std::get_if<LeaseKeepAliveResult>(&applied.body)) {
    detail = static_cast<std::uint64_t>(kept->ttl);
    lease = kept->id;
  }
  std::string row = request_row(requests_next_, applied.id, applied.revision, command.body.index());
  put_varint(row, detail);
  if (lease != 0) put_u64(row, static_cast<std::uint64_t>(lease));
  remember(command.request_id, std::move(row));
}

void StateMachine::remember(ByteView request_id, std::string row) {
  table_.put(Space::kRequests, number_key(requests_next_++), std::string(request_id));
  table_.put(Space::kRequests, id_key(request_id), std::move(row));
  while (requests_next_ - requests_first_ > kRequestWindow) {
    const std::string oldest = number_key(requests_first_++);
    if (const auto id = table_.get(Space::kRequests, oldest)) {
      table_.erase(Space::kRequests, id_key(*id));
    }
    table_.erase(Space::kRequests, oldest);
  }
}

}  // namespace capstan::cp
