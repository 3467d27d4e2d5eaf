#include "node/machine.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "ap/engine.h"
#include "core/limits.h"
#include "core/request_check.h"
#include "cp/engine.h"
#include "node/router.h"
#include "node/version.h"

namespace capstan::node {

// Each engine speaks of its own messages only; these two lift them into the pair.
struct Machine::CpSender final : cp::Sender {
  explicit CpSender(PeerSender& to) : out(to) {}
  void send(MemberId to, cp::Message message) override { out.send(to, std::move(message)); }
  PeerSender& out;
};
struct Machine::ApSender final : ap::Sender {
  explicit ApSender(PeerSender& to) : out(to) {}
  void send(MemberId to, ap::Message message) override { out.send(to, std::move(message)); }
  PeerSender& out;
};

Machine::Machine(MachineConfig config, Base& base, Disk& disk, PeerSender& sender,
                 Recovered recovered)
    : config_(std::move(config)), rules_(config_.mode, config_.engine.epoch) {
  if (config_.mode == Mode::kCp) {
    cp_sender_ = std::make_unique<CpSender>(sender);
    cp_ =
        std::make_unique<cp::Engine>(config_.engine, base, disk, *cp_sender_, std::move(recovered));
    engine_ = cp_.get();
  } else {
    ap_sender_ = std::make_unique<ApSender>(sender);
    ap_ =
        std::make_unique<ap::Engine>(config_.engine, base, disk, *ap_sender_, std::move(recovered));
    engine_ = ap_.get();
  }
}

Machine::~Machine() = default;

void Machine::begin_turn(Now now) { engine_->begin_turn(now); }
void Machine::tick() { engine_->tick(); }
void Machine::end_turn() { engine_->end_turn(); }
void Machine::peer_connected(MemberId peer) { engine_->peer_connected(peer); }
void Machine::peer_disconnected(MemberId peer) { engine_->peer_disconnected(peer); }
bool Machine::ready() const { return !stopping_ && engine_->ready(); }

void Machine::receive(MemberId from, PeerMessage message) {
  if (cp_ != nullptr) {
    if (auto* mine = std::get_if<cp::Message>(&message)) cp_->receive(from, std::move(*mine));
  } else {
    if (auto* mine = std::get_if<ap::Message>(&message)) ap_->receive(from, std::move(*mine));
  }
}

Reply Machine::stamped(Reply reply) const {
  reply.header.cluster = config_.engine.cluster;
  reply.header.member = config_.engine.self;
  reply.epoch = config_.engine.epoch;
  return reply;
}

void Machine::submit(Request request, Answer answer) {
  if (std::holds_alternative<StatusRequest>(request.body) ||
      std::holds_alternative<MembersRequest>(request.body)) {
    Reply reply;
    StatusResult status = describe();
    reply.header.revision = status.revision;
    reply.header.term = {status.term};
    if (std::holds_alternative<StatusRequest>(request.body)) {
      reply.body = std::move(status);
    } else {
      reply.body = MembersResult{std::move(status.peers)};
    }
    return answer(stamped(std::move(reply)));
  }
  const auto refuse = [&](Reason reason, std::string detail) {
    answer(stamped(refused(reason, std::move(detail))));
  };
  if (stopping_) {
    return refuse(Reason::kShuttingDown, "refused: " + config_.engine.name +
                                             " is stopping. Not applied; ask another node.");
  }
  if (std::optional<Refusal> bad = check_request(request.body)) {
    return refuse(bad->reason, "refused: " + bad->detail + ". Not applied.");
  }
  const KeyspaceRule* rule = route(rules_, request.body);
  if (rule == nullptr) {
    return refuse(Reason::kNotSupported,
                  "refused: the keys of this transaction live in two modes. Not applied; use one "
                  "transaction a mode.");
  }
  if (request.epoch && request.epoch != rule->epoch) {
    return refuse(Reason::kWrongEpoch, "refused: these keys are in epoch " +
                                           std::to_string(rule->epoch.value) + ", not " +
                                           std::to_string(request.epoch.value) +
                                           ". Not applied; ask for the rules again.");
  }
  if (pending_ >= kPendingRequestsMax) {
    return refuse(Reason::kOverloaded, "refused: " + std::to_string(pending_) +
                                           " requests are waiting on " + config_.engine.name +
                                           ". Not applied; safe to retry later.");
  }
  ++pending_;
  engine_->submit(std::move(request), [this, answer = std::move(answer)](Reply reply) mutable {
    --pending_;
    answer(stamped(std::move(reply)));
  });
}

std::unique_ptr<WatchStream> Machine::watch(WatchOptions options) {
  return engine_->watch(std::move(options));
}

void Machine::describes_itself(MemberId member, std::string name,
                               std::vector<std::string> client_urls) {
  const auto it = std::ranges::find(config_.engine.members, member, &Member::id);
  if (it != config_.engine.members.end() && !client_urls.empty()) it->client_urls = client_urls;
  if (cp_ != nullptr) cp_->describes_itself(member, std::move(name), std::move(client_urls));
}

// As people listed them; whoever came later behind.
std::vector<Member> Machine::members() const {
  std::vector<Member> out = cp_ != nullptr ? cp_->raft().config().members : config_.engine.members;
  const auto place = [this](const Member& member) {
    return std::tuple(std::ranges::find(config_.order, member.id) - config_.order.begin(),
                      member.name.size(), member.name);
  };
  std::ranges::stable_sort(out, {}, place);
  for (Member& member : out) {
    // Until the cluster has written down its own word, what this node was told.
    const auto told = std::ranges::find(config_.engine.members, member.id, &Member::id);
    if (told == config_.engine.members.end()) continue;
    if (member.client_urls.empty()) member.client_urls = told->client_urls;
    if (member.name.empty()) member.name = told->name;
  }
  return out;
}

StatusResult Machine::describe() const {
  StatusResult status;
  status.name = config_.engine.name;
  status.id = config_.engine.self;
  status.cluster = config_.engine.cluster;
  status.mode = config_.mode;
  status.version = kVersion;
  for (Member& member : members()) {
    PeerStatus peer;
    peer.name = std::move(member.name);
    peer.id = member.id;
    peer.peer_address = std::move(member.peer);
    peer.client_urls = std::move(member.client_urls);
    peer.self = member.id == config_.engine.self;
    peer.learner = cp_ != nullptr && cp_->raft().config().is_learner(member.id);
    peer.witness = member.witness;
    status.peers.push_back(std::move(peer));
  }
  engine_->describe(status);
  return status;
}

void Machine::stop(std::move_only_function<void()> done) {
  stopping_ = true;
  engine_->stop(std::move(done));
}

}  // namespace capstan::node
