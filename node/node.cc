#include "node/node.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/check.h"
#include "core/trace.h"
#include "cp/engine.h"
#include "net/codec_ap.h"
#include "net/codec_cp.h"
#include "node/entropy.h"
#include "node/exit_codes.h"
#include "node/node_parts.h"
#include "node/version.h"

namespace capstan::node {
namespace {

// True if no space of the base has a record: nothing was ever checkpointed here.
bool holds_nothing(const Base& base) {
  for (std::uint8_t space = 0; space < static_cast<std::uint8_t>(Space::kCount); ++space) {
    bool empty = true;
    const Status read = base.scan(static_cast<Space>(space), "", "", [&](ByteView, ByteView) {
      empty = false;
      return false;
    });
    if (!read || !empty) return false;
  }
  return true;
}

// What the disk gave back cannot be trusted any more: better no node than a wrong one.
[[noreturn]] void stop_at_once(const Error& error) {
  std::fprintf(stderr, "capstan serve: the data cannot be read: %s. Stopped at once (74).\n",
               error.context.c_str());
  _exit(kExitDisk);
}

// An error of a port, with the flag that chooses another.
Error port_error(Error error, bool client) {
  if (error.code == ErrorCode::kExists) {
    error.code = ErrorCode::kBusy;
    error.context += client ? "; stop what has it, or choose another port with --listen=HOST:PORT."
                            : "; it is the peer port (client port + 1). Stop what has it, or "
                              "choose another client port with --listen=HOST:PORT.";
  }
  return error;
}

}  // namespace

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::start(net::Loop& loop, ServeConfig config) {
  auto parts = std::make_unique<Parts>(loop, std::move(config));
  if (Status ok = parts->open_data(); !ok) return std::unexpected(ok.error());
  parts->make_machine();
  if (Status ok = parts->check_list(); !ok) return std::unexpected(ok.error());
  if (Status ok = parts->open_ports(); !ok) return std::unexpected(ok.error());
  return std::unique_ptr<Node>(new Node(std::move(parts)));
}

Status Node::Parts::open_data() {
  DataDirOptions options;
  options.path = config.data_dir;
  options.want = {config.mode,      config.cluster, config.name,
                  config.list_text, config.self,    config.token_hash()};
  options.segment_bytes = config.wal_segment_bytes;
  options.entropy = entropy();
  Result<DataDir> opened = open_data_dir(options);
  if (!opened) return std::unexpected(opened.error());
  data = std::move(*opened);
  names[data.identity.node] = config.name;
  // Of one that joined, its flags do not say who it is.
  const auto self = std::ranges::find(config.members, config.name, &ConfiguredMember::name);
  config.self = self->id = data.identity.member;

  net::DiskThreadOptions disk_options;
  disk_options.durability = config.durability;
  if (config.free_bytes_min) {
    disk_options.free_bytes_min = *config.free_bytes_min;
    disk_options.free_share_min = 0;
  }
  bell->owner = this;
  disk = std::make_unique<net::DiskThread>(*data.wal_directory, std::move(data.log.wal), *data.base,
                                           disk_options, [&on = loop, bell = bell] {
                                             if (bell->rung.exchange(true)) return;
                                             on.post([bell] {
                                               bell->rung = false;
                                               if (bell->owner != nullptr)
                                                 bell->owner->disk->deliver();
                                             });
                                           });
  return {};
}

void Node::Parts::make_machine() {
  MachineConfig with;
  with.mode = config.mode;
  with.engine.cluster = data.identity.cluster;
  with.engine.self = config.self;
  with.engine.name = config.name;
  with.engine.node = data.identity.node;
  with.engine.incarnation = data.identity.incarnation;
  with.engine.heartbeat_interval = config.heartbeat_interval;
  with.engine.election_timeout = config.election_timeout;
  with.engine.auto_compaction = config.auto_compaction;
  with.engine.quota_bytes = config.quota_bytes;
  with.engine.token_ttl = config.token_ttl;
  with.engine.seed = entropy();
  with.engine.base_failed = stop_at_once;
  with.engine.wants_turn = [this] { loop.defer([] {}); };
  for (const ConfiguredMember& member : config.members) {
    with.engine.members.push_back({member.id, member.name, node::to_text(normal(member.peer)),
                                   member.client_urls, member.witness});
    with.order.push_back(member.id);
  }
  with.engine.joins = config.joins;
  std::ranges::sort(with.engine.members, {}, &Member::id);

  Recovered recovered;
  recovered.records = std::move(data.log.records);
  recovered.fresh = !data.log.impaired && recovered.records.empty() && holds_nothing(*data.base);
  if (data.log.impaired) {
    recovered.impaired = data.log.impaired->why;
    recovered.impaired_position = data.log.impaired->position;
    recovered.impaired_last = data.log.impaired->last_position;
    recovered.salvaged = std::move(data.log.salvaged);
    trace(Level::kError, "log_impaired", data.log.impaired->why,
          {{"position", std::to_string(data.log.impaired->position)}});
  }
  started = net::Loop::clock();
  machine =
      std::make_unique<Machine>(std::move(with), *data.base, *disk, *this, std::move(recovered));
}

Status Node::Parts::open_ports() {
  // before the door: a turn of the machine ends before the door writes its answers
  loop.add_turn_user(*this);
  turning = true;
  ticks.every(kTick, [this] {
    machine->tick();
    watch_quorum();
    watch_leader();
    watch_space();
  });

  net::PeerOptions links;
  links.self = config.self;
  links.node = data.identity.node;
  links.cluster = data.identity.cluster;
  links.formed = formed();
  links.mode = config.mode;
  links.token_hash = config.token_hash();
  links.client_urls = config.advertise_client;
  links.tls = config.peer_tls;
  for (const HostPort& at : config.listen_peer) {
    links.listen.push_back({at.host, static_cast<std::uint16_t>(at.port)});
  }
  for (const ConfiguredMember& member : config.members) {
    const HostPort at = normal(member.peer);  // lists which mean the same are equal
    links.members.push_back(
        {member.id, member.name, at.host, static_cast<std::uint16_t>(at.port), member.witness});
  }
  links.heartbeat_interval = config.heartbeat_interval;
  links.election_timeout = config.election_timeout;
  Result<std::unique_ptr<net::PeerTransport>> transport =
      net::PeerTransport::open(loop, std::move(links), *this);
  if (!transport) return std::unexpected(port_error(transport.error(), false));
  peers = std::move(*transport);
  follow_members();

  net::DoorOptions front;
  front.mode = config.mode;
  front.tls = config.client_tls;
  front.users_by_certificate = config.users_by_certificate;
  for (const HostPort& at : config.listen_client) {
    front.listen.push_back({at.host, static_cast<std::uint16_t>(at.port)});
  }
  Result<std::unique_ptr<net::Door>> opened = net::Door::open(loop, *this, std::move(front));
  if (!opened) return std::unexpected(port_error(opened.error(), true));
  door = std::move(*opened);
  return {};
}

Node::Parts::~Parts() {
  bell->owner = nullptr;
  ticks.cancel();
  if (turning) loop.remove_turn_user(*this);
  door.reset();
  peers.reset();
  machine.reset();
  disk.reset();  // what was queued is written, the log sealed
}

std::string Node::ready_line() const {
  const Parts& p = *parts_;
  std::string line = "capstan " + std::string(kVersion) + " " + p.config.name + " " +
                     std::string(to_text(p.config.mode)) + " ready: clients";
  const auto add = [&](const std::vector<HostPort>& asked, const std::vector<std::uint16_t>& got,
                       bool tls) {
    for (std::size_t i = 0; i < asked.size(); ++i) {
      line += (tls ? " https://" : " http://") + node::to_text({asked[i].host, got[i]}) + ",";
    }
  };
  add(p.config.listen_client, p.door->ports(), p.config.client_tls != nullptr);
  line += " peers";
  add(p.config.listen_peer, p.peers->listen_ports(), p.config.peer_tls != nullptr);
  line += " data " + p.config.data_dir;
  if (const cp::Engine* engine = p.machine->cp_engine(); engine && engine->is_witness()) {
    line += ", witness: votes, holds no data";
  }
  if (p.config.lab) line += ", lab faults allowed";
  return line;
}

void Node::stop(std::function<void()> done) {
  Parts& p = *parts_;
  trace(Level::kInfo, "stopping", p.config.name + " is stopping");
  // new requests are refused from here on; those in flight get their answers
  auto left = std::make_shared<int>(2);
  auto one = [left, done = std::move(done)] {
    if (--*left == 0) done();
  };
  p.machine->stop(one);
  p.door->close(kSecond, one);
}

// ---- Turns --------------------------------------------------------------------------------------

void Node::Parts::begin_turn(Now now) {
  turn_over = false;
  machine->begin_turn(now);
}

void Node::Parts::end_turn() {
  // what became durable while this turn read its sockets need not wait for the next
  if (disk->ready()) disk->deliver();
  machine->end_turn();
  follow_members();
  turn_over = true;
}

// ---- Peers --------------------------------------------------------------------------------------

void Node::Parts::send(MemberId to, PeerMessage message) {
  if (!peers) return;
  if (const auto* cp = std::get_if<cp::Message>(&message)) {
    peers->send(to, net::FrameKind::kCp, net::encode(*cp));
  } else {
    peers->send(to, net::FrameKind::kAp, net::encode(std::get<ap::Message>(message)));
  }
}

void Node::Parts::on_frame(MemberId from, net::FrameKind kind, ByteView payload) {
  const auto take = [&](auto decoded) {
    if (decoded) return machine->receive(from, std::move(*decoded));
    if (bad_messages++ % 1000 == 0) {
      trace(Level::kWarn, "bad_message", "a message from a peer does not decode",
            {{"why", decoded.error().context}});
    }
  };
  if (kind == net::FrameKind::kCp) {
    take(net::decode_cp(payload));
  } else {
    take(net::decode_ap(payload));
  }
}

void Node::Parts::on_connected(MemberId peer, NodeId node) {
  net::PeerState said = peers->state(peer);
  names[node] = said.name;
  // what it says of itself is better than what --join made us guess
  machine->describes_itself(peer, std::move(said.name), std::move(said.client_urls));
  machine->peer_connected(peer);
}

void Node::Parts::on_disconnected(MemberId peer, const std::string& why) {
  (void)why;  // the transport has said it
  machine->peer_disconnected(peer);
}

// ---- Members ------------------------------------------------------------------------------------

// The cluster exists, and its log has the list of its members.
bool Node::Parts::formed() const {
  const cp::Engine* consistent = machine->cp_engine();
  return consistent != nullptr &&
         (config.joins || consistent->raft().standing() != cp::Standing::kFresh);
}

// A list that is neither that of the first start nor the present one belongs to another cluster. As
// long as nothing else says who the members are, it must be that of the first start.
Status Node::Parts::check_list() const {
  const cp::Engine* consistent = machine->cp_engine();
  if (consistent == nullptr || config.joins || config.cluster == data.identity.cluster) return {};
  std::vector<std::string> given, known;
  std::string text;
  for (const ConfiguredMember& member : config.members) given.push_back(member.name);
  for (const Member& member : machine->members()) {
    known.push_back(member.name);
    text += (text.empty() ? "" : ", ") + member.name;
  }
  std::ranges::sort(given);
  std::ranges::sort(known);
  if (given == known && consistent->checkpointed()) return {};
  return fail(ErrorCode::kMismatch,
              "the data directory " + config.data_dir +
                  " belongs to another cluster: its token or member list differs from the one "
                  "given (" +
                  config.list_text + "); its members are " + text +
                  ". Start it with that configuration, or give this node another --data-dir");
}

// Links follow the members as the log has them.
void Node::Parts::follow_members() {
  const cp::Engine* consistent = machine->cp_engine();
  if (consistent == nullptr || !peers) return;
  if (!links_formed && formed()) {
    links_formed = true;
    peers->set_formed();
  }
  if (consistent->members_version() == members_version) return;
  members_version = consistent->members_version();
  std::vector<net::PeerAddress> list;
  for (const Member& member : consistent->linked()) {
    const std::optional<HostPort> at = address_of(member.peer);
    if (!at) continue;
    list.push_back(
        {member.id, member.name, at->host, static_cast<std::uint16_t>(at->port), member.witness});
  }
  peers->set_members(list, consistent->raft().config().removed);
}

std::optional<Member> Node::Parts::member(std::string_view name) const {
  for (Member& each : machine->members()) {
    if (each.name == name) return std::move(each);
  }
  return std::nullopt;
}
std::optional<Member> Node::Parts::member(MemberId id) const {
  for (Member& each : machine->members()) {
    if (each.id == id) return std::move(each);
  }
  return std::nullopt;
}

}  // namespace capstan::node
