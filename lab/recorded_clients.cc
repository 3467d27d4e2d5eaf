#include "lab/recorded_clients.h"

#include <utility>

#include "net/uv_loop.h"

namespace capstan::lab {

RecordedClients::RecordedClients(net::Loop& loop, std::vector<std::uint16_t> ports, Micros origin)
    : loop_(loop),
      ports_(std::move(ports)),
      origin_(origin),
      connections_(ports_.size()),
      idle_clients_(ports_.size()) {
  for (std::uint32_t node = 0; node < ports_.size(); ++node) connection(node);
}

net::GrpcClient& RecordedClients::connection(std::uint32_t node) {
  std::unique_ptr<net::GrpcClient>& held = connections_[node];
  if (!held || held->state() == net::GrpcClient::State::kClosed) {
    // Callbacks of the old one may still be on the stack: it goes at the next turn.
    if (held) loop_.defer([old = std::move(held)] {});
    held = net::GrpcClient::connect(loop_, "127.0.0.1", ports_[node]);
  }
  return *held;
}

std::uint32_t RecordedClients::take_client(std::uint32_t node) {
  std::vector<std::uint32_t>& idle = idle_clients_[node];
  if (idle.empty()) return ++clients_;
  const std::uint32_t client = idle.back();
  idle.pop_back();
  return client;
}

void RecordedClients::begin(const PlannedOperation& planned) {
  const std::size_t index = history_.size();
  Operation& op = history_.emplace_back();
  op.client = take_client(planned.node);
  op.node = planned.node;
  op.kind = planned.kind;
  op.key = planned.key;
  op.value = planned.value;
  op.start = net::Loop::clock().monotonic - origin_;
  ++open_;
  const net::GrpcCallOptions options{.deadline = kClientPatience, .request_id = {}};
  auto done = [this, index](net::GrpcReply reply) { answered(index, reply); };
  if (planned.kind == OpKind::kPut) {
    begun_[planned.value] = op.start;
    PutRequest request;
    request.key = planned.key;
    request.value = planned.value;
    request.prev_kv = true;  // the reply names what it replaced: evidence for the accounts
    connection(planned.node).put(request, options, std::move(done));
  } else if (planned.kind == OpKind::kDelete) {
    DeleteRangeRequest request{.range = {planned.key, ""}, .prev_kv = true};
    connection(planned.node).delete_range(request, options, std::move(done));
  } else {
    RangeRequest request;
    request.range.key = planned.key;
    connection(planned.node).range(request, options, std::move(done));
  }
}

void RecordedClients::answered(std::size_t index, const net::GrpcReply& reply) {
  Operation& op = history_[index];
  --open_;
  op.outcome = reply.outcome;
  op.reason = reply.reason;
  op.write_id = reply.write_id;
  op.revision = static_cast<std::uint64_t>(reply.revision);
  op.end = net::Loop::clock().monotonic - origin_;
  if (op.outcome != Outcome::kUnknown) idle_clients_[op.node].push_back(op.client);
  if (op.acknowledged()) {
    std::optional<std::string> seen;
    if (!reply.kvs.empty()) seen = reply.kvs.front().value;
    if (op.kind == OpKind::kGet) {
      op.read = std::move(seen);
    } else {
      op.saw_previous = true;
      op.previous = std::move(seen);
    }
  }
  if (on_answer) on_answer(op);
}

Micros RecordedClients::begun(const std::string& value) const {
  const auto at = begun_.find(value);
  return at == begun_.end() ? INT64_MIN : at->second;
}

void RecordedClients::dump(std::uint32_t node, bool stale,
                           std::function<void(std::unique_ptr<Dump>)> done) {
  RangeRequest request;
  request.range = {std::string(1, '\0'), std::string(1, '\0')};  // every key
  request.serializable = stale;
  connection(node).range(
      request, {.deadline = kSecond, .request_id = {}},
      [done = std::move(done)](net::GrpcReply reply) {
        if (reply.outcome != Outcome::kOk && reply.outcome != Outcome::kOkLocal) {
          return done(nullptr);
        }
        auto dump = std::make_unique<Dump>();
        for (KeyValue& kv : reply.kvs) {
          dump->emplace_hint(dump->end(), std::move(kv.key),
                             Stored{std::move(kv.value), kv.mod_revision.value});
        }
        done(std::move(dump));
      });
}

}  // namespace capstan::lab
