// Keys, versions and revisions with etcd's meaning, on core/table.h.
//
// The store begins at revision 1. A command that changes something adds one, and every key it
// touches carries it as mod_revision. Nothing is forgotten before a compaction:
//
//   Space::kNow   key                  -> create, mod, version, lease, value   (varints, then
//   bytes) Space::kPast  escaped key, mod BE  -> the version as it stood in kNow; empty: deleted at
//   mod
//
// A key is escaped (00 -> 00 FF) and ended (00 01), so that past versions of one key stand together
// in order of revision, and keys in their own order.
//
// Reading and writing touch no clock and no randomness: every member that applies the same commands
// holds the same bytes. digest() covers each change in order.
//
// Cost   put: one get and two puts of the table. Range: O(keys in the range), of history
// O(versions). Source etcd v3 API; Kreps' log-structured keys are not used: LMDB holds the index.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/request.h"
#include "core/table.h"
#include "cp/command.h"

namespace capstan::cp {

// Certainly nothing was changed, and why.
struct Refusal {
  Reason reason = Reason::kNone;
  std::string detail;
};

// [from, to) in bytes; `to` empty: no end. nullopt-like: empty() holds no key.
struct KeyBounds {
  std::string from;
  std::string to;
  bool single = false;  // exactly `from`

  explicit KeyBounds(const KeyRange& range);
  bool empty() const { return !to.empty() && from >= to; }
  bool contains(ByteView key) const { return key >= from && (to.empty() || key < to); }
};

class Mvcc {
 public:
  // What the state machine keeps beside the keys.
  struct Facts {
    Revision revision{1};
    Revision compacted;  // history below is gone; 0: none
    std::uint64_t keys = 0;
    std::uint64_t digest = 0;
  };

  explicit Mvcc(Table& table) : table_(table) {}

  const Facts& facts() const { return facts_; }
  void set_facts(const Facts& facts) { facts_ = facts; }

  // ---- Writing: begin(), any of these, end(). All of it is one revision.
  void begin();
  PutResult put(const PutView& put);
  DeleteRangeResult erase(const DeleteRangeRequest& request);
  // The revision after it: one more if anything changed.
  Revision end();

  // Store revision as a reader inside the command sees it.
  Revision revision() const { return {facts_.revision.value + (changed_ ? 1 : 0)}; }

  // ---- Reading
  // Is this revision one we can read at? 0 or less: now.
  std::optional<Refusal> check_revision(std::int64_t revision) const;
  // After check_revision(). Filters, then sort, then limit, as etcd.
  RangeResult range(const RangeRequest& request) const;
  std::optional<KeyValue> get(ByteView key) const;
  // Every live key in the bounds, ascending, until `visit` returns false.
  void each(const KeyBounds& bounds, const std::function<bool(const KeyValue&)>& visit) const;

 private:
  void each_at(const KeyBounds& bounds, Revision at,
               const std::function<bool(ByteView, ByteView)>& visit) const;
  void note(ByteView key, ByteView encoded);

  Table& table_;
  Facts facts_;
  bool changed_ = false;
};

}  // namespace capstan::cp
