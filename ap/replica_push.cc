// Ordered push: each own batch goes once to every peer that is heard. A peer is a cursor and a
// window, never a queue: where the window is full or the batch no longer recent, the cursor jumps
// to the end and the peer pulls what it missed.
#include <algorithm>

#include "ap/replica.h"
#include "core/limits.h"

namespace capstan::ap {
namespace {

constexpr std::size_t kWindowBytes = kInflightBytesMax;
constexpr std::size_t kRecentBytesMax = 2 * kWindowBytes;
constexpr std::uint64_t kWindowTicksMax = 100;  // without any progress: what was sent is lost

}  // namespace

void Replica::push() {
  if (!may_push_) return;
  for (auto& [id, peer] : peers_) push_to(id, peer);
  while (!recent_.empty() && recent_bytes_ > kRecentBytesMax) {
    recent_bytes_ -= recent_.front()->packed->size();
    recent_.pop_front();
  }
  // What every peer has been sent need not be kept.
  while (!recent_.empty() && std::ranges::all_of(peers_, [&](const auto& entry) {
    return !entry.second.direct || entry.second.next > recent_.front()->last;
  })) {
    recent_bytes_ -= recent_.front()->packed->size();
    recent_.pop_front();
  }
}

void Replica::push_to(MemberId id, Peer& peer) {
  const Sequence head = vector_.of(actor_);
  if (!peer.direct || peer.next > head || held_back(peer)) return;
  if (!peer.in_flight.empty() && ticks_ - peer.acked_tick > kWindowTicksMax) {
    peer.in_flight.clear();
    peer.in_flight_bytes = 0;
  }
  const auto from = std::ranges::lower_bound(recent_, peer.next, {},
                                             [](const auto& delta) { return delta->first; });
  for (auto at = from; at != recent_.end(); ++at) {
    const Delta& delta = **at;
    if (peer.in_flight_bytes > kWindowBytes) return;
    if (peer.in_flight.empty()) peer.acked_tick = ticks_;
    peer.in_flight.emplace_back(delta.last, delta.packed->size());
    peer.in_flight_bytes += delta.packed->size();
    peer.next = next(delta.last);
    ready_.send_now.emplace_back(id, delta);
  }
  peer.next = next(head);
}

void Replica::acknowledged(Peer& peer) {
  const Sequence have = peer.vector.of(actor_);
  while (!peer.in_flight.empty() && peer.in_flight.front().first <= have) {
    peer.in_flight_bytes -= peer.in_flight.front().second;
    peer.in_flight.pop_front();
    peer.acked_tick = ticks_;
  }
}

}  // namespace capstan::ap
