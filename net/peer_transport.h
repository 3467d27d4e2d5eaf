// All links of a node to its peers: dialling, handshake, keepalive, faults, counts.
//
// One connection a pair of nodes, used both ways, so that acknowledgements of TCP ride on frames.
// The member with the lower id dials it. The other one *knocks*: while there is no link it dials
// too, says hello, and learns whether both may talk at all; if so, the lower one dials at once. So
// there is never a second link to choose from, a restarted node has its links back within a round
// trip whatever its id, and a peer that does not know us (its list is shorter) still tells us so.
//
//   dialler                     acceptor
//     hello  ─────────────────►            who I am, whom I expect
//            ◄─────────────────  hello     both compare; on a mismatch both say why, and part
//     go     ─────────────────►            this connection is the link; an older one is closed
//     frames, pings  ◄────────►
//
// Without a link a fresh attempt starts every redial_interval, for ever, beside those under way: a
// SYN that was lost is not waited for, and a slow network (a round trip above the interval) still
// gets its answer. A link without any frame for E is dead and closed, whatever TCP thinks; pings go
// out every heartbeat, so only a dead peer or network is silent.
//
// With a TlsContext every link is encrypted, and both ends show and check certificates as it says.
// A node with TLS and one without cannot meet; each hears of it in plaintext, as of a mismatch.
//
// Faults drop frames on both ends. A cut link therefore stays as it is until it has been silent for
// E, attempts to redial go unanswered, and the end of a connection is not noticed across a cut, as
// with a firewall that drops packets.
//
// Who the peers are may change (set_members). A node of the same cluster that is not among them is
// a guest: this node may have been away while it was added. A guest is a peer like others for as
// long as it speaks, at the address it says; what its words are worth is for the protocol to know.
// Those that were removed are told so.
//
// Loop thread only. cost: a frame is one header of 32 bytes and one XXH3 pass on each side.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "core/time.h"
#include "core/types.h"
#include "net/faults.h"
#include "net/frame.h"

namespace capstan::net {

class Loop;
class TlsContext;

struct PeerAddress {
  MemberId id;
  std::string name;  // empty: not heard yet
  std::string host;
  std::uint16_t port = 0;
  bool witness = false;
};
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;  // 0: any free one, see listen_ports()
};

struct PeerOptions {
  MemberId self;
  NodeId node;
  ClusterId cluster;
  Mode mode = Mode::kCp;
  std::uint64_t token_hash = 0;      // of the cluster's token
  std::vector<PeerAddress> members;  // all configured, itself included, at their advertised address
  bool formed = false;               // members change by set_members(); lists are not compared
  std::vector<ListenAddress> listen;
  std::shared_ptr<TlsContext> tls;       // of all links, both ways; null: plaintext
  std::vector<std::string> client_urls;  // told to every peer, for its list of members
  Micros heartbeat_interval = kHeartbeatInterval;
  Micros election_timeout = kElectionTimeout;  // E
  Micros redial_interval = kRedialInterval;
  std::size_t queue_bytes_max = kPeerQueueBytesMax;  // per link
};

class PeerEvents {
 public:
  virtual ~PeerEvents() = default;
  // The link stands. `node` is the disk behind the name; a different one than last time has been
  // reported as state().disk_changes.
  virtual void on_connected(MemberId peer, NodeId node) = 0;
  virtual void on_disconnected(MemberId peer, const std::string& why) = 0;
  // kCp or kAp. The payload is 8-byte aligned and valid during the call only.
  virtual void on_frame(MemberId from, FrameKind kind, ByteView payload) = 0;
  // At most once per 5 s and peer: why no link to `name` can be, as a sentence for people ("n2 was
  // started with 2 members, n1 with 1: give every node the same --join"). Already traced.
  virtual void on_mismatch(const std::string& name, const std::string& sentence) {
    (void)name, (void)sentence;
  }
};

struct PeerState {
  std::string name;  // as the list has it, or as the peer said
  bool connected = false;
  NodeId node;                  // last seen; 0: never
  Micros last_heard = -1;       // Now::monotonic of the last frame of any kind; -1: never
  Micros connected_since = -1;  // -1: not connected
  Micros round_trip = -1;       // smoothed over pings; -1: not measured
  std::string mismatch;         // why there can be no link; empty: none known
  std::uint64_t connects = 0;   // links ever made
  std::uint64_t disk_changes = 0;
  std::size_t queued_bytes = 0;
  std::vector<std::string> client_urls;  // as the peer last told; printable, at most 200 bytes each
};

// Counted at the frame layer, headers and padding included; what faults dropped is not in bytes.
struct KindCounts {
  std::uint64_t frames_in = 0, frames_out = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
};
struct PeerCounts {
  std::array<KindCounts, kFrameKinds> kinds;                        // by FrameKind
  std::uint64_t dropped_by_fault_in = 0, dropped_by_fault_out = 0;  // frames
  std::uint64_t dropped_not_connected = 0, dropped_queue_full = 0;  // frames send() refused
  std::uint64_t bad_frames = 0;  // connections closed for a frame that was malformed or corrupt
};

class PeerTransport {
 public:
  // Listens and starts to dial in the next turn. Errors: those of TcpListener::listen.
  static Result<std::unique_ptr<PeerTransport>> open(Loop& loop, PeerOptions options,
                                                     PeerEvents& events);
  ~PeerTransport();
  PeerTransport(const PeerTransport&) = delete;

  // Queues a frame; it leaves at the end of the turn. False: not connected, or the queue is full;
  // the frame is dropped, and the protocols above repeat what matters. A frame dropped by a fault
  // counts as sent.
  //   payload  at most kFrameBytesMax - kFrameHeaderBytes
  bool send(MemberId to, FrameKind kind, std::string payload);

  // The members from now on, itself included or not, and those that were removed. Links of whoever
  // is left out end, after what was sent to them; new members are dialled.
  void set_members(const std::vector<PeerAddress>& members, std::vector<MemberId> removed);
  // From now on the cluster keeps its list itself.
  void set_formed();

  PeerState state(MemberId peer) const;
  // Of one peer, over all its connections; of all together with MemberId{}.
  PeerCounts counts(MemberId peer = {}) const;

  // The lab's; empty at first. Changes apply from the next frame on.
  Faults& faults();

  std::vector<std::uint16_t> listen_ports() const;

  struct State;  // for net/peer_*.cc only

 private:
  explicit PeerTransport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace capstan::net
