#include "net/peer_transport.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/trace.h"
#include "net/peer_state.h"

namespace capstan::net {

namespace {

constexpr std::size_t kGuestsMax = 16;
constexpr Micros kGuestSilence = 5 * kSecond;  // then it is forgotten

std::string millis(Micros time) { return std::to_string(time / kMillisecond) + " ms"; }

}  // namespace

// ---- Who there is -------------------------------------------------------------------------------

PeerTransport::State::Peer& PeerTransport::State::add(const PeerAddress& address) {
  Peer& peer = peers[address.id];
  std::string known = peer.address.name;
  peer.address = address;
  if (address.name.empty()) peer.address.name = std::move(known);
  peer.guest = false;
  peer.ours_to_dial = options.self < address.id;
  return peer;
}

PeerTransport::State::Peer* PeerTransport::State::admit_guest(const Hello& hello) {
  const std::size_t colon = hello.address.rfind(':');
  if (!options.formed || !hello.formed || colon == std::string::npos) return nullptr;
  const auto guests =
      std::ranges::count_if(peers, [](const auto& each) { return each.second.guest; });
  const int port = std::atoi(hello.address.c_str() + colon + 1);
  if (static_cast<std::size_t>(guests) >= kGuestsMax || port <= 0 || port > 65535) return nullptr;
  Peer& peer = add(
      {hello.self, hello.name, hello.address.substr(0, colon), static_cast<std::uint16_t>(port)});
  peer.guest = true;
  peer.seen.last_heard = now();
  trace(Level::kInfo, "peer_guest", hello.name + " is not among the members known here",
        {{"address", hello.address}});
  return &peer;
}

void PeerTransport::State::part(Peer& peer) {
  while (!peer.attempts.empty()) drop(*peer.attempts.back());
  std::erase_if(greeting, [&](std::unique_ptr<Link>& link) {
    if (link->peer != peer.address.id) return false;
    link->end(true);
    over.push_back(std::move(link));
    return true;
  });
  if (peer.link) {
    peer.link->end(true);
    lose(peer, "no longer a member");
  }
}

template <class Which>
void PeerTransport::State::forget_if(const Which& which) {
  for (auto at = peers.begin(); at != peers.end();) {
    if (!which(at->second)) {
      ++at;
      continue;
    }
    part(at->second);
    at = peers.erase(at);
  }
}

void PeerTransport::State::forget_guests() {
  forget_if([this](const Peer& peer) {
    return peer.guest && !peer.link && now() - peer.seen.last_heard >= kGuestSilence;
  });
}

void PeerTransport::set_members(const std::vector<PeerAddress>& members,
                                std::vector<MemberId> removed) {
  State& s = *state_;
  s.members = members;
  s.removed = std::move(removed);
  for (const PeerAddress& member : members) {
    if (member.id != s.options.self) s.add(member);
  }
  s.forget_if([&members](const State::Peer& peer) {
    return !peer.guest &&
           std::ranges::find(members, peer.address.id, &PeerAddress::id) == members.end();
  });
}

void PeerTransport::set_formed() { state_->options.formed = true; }

// ---- Links --------------------------------------------------------------------------------------

void PeerTransport::State::link_frame(Link& link, const Frame& frame, std::size_t bytes) {
  if (link.stage == Link::Stage::kAccepted) return hello_frame(link, frame, bytes);
  Peer* peer = find(link.peer);
  CAPSTAN_ASSERT(peer != nullptr);
  if (deaf_to(link.peer)) {
    ++peer->counts.dropped_by_fault_in;
    return;
  }
  const auto kind = static_cast<std::size_t>(frame.kind);
  KindCounts& counts = peer->counts.kinds[kind < kFrameKinds ? kind : 0];
  ++counts.frames_in;
  counts.bytes_in += bytes;
  peer->seen.last_heard = peer->silent_since = now();

  // Only a hello or a refusal may come from another cluster: it says so.
  if (frame.cluster != options.cluster && frame.kind != FrameKind::kHello &&
      frame.kind != FrameKind::kRefuse) {
    return link_bad(link, Error{ErrorCode::kMalformed, "frame of another cluster"});
  }
  if (link.stage == Link::Stage::kUp) return frame_of_link(*peer, frame);
  if (link.stage == Link::Stage::kDialled && frame.kind == FrameKind::kHello) {
    const Result<Hello> theirs = decode_hello(frame.payload);
    if (!theirs) return link_bad(link, theirs.error());
    return greeted_by_acceptor(link, *peer, *theirs);
  }
  if (link.stage == Link::Stage::kDialled && frame.kind == FrameKind::kRefuse) {
    const std::string sentence = printable(frame.payload, 1000);
    peer->seen.mismatch = sentence;
    drop(link);
    return say_mismatch(peer->address.name, sentence);
  }
  if (link.stage == Link::Stage::kGreeted && frame.kind == FrameKind::kGo) {
    return adopt(*peer, take(link));
  }
  link_bad(link, Error{ErrorCode::kMalformed, std::string(to_text(frame.kind)) + " out of turn"});
}

// The first frame of an accepted connection: until it is read nobody knows whose faults apply.
void PeerTransport::State::hello_frame(Link& link, const Frame& frame, std::size_t bytes) {
  const Result<Hello> theirs = frame.kind == FrameKind::kHello
                                   ? decode_hello(frame.payload)
                                   : fail(ErrorCode::kMalformed, "no hello");
  if (!theirs) return link_bad(link, theirs.error());
  link.peer = theirs->self;
  Peer* peer = find(theirs->self);
  PeerCounts& counts = peer != nullptr ? peer->counts : strangers;
  if (deaf_to(theirs->self)) {
    ++counts.dropped_by_fault_in;
    return;
  }
  KindCounts& hellos = counts.kinds[static_cast<std::size_t>(FrameKind::kHello)];
  ++hellos.frames_in;
  hellos.bytes_in += bytes;
  if (peer != nullptr) peer->seen.last_heard = now();
  greeted_by_dialler(link, *theirs);
}

void PeerTransport::State::frame_of_link(Peer& peer, const Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kPing:
      return send_own(peer, *peer.link, FrameKind::kPong, std::string(frame.payload));
    case FrameKind::kPong: {
      Reader in(frame.payload);
      const Micros took = Loop::clock().monotonic - static_cast<Micros>(in.u64());
      if (!in.done() || took < 0) return;
      Micros& smooth = peer.seen.round_trip;
      smooth = smooth < 0 ? took : smooth + (took - smooth) / 8;
      return;
    }
    case FrameKind::kCp:
    case FrameKind::kAp:
      return events.on_frame(peer.address.id, frame.kind, frame.payload);
    default:
      return;  // of a later version, or late: nothing that must be understood
  }
}

void PeerTransport::State::send_own(Peer& peer, Link& link, FrameKind kind, std::string payload) {
  if (mute_to(peer.address.id)) {
    ++peer.counts.dropped_by_fault_out;
    return;
  }
  KindCounts& counts = peer.counts.kinds[static_cast<std::size_t>(kind)];
  ++counts.frames_out;
  counts.bytes_out += link.send(kind, options.cluster, std::move(payload));
}

void PeerTransport::State::link_ended(Link& link, CloseReason why, const std::string& text) {
  Peer* peer = find(link.peer);
  if (link.stage == Link::Stage::kDialled) return attempt_ended(*peer, link, why, text);
  if (link.stage == Link::Stage::kAccepted && why == CloseReason::kNoTls) {
    const std::string from = link.remote_host();
    drop(link);
    return say_mismatch(from, name + " takes no such peer: " + text);
  }
  if (link.stage != Link::Stage::kUp) return drop(link);
  if (deaf_to(link.peer)) {  // the news of its end would not have come through the cut
    link.ended_unseen = true;
    link.end_text = text;
    return;
  }
  lose(*peer, text);
}

void PeerTransport::State::link_bad(Link& link, const Error& error) {
  Peer* peer = find(link.peer);
  if (deaf_to(link.peer)) return;
  ++(peer != nullptr ? peer->counts : strangers).bad_frames;
  const std::string from = link.remote();
  trace(Level::kDebug, "peer_bad_frame", error.context, {{"from", from}});
  if (link.stage == Link::Stage::kUp) return lose(*peer, "bad frame from " + from);
  const bool dialled = link.stage == Link::Stage::kDialled;
  drop(link);
  if (peer == nullptr || !dialled) return;
  const std::string where = peer->address.name + " at " + from;
  peer->seen.mismatch = error.code == ErrorCode::kMismatch
                            ? where + " runs another version (" + error.context +
                                  "): run the same version of capstan on both"
                            : where + " does not answer as a node of Capstan: check --join";
  say_mismatch(peer->address.name, peer->seen.mismatch);
}

// The link is gone. The next attempt starts at once, unless one has just been made.
void PeerTransport::State::lose(Peer& peer, const std::string& why) {
  if (peer.link->stage != Link::Stage::kOver) peer.link->reset();
  over.push_back(std::move(peer.link));
  peer.seen.connected = false;
  peer.seen.connected_since = -1;
  peer.seen.round_trip = -1;
  trace(Level::kInfo, "peer_disconnected", peer.address.name + " is disconnected: " + why,
        {{"peer", peer.address.name}});
  events.on_disconnected(peer.address.id, why);
}

// Gives up a connection that is not a link.
void PeerTransport::State::drop(Link& link, bool last_words) {
  std::unique_ptr<Link> owned = take(link);
  owned->end(last_words);
  over.push_back(std::move(owned));
}

std::unique_ptr<Link> PeerTransport::State::take(Link& link) {
  const auto from = [&](std::vector<std::unique_ptr<Link>>& list) -> std::unique_ptr<Link> {
    const auto at = std::find_if(list.begin(), list.end(),
                                 [&](const auto& each) { return each.get() == &link; });
    if (at == list.end()) return nullptr;
    std::unique_ptr<Link> out = std::move(*at);
    list.erase(at);
    return out;
  };
  std::unique_ptr<Link> out = from(greeting);
  if (Peer* peer = find(link.peer); !out && peer != nullptr) out = from(peer->attempts);
  CAPSTAN_ASSERT(out != nullptr);
  return out;
}

// ---- Time ---------------------------------------------------------------------------------------

void PeerTransport::State::tick() {
  // If we slept, the peers' silence meanwhile is ours: what they sent may still be on its way here.
  const Micros slept = last_tick == 0 ? 0 : now() - last_tick - kTick;
  last_tick = now();
  for (auto& [id, peer] : peers) {
    if (slept > options.election_timeout / 4) {
      peer.silent_since = std::min(peer.silent_since + slept, now());
    }
    tick_peer(peer);
  }
  const auto give_up_old = [&](std::vector<std::unique_ptr<Link>>& list) {
    while (!list.empty() && now() - list.front()->opened > handshake_max()) drop(*list.front());
  };
  forget_guests();
  give_up_old(greeting);
  for (auto& [id, peer] : peers) give_up_old(peer.attempts);
  sweep();
}

void PeerTransport::State::tick_peer(Peer& peer) {
  if (peer.link && peer.link->ended_unseen && !deaf_to(peer.address.id)) {
    lose(peer, peer.link->end_text);
  }
  if (peer.link && now() - peer.silent_since > options.election_timeout) {
    lose(peer, "silent for " + millis(now() - peer.silent_since));
  }
  if (!peer.link) {
    if (now() >= peer.next_attempt) attempt(peer);
    return;
  }
  if (now() >= peer.next_ping) {
    peer.next_ping = now() + options.heartbeat_interval;
    std::string sent_at;
    put_u64(sent_at, static_cast<std::uint64_t>(Loop::clock().monotonic));
    send_own(peer, *peer.link, FrameKind::kPing, std::move(sent_at));
  }
}

void PeerTransport::State::sweep() {
  std::erase_if(over, [&](const std::unique_ptr<Link>& link) {
    return link->done() || now() - link->opened > 2 * handshake_max();
  });
}

// ---- What the node sees -------------------------------------------------------------------------

PeerTransport::PeerTransport(std::unique_ptr<State> state) : state_(std::move(state)) {}
PeerTransport::~PeerTransport() = default;

Result<std::unique_ptr<PeerTransport>> PeerTransport::open(Loop& loop, PeerOptions options,
                                                           PeerEvents& events) {
  auto state = std::make_unique<State>(loop, std::move(options), events);
  State& s = *state;
  s.members = s.options.members;
  for (const PeerAddress& member : s.members) {
    if (member.id == s.options.self) {
      s.name = member.name;
    } else {
      s.add(member);
    }
  }
  CAPSTAN_ASSERT(!s.name.empty());
  for (const ListenAddress& at : s.options.listen) {
    auto listener = TcpListener::listen(
        loop, at.host, at.port, [&s](std::unique_ptr<TcpStream> in) { s.accepted(std::move(in)); },
        s.options.tls);
    if (!listener) return std::unexpected(listener.error());
    s.listeners.push_back(std::move(*listener));
  }
  s.ticker.start(0, [&s] {
    s.tick();
    s.ticker.every(kTick, [&s] { s.tick(); });
  });
  return std::unique_ptr<PeerTransport>(new PeerTransport(std::move(state)));
}

bool PeerTransport::send(MemberId to, FrameKind kind, std::string payload) {
  State::Peer* peer = state_->find(to);
  if (peer == nullptr) {
    ++state_->strangers.dropped_not_connected;
    return false;
  }
  if (!peer->link) {
    ++peer->counts.dropped_not_connected;
    return false;
  }
  if (peer->link->queued_bytes() + frame_bytes(payload.size()) > state_->options.queue_bytes_max) {
    ++peer->counts.dropped_queue_full;
    return false;
  }
  state_->send_own(*peer, *peer->link, kind, std::move(payload));
  return true;
}

PeerState PeerTransport::state(MemberId id) const {
  const State::Peer* peer = state_->find(id);
  if (peer == nullptr) return {};
  PeerState out = peer->seen;
  out.name = peer->address.name;
  if (peer->link) out.queued_bytes = peer->link->queued_bytes();
  return out;
}

namespace {

void add(PeerCounts& sum, const PeerCounts& part) {
  for (std::size_t i = 0; i < kFrameKinds; ++i) {
    sum.kinds[i].frames_in += part.kinds[i].frames_in;
    sum.kinds[i].frames_out += part.kinds[i].frames_out;
    sum.kinds[i].bytes_in += part.kinds[i].bytes_in;
    sum.kinds[i].bytes_out += part.kinds[i].bytes_out;
  }
  sum.dropped_by_fault_in += part.dropped_by_fault_in;
  sum.dropped_by_fault_out += part.dropped_by_fault_out;
  sum.dropped_not_connected += part.dropped_not_connected;
  sum.dropped_queue_full += part.dropped_queue_full;
  sum.bad_frames += part.bad_frames;
}

}  // namespace

PeerCounts PeerTransport::counts(MemberId id) const {
  if (id) {
    const State::Peer* peer = state_->find(id);
    return peer == nullptr ? PeerCounts{} : peer->counts;
  }
  PeerCounts sum = state_->strangers;
  for (const auto& [each, peer] : state_->peers) add(sum, peer.counts);
  return sum;
}

Faults& PeerTransport::faults() { return state_->faults; }

std::vector<std::uint16_t> PeerTransport::listen_ports() const {
  std::vector<std::uint16_t> out;
  for (const auto& listener : state_->listeners) out.push_back(listener->port());
  return out;
}

}  // namespace capstan::net
