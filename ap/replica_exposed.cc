// Writes of a life that may have forgotten deletes. (I9)
//
// A tombstone goes once every member has said that it holds it durably. A disk that is wiped or put
// back from a copy breaks its word, and nothing in it says so: an intact disk after a crash looks
// the same. Until the new life hears somebody who remembers, its clock is its own. If that is
// behind, what it writes is older than deletes it once agreed to forget: where the tombstone still
// stands the write would lose, where it is gone it would show, under equal vectors.
//
//   exposed     what a start writes before the first beat of a peer that is not exposed itself, or
//               of all peers (a first start); from then on its clock is ahead of every such delete
//   held back   exposed writes leave for a peer only once its beat shows that it has heard of this
//               life: what it forgets from then on, this life has agreed to
//   heeded      that beat names the latest delete it has forgotten. Exposed writes that are not
//               later, and that it has not met, are written anew with a stamp above it: they win
//               wherever they come
//
// With clocks that agree nothing is ever written anew: a delete that we agreed to forget was made
// before our disk was lost, and so is earlier than all that was written since.
#include <algorithm>
#include <utility>

#include "ap/log_record.h"
#include "ap/mutants.h"
#include "ap/replica.h"

namespace capstan::ap {

void Replica::note_exposed(const LwwTag& tag) {
  if (sound_ == tag.dot.actor) return;
  if (exposed_.empty() || tag.stamp < exposed_from_) exposed_from_ = tag.stamp;
  exposed_.raise(tag.dot.actor, tag.dot.sequence);
}

bool Replica::held_back(const Peer& peer) const { return !exposed_.empty() && !peer.compared; }

void Replica::heed(Peer& peer, const Beat& beat) {
  peer.heard = true;
  const auto all = [this](bool Peer::* what) {
    return std::ranges::all_of(peers_, [what](const auto& entry) { return entry.second.*what; });
  };
  if (sound_ != actor_ && (!beat.exposed || all(&Peer::heard))) {
    close_batch();
    sound_ = actor_;
    log_record(RecordType::kMark, mark_of(RecordKind::kSound, actor_), nullptr);
  }
  clock_.observe(beat.forgotten);
  if (peer.compared || beat.you != actor_) return;
  if (!mutants::keep_exposed) write_anew(beat);
  peer.compared = true;
  if (exposed_.empty() || !all(&Peer::compared)) return;
  exposed_ = {};
  exposed_from_ = {};
  log_record(RecordType::kMark, mark_of(RecordKind::kAllHeeded, actor_), nullptr);
}

// Cost: a pass over the exposed writes that not all others have got yet, once a peer and life; only
// where a clock was behind.
void Replica::write_anew(const Beat& beat) {
  if (exposed_.empty() || beat.forgotten < exposed_from_) return;
  std::vector<std::string> keys;
  for (const auto& [actor, upto] : exposed_.entries()) index_.of(actor, upto, keys);
  std::erase_if(keys, [&](const std::string& key) {
    const LwwTag tag = load(key)->tag;
    return tag.stamp > beat.forgotten || beat.vector.covers(tag.dot);
  });
  if (keys.empty()) return;
  // The batches with the early writes must not be pushed any more: who misses them pulls what came
  // after.
  close_batch();
  recent_.clear();
  recent_bytes_ = 0;
  for (const std::string& key : keys) {
    const Cell cell = *load(key);
    write(key, cell.deletes ? std::nullopt : std::optional(cell.value));
  }
  event(false, "clock_behind",
        "this node came back without what its disk once held, and with a clock that was behind: " +
            std::to_string(keys.size()) +
            " of its writes were older than deletes that others have forgotten since, and are "
            "written anew");
}

}  // namespace capstan::ap
