#include "tests/sim/inquirer.h"

#include <set>
#include <utility>

namespace capstan::sim {

void Inquirer::later() {
  if (stopped_) return;
  cluster_.world.after(rng_.between(50 * kMillisecond, 500 * kMillisecond), [this] {
    ask();
    later();
  });
}

void Inquirer::ask() {
  const auto& all = cluster_.clients.all();
  if (stopped_ || all.empty()) return;
  // One of the last few: the younger a write, the likelier it is still on its way.
  const std::size_t back = rng_.below(std::min<std::size_t>(all.size(), 30));
  const Asked& asked = *all[all.size() - 1 - back];
  const auto* put = std::get_if<PutRequest>(&asked.request.body);
  const bool open = asked.op.end == lab::Operation::kNever;
  if (put == nullptr || (!open && asked.op.outcome != Outcome::kUnknown)) return;
  OutcomeRequest question;
  if (!asked.request.request_id.empty()) {
    question.of_request = asked.request.request_id;
  } else if (!open && asked.reply.write_id) {
    question.id = asked.reply.write_id;
  } else {
    return;  // nobody was told an id yet, or its client gave up before it was
  }
  SimNode& node = cluster_.node(static_cast<int>(rng_.below(cluster_.nodes.size())));
  if (!node.running()) return;
  Request request;
  request.body = std::move(question);
  node.submit(std::move(request), [this, value = put->value](const Reply& reply) {
    const auto* result = std::get_if<OutcomeResult>(&reply.body);
    if (reply.outcome != Outcome::kOk || result == nullptr) return;
    cluster_.counters.add(result->fate == Fate::kApplied ? "outcomes told: applied"
                                                         : "outcomes told: not applied");
    const auto [at, first] = told_.emplace(value, result->fate);
    if (!first && at->second != result->fate) changed_ = value;
  });
}

std::string Inquirer::check(const Truth& truth) const {
  if (!changed_.empty()) return "the outcome of the put of " + changed_ + " changed";
  std::set<std::string> there;
  for (const Snapshot& keys : truth) {
    for (const auto& [key, kv] : keys) there.insert(kv.value);
  }
  for (const auto& [value, fate] : told_) {
    if (fate == Fate::kApplied && !there.contains(value)) {
      return "the put of " + value + " was told as applied, and is nowhere";
    }
    if (fate == Fate::kNotApplied && there.contains(value)) {
      return "the put of " + value + " was told as not applied, and is there";
    }
  }
  return {};
}

}  // namespace capstan::sim
