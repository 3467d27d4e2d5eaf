// Stability: what every member has, and nothing concurrent with it can still come from anywhere.
//
//   member j said in a beat: "I durably have V_j"   and   our vector, durably, covers V_j
//
// Both halves are needed for a tombstone T in V_j. The first: nobody can ask for what T deleted.
// The second: whatever j wrote before it knew of T is in V_j, so it has met T here; what j wrote
// later knew T. Stable is the intersection of the V_j, ours included. What is trimmed goes into
// trimmed_; a peer that does not cover it (a restored disk) is given whole buckets.
#include <algorithm>

#include "ap/mutants.h"
#include "ap/replica.h"
#include "core/check.h"

namespace capstan::ap {
namespace {

constexpr std::size_t kCollectMax = 16384;  // entries a round, so that no turn gets long

}  // namespace

// Keeps the newest claim that is covered, durably, since peers read off our beats what we have met;
// and one that waits to be: under load our vector always trails a peer's newest, but it soon covers
// the one before.
void Replica::settle(Peer& peer) {
  if (mutants::gc_ack_only) {
    peer.settled = peer.vector;
    return;
  }
  settle_candidate(peer);
  if (durable_.vector.covers(peer.vector)) {
    peer.settled = peer.vector;
    peer.candidate.reset();
  } else if (!peer.candidate) {
    peer.candidate = peer.vector;
  }
}

void Replica::settle_candidate(Peer& peer) {
  if (!peer.candidate || !durable_.vector.covers(*peer.candidate)) return;
  peer.settled = std::move(*peer.candidate);
  peer.candidate.reset();
}

VersionVector Replica::stable() const {
  if (mutants::gc_unsafe) return vector_;
  VersionVector out = durable_.vector;
  for (const auto& [id, peer] : peers_) out.meet(peer.settled);
  return out;
}

void Replica::collect() {
  for (const auto& [id, session] : serves_) {
    if (session.request.full) return;  // it relies on the index from its start on
  }
  for (auto& [id, peer] : peers_) settle_candidate(peer);
  // First the horizon, then what lies below it. The horizon may be higher, learned from a peer;
  // what this node may forget is only what it knows to be stable itself.
  const VersionVector upto = stable();
  trimmed_.join(upto);
  index_.trim(upto, kCollectMax, [&](Bucket bucket, const Dot& dot, const std::string& key) {
    const std::optional<Cell> cell = load(key);
    if (!cell || cell->tag.dot != dot) return;
    CAPSTAN_ASSERT(cell->deletes);
    // In beats at once: what is durable here covers all that any member had when it agreed.
    forgotten_ = std::max(forgotten_, cell->tag.stamp);
    durable_.forgotten = std::max(durable_.forgotten, cell->tag.stamp);
    erase(bucket, key, *cell);
    books_.collected(key, dot);
  });
}

}  // namespace capstan::ap
