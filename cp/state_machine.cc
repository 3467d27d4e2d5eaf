#include "cp/state_machine.h"

#include <array>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"
#include "cp/txn.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;

std::string id_key(ByteView request_id) { return "i" + std::string(request_id); }
std::string number_key(std::uint64_t number) {
  std::string out = "n";
  put_u64_be(out, number);
  return out;
}

struct Row {
  StateMachine::Position position;
  Mvcc::Facts facts;
  std::uint64_t requests_first = 0, requests_next = 0;
};

Row parse_row(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t format = in.u8();
  CAPSTAN_ASSERT(format == kFormat);
  Row row;
  row.position.applied.index = {in.varint()};
  row.position.applied.term = {in.varint()};
  row.facts.revision = {in.varint()};
  row.facts.compacted = {in.varint()};
  row.facts.keys = in.varint();
  row.facts.digest = in.u64();
  row.requests_first = in.varint();
  row.requests_next = in.varint();
  const std::uint64_t voters = in.varint();
  CAPSTAN_ASSERT(in.plausible(voters, 8));
  for (std::uint64_t i = 0; i < voters; ++i) row.position.config.voters.push_back({in.u64()});
  CAPSTAN_ASSERT(in.done());  // the base checks its records; what it returns is what we wrote
  return row;
}

}  // namespace

StateMachine::Position StateMachine::load() {
  mvcc_.set_facts({});
  mvcc_.load_sweep();
  requests_first_ = requests_next_ = 0;
  const auto bytes = table_.get(Space::kMeta, kStateKey);
  if (!bytes) return {};
  Row row = parse_row(*bytes);
  mvcc_.set_facts(row.facts);
  requests_first_ = row.requests_first;
  requests_next_ = row.requests_next;
  return std::move(row.position);
}

std::uint64_t StateMachine::fingerprint() const {
  const Mvcc::Facts& facts = mvcc_.facts();
  const std::array<std::uint64_t, 3> others{facts.revision.value, facts.compacted.value,
                                            facts.keys};
  return xxh3({reinterpret_cast<const char*>(others.data()), sizeof others}, facts.digest);
}

StateMachine::Position StateMachine::parse(ByteView row) { return parse_row(row).position; }

void StateMachine::save(const Position& position) {
  const Mvcc::Facts& facts = mvcc_.facts();
  std::string row;
  put_u8(row, kFormat);
  put_varint(row, position.applied.index.value);
  put_varint(row, position.applied.term.value);
  put_varint(row, facts.revision.value);
  put_varint(row, facts.compacted.value);
  put_varint(row, facts.keys);
  put_u64(row, facts.digest);
  put_varint(row, requests_first_);
  put_varint(row, requests_next_);
  put_varint(row, position.config.voters.size());
  for (MemberId voter : position.config.voters) put_u64(row, voter.value);
  table_.put(Space::kMeta, kStateKey, std::move(row));
}

Applied StateMachine::apply(ByteView bytes) {
  const std::optional<Command> command = decode_command(bytes);
  if (!command) {
    Applied out;
    out.refusal = Refusal{Reason::kInvalid, "the log holds something that is no command"};
    out.revision = revision();
    return out;
  }
  if (!command->request_id.empty()) {
    if (auto before = recall(*command)) return *std::move(before);
  }
  Applied out;
  out.id = command->id;
  apply_body(*command, out);
  out.revision = revision();
  if (!command->request_id.empty() && !out.refusal) remember(*command, out);
  return out;
}

void StateMachine::apply_body(const Command& command, Applied& out) {
  if (const auto* put = std::get_if<PutView>(&command.body)) {
    if ((out.refusal = check_put(mvcc_, *put))) return;
    mvcc_.begin();
    out.body = mvcc_.put(*put);
  } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&command.body)) {
    mvcc_.begin();
    out.body = mvcc_.erase(*erase);
  } else if (const auto* compact = std::get_if<CompactRequest>(&command.body)) {
    if (!(out.refusal = mvcc_.compact(compact->revision))) out.body = CompactResult{};
    return;
  } else {
    TxnRun run(mvcc_, std::get<TxnRequest>(command.body));
    if ((out.refusal = run.check())) return;
    mvcc_.begin();
    out.body = run.run();
  }
  mvcc_.end();
}

std::optional<Refusal> StateMachine::read(const RangeRequest& request, RangeResult& out) const {
  if (auto refusal = mvcc_.check_revision(request.revision)) return refusal;
  out = mvcc_.range(request);
  return std::nullopt;
}

std::optional<Refusal> StateMachine::read(const TxnRequest& request, TxnResult& out) {
  CAPSTAN_ASSERT(is_read_only(request));
  TxnRun run(mvcc_, request);
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
  CAPSTAN_ASSERT(in.done());
  if (kind != command.body.index()) {
    out.refusal = Refusal{Reason::kInvalid, "this request id belongs to another request"};
  } else if (kind == 0) {
    out.body = PutResult{};
  } else if (kind == 1) {
    out.body = DeleteRangeResult{static_cast<std::int64_t>(detail), {}};
  } else if (kind == 3) {
    out.body = CompactResult{};
  } else {
    TxnResult txn;
    txn.succeeded = detail != 0;
    out.body = std::move(txn);
  }
  return out;
}

void StateMachine::remember(const Command& command, const Applied& applied) {
  std::uint64_t detail = 0;
  if (const auto* erased = std::get_if<DeleteRangeResult>(&applied.body)) {
    detail = static_cast<std::uint64_t>(erased->deleted);
  } else if (const auto* txn = std::get_if<TxnResult>(&applied.body)) {
    detail = txn->succeeded;
  }
  std::string row;
  put_varint(row, requests_next_);
  put_u64(row, applied.id.actor.node.value);
  put_varint(row, applied.id.actor.incarnation);
  put_varint(row, applied.id.sequence.value);
  put_varint(row, applied.revision.value);
  put_varint(row, command.body.index());
  put_varint(row, detail);
  table_.put(Space::kRequests, number_key(requests_next_++), std::string(command.request_id));
  table_.put(Space::kRequests, id_key(command.request_id), std::move(row));
  while (requests_next_ - requests_first_ > kRequestWindow) {
    const std::string oldest = number_key(requests_first_++);
    if (const auto id = table_.get(Space::kRequests, oldest)) {
      table_.erase(Space::kRequests, id_key(*id));
    }
    table_.erase(Space::kRequests, oldest);
  }
}

}  // namespace capstan::cp
