#include "tests/sim/clients.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/overloaded.h"
#include "core/range_stream.h"

namespace capstan::sim {

namespace {

// The part of a request the lab's checkers understand.
lab::Operation operation_of(const RequestBody& body, bool& single_key) {
  lab::Operation op;
  std::visit(Overloaded{
                 [&](const RangeRequest& r) {
                   op.kind = lab::OpKind::kGet;
                   op.key = r.range.key;
                   single_key = r.range.end.empty() && r.revision <= 0 && !r.serializable;
                 },
                 [&](const PutRequest& r) {
                   op.kind = lab::OpKind::kPut;
                   op.key = r.key;
                   op.value = r.value;
                   op.saw_previous = r.prev_kv;
                 },
                 [&](const DeleteRangeRequest& r) {
                   op.kind = lab::OpKind::kDelete;
                   op.key = r.range.key;
                   op.saw_previous = r.prev_kv;
                   single_key = r.range.end.empty();
                 },
                 [&](const TxnRequest& r) {
                   const auto& put = std::get<PutRequest>(r.success.front().op);
                   op.kind = lab::OpKind::kPut;
                   op.key = put.key;
                   op.value = put.value;
                   single_key = false;
                 },
                 [&](const CompactRequest& r) {
                   op.key = "(compaction to " + std::to_string(r.revision) + ")";
                   single_key = false;
                 },
                 [&](const auto&) {
                   op.key = "(lease)";
                   single_key = false;
                 },
             },
             body);
  return op;
}

void note_what_was_seen(Asked& asked) {
  lab::Operation& op = asked.op;
  if (const auto* range = std::get_if<RangeResult>(&asked.reply.body)) {
    if (asked.single_key && !range->kvs.empty()) op.read = range->kvs.front().value;
  } else if (const auto* put = std::get_if<PutResult>(&asked.reply.body)) {
    if (put->prev) op.previous = put->prev->value;
  } else if (const auto* removed = std::get_if<DeleteRangeResult>(&asked.reply.body)) {
    if (!removed->prevs.empty()) op.previous = removed->prevs.front().value;
  }
}

Reply lost(Outcome outcome, Reason reason) {
  Reply reply;
  reply.outcome = outcome;
  reply.reason = reason;
  return reply;
}

}  // namespace

void Clients::start() {
  for (int i = 0; i < options_.clients; ++i) {
    const auto client = static_cast<std::uint32_t>(i);
    world_.after(world_.rng.workload.between(0, options_.think_max),
                 [this, client] { next(client); });
  }
}

// One that was, mostly; now and then one that is not yet.
std::int64_t Clients::draw_old_revision() {
  return static_cast<std::int64_t>(1 + world_.rng.workload.below(newest_ + 2));
}

Request Clients::draw() {
  Rng& rng = world_.rng.workload;
  const auto keys = static_cast<std::uint64_t>(options_.keys);
  const std::string k = key(rng.below(keys));
  std::string value = "v" + std::to_string(++values_);
  // Now and then over several sectors, so that a crash can tear it.
  if (rng.chance(0.2)) value.append(rng.below(2000), '.');
  Request request;
  const bool compacts = options_.compactions > 0;
  if (compacts && rng.chance(options_.compactions)) {
    request.body = CompactRequest{draw_old_revision(), rng.chance(0.3)};
  } else if (rng.chance(options_.ranges)) {
    RangeRequest range{.range = {"k", "l"}};
    range.serializable = rng.chance(0.3);
    if (compacts && rng.chance(0.5)) range.revision = draw_old_revision();
    request.body = range;
  } else if (rng.chance(options_.reads)) {
    RangeRequest get{.range = {k, ""}};
    get.serializable = options_.mode == Mode::kAp || rng.chance(0.1);
    request.body = get;
  } else if (rng.chance(options_.txns)) {
    TxnRequest txn;
    if (options_.mode == Mode::kCp) {
      Compare compare;
      compare.range.key = k;
      compare.result = rng.chance(0.5) ? CompareResult::kGreater : CompareResult::kEqual;
      txn.compare.push_back(compare);
      txn.failure.push_back({RangeRequest{.range = {"k", "l"}}});
    }
    txn.success.push_back({PutRequest{.key = k, .value = value}});
    txn.success.push_back({PutRequest{.key = key(keys), .value = value + "b"}});
    if (compacts && rng.chance(0.3)) {
      txn.success.push_back({RangeRequest{.range = {"k", "l"}, .revision = draw_old_revision()}});
    }
    request.body = std::move(txn);
  } else if (rng.chance(options_.deletes)) {
    request.body = DeleteRangeRequest{.range = {k, ""}, .prev_kv = rng.chance(0.5)};
  } else {
    request.body = PutRequest{.key = k, .value = value, .prev_kv = rng.chance(0.5)};
  }
  if (is_write(request.body) && rng.chance(options_.request_ids)) {
    request.request_id = "r" + std::to_string(values_);
  }
  return request;
}

void Clients::next(std::uint32_t client) {
  if (stopped_ || all_.size() >= budget_) return;
  const int node = static_cast<int>(world_.rng.workload.below(nodes_.size()));
  ask(client, node, draw(), options_.client_timeout, [this, client](const Asked&) {
    world_.after(world_.rng.workload.between(0, options_.think_max),
                 [this, client] { next(client); });
  });
}

std::size_t Clients::ask(std::uint32_t client, int node, Request request, Micros timeout,
                         Done done) {
  auto asked = std::make_unique<Asked>();
  asked->op = operation_of(request.body, asked->single_key);
  asked->op.client = client;
  asked->op.node = static_cast<std::uint32_t>(node);
  asked->op.start = world_.now();
  if (const auto* range = std::get_if<RangeRequest>(&request.body)) {
    asked->serializable = range->serializable;
  }
  asked->request = std::move(request);
  all_.push_back(std::move(asked));
  ++open_;
  attempt(all_.size() - 1, node, timeout, std::move(done));
  return all_.size() - 1;
}

// A range whose answer comes in slices. It counts as one once the last is there.
struct Clients::LongRead {
  SimNode& node;
  std::function<void(const Reply&)> settle;
  Reply reply = {};
  std::shared_ptr<RangeStream> slices = {};
  RangeResult all = {};
  bool rewound = false;
};

void Clients::take_slice(const std::shared_ptr<LongRead>& read) {
  world_.after(world_.rng.ranges.between(20, 5'000), [this, read] {
    if (!read->node.running() || read->slices == nullptr) return;
    read->node.post([this, read](node::Machine&) {
      if (read->slices == nullptr) return;
      auto slice = read->slices->next();
      if (!slice) return;  // more_ready comes
      if (!*slice) {
        counters_.add("long range refused on its way");
        read->slices.reset();
        read->reply.outcome = Outcome::kFailed;
        read->reply.reason = slice->error().reason;
        return read->settle(read->reply);
      }
      std::ranges::move((*slice)->kvs, std::back_inserter(read->all.kvs));
      if (!(*slice)->last) return take_slice(read);
      // Some measure it first, and read it again to send it.
      if (!std::exchange(read->rewound, true) && world_.rng.ranges.chance(0.5)) {
        read->all = {};
        read->slices->rewind();
        return take_slice(read);
      }
      counters_.add("long range read in slices");
      read->all.more = (*slice)->more;
      read->all.count = (*slice)->count;
      read->slices.reset();
      read->reply.body = std::move(read->all);
      read->settle(read->reply);
    });
  });
}

void Clients::attempt(std::size_t operation, int node, Micros timeout, Done done) {
  Asked& asked = *all_[operation];
  ++asked.attempts;
  world_.note(Kind::kAsk, asked.op.client, static_cast<std::uint64_t>(node), operation,
              (asked.op.kind == lab::OpKind::kPut      ? "put "
               : asked.op.kind == lab::OpKind::kDelete ? "delete "
                                                       : "read ") +
                  asked.op.key + " " + asked.op.value.substr(0, 12));
  // Whichever comes first settles the attempt: the answer, the timeout, the node's death.
  auto settled = std::make_shared<bool>(false);
  auto shared_done = std::make_shared<Done>(std::move(done));
  auto settle = [this, operation, settled, shared_done](const Reply& reply) {
    if (!std::exchange(*settled, true)) finish(operation, reply, std::move(*shared_done));
  };
  SimNode& target = *nodes_[static_cast<std::size_t>(node)];
  const Outcome if_lost = is_write(asked.request.body) ? Outcome::kUnknown : Outcome::kFailed;
  auto read = std::make_shared<LongRead>(target, settle);
  world_.after(timeout, [settle, if_lost, read] {
    read->slices.reset();
    settle(lost(if_lost, Reason::kTimeout));
  });
  world_.after(world_.rng.workload.between(20, 200), [this, operation, &target, node, read] {
    const auto& settle = read->settle;
    if (!target.running()) return settle(lost(Outcome::kFailed, Reason::kUnreachable));
    target.post([this, operation, node, read](node::Machine& machine) {
      if (witness_) witness_(operation, node, machine);
      Request request = all_[operation]->request;
      request.caller = kRootUser;
      request.more_ready = [this, weak = std::weak_ptr(read)] {
        if (const auto still = weak.lock()) take_slice(still);
      };
      machine.submit(std::move(request), [this, read](Reply reply) {
        if ((read->slices = std::exchange(reply.range, nullptr)) != nullptr) {
          read->reply = std::move(reply);
          return take_slice(read);
        }
        world_.after(world_.rng.workload.between(20, 200),
                     [read, r = std::move(reply)] { read->settle(r); });
      });
    });
  });
}

void Clients::finish(std::size_t operation, const Reply& reply, Done done) {
  Asked& asked = *all_[operation];
  const bool repeatable = !asked.request.request_id.empty() && asked.attempts < 4 && !stopped_;
  if (repeatable && reply.outcome == Outcome::kUnknown &&
      world_.rng.workload.chance(options_.retries)) {
    counters_.add("write repeated with its request id");
    const int node = static_cast<int>(world_.rng.workload.below(nodes_.size()));
    world_.after(world_.rng.workload.between(0, 100 * kMillisecond),
                 [this, operation, node, d = std::move(done)]() mutable {
                   attempt(operation, node, options_.client_timeout, std::move(d));
                 });
    return;
  }
  asked.reply = reply;
  asked.op.end = world_.now();
  asked.op.outcome = reply.outcome;
  // A repeated write that was refused this time may have been applied by an earlier attempt.
  if (asked.attempts > 1 && reply.outcome == Outcome::kFailed) asked.op.outcome = Outcome::kUnknown;
  asked.op.reason = reply.reason;
  asked.op.revision = reply.header.revision.value;
  if (reply.write_id) {
    asked.op.write_id = to_text(reply.write_id, nodes_[asked.op.node]->name());
  }
  if (asked.op.acknowledged()) {
    newest_ = std::max(newest_, asked.op.revision);
    if (std::holds_alternative<CompactRequest>(asked.request.body)) counters_.add("compacted");
    const auto* range = std::get_if<RangeRequest>(&asked.request.body);
    if (range != nullptr && range->revision > 0) counters_.add("old revision read");
    note_what_was_seen(asked);
    ++acknowledged_;
  }
  if (reply.reason == Reason::kCompacted) counters_.add("refused as compacted");
  counters_.add(asked.op.acknowledged()                 ? "acknowledged"
                : asked.op.outcome == Outcome::kUnknown ? "unknown"
                                                        : "refused");
  world_.note(Kind::kAnswer, asked.op.client, operation, static_cast<std::uint64_t>(reply.outcome));
  --open_;
  if (done) done(asked);
}

}  // namespace capstan::sim
