#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/trace.h"
#include "net/peer_state.h"
#include "net/tls_refusal.h"

namespace capstan::net {
namespace {

constexpr std::size_t kAttemptsMax = 8;    // under way to one peer
constexpr std::size_t kGreetingMax = 128;  // accepted and not yet links
constexpr Micros kMismatchEvery = 5 * kSecond;
constexpr std::size_t kSaidMax = 64;  // names whose mismatch is remembered
constexpr std::string_view kSameTls =
    ": give every node --peer-cert-file and --peer-key-file, or none";

}  // namespace

Hello PeerTransport::State::hello_to(MemberId to, bool knock) const {
  Hello hello{.knock = knock,
              .mode = options.mode,
              .cluster = options.cluster,
              .token_hash = options.token_hash,
              .self = options.self,
              .to = to,
              .node = options.node,
              .name = name,
              .members = {},
              .client_urls = options.client_urls,
              .formed = options.formed,
              .address = {},
              .known = {},
              .witness = {}};
  for (const PeerAddress& member : options.members) {
    const std::string at = member.host + ':' + std::to_string(member.port);
    if (member.id == options.self) hello.address = at;
    if (member.witness) hello.witness = member.name;
    hello.members.push_back({member.name, at});
  }
  std::sort(hello.members.begin(), hello.members.end());
  return hello;
}

void PeerTransport::State::attempt(Peer& peer) {
  if (peer.attempts.size() >= kAttemptsMax) drop(*peer.attempts.front());
  peer.next_attempt = now() + options.redial_interval;
  auto link = std::make_unique<Link>(*this, Link::Stage::kDialled, peer.address.id, now());
  link->dial(loop, peer.address.host, peer.address.port, options.tls);
  peer.attempts.push_back(std::move(link));
}

void PeerTransport::State::link_connected(Link& link) {
  if (Peer* peer = find(link.peer)) {
    send_own(*peer, link, FrameKind::kHello,
             encode_hello(hello_to(link.peer, !peer->ours_to_dial)));
  }
}

void PeerTransport::State::accepted(std::unique_ptr<TcpStream> stream) {
  if (greeting.size() >= kGreetingMax) drop(*greeting.front());
  auto link = std::make_unique<Link>(*this, Link::Stage::kAccepted, MemberId{}, now());
  link->take(std::move(stream));
  greeting.push_back(std::move(link));
}

// A node that is to join: it gets what it asked for, and no link.
void PeerTransport::State::tell_who_we_are(Link& link, const Hello& theirs) {
  Hello ours = hello_to({}, false);
  if (std::optional<std::string> why = mismatch(ours, theirs))
    return refuse(link, theirs.name, *why);
  if (!options.formed) {
    return refuse(link, theirs.name,
                  name + " belongs to a cluster that is not formed yet: nothing can be joined");
  }
  for (const PeerAddress& member : members) {
    ours.known.push_back(
        {member.id, member.name, member.host + ':' + std::to_string(member.port), member.witness});
  }
  link.send(FrameKind::kHello, options.cluster, encode_hello(ours));
  drop(link, true);
}

// They dialled us, and this is who they are.
void PeerTransport::State::greeted_by_dialler(Link& link, const Hello& theirs) {
  if (theirs.asks) return tell_who_we_are(link, theirs);
  Peer* peer = find(theirs.self);
  std::optional<std::string> why = mismatch(hello_to({}, false), theirs);
  if (!why && std::ranges::find(removed, theirs.self) != removed.end()) {
    why = theirs.name +
          " was removed from the cluster: stop it; to have it back, add it anew and start it on an "
          "empty directory";
  }
  if (!why && peer == nullptr) peer = admit_guest(theirs);
  if (!why && peer == nullptr) why = theirs.name + " is not in the member list of " + name;
  if (!why) why = second_disk(*peer, theirs);
  if (why) {
    if (peer != nullptr) peer->seen.mismatch = *why;
    return refuse(link, theirs.name, *why);
  }
  link.node = theirs.node;
  heard_of(*peer, theirs);
  link.stage = Link::Stage::kGreeted;
  send_own(*peer, link, FrameKind::kHello, encode_hello(hello_to(peer->address.id, false)));
  if (!theirs.knock) return;
  // Only to say that they are there: it is we who dial.
  drop(link, true);
  if (!peer->link && peer->attempts.empty()) attempt(*peer);
}

// We dialled (or knocked), and they agree to talk.
void PeerTransport::State::greeted_by_acceptor(Link& link, Peer& peer, const Hello& theirs) {
  std::optional<std::string> why = mismatch(hello_to({}, false), theirs);
  if (!why && theirs.self != peer.address.id) {
    why = "the address of " + peer.address.name + ", " + peer.address.host + ':' +
          std::to_string(peer.address.port) + ", is answered by " + theirs.name + ": check --join";
  }
  if (why) {
    peer.seen.mismatch = *why;
    drop(link);
    return say_mismatch(peer.address.name, *why);
  }
  heard_of(peer, theirs);
  if (!peer.ours_to_dial) return drop(link);  // our knock was heard
  link.node = theirs.node;
  send_own(peer, link, FrameKind::kGo, {});
  adopt(peer, take(link));
}

void PeerTransport::State::heard_of(Peer& peer, const Hello& theirs) {
  peer.seen.client_urls = printable_urls(theirs);
  if (peer.address.name.empty()) peer.address.name = theirs.name;
}

// A process that died leaves a link that ends. A living link and another disk are two processes.
std::optional<std::string> PeerTransport::State::second_disk(const Peer& peer,
                                                             const Hello& theirs) const {
  if (!peer.link || peer.link->ended_unseen || peer.link->node == theirs.node) return std::nullopt;
  return "two nodes call themselves " + theirs.name +
         " and both live: stop one, or give it a name of its own";
}

void PeerTransport::State::refuse(Link& link, const std::string& who, const std::string& sentence) {
  if (!mute_to(link.peer)) link.send(FrameKind::kRefuse, options.cluster, sentence);
  drop(link, true);
  say_mismatch(who, sentence);
}

void PeerTransport::State::say_mismatch(const std::string& who, const std::string& sentence) {
  if (said.size() >= kSaidMax && !said.contains(who)) {
    std::erase_if(said, [&](const auto& each) { return now() - each.second >= kMismatchEvery; });
    if (said.size() >= kSaidMax) return;  // a crowd of names is not news
  }
  const auto [at, fresh] = said.try_emplace(who, now());
  if (!fresh && now() - at->second < kMismatchEvery) return;
  at->second = now();
  trace(Level::kWarn, "peer_mismatch", sentence, {{"peer", who}});
  events.on_mismatch(who, sentence);
}

void PeerTransport::State::adopt(Peer& peer, std::unique_ptr<Link> link) {
  if (peer.link) lose(peer, "replaced by a new connection");
  while (!peer.attempts.empty()) drop(*peer.attempts.back());
  if (peer.seen.node && peer.seen.node != link->node) {
    ++peer.seen.disk_changes;
    trace(Level::kWarn, "peer_disk_changed", peer.address.name + " came back with another disk",
          {{"peer", peer.address.name}});
  }
  link->now_up();
  peer.link = std::move(link);
  peer.seen.connected = true;
  peer.seen.node = peer.link->node;
  peer.seen.connected_since = peer.seen.last_heard = peer.silent_since = now();
  peer.seen.mismatch.clear();
  ++peer.seen.connects;
  peer.next_ping = 0;
  trace(Level::kInfo, "peer_connected", peer.address.name + " is connected",
        {{"peer", peer.address.name}, {"address", peer.link->remote()}});
  events.on_connected(peer.address.id, peer.link->node);
}

// ---- TLS on one side only -----------------------------------------------------------------------

// Not to be reached is no news; what can never work is.
void PeerTransport::State::attempt_ended(Peer& peer, Link& link, CloseReason why,
                                         const std::string& text) {
  drop(link);
  if (deaf_to(peer.address.id)) return;
  if (why == CloseReason::kPlaintext) {
    peer.seen.mismatch = name + " dials its peers with TLS, " + peer.address.name +
                         " answers without" + std::string(kSameTls);
  } else if (why == CloseReason::kNoTls) {
    peer.seen.mismatch = name + " cannot link to " + peer.address.name + ": " + text;
  } else {
    return;
  }
  say_mismatch(peer.address.name, peer.seen.mismatch);
}

void PeerTransport::State::link_plaintext(Link& link, ByteView first) {
  const std::string from = link.remote_host();
  const std::string expects = name + " expects TLS on its peer port, ";
  if (!may_be_frame(first)) {
    ++strangers.bad_frames;
    link.send_plain(plaintext_answer(first));
    drop(link, true);
    return say_mismatch(from, expects + "and what came from " + from +
                                  " is plaintext, and not of a node of Capstan");
  }
  std::string who = from;  // a hello in pieces has no name yet
  FrameDecoder decoder(kHelloBytesMax);
  decoder.feed(first);
  Frame frame;
  if (decoder.next(frame).value_or(false) && frame.kind == FrameKind::kHello) {
    if (const Result<Hello> theirs = decode_hello(frame.payload)) {
      if (deaf_to(theirs->self)) return drop(link);
      who = theirs->name;
      link.peer = theirs->self;
    }
  }
  const std::string sentence = expects + who + " dials without" + std::string(kSameTls);
  if (Peer* peer = find(link.peer)) peer->seen.mismatch = sentence;
  refuse(link, who, sentence);
}

// Any plaintext tells them; that they are told of by name is for our own attempt, which they
// refuse.
void PeerTransport::State::link_encrypted(Link& link) {
  link.send(FrameKind::kRefuse, options.cluster, name + " takes its peers without TLS");
  drop(link, true);
}

}  // namespace capstan::net
