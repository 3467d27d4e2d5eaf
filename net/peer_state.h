// The inside of net/peer_transport.h; only net/peer_*.cc include it.
//
//   peer_transport.cc   who there is, links that stand, time
//   peer_handshake.cc   from a connection to a link, and why there is none
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/peer_hello.h"
#include "net/peer_link.h"
#include "net/peer_transport.h"
#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "net/uv_timer.h"

namespace capstan::net {

inline constexpr Micros kHandshakeMin = 1 * kSecond;

struct PeerTransport::State final : LinkUser {
  struct Peer {
    PeerAddress address;
    bool guest = false;
    bool ours_to_dial = false;  // else we knock
    std::unique_ptr<Link> link;
    std::vector<std::unique_ptr<Link>> attempts;  // outgoing, oldest first
    Micros next_attempt = 0;
    Micros next_ping = 0;
    Micros silent_since = 0;  // last_heard, without the time we ourselves slept
    PeerState seen;
    PeerCounts counts;
  };

  State(Loop& the_loop, PeerOptions the_options, PeerEvents& the_events)
      : loop(the_loop), options(std::move(the_options)), events(the_events), ticker(the_loop) {}

  // Who there is
  Peer& add(const PeerAddress& address);
  Peer* admit_guest(const Hello& hello);
  void part(Peer& peer);
  template <class Which>
  void forget_if(const Which& which);
  void forget_guests();

  // Handshake
  Hello hello_to(MemberId to, bool knock) const;
  void attempt(Peer& peer);
  void accepted(std::unique_ptr<TcpStream> stream);
  void tell_who_we_are(Link& link, const Hello& theirs);
  void greeted_by_dialler(Link& link, const Hello& theirs);
  void greeted_by_acceptor(Link& link, Peer& peer, const Hello& theirs);
  static void heard_of(Peer& peer, const Hello& theirs);
  void refuse(Link& link, const std::string& name, const std::string& sentence);
  void say_mismatch(const std::string& name, const std::string& sentence);
  std::optional<std::string> second_disk(const Peer& peer, const Hello& theirs) const;
  void adopt(Peer& peer, std::unique_ptr<Link> link);

  // Links
  void link_connected(Link& link) override;
  void link_frame(Link& link, const Frame& frame, std::size_t bytes) override;
  void link_ended(Link& link, CloseReason why, const std::string& text) override;
  void link_bad(Link& link, const Error& error) override;
  void link_plaintext(Link& link, ByteView first) override;
  void link_encrypted(Link& link) override;
  void attempt_ended(Peer& peer, Link& link, CloseReason why, const std::string& text);
  void hello_frame(Link& link, const Frame& frame, std::size_t bytes);
  void frame_of_link(Peer& peer, const Frame& frame);
  void send_own(Peer& peer, Link& link, FrameKind kind, std::string payload);
  void lose(Peer& peer, const std::string& why);
  void drop(Link& link, bool last_words = false);
  std::unique_ptr<Link> take(Link& link);

  // Time
  void tick();
  void tick_peer(Peer& peer);
  void sweep();
  // A round trip is below E; TCP and the hellos take one each, and so does TLS.
  Micros handshake_max() const {
    return std::max((options.tls ? 3 : 2) * options.election_timeout, kHandshakeMin);
  }

  Peer* find(MemberId id) {
    const auto found = peers.find(id);
    return found == peers.end() ? nullptr : &found->second;
  }
  bool deaf_to(MemberId id) const { return faults.drops_in(id, now()); }
  bool mute_to(MemberId id) const { return faults.drops_out(id, now()); }
  Micros now() const { return loop.now().monotonic; }

  Loop& loop;
  PeerOptions options;
  PeerEvents& events;
  std::string name;
  std::map<MemberId, Peer> peers;
  std::vector<PeerAddress> members;  // as of now
  std::vector<MemberId> removed;
  std::vector<std::unique_ptr<Link>> greeting;  // accepted, oldest first
  std::vector<std::unique_ptr<Link>> over;      // to be swept
  std::vector<std::unique_ptr<TcpListener>> listeners;
  std::map<std::string, Micros> said;  // when the last mismatch of a name was said
  PeerCounts strangers;                // frames of connections whose peer is not known
  Faults faults;
  Micros last_tick = 0;
  Timer ticker;
};

}  // namespace capstan::net
