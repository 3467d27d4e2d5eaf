// What the front door asks of the node: requests, health, the lab's faults.
#include <algorithm>
#include <charconv>
#include <utility>

#include "core/trace.h"
#include "cp/engine.h"
#include "net/reasons.h"
#include "node/node_parts.h"

namespace capstan::node {
namespace {

constexpr Micros kReminderInterval = 30 * kSecond;
// A disk that has not answered for this long will not do so for this process.
constexpr Micros kDeadDisk = 30 * kSecond;

}  // namespace

void Node::Parts::handle(Request request, Answer answer) {
  if (hashes_first(request, answer)) return;
  if (!names_a_write(request, answer)) return;
  if (auto* login = std::get_if<AuthenticateRequest>(&request.body)) {
    answer = if_password_is_right(std::exchange(login->password, {}), std::move(answer));
  }
  ask(std::move(request), std::move(answer));
}

// NAME:INCARNATION:SEQUENCE, or the 16 hex digits of a disk in place of its node's name. A name may
// have had several disks; the present ones are known, of this node and of those it has links with.
bool Node::Parts::names_a_write(Request& request, Answer& answer) const {
  auto* outcome = std::get_if<OutcomeRequest>(&request.body);
  if (outcome == nullptr || outcome->write.empty()) return true;
  const std::string& text = outcome->write;
  const std::size_t last = text.rfind(':');
  const std::size_t first =
      last == std::string::npos || last == 0 ? last : text.rfind(':', last - 1);
  const auto number = [&](std::size_t begin, std::size_t end) {
    std::uint64_t value = 0;
    const auto got = std::from_chars(text.data() + begin, text.data() + end, value);
    return got.ec == std::errc{} && got.ptr == text.data() + end ? value : 0;
  };
  std::uint64_t incarnation = 0, sequence = 0;
  if (first != std::string::npos && first < last) {
    incarnation = number(first + 1, last);
    sequence = number(last + 1, text.size());
  }
  if (incarnation == 0 || incarnation > UINT32_MAX || sequence == 0) {
    answer(refused(Reason::kInvalid, "refused: \"" + text +
                                         "\" is no id of a write; they look like n1:3:1204, as the "
                                         "answer to the write said."));
    return false;
  }
  const std::string name = text.substr(0, first);
  NodeId node = name == config.name ? data.identity.node : NodeId{};
  for (const auto& [disk, called] : names) {
    if (!node && called == name) node = disk;
  }
  if (!node && name.size() == 16) {
    node = {static_cast<std::uint64_t>(id_of_text(name).value_or(0))};
  }
  if (!node) {
    answer(refused(Reason::kInvalid, "refused: " + config.name + " knows no node " + name +
                                         "; ask one that has met it (--node)."));
    return false;
  }
  outcome->id = {{node, static_cast<Incarnation>(incarnation)}, {sequence}};
  return true;
}

void Node::Parts::ask(Request request, Answer answer) {
  const RequestFigures::Op op = RequestFigures::op_of(request.body);
  const bool about_members = std::holds_alternative<StatusRequest>(request.body) ||
                             std::holds_alternative<MembersRequest>(request.body);
  const Micros begin = loop.now().monotonic;
  // A call that goes step by step asks for the next while the door writes. That must not wait for a
  // tick: the next turn begins at once.
  if (std::exchange(turn_over, false)) loop.defer([] {});
  const bool writes = is_write(request.body);
  const bool grants = std::holds_alternative<LeaseGrantRequest>(request.body);
  if (writes) ++figures.proposals.pending;
  machine->submit(std::move(request), [this, op, about_members, begin, writes, grants,
                                       answer = std::move(answer)](Reply reply) mutable {
    if (about_members) {
      if (auto* status = std::get_if<StatusResult>(&reply.body)) add_links(*status);
      if (auto* members = std::get_if<MembersResult>(&reply.body)) {
        add_links(members->members);
        members->peer_tls = config.peer_tls != nullptr;
      }
    }
    if (auto* after = std::get_if<MemberChangeResult>(&reply.body)) {
      after->peer_tls = config.peer_tls != nullptr;
    }
    if (writes) {
      --figures.proposals.pending;
      // What is wrong with the request itself is no failure of the cluster's.
      const net::GrpcCode code = net::grpc_status_of(reply.outcome, reply.reason).code;
      if (code == net::GrpcCode::kUnavailable) ++figures.proposals.failed;
    }
    if (grants && reply.outcome == Outcome::kOk) ++figures.proposals.leases_granted;
    figures.record(op, reply.outcome, reply.reason, loop.now().monotonic - begin);
    if (not_ready_since >= 0 && reply.outcome == Outcome::kFailed) ++refused_while_not_ready;
    answer(std::move(reply));
  });
}

void Node::Parts::add_links(std::vector<PeerStatus>& list) const {
  const Micros now = loop.now().monotonic;
  for (PeerStatus& peer : list) {
    if (peer.self || !peers) continue;
    const net::PeerState link = peers->state(peer.id);
    if (link.round_trip >= 0) peer.round_trip = link.round_trip;
    if (peer.last_heard_ago < 0 && link.last_heard >= 0) {
      peer.last_heard_ago = now - link.last_heard;
    }
  }
}

void Node::Parts::add_links(StatusResult& status) const {
  add_links(status.peers);
  if (!peers) return;
  for (const PeerStatus& peer : status.peers) {
    if (peer.self) continue;
    const net::PeerState link = peers->state(peer.id);
    if (!link.mismatch.empty()) status.errors.push_back(link.mismatch);
  }
  for (const net::LabFault& fault : faults_now()) {
    status.errors.push_back("lab: " + config.name +
                            (fault.in && fault.out ? " drops all frames from and to "
                             : fault.in            ? " drops all frames from "
                                                   : " drops all frames to ") +
                            fault.peer + " for " + seconds_text(fault.remaining) + " more");
  }
  if (!disk->writes_allowed()) {
    status.errors.push_back("no space: writes are refused until the disk has room again");
  }
}

net::Health Node::Parts::health() {
  net::Health health;
  const bool ready = machine->ready();
  const cp::Engine* consistent = machine->cp_engine();
  const auto raised = [consistent](AlarmType type) {
    return consistent != nullptr && consistent->alarms().any(type);
  };
  const bool room = disk->writes_allowed();
  const bool space = room && !raised(AlarmType::kNoSpace);
  const bool sound = !raised(AlarmType::kCorrupt);
  const std::optional<std::string> trouble =
      consistent != nullptr ? consistent->trouble() : std::nullopt;
  health.ready = ready && space && sound && !trouble;
  health.live = consistent == nullptr || consistent->disk_stall() < kDeadDisk;
  health.checks.push_back({"loop", true, ""});
  health.checks.push_back(
      {"disk", health.live,
       health.live ? ""
                   : "the disk has not answered for " + seconds_text(consistent->disk_stall())});
  health.checks.push_back({"progress", !trouble, trouble.value_or("")});
  health.checks.push_back(
      {config.mode == Mode::kCp ? "quorum" : "open", ready,
       ready ? "" : config.name + " cannot commit a write now; see /api/v1/status"});
  health.checks.push_back({"space", space,
                           space  ? ""
                           : room ? "the alarm NOSPACE is raised; puts are refused"
                                  : "the disk is full; writes are refused"});
  if (!sound) health.checks.push_back({"sound", false, "the alarm CORRUPT is raised"});
  return health;
}

std::string_view Node::Parts::name_of(NodeId node) const {
  const auto it = names.find(node);
  return it == names.end() ? std::string_view{} : std::string_view{it->second};
}

// ---- The lab ------------------------------------------------------------------------------------

std::vector<net::LabFault> Node::Parts::faults_now() const {
  std::vector<net::LabFault> out;
  if (!peers) return out;
  const Micros now = loop.now().monotonic;
  for (const net::PeerFault& fault : peers->faults().show(now)) {
    const std::optional<Member> who = member(fault.peer);
    if (!who) continue;
    out.push_back({who->name, fault.drop_in, fault.drop_out, fault.until - now});
  }
  return out;
}

void Node::Parts::lab(net::LabCommand command, net::LabAnswer answer) {
  const auto refuse = [&](Reason reason, std::string detail) {
    net::LabReply reply;
    reply.outcome = Outcome::kFailed;
    reply.reason = reason;
    reply.detail = std::move(detail);
    answer(std::move(reply));
  };
  if (!config.lab) {
    return refuse(Reason::kNotLab, "refused: " + config.name +
                                       " was started without --lab, so its links cannot be cut. "
                                       "Nothing was changed.");
  }
  if (command.kind == net::LabCommand::Kind::kDrop) {
    const Micros now = loop.now().monotonic;
    const Micros lasts = command.for_micros > 0 ? command.for_micros : kLabCutMax;
    std::vector<net::PeerFault> faults;
    std::string names_cut;
    for (const net::LabDrop& drop : command.drops) {
      const std::optional<Member> who = member(drop.peer);
      if (!who || who->id == config.self) {
        return refuse(Reason::kInvalid, "refused: " + config.name + " has no peer \"" + drop.peer +
                                            "\". Nothing was changed.");
      }
      faults.push_back({who->id, drop.in, drop.out, now + lasts});
      names_cut += (names_cut.empty() ? "" : ",") + who->name;
    }
    peers->faults().replace(faults);
    trace(Level::kWarn, "lab_cut", config.name + " drops frames between itself and " + names_cut,
          {{"for", seconds_text(lasts)}});
  } else if (command.kind == net::LabCommand::Kind::kHeal) {
    peers->faults().heal();
    trace(Level::kInfo, "lab_heal", config.name + " drops no frames any more");
  }
  net::LabReply reply;
  reply.faults = faults_now();
  answer(std::move(reply));
}

// ---- Three lines about a partition, not three hundred -------------------------------------------

void Node::Parts::watch_quorum() {
  const Micros now = loop.now().monotonic;
  const bool ready = machine->ready();
  if (ready && not_ready_since >= 0) {
    const Micros lasted = now - not_ready_since;
    not_ready_since = -1;
    not_ready_total += lasted;
    trace(Level::kInfo, was_ready ? "quorum_regained" : "serving",
          config.name + (was_ready ? " can commit writes again" : " can commit writes"),
          {{"after", seconds_text(lasted)}, {"refused", std::to_string(refused_while_not_ready)}});
  }
  was_ready = was_ready || ready;
  if (ready) return;
  if (not_ready_since < 0) {
    // the engine has said why; from here on it is a matter of not being forgotten
    not_ready_since = reminded_at = now;
    refused_while_not_ready = 0;
    return;
  }
  if (now - reminded_at < kReminderInterval) return;
  reminded_at = now;
  std::string missing;
  const StatusResult status = machine->describe();
  for (const PeerStatus& peer : status.peers) {
    if (!peer.self && !peer.reachable) missing += (missing.empty() ? "" : ",") + peer.name;
  }
  trace(Level::kWarn, "still_minority", config.name + " still cannot commit writes",
        {{"since", seconds_text(now - not_ready_since)},
         {"missing", missing.empty() ? "nobody" : missing},
         {"refused", std::to_string(refused_while_not_ready)}});
}

void Node::Parts::watch_leader() {
  const cp::Engine* consistent = machine->cp_engine();
  if (consistent == nullptr) return;
  const MemberId leader = consistent->raft().leader();
  if (leader && leader != leader_seen) ++leader_changes;
  leader_seen = leader;
}

void Node::Parts::watch_space() {
  if (disk->writes_allowed() == had_space) return;
  had_space = !had_space;
  if (had_space) {
    trace(Level::kInfo, "space_regained", "the disk has room again: writes are taken");
  } else {
    trace(Level::kWarn, "no_space",
          "the disk is nearly full: writes are refused until it has room again; reads go on",
          {{"data", config.data_dir}});
  }
}

}  // namespace capstan::node
