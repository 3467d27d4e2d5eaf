#include "ap/membership.h"

#include <algorithm>

#include "core/check.h"

namespace capstan::ap {
namespace {

// In ticks of 10 ms. Silence of E, then 5 until others are asked, 15 until it is suspected, 30
// until it is unreachable: 750 ms with E = 250 ms. After its link closed the last two are 10
// and 10.
constexpr std::uint64_t kAskAfter = 5;
constexpr std::uint64_t kSuspectAfter = 20;
constexpr std::uint64_t kUnreachableAfter = 50;
constexpr std::uint64_t kClosedSuspectAfter = 10;
constexpr std::uint64_t kClosedUnreachableAfter = 20;
constexpr std::uint64_t kProbeEvery = 20;  // of one who does not answer, for ever
constexpr std::size_t kHelpers = 3;
constexpr std::uint64_t kErrandTicks = 100;
constexpr std::size_t kErrandsMax = 1024;

}  // namespace

Membership::Membership(MembershipOptions options)
    : options_(std::move(options)), rng_(options_.seed) {
  for (const MemberId peer : options_.peers) {
    CAPSTAN_ASSERT(peer != options_.self);
    peers_[peer];
  }
}

void Membership::tick() {
  ++now_;
  for (auto& [id, peer] : peers_) advance(id, peer);
  std::erase_if(errands_,
                [&](const auto& entry) { return now_ - entry.second.tick > kErrandTicks; });
}

void Membership::advance(MemberId id, Peer& peer) {
  if (const bool now = direct(id); now != peer.was_direct) {
    peer.was_direct = now;
    changes_.push_back(id);
  }
  if (peer.liveness == Liveness::kUnreachable) {
    if (now_ >= peer.next_probe) {
      peer.next_probe = now_ + kProbeEvery;
      probe(id, peer);
      ask_others(id);
    }
    return;
  }
  // A closed link counts until somebody has heard it since.
  const bool closed = peer.link_closed && peer.proof <= peer.closed_at;
  const bool silent = closed || now_ - peer.proof > options_.silence_ticks;
  if (!silent) {
    // Heard only through another: keep asking, or the proof runs out.
    if (!direct(id) && now_ >= peer.next_probe) {
      peer.next_probe = now_ + kProbeEvery / 2;
      probe(id, peer);
      ask_others(id);
    }
    return;
  }
  if (peer.probe_start == 0) {
    peer.probe_start = now_;
    peer.asked_others = false;
    probe(id, peer);
  }
  const std::uint64_t waited = now_ - peer.probe_start;
  if (!peer.asked_others && (closed || waited >= kAskAfter)) {
    peer.asked_others = true;
    ask_others(id);
  }
  if (waited >= (closed ? kClosedUnreachableAfter : kUnreachableAfter)) {
    set(id, peer, Liveness::kUnreachable);
    peer.next_probe = now_ + kProbeEvery;
  } else if (waited >= (closed ? kClosedSuspectAfter : kSuspectAfter)) {
    if (peer.liveness == Liveness::kAlive) {
      set(id, peer, Liveness::kSuspect);
      ask_others(id);
    }
  }
}

void Membership::set(MemberId id, Peer& peer, Liveness liveness) {
  if (peer.liveness == liveness) return;
  peer.liveness = liveness;
  changes_.push_back(id);
}

void Membership::heard(MemberId id) {
  const auto at = peers_.find(id);
  if (at == peers_.end()) return;
  Peer& peer = at->second;
  peer.heard = peer.proof = now_;
  peer.probe_start = 0;
  peer.link_closed = false;
  set(id, peer, Liveness::kAlive);
  if (!peer.was_direct) {
    peer.was_direct = true;
    changes_.push_back(id);
  }
}

void Membership::link_closed(MemberId id) {
  const auto at = peers_.find(id);
  if (at == peers_.end()) return;
  at->second.link_closed = true;
  at->second.closed_at = now_;
  if (at->second.was_direct) {
    at->second.was_direct = false;
    changes_.push_back(id);
  }
}

void Membership::probe(MemberId id, Peer& peer) {
  (void)peer;
  out_.emplace_back(id, Ping{next_number_++});
}

// Up to three others, drawn anew each time, among those we hear ourselves.
void Membership::ask_others(MemberId about) {
  std::vector<MemberId> helpers;
  for (const auto& [id, peer] : peers_) {
    if (id != about && direct(id)) helpers.push_back(id);
  }
  for (std::size_t i = 0; i < kHelpers && !helpers.empty(); ++i) {
    const std::size_t pick = rng_.below(helpers.size());
    out_.emplace_back(helpers[pick], PingFor{next_number_++, about});
    helpers.erase(helpers.begin() + static_cast<std::ptrdiff_t>(pick));
  }
}

void Membership::receive(MemberId from, const Ping& ping) {
  if (!peers_.contains(from)) return;
  out_.emplace_back(from, Pong{ping.number, options_.self});
}

void Membership::receive(MemberId from, const Pong& pong) {
  if (const auto errand = errands_.find(pong.number); errand != errands_.end()) {
    out_.emplace_back(errand->second.asker, Pong{errand->second.number, from});
    errands_.erase(errand);
    return;
  }
  if (pong.about == from) return;  // heard() has been told
  const auto at = peers_.find(pong.about);
  if (at == peers_.end()) return;
  Peer& peer = at->second;
  peer.proof = now_;
  peer.probe_start = 0;
  set(pong.about, peer, Liveness::kAlive);
}

void Membership::receive(MemberId from, const PingFor& ask) {
  if (!peers_.contains(from) || !peers_.contains(ask.target)) return;
  if (errands_.size() >= kErrandsMax) return;
  const std::uint64_t number = next_number_++;
  errands_[number] = Errand{from, ask.number, now_};
  out_.emplace_back(ask.target, Ping{number});
}

void Membership::receive(MemberId from, std::uint32_t life, const std::vector<MemberView>& views) {
  const auto sender = peers_.find(from);
  if (sender == peers_.end()) return;
  sender->second.life = std::max(sender->second.life, life);
  for (const MemberView& view : views) {
    if (view.member == options_.self) {
      // Refute: a higher life outranks the rumour wherever it has got to.
      if (view.liveness != Liveness::kAlive && view.life >= life_) life_ = view.life + 1;
      continue;
    }
    const auto at = peers_.find(view.member);
    if (at == peers_.end() || at == sender) continue;
    Peer& peer = at->second;
    if (view.life > peer.life) {
      peer.life = view.life;
      // It has refuted: as good as an answer, for one who only suspects it.
      if (view.liveness == Liveness::kAlive && peer.liveness == Liveness::kSuspect) {
        peer.probe_start = 0;
        set(view.member, peer, Liveness::kAlive);
      }
    }
    // Another cannot hear it and neither do we just now: look at once.
    if (view.liveness != Liveness::kAlive && view.life >= peer.life &&
        peer.liveness == Liveness::kAlive && peer.probe_start == 0 &&
        now_ - peer.proof > options_.silence_ticks / 2) {
      peer.probe_start = now_;
      peer.asked_others = false;
      probe(view.member, peer);
    }
  }
}

std::vector<std::pair<MemberId, Body>> Membership::take_messages() {
  return std::exchange(out_, {});
}

std::vector<MemberId> Membership::take_changes() {
  std::ranges::sort(changes_);
  const auto tail = std::ranges::unique(changes_);
  changes_.erase(tail.begin(), tail.end());
  return std::exchange(changes_, {});
}

Liveness Membership::liveness(MemberId id) const {
  const auto at = peers_.find(id);
  return at == peers_.end() ? Liveness::kAlive : at->second.liveness;
}

bool Membership::direct(MemberId id) const {
  const auto at = peers_.find(id);
  if (at == peers_.end() || at->second.heard == 0 || at->second.link_closed) return false;
  return now_ - at->second.heard <= 2 * options_.silence_ticks;
}

bool Membership::all_reachable() const {
  return std::ranges::all_of(
      peers_, [](const auto& e) { return e.second.liveness != Liveness::kUnreachable; });
}

std::uint64_t Membership::alone_ticks() const {
  std::uint64_t longest = 0;
  for (const auto& [id, peer] : peers_) {
    if (peer.liveness == Liveness::kUnreachable) {
      longest = std::max(longest, now_ - peer.proof + 1);
    }
  }
  return longest;
}

std::optional<std::uint64_t> Membership::silent_ticks(MemberId id) const {
  const auto at = peers_.find(id);
  if (at == peers_.end() || at->second.heard == 0) return std::nullopt;
  return now_ - at->second.heard;
}

std::vector<MemberView> Membership::views() const {
  std::vector<MemberView> out;
  for (const auto& [id, peer] : peers_) out.push_back({id, peer.life, peer.liveness});
  return out;
}

}  // namespace capstan::ap
