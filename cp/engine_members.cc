// Who belongs to the cluster: changes that somebody asked for, and those a leader makes by itself
// (a learner that is in step votes, a member's own word on its name and addresses is written down).
//
//   submit ─► queue ─┬─ leader ───► changes ─► configuration in the log ─► applied ─► answer
//                    └─ follower ─► Forward, alone, so that a refusal can say why
//
// A change is answered by the node that was asked, when it applies the simple configuration that
// carries the id of the request; a joint one before says only that it has begun.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/trace.h"
#include "cp/command.h"
#include "cp/engine_state.h"
#include "cp/quorum.h"

namespace capstan::cp {
namespace {

constexpr std::uint64_t kLookTicks = 10;
constexpr std::size_t kChangesMax = 64;  // waiting at the leader
// This close to the tip a learner is in step.
constexpr std::uint64_t kLearnerLag = 1000;

}  // namespace

// ---- Asked for ----------------------------------------------------------------------------------

void Engine::State::take_change(const Command& command, MemberId from, std::uint64_t number) {
  const auto& request = std::get<MemberChangeRequest>(command.body);
  if (changes.size() < kChangesMax) {
    changes.push_back({request, command.who, command.id, from, number});
    return;
  }
  refuse_change({request, command.who, command.id, from, number},
                {Reason::kOverloaded,
                 "refused: too many changes of members are waiting." + std::string(kNotApplied)});
}

void Engine::State::refuse_change(const MemberChange& change, const Refusal& why) {
  if (change.from) {
    sender.send(change.from, {raft->term(), ForwardRefused{change.asked.actor, change.number,
                                                           why.reason, why.detail}});
    return;
  }
  const auto at = writes.find(change.asked.sequence.value);
  if (at == writes.end()) return;
  if (why.reason == Reason::kNotLeader) {  // offered again, to whoever leads then
    at->second.given = {};
    queue.push_back(at->first);
    std::ranges::sort(queue);
    return;
  }
  Answer answer = std::move(at->second.answer);
  writes.erase(at);
  answer(refusal(why.reason, why.detail));
}

void Engine::State::advance_changes() {
  while (!changes.empty() && raft->may_change_config()) {
    const MemberChange change = std::move(changes.front());
    changes.pop_front();
    if (std::optional<Refusal> no = begin_change(change)) refuse_change(change, *no);
  }
}

std::optional<Refusal> Engine::State::begin_change(const MemberChange& change) {
  using Action = MemberChangeRequest::Action;
  if (auto no = machine.auth().must_be_root(change.who)) return no;
  const Config& now_config = raft->config();
  if (change.asked == now_config.asked) return std::nullopt;  // it is that one, and is in force
  std::expected<Config, Refusal> next = changed(now_config, change.request, change.asked);
  if (!next) return std::move(next.error());
  const MemberId member = change.request.member;
  if (change.request.action == Action::kPromote && !in_step(member)) {
    return Refusal{Reason::kLearnerNotReady,
                   "refused: " + name_of(member) +
                       " is not in step with the leader yet. Nothing changed; try again soon."};
  }
  if (next->joint() && !enough_heard(*next)) {
    return Refusal{Reason::kTooFewStarted,
                   "refused: of the members that would decide then, too few are heard now: "
                   "without them nothing more would be accepted. Nothing changed; start them, or "
                   "remove those first that are gone for good."};
  }
  const bool hand_over = change.request.action == Action::kRemove && member == config.self;
  if (hand_over && raft->transfer_leadership()) {
    return Refusal{Reason::kNotLeader, "refused: the leader hands over, since it is removed."};
  }
  propose_config(*std::move(next));
  return std::nullopt;
}

void Engine::State::propose_config(Config next) {
  const Result<Index> index = raft->propose_config(std::move(next));
  CAPSTAN_ASSERT(index.has_value());
  trace(Level::kInfo, "members_change",
        config.name + " proposes a configuration at index " + std::to_string(index->value));
}

bool Engine::State::in_step(MemberId member) const {
  const auto at = raft->progress().find(member);
  return at != raft->progress().end() && raft->hears(member) &&
         at->second.state == Progress::State::kReplicate &&
         at->second.match.value + kLearnerLag >= raft->log().last_index().value;
}

bool Engine::State::enough_heard(const Config& next) const {
  return has_quorum(next, [this](MemberId voter) { return raft->hears(voter); });
}

// ---- By itself ----------------------------------------------------------------------------------

// One change a look; the next follows when this one is committed.
void Engine::State::look_after_members() {
  if (ticks % kLookTicks != 0 || !changes.empty() || stopping || !raft->may_change_config()) return;
  Config next = raft->config();
  next.asked = {};
  for (Member& member : next.members) {
    const auto told = self_descriptions.find(member.id);
    if (told == self_descriptions.end()) continue;
    member.name = told->second.name;
    member.client_urls = told->second.client_urls;
  }
  if (next.members != raft->config().members) return propose_config(std::move(next));
  for (MemberId learner : raft->config().joining) {
    if (!in_step(learner)) continue;
    auto promoted = changed(raft->config(), {MemberChangeRequest::Action::kPromote, learner}, {});
    if (promoted && enough_heard(*promoted)) return propose_config(*std::move(promoted));
  }
}

void Engine::State::describes_itself(MemberId member, std::string name,
                                     std::vector<std::string> client_urls) {
  if (client_urls.size() > kClientUrlsMax) client_urls.resize(kClientUrlsMax);
  Member& known = self_descriptions[member];
  known = {member, std::move(name), {}, std::move(client_urls), false};
}

// ---- What follows -------------------------------------------------------------------------------

void Engine::State::apply_config(const Config& applied_config) {
  machine.apply(applied_config);
  const WriteId& asked = applied_config.asked;
  if (asked.actor != actor) return;
  const auto at = writes.find(asked.sequence.value);
  if (at == writes.end() || !at->second.change) return;
  if (applied_config.joint()) {
    at->second.begun = true;
    return;
  }
  Write write = std::move(at->second);
  writes.erase(at);
  Reply out = reply();
  out.write_id = asked;
  out.replicas_all = static_cast<int>(applied_config.voters.size());
  out.replicas_have = static_cast<int>(quorum_of(applied_config.voters.size()));
  out.body = MemberChangeResult{write.change->member, member_list(applied_config)};
  write.answer(std::move(out));
}

std::vector<PeerStatus> Engine::State::member_list(const Config& of) const {
  std::vector<PeerStatus> out;
  for (const Member& member : of.members) {
    PeerStatus status;
    status.id = member.id;
    status.name = member.name;
    status.peer_address = member.peer;
    status.client_urls = member.client_urls;
    status.self = member.id == config.self;
    status.learner = of.is_learner(member.id);
    status.witness = member.witness;
    out.push_back(std::move(status));
  }
  return out;
}

// Whoever was removed has to do with nobody. While the log does not name this member it is being
// replayed, or this member has not been told of it yet: then those it was started with hold beside
// it.
std::vector<Member> Engine::State::linked() const {
  if (removed) return {};
  std::vector<Member> out = raft->linked();
  const Config& newest = raft->config();
  if (newest.is_member(config.self) || newest.was_removed(config.self)) return out;
  for (const Member& member : config.members) {
    const bool known = std::ranges::find(out, member.id, &Member::id) != out.end();
    if (!known && !newest.was_removed(member.id)) out.push_back(member);
  }
  return out;
}

void Engine::State::follow_members() {
  if (raft->config_version() == members_version) return;
  members_version = raft->config_version();
  others.clear();
  witnesses.clear();
  for (const Member& member : linked()) {
    if (member.witness) witnesses.insert(member.id);
    std::string& name = names[member.id];
    if (!member.name.empty()) name = member.name;
    if (name.empty()) name = id_text(member.id);
    if (member.id != config.self) others.push_back(member.id);
  }
  std::erase_if(self_descriptions,
                [this](const auto& each) { return raft->config().was_removed(each.first); });
  if (is_witness()) learn_to_be_witness();
  if (!removed && raft->config().was_removed(config.self) &&
      raft->config_index() <= raft->commit()) {
    removed = true;
    checkpoint_due = true;  // nobody will tell it again after a restart
    others.clear();
    trace(Level::kError, "removed", removed_text());
  }
}

std::string Engine::State::removed_text() const {
  return config.name +
         " was removed from the cluster. It serves nothing any more: stop it; to have it back, add "
         "it anew and start it on an empty directory.";
}

// One that joins is told by its flags until the log has come to it.
bool Engine::State::is_witness() const {
  if (const Member* known = raft->record(config.self)) return known->witness;
  const auto self = std::ranges::find(config.members, config.self, &Member::id);
  return self != config.members.end() && self->witness;
}

// What was taken from clients before. Of a write that was given away nothing will be seen here.
void Engine::State::learn_to_be_witness() {
  if (std::exchange(refuses_as_witness, true)) return;
  const Refusal no = witness_refusal();
  watches.end_all(no);
  queue.clear();
  forwards.clear();
  for (auto& [sequence, write] : std::exchange(writes, {})) {
    const Micros waited = now.monotonic - write.since;
    write.answer(write.given ? unknown(write_id(sequence), Reason::kLeaderLost, waited)
                             : refusal(no.reason, no.detail));
  }
}

Refusal Engine::State::witness_refusal() const {
  std::string others;
  for (const Member& member : raft->config().members) {
    if (member.witness || raft->config().is_learner(member.id)) continue;
    others += (others.empty() ? "" : " or ") + name_of(member.id);
    if (!member.client_urls.empty()) others += " (" + member.client_urls.front() + ")";
  }
  return {Reason::kWitness, "refused: " + config.name + " is the witness: it votes, and holds no " +
                                "data. Ask " + others + "." + std::string(kNotApplied)};
}

}  // namespace capstan::cp
