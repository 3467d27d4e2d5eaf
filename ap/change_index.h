// The change index: which keys changed under which dot, for every dot that some member may still
// miss. It answers "what do you hold that this vector does not cover?" in the size of the answer.
//
// A key stands here once, under its present dot: what was overwritten is never sent. Entries leave
// when their dot is stable (ap/replica.h), so the size follows the lag of the slowest member.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ap/message.h"
#include "core/limits.h"
#include "crdt/version_vector.h"

namespace capstan::ap {

class ChangeIndex {
 public:
  void add(Bucket bucket, const Dot& dot, std::string key, bool deletes);
  void remove(Bucket bucket, const Dot& dot);
  void clear();

  // Keys of `bucket` whose present dot `seen` does not cover, by actor and sequence.
  void missing(Bucket bucket, const VersionVector& seen, std::vector<std::string>& out) const;

  // Keys whose present dot is of `actor` and not above `upto`.
  void of(const Actor& actor, Sequence upto, std::vector<std::string>& out) const;

  // Removes entries that `stable` covers, at most `limit` of them; hands out those of tombstones.
  // True when none is left.
  bool trim(const VersionVector& stable, std::size_t limit,
            const std::function<void(Bucket, const Dot&, const std::string& key)>& tombstone);

  std::size_t size() const { return size_; }

 private:
  struct Entry {
    std::string key;
    bool deletes = false;
  };
  std::array<std::map<Actor, std::map<Sequence, Entry>>, kBuckets> buckets_;
  std::size_t size_ = 0;
};

}  // namespace capstan::ap
