// A cell: what this node holds under one key, as stored in Space::kCell (docs/formats-ap.md).
//
// Key, value, stamp and dot are replicated: two nodes that have seen the same writes hold the same.
// create, mod and version are this node's own bookkeeping for etcd's API and differ between nodes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ap/message.h"
#include "core/types.h"
#include "crdt/kernel_lww.h"

namespace capstan::ap {

struct Cell {
  LwwTag tag;
  bool deletes = false;
  std::string value;
  Revision create, mod;
  std::uint64_t version = 0;
};

std::string encode_cell(const Cell& cell);
// The base has checked a checksum, so bytes that do not decode are our own mistake: asserts.
Cell decode_cell(ByteView bytes);
// Only what a scan needs to decide whether to look further.
bool is_tombstone(ByteView encoded_cell);

Bucket bucket_of(ByteView key);

// Level 0: the wrapping sum of a hash of every live cell (key, stamp, dot, value). A sum, so that a
// write costs two hashes and any order of writes gives the same; tombstones are left out, since
// nodes collect them at different times.
class Digest {
 public:
  explicit Digest(Hash128 sum = {}) : sum_(sum) {}
  void add(const Hash128& h) {
    sum_.low += h.low;
    sum_.high += h.high + (sum_.low < h.low ? 1 : 0);
  }
  void remove(const Hash128& h) {
    const std::uint64_t borrow = sum_.low < h.low ? 1 : 0;
    sum_.low -= h.low;
    sum_.high -= h.high + borrow;
  }
  const Hash128& sum() const { return sum_; }

 private:
  Hash128 sum_;
};
Hash128 hash_of(ByteView key, const Cell& cell);

}  // namespace capstan::ap
