// Who is there: SWIM over the configured members, as a pure machine.
//
//     alive ──silent for E──► probe it, then ask others to ──no answer──► suspect ──► unreachable
//       ▲                                                                    │            │
//       └──────────── a frame from it, or "I pinged it" from another ────────┴────────────┘
//
// Direct evidence (any frame) beats every rumour. Opinions travel with the beats: a member that
// hears it is suspected raises its life, which outranks the rumour everywhere; hearing that another
// suspects a member makes us look at once. A link that closes does too, and shortens the wait.
// A configured member is never forgotten: it is probed for ever, directly and through others, so a
// heal needs nobody's help.
//
// Reachable means directly or through another; direct means that frames pass between the two of us,
// which is what pushing and pulling need.
//
// Source  Das, Gupta & Motivala, "SWIM", DSN 2002; Dadgar et al., "Lifeguard", arXiv:1707.00788.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "ap/message.h"
#include "core/random.h"
#include "core/types.h"

namespace capstan::ap {

struct MembershipOptions {
  MemberId self;
  std::vector<MemberId> peers;       // all other members
  std::uint64_t silence_ticks = 25;  // E
  std::uint64_t seed = 0;
};

class Membership {
 public:
  explicit Membership(MembershipOptions options);

  void tick();
  // Any frame came from `peer`.
  void heard(MemberId peer);
  // The transport's hint that the link closed.
  void link_closed(MemberId peer);
  void receive(MemberId from, const Ping& ping);
  void receive(MemberId from, const Pong& pong);
  void receive(MemberId from, const PingFor& ask);
  // The opinions in a beat of `from`.
  void receive(MemberId from, std::uint32_t life, const std::vector<MemberView>& views);

  std::vector<std::pair<MemberId, Body>> take_messages();
  // Members whose liveness or directness changed since the last call.
  std::vector<MemberId> take_changes();

  Liveness liveness(MemberId peer) const;
  bool reachable(MemberId peer) const { return liveness(peer) != Liveness::kUnreachable; }
  bool direct(MemberId peer) const;
  bool all_reachable() const;
  // Ticks since the last sign of life of that member, of those now unreachable, which has been
  // silent longest; since the start if there was none; 0 if all are reachable.
  std::uint64_t alone_ticks() const;
  // Ticks since the last frame; nullopt: never.
  std::optional<std::uint64_t> silent_ticks(MemberId peer) const;
  std::uint32_t life() const { return life_; }
  std::vector<MemberView> views() const;

 private:
  struct Peer {
    // Unreachable until heard: a node that starts alone must not claim otherwise.
    Liveness liveness = Liveness::kUnreachable;
    std::uint32_t life = 0;
    std::uint64_t heard = 0;        // last frame; 0: never
    std::uint64_t proof = 0;        // last frame or pong through another; 0: the start
    std::uint64_t probe_start = 0;  // 0: no probe is on
    std::uint64_t next_probe = 0;
    bool asked_others = false;
    bool link_closed = false;  // since the last frame
    std::uint64_t closed_at = 0;
    bool was_direct = false;
  };

  void set(MemberId id, Peer& peer, Liveness liveness);
  void probe(MemberId id, Peer& peer);
  void ask_others(MemberId about);
  void advance(MemberId id, Peer& peer);

  MembershipOptions options_;
  Rng rng_;
  std::map<MemberId, Peer> peers_;
  std::uint64_t now_ = 1;
  std::uint32_t life_ = 0;
  std::uint64_t next_number_ = 1;
  // Pings sent for another: our number -> who asked, its number, when.
  struct Errand {
    MemberId asker;
    std::uint64_t number = 0;
    std::uint64_t tick = 0;
  };
  std::map<std::uint64_t, Errand> errands_;
  std::vector<std::pair<MemberId, Body>> out_;
  std::vector<MemberId> changes_;
};

}  // namespace capstan::ap
