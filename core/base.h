// The base: the ordered key-value store under the table, written only by checkpoints. lmdb_base.cc
// is the real one; tests/support has one in memory with the same transaction and crash semantics.
//
// Keys live in spaces that do not mix. A commit is atomic and durable when it returns; it is the
// only way in. Reads see the last commit.
//
// Snapshot install goes through a second generation: stage() fills it piece by piece while the
// first still serves, install() switches to it and drops the old one in one transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "core/types.h"

namespace capstan {

enum class Space : std::uint8_t {
  kMeta,      // engine's own facts: applied index, configuration, version vector, ...
  kNow,       // CP  key -> head and place of its current version
  kGone,      // CP  deleted key -> place of its last change
  kHistory,   // CP  place (revision, sub) -> change, with its value
  kRequests,  // request id -> its reply, a bounded window
  kCell,      // AP  key -> cell
  kConflict,  // AP  number -> conflict with body
  kLease,     // CP  lease id -> lease
  kLeaseKey,  // CP  lease id and a key that hangs on it
  kCount
};

struct Change {
  Space space;
  std::string key;
  std::optional<std::string> value;  // nullopt: erase
};

// A change by reference; value nullopt: erase.
struct ChangeRef {
  Space space;
  ByteView key;
  std::optional<ByteView> value;
};

// Changes sorted by (space, key), no key twice: a frozen table, or a vector. Immutable, so that the
// keeper can read it while the loop reads it too.
class ChangeSource {
 public:
  virtual ~ChangeSource() = default;
  // Return false to stop.
  virtual void each(const std::function<bool(const ChangeRef&)>& visit) const = 0;
};

// Return false to stop the scan. The views are valid during the call only.
using Visitor = std::function<bool(ByteView key, ByteView value)>;

// A frozen view that outlives later commits, also an install(); for sending a snapshot and taking a
// backup. At most two at a time, and not for long: pages they pin cannot be reused.
class BaseView {
 public:
  virtual ~BaseView() = default;
  // Keys of `space` from `from` on (inclusive), ascending.
  virtual Status scan(Space space, ByteView from, const Visitor& visit) const = 0;
};

// Work on what the base holds that needs none of what is above it: the changes to make, sorted as
// ChangeSource says. Run where the base is written; it touches nothing but its own results, and may
// be run again.
using Amendment = std::function<Result<std::vector<Change>>(const BaseView& base)>;

// Threads: get and scans on one thread (the loop), commit, stage, install, drop_staged and amend
// on one other (the keeper). A view belongs to whoever asked for it.
class Base {
 public:
  virtual ~Base() = default;
  virtual Result<std::optional<std::string>> get(Space space, ByteView key) const = 0;
  // [from, to) ascending; `to` empty: to the end of the space.
  virtual Status scan(Space space, ByteView from, ByteView to, const Visitor& visit) const = 0;
  // (from, to) descending from just below `to` down to `from` inclusive.
  virtual Status scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const = 0;
  // All or nothing, durable on return. kNoSpace: nothing happened, try again later; any other error
  // is final (contract.md).
  Status commit(const ChangeSource& changes) { return write(Generation::kLive, changes); }
  Status commit(const std::vector<Change>& changes);  // sorted as ChangeSource says

  virtual Result<std::unique_ptr<BaseView>> view() const = 0;

  // Pieces come sorted within themselves; a later piece may touch any key. What an earlier process
  // staged and did not install is gone at open.
  Status stage(const std::vector<Change>& changes);
  virtual Status install() = 0;
  virtual Status drop_staged() = 0;

  // Commits what `amendment` makes of the last commit.
  Status amend(const Amendment& amendment);

  // Takes what was read here out of this process's memory; the system's cache of the file keeps it.
  // For reads that go far; it is done a little later. The loop's thread.
  virtual void let_go() const {}

  // What it takes on disk, and what of that the records take: the rest was freed and waits to be
  // used again or given back to the file system. Any thread.
  virtual std::uint64_t bytes_used() const = 0;
  virtual std::uint64_t bytes_live() const = 0;

 protected:
  enum class Generation : std::uint8_t { kLive, kStaged };
  virtual Status write(Generation to, const ChangeSource& changes) = 0;
};

// Opens or creates base.lmdb in `directory`. Every record carries 4 bytes of XXH3; one that does
// not match is kCorrupt. Keys may be up to kKeyBytesMax and a little more (suffixes of the
// engines). `map_bytes` is address space only; where the system refuses that much, less is taken.
Result<std::unique_ptr<Base>> open_lmdb_base(const std::string& directory,
                                             std::uint64_t map_bytes = kLmdbMapBytes);

}  // namespace capstan
