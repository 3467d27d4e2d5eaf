#include "ap/change_index.h"

#include <utility>

namespace capstan::ap {

void ChangeIndex::add(Bucket bucket, const Dot& dot, std::string key, bool deletes) {
  const auto [at, fresh] =
      buckets_[bucket][dot.actor].insert_or_assign(dot.sequence, Entry{std::move(key), deletes});
  (void)at;
  if (fresh) ++size_;
}

void ChangeIndex::remove(Bucket bucket, const Dot& dot) {
  auto& actors = buckets_[bucket];
  const auto actor = actors.find(dot.actor);
  if (actor == actors.end()) return;
  size_ -= actor->second.erase(dot.sequence);
  if (actor->second.empty()) actors.erase(actor);
}

void ChangeIndex::clear() {
  for (auto& actors : buckets_) actors.clear();
  size_ = 0;
}

void ChangeIndex::missing(Bucket bucket, const VersionVector& seen,
                          std::vector<std::string>& out) const {
  for (const auto& [actor, changes] : buckets_[bucket]) {
    for (auto at = changes.upper_bound(seen.of(actor)); at != changes.end(); ++at) {
      out.push_back(at->second.key);
    }
  }
}

void ChangeIndex::of(const Actor& actor, Sequence upto, std::vector<std::string>& out) const {
  for (const auto& actors : buckets_) {
    const auto changes = actors.find(actor);
    if (changes == actors.end()) continue;
    for (const auto& [sequence, entry] : changes->second) {
      if (sequence > upto) break;
      out.push_back(entry.key);
    }
  }
}

bool ChangeIndex::trim(
    const VersionVector& stable, std::size_t limit,
    const std::function<void(Bucket, const Dot&, const std::string& key)>& tombstone) {
  bool finished = true;
  for (std::size_t bucket = 0; bucket < kBuckets && finished; ++bucket) {
    // Told only once the bucket is left alone: who hears of a tombstone may well change the index.
    std::vector<std::pair<Dot, std::string>> tombstones;
    auto& actors = buckets_[bucket];
    for (auto actor = actors.begin(); actor != actors.end() && finished;) {
      auto& changes = actor->second;
      const Sequence upto = stable.of(actor->first);
      while (!changes.empty() && changes.begin()->first <= upto) {
        if (limit-- == 0) {
          finished = false;
          break;
        }
        auto entry = changes.extract(changes.begin());
        --size_;
        if (entry.mapped().deletes) {
          tombstones.emplace_back(Dot{actor->first, entry.key()}, std::move(entry.mapped().key));
        }
      }
      actor = changes.empty() ? actors.erase(actor) : std::next(actor);
    }
    for (const auto& [dot, key] : tombstones) tombstone(static_cast<Bucket>(bucket), dot, key);
  }
  return finished;
}

}  // namespace capstan::ap
