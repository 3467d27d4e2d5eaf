#include "tests/sim/member_changes.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cp/engine.h"

namespace capstan::sim {

using Action = MemberChangeRequest::Action;

MemberChanges::MemberChanges(World& world, const Options& options, Counters& counters,
                             std::vector<std::unique_ptr<SimNode>>& nodes, SimNet& net)
    : world_(world), counters_(counters), nodes_(nodes), net_(net), witnesses_(options.witness) {
  for (int i = options.nodes; i < static_cast<int>(nodes.size()); ++i) out_.insert(i);
}

bool MemberChanges::absent(int node) const {
  return out_.contains(node) && !nodes_[static_cast<std::size_t>(node)]->running();
}

int MemberChanges::pick() { return static_cast<int>(world_.rng.faults.below(nodes_.size())); }

void MemberChanges::strike() {
  switch (world_.rng.faults.below(5)) {
    case 0:
    case 1:
      return add();
    case 2:
    case 3:
      return remove();
    default:
      return promote();
  }
}

void MemberChanges::ask(MemberChangeRequest request,
                        std::move_only_function<void(const Reply&)> then) {
  SimNode& node = *nodes_[static_cast<std::size_t>(pick())];
  if (!node.running()) return;
  ++open_;
  auto settled = std::make_shared<bool>(false);
  auto settle = [this, settled,
                 t = std::make_shared<decltype(then)>(std::move(then))](const Reply& reply) {
    if (std::exchange(*settled, true)) return;
    --open_;
    (*t)(reply);
  };
  world_.after(6 * kSecond, [settle] {  // its node died, or never said
    Reply lost;
    lost.outcome = Outcome::kUnknown;
    settle(lost);
  });
  Request body;
  body.body = std::move(request);
  node.submit(std::move(body), [settle](const Reply& reply) { settle(reply); });
}

void MemberChanges::add() {
  if (out_.empty()) return;
  const int number =
      *std::next(out_.begin(), static_cast<std::ptrdiff_t>(world_.rng.faults.below(out_.size())));
  out_.erase(number);
  SimNode& machine = *nodes_[static_cast<std::size_t>(number)];
  if (machine.running()) machine.crash(false);
  net_.renewed(number);
  machine.renew();
  MemberChangeRequest request{.action = Action::kAdd, .member = machine.id()};
  request.peer = machine.name() + ":2380";
  request.learner = world_.rng.faults.chance(0.3);
  request.witness = witnesses_ && world_.rng.faults.chance(0.5);
  const Micros later = world_.rng.faults.between(0, kSecond);
  ask(request, [this, &machine, number, later](const Reply& reply) {
    if (reply.outcome == Outcome::kFailed) {
      out_.insert(number);
      return;
    }
    counters_.add(reply.outcome == Outcome::kOk ? "member added" : "member added, or not");
    world_.after(later, [&machine, life = machine.life()] {
      if (!machine.running() && machine.life() == life) machine.start();
    });
  });
  if (open_ == 0) out_.insert(number);  // nobody was there to ask
}

void MemberChanges::remove() {
  const int number = pick();
  if (out_.contains(number)) return;
  const MemberId id = nodes_[static_cast<std::size_t>(number)]->id();
  ask({.action = Action::kRemove, .member = id}, [this, number](const Reply& reply) {
    if (reply.outcome == Outcome::kUnknown) counters_.add("member removed, or not");
    if (reply.outcome != Outcome::kOk) return;
    counters_.add("member removed");
    out_.insert(number);
  });
}

void MemberChanges::promote() {
  int number = pick();
  for (const auto& node : nodes_) {  // a learner, where somebody knows of one
    const cp::Engine* engine = node->running() ? node->machine()->cp_engine() : nullptr;
    if (engine == nullptr) continue;
    for (const auto& other : nodes_) {
      if (engine->raft().config().is_learner(other->id())) number = other->number();
    }
  }
  const MemberId id = nodes_[static_cast<std::size_t>(number)]->id();
  ask({.action = Action::kPromote, .member = id}, [this](const Reply& reply) {
    if (reply.outcome == Outcome::kOk) counters_.add("learner promoted");
  });
}

std::vector<int> MemberChanges::settle() {
  const cp::Config* newest = nullptr;
  Index at;
  for (const auto& node : nodes_) {
    const cp::Engine* engine = node->running() ? node->machine()->cp_engine() : nullptr;
    if (engine == nullptr || !engine->raft().established()) continue;
    const cp::Raft& raft = engine->raft();
    if (raft.config().joint() || raft.config_index() > raft.commit()) return {};
    if (newest != nullptr && raft.config_index() <= at) continue;
    newest = &raft.config();
    at = raft.config_index();
  }
  if (newest == nullptr) return {};
  std::vector<int> members;
  std::size_t there = 0;
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    SimNode& node = *nodes_[static_cast<std::size_t>(i)];
    if (newest->is_member(node.id()) && node.running()) members.push_back(i);
    if (newest->is_voter(node.id()) && node.running()) ++there;
  }
  if (there < newest->voters.size()) return {};
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    if (std::ranges::find(members, i) != members.end()) continue;
    out_.insert(i);
    if (nodes_[static_cast<std::size_t>(i)]->running()) {
      nodes_[static_cast<std::size_t>(i)]->crash(false);
    }
  }
  return members;
}

}  // namespace capstan::sim
