#include "tests/support/fake_handler.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/key_range.h"
#include "core/range_stream.h"

namespace capstan::test {

namespace {

constexpr MemberId kSelf{0x8e9e05c52164694d};
constexpr MemberId kOther{0xfedcba9876543210};
constexpr NodeId kNode{77};
constexpr ClusterId kCluster{0xcdf818194e3a8c32};

bool within(const KeyRange& range, const std::string& key) {
  if (range.end.empty()) return key == range.key;
  if (range.end == std::string(1, '\0')) return key >= range.key;
  return key >= range.key && key < range.end;
}

class FakeRange final : public RangeStream {
 public:
  FakeRange(FakeHandler& handler, RangeResult whole, std::function<void()> ready)
      : handler_(handler), whole_(std::move(whole)), ready_(std::move(ready)) {}

  std::optional<std::expected<Slice, Refusal>> next() override {
    if (std::exchange(waits_, !waits_)) {
      handler_.wait(ready_);
      return std::nullopt;
    }
    if (handler_.slices_left-- == 0) {
      return std::unexpected(Refusal{Reason::kCompacted, "refused: it went away"});
    }
    Slice slice;
    for (std::size_t i = 0; i < handler_.range_slice && at_ < whole_.kvs.size(); ++i) {
      slice.kvs.push_back(whole_.kvs[at_++]);
    }
    slice.last = at_ == whole_.kvs.size();
    slice.more = whole_.more;
    slice.count = whole_.count;
    return slice;
  }
  void rewind() override { at_ = 0; }

 private:
  FakeHandler& handler_;
  const RangeResult whole_;
  const std::function<void()> ready_;
  std::size_t at_ = 0;
  bool waits_ = false;
};

}  // namespace

bool FakeHandler::go_on() {
  const auto waiting = std::exchange(to_go_on_, {});
  for (const auto& ready : waiting) ready();
  return !waiting.empty();
}

void FakeHandler::handle(Request request, Answer answer) {
  ++handled;
  if (defer_answers) {
    waiting_.emplace_back(std::move(request), std::move(answer));
    return;
  }
  Reply reply = reply_to(request);
  if (keep_requests) requests.push_back(std::move(request));
  answer(std::move(reply));
}

Reply FakeHandler::ask(RequestBody body) {
  Request request;
  request.body = std::move(body);
  return reply_to(request);
}

void FakeHandler::answer_waiting() {
  for (auto& [request, answer] : std::exchange(waiting_, {})) {
    Reply reply = reply_to(request);
    if (keep_requests) requests.push_back(std::move(request));
    answer(std::move(reply));
  }
}

RangeResult FakeHandler::range(const RangeRequest& request) const {
  RangeResult result;
  for (auto at = map_.lower_bound(request.range.key); at != map_.end(); ++at) {
    if (!within(request.range, at->first)) break;
    ++result.count;
    if (request.count_only || !passes_filters(request, at->second)) continue;
    result.kvs.push_back(at->second);
    if (request.keys_only) result.kvs.back().value.clear();
  }
  result.more = sort_and_limit(request, result.kvs, std::identity{});
  return result;
}

bool FakeHandler::holds(const Compare& compare) const {
  const auto at = map_.find(compare.range.key);
  const KeyValue kv = at == map_.end() ? KeyValue{} : at->second;
  if (compare.target == CompareTarget::kValue) {
    return compare.result == CompareResult::kEqual && kv.value == compare.value;
  }
  const std::int64_t have = static_cast<std::int64_t>(
      compare.target == CompareTarget::kVersion  ? kv.version
      : compare.target == CompareTarget::kCreate ? kv.create_revision.value
                                                 : kv.mod_revision.value);
  switch (compare.result) {
    case CompareResult::kEqual:
      return have == compare.number;
    case CompareResult::kGreater:
      return have > compare.number;
    case CompareResult::kLess:
      return have < compare.number;
    case CompareResult::kNotEqual:
      return have != compare.number;
  }
  return false;
}

ResponseOp FakeHandler::run(const RequestOp& op) {
  ResponseOp out;
  if (const auto* get = std::get_if<RangeRequest>(&op.op)) {
    out.result = range(*get);
  } else if (const auto* put = std::get_if<PutRequest>(&op.op)) {
    KeyValue& kv = map_[put->key];
    PutResult result;
    if (put->prev_kv && kv.version > 0) result.prev = kv;
    if (kv.version == 0) kv.create_revision = Revision{revision_};
    kv.key = put->key;
    kv.value = put->value;
    kv.lease = put->lease;
    kv.mod_revision = Revision{revision_};
    ++kv.version;
    out.result = std::move(result);
  } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.op)) {
    DeleteRangeResult result;
    for (auto at = map_.lower_bound(erase->range.key);
         at != map_.end() && within(erase->range, at->first);) {
      ++result.deleted;
      if (erase->prev_kv) result.prevs.push_back(at->second);
      at = map_.erase(at);
    }
    out.result = std::move(result);
  } else if (const auto* nested = std::get_if<TxnRequest>(&op.op)) {
    out.result = txn(*nested);
  }
  out.revision = Revision{revision_};
  return out;
}

bool FakeHandler::puts(const TxnRequest& request) const {
  const bool succeeds =
      std::ranges::all_of(request.compare, [&](const Compare& c) { return holds(c); });
  return std::ranges::any_of(succeeds ? request.success : request.failure, [](const RequestOp& op) {
    return !std::holds_alternative<RangeRequest>(op.op);
  });
}

TxnResult FakeHandler::txn(const TxnRequest& request) {
  TxnResult result;
  result.succeeded =
      std::ranges::all_of(request.compare, [&](const Compare& c) { return holds(c); });
  for (const RequestOp& op : result.succeeded ? request.success : request.failure) {
    result.responses.push_back(run(op));
  }
  return result;
}

StatusResult FakeHandler::status() const {
  StatusResult s;
  s.name = "n1";
  s.id = kSelf;
  s.cluster = kCluster;
  s.mode = mode;
  s.version = "0.1.0";
  s.role = mode == Mode::kCp ? "leader" : "replica";
  s.leader_name = mode == Mode::kCp ? "n1" : "";
  s.leader = mode == Mode::kCp ? kSelf : MemberId{};
  s.term = 2;
  s.index = s.committed = s.applied = revision_;
  s.revision = Revision{revision_};
  s.voters = 2;
  s.reachable = 2;
  s.quorum = 2;
  s.base_bytes = 24576;
  s.keys = map_.size();
  PeerStatus self;
  self.name = "n1";
  self.id = kSelf;
  self.peer_address = "127.0.0.1:2380";
  self.client_urls = {"http://127.0.0.1:2379"};
  self.self = true;
  self.reachable = true;
  PeerStatus other = self;
  other.name = "n2";
  other.id = kOther;
  other.self = false;
  other.peer_address = "127.0.0.1:2382";
  other.client_urls = {"http://127.0.0.1:2381"};
  other.last_heard_ago = 1200;
  s.peers = {self, other};
  return s;
}

Reply FakeHandler::reply_to(const Request& request) {
  if (forced) return *forced;
  Reply reply;
  reply.epoch = Epoch{1};
  RequestOp op;
  if (const auto* body = std::get_if<RangeRequest>(&request.body)) {
    if (body->range.key.empty()) return refused(Reason::kKeyMissing, "A key is needed.");
    op.op = *body;
  } else if (const auto* put = std::get_if<PutRequest>(&request.body)) {
    if (put->key.empty()) return refused(Reason::kKeyMissing, "A key is needed.");
    op.op = *put;
  } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&request.body)) {
    op.op = *erase;
  } else if (const auto* txn_request = std::get_if<TxnRequest>(&request.body)) {
    op.op = *txn_request;
  }
  const auto* grant = std::get_if<LeaseGrantRequest>(&request.body);
  const auto* keep = std::get_if<LeaseKeepAliveRequest>(&request.body);
  const bool compacts = std::holds_alternative<CompactRequest>(request.body);
  if (is_write(request.body)) {
    const auto* t = std::get_if<TxnRequest>(&request.body);
    if (!compacts && !grant && !keep && (t == nullptr || puts(*t))) ++revision_;
    reply.write_id = WriteId{.actor = {.node = kNode, .incarnation = 3}, .sequence = {++writes_}};
    reply.replicas_have = 2;
    reply.replicas_all = 3;
  }
  reply.header = {
      .cluster = kCluster, .member = kSelf, .revision = Revision{revision_}, .term = Term{2}};
  if (compacts) {
    reply.body = CompactResult{};
  } else if (std::holds_alternative<AuthRequest>(request.body)) {
    reply.body = AuthResult{true, 7, {"alice"}, {{Permission::Kind::kWrite, {"k", "l"}}}};
  } else if (std::holds_alternative<AuthenticateRequest>(request.body)) {
    reply.body = AuthenticateResult{"a.token", ""};
  } else if (const auto* alarm = std::get_if<AlarmRequest>(&request.body)) {
    reply.body = AlarmResult{{{alarm->member, alarm->type}}};
  } else if (std::holds_alternative<DefragmentRequest>(request.body)) {
    reply.body = DefragmentResult{};
  } else if (std::holds_alternative<MoveLeaderRequest>(request.body)) {
    reply.body = MoveLeaderResult{};
  } else if (const auto* change = std::get_if<MemberChangeRequest>(&request.body)) {
    reply.body = MemberChangeResult{change->member ? change->member : kSelf, status().peers};
  } else if (grant != nullptr) {
    reply.body = LeaseGrantResult{grant->id != 0 ? grant->id : 0x77, grant->ttl};
  } else if (keep != nullptr) {
    reply.body = LeaseKeepAliveResult{keep->id, keep->id == 0 ? 0 : 60};
  } else if (std::holds_alternative<StatusRequest>(request.body)) {
    reply.body = status();
  } else if (std::holds_alternative<MembersRequest>(request.body)) {
    reply.body = MembersResult{.members = status().peers};
  } else if (std::holds_alternative<ConflictsRequest>(request.body)) {
    reply.body = ConflictsResult{};
  } else if (std::holds_alternative<BooksRequest>(request.body)) {
    reply.body = BooksResult{.survived = {"n1:3:2"}, .superseded = {"n1:3:1"}, .lost = {"n2:1:4"}};
  } else {
    std::visit([&reply](auto&& result) { reply.body = std::forward<decltype(result)>(result); },
               run(op).result);
  }
  auto* range = std::get_if<RangeResult>(&reply.body);
  if (range != nullptr && range_slice > 0 && request.more_ready) {
    reply.range = std::make_shared<FakeRange>(*this, std::move(*range), request.more_ready);
    reply.body = std::monostate{};
  }
  return reply;
}

net::Health FakeHandler::health() {
  net::Health health;
  health.ready = ready;
  health.checks = {
      {.name = "loop", .ok = true, .detail = ""},
      {.name = "quorum", .ok = ready, .detail = ready ? "" : "n1 reaches 1 of 3 voters (needs 2)"}};
  return health;
}

std::string FakeHandler::metrics_text() {
  return "# HELP capstan_up 1 while the node runs\n# TYPE capstan_up gauge\ncapstan_up 1\n";
}

void FakeHandler::lab(net::LabCommand command, net::LabAnswer answer) {
  if (!lab_allowed) {
    return answer({.outcome = Outcome::kFailed,
                   .reason = Reason::kNotLab,
                   .detail = "Start the node with --lab.",
                   .faults = {}});
  }
  if (command.kind == net::LabCommand::Kind::kHeal) faults_.clear();
  if (command.kind == net::LabCommand::Kind::kDrop) {
    faults_.clear();
    for (const net::LabDrop& drop : command.drops) {
      faults_.push_back(
          {.peer = drop.peer, .in = drop.in, .out = drop.out, .remaining = command.for_micros});
    }
  }
  net::LabReply reply;
  reply.faults = faults_;
  answer(std::move(reply));
}

std::string_view FakeHandler::name_of(NodeId node) const { return node == kNode ? "n1" : ""; }

}  // namespace capstan::test
