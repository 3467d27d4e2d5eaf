// Keys, versions and revisions with etcd's meaning, on core/table.h.
//
// The store begins at revision 1. A command that changes something adds one, and every key it
// touches carries it as mod_revision. Nothing is forgotten before a compaction (below):
//
//   Space::kNow      key   -> create, version, lease, then the tip (cp/history.h)
//   Space::kGone     key   -> the tip, if its newest change is a delete
//   Space::kHistory  place -> the change: links down the key's history, key, head, value
//   Space::kLeaseKey lease and key -> nothing, of every live key that hangs on a lease
//
// A value stands in history alone. So writing appends it once and touches one small row a key,
// counting and comparing never read values, and an old version is a few links away.
//
// Reading and writing touch no clock and no randomness: every member that applies the same commands
// gives the same answers. Facts::digest covers each change in order.
//
// A compaction only moves Facts::compacted, on every member at the same place of the log. What it
// frees each removes for itself from its base, a slice at a time (Sweep); no answer depends on
// how far that has come. It walks the changes since the last compaction and erases the change that
// each follows:
//
//      swept              target = compacted, as the base has it
//   ─────┼──────────●──────────┼──────────────►  changes
//                   next       deletes below it go too; one exactly at it stays until the next,
//                              since a watch may begin there
//
// Cost   put: one get and two puts of the table. Range: one row a key, and one read of history for
//        each value returned; at an old revision O(log² changes since) for each key. Sweep: reads
//        each change since the last compaction once, and erases at most one row for each, off the
//        loop.
// Source etcd v3 API
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/key_range.h"
#include "core/limits.h"
#include "core/request.h"
#include "core/table.h"
#include "cp/command.h"
#include "cp/history.h"

namespace capstan::cp {

class Mvcc {
 public:
  // What the state machine keeps beside the keys.
  struct Facts {
    Revision revision{1};
    Revision compacted;  // nothing below it is answered; 0: none
    std::uint64_t keys = 0;
    std::uint64_t digest = 0;
  };

  // How far the removal of what is compacted has come here.
  struct Sweep {
    Revision swept;   // passes up to here are complete
    Revision target;  // of the pass under way; swept: none is
    Place next;       // where it goes on
    bool under_way() const { return target != swept; }
  };
  static constexpr ByteView kSweepKey = "cp/sweep";  // where the base keeps it, in Space::kMeta
  // What one slice of it may look at.
  struct SweepBudget {
    std::size_t changes = kSweepChanges;
    std::size_t bytes = kSweepBytes;  // about: a change is read whole
  };
  struct SweepSlice {
    Sweep after;
    std::vector<Change> changes;  // of the base, `after` among them
  };

  // A row of Space::kNow; views into it.
  struct NowRow {
    VersionHead head;
    Tip tip;
  };

  explicit Mvcc(Table& table) : table_(table) {}

  const Facts& facts() const { return facts_; }
  const Sweep& sweep_state() const { return sweep_; }
  void set_facts(const Facts& facts) { facts_ = facts; }

  // ---- Writing: begin(), any of these, end(). All of it is one revision.
  void begin();
  PutResult put(const PutView& put);
  DeleteRangeResult erase(const DeleteRangeRequest& request);
  // The keys that hang on a lease, in their order.
  void erase_keys_of(std::int64_t lease);
  // The revision after it: one more if anything changed.
  Revision end();

  // Store revision as a reader inside the command sees it.
  Revision revision() const { return {facts_.revision.value + (changes_ > 0 ? 1 : 0)}; }

  // ---- Compaction (mvcc_compaction.cc)
  // Refused below what is compacted, or at it, and in the future. The revision stays.
  std::optional<Refusal> compact(std::int64_t revision);
  // Begins a pass up to there; none may be under way. The base must hold the compaction itself, or
  // a restart would read, from before it, what is not there any more.
  void begin_sweep(Revision target);
  // A slice of the pass `from` is in the middle of. Of the base alone: for Disk::amend.
  static Result<SweepSlice> sweep_slice(const BaseView& base, const Sweep& from,
                                        SweepBudget budget);
  // The base has taken a slice.
  void swept(const Sweep& after) { sweep_ = after; }
  // Takes the sweep from the table, as at start.
  void load_sweep();

  // ---- Reading
  // Is this revision one we can read at? 0 or less: now.
  std::optional<Refusal> check_revision(std::int64_t revision) const;
  // After check_revision(). Filters, then sort, then limit, as etcd.
  RangeResult range(const RangeRequest& request) const;
  // A range read in slices, all at one revision; between two of them anything may be written, and
  // compacted, but what `at` needs must not have been swept.
  struct RangeWalk {
    Revision at;
    std::string next;  // the key it goes on with
    bool done = false;
    bool more = false;        // the limit left some out
    std::int64_t count = 0;   // of keys in the range, so far
    std::int64_t listed = 0;  // what the limit counts
  };
  struct RangeBudget {
    std::size_t keys = kRangeSliceKeys;    // looked at, of those that are there and those gone
    std::size_t bytes = kRangeSliceBytes;  // about, of keys and values
  };
  // While a walk may be below what is compacted, the links that new versions do not take over are
  // kept aside, up to kCutLinksMax; beyond that such a walk would miss keys: lost_cut_links().
  static constexpr std::size_t kCutLinksMax = 65'536;
  void keep_cut_links(bool on);
  bool lost_cut_links() const { return cut_links_lost_; }
  // `request` wants no sort (core/key_range.h) and is no single key.
  RangeWalk begin_range(const RangeRequest& request) const;
  std::vector<KeyValue> range_slice(const RangeRequest& request, RangeWalk& walk,
                                    RangeBudget budget) const;
  std::optional<KeyValue> get(ByteView key) const;
  std::vector<std::string> keys_of(std::int64_t lease) const;
  enum class Values : bool { kLeftOut, kRead };
  // Every change of the revisions [from, upto], in order, until `visit` returns false.
  using ChangeVisitor = std::function<bool(Place, const ChangeView&)>;
  void changes(Revision from, Revision upto, const ChangeVisitor& visit) const;
  // What a change made of its key, and what the key was before: nullopt where it was not there, or
  // where that is being swept away.
  static KeyValue key_value_of(Place place, const ChangeView& change);
  std::optional<KeyValue> before(Place place, const ChangeView& change) const;
  // Facts::digest as it was at a revision that is not compacted. nullopt: it was written before
  // digests were kept.
  std::optional<std::uint64_t> digest_at(Revision revision) const;
  // Every live key in the bounds, ascending, until `visit` returns false.
  void each(const KeyBounds& bounds, Values values,
            const std::function<bool(const KeyValue&)>& visit) const;

 private:
  // A version found in a range: views, valid during the visit. `value` is there where finding the
  // version has read it; else it is read later, and only if it is asked for.
  struct Version {
    ByteView key;
    VersionHead head;
    Place place;
    std::optional<ByteView> value;
  };
  using VersionVisitor = std::function<bool(const Version&)>;

  void each_now(const KeyBounds& bounds, const VersionVisitor& visit) const;
  // Looks at no more than `keys_max` keys that are there now and as many that are gone. The key to
  // go on with; nullopt: there is none. A visitor that returns false has taken what it was shown.
  std::optional<std::string> each_at(const KeyBounds& bounds, Revision at, std::size_t keys_max,
                                     const VersionVisitor& visit) const;
  // Shows the version of one key at `at`, if it was there then. False: the visitor has had enough.
  bool show_at(ByteView key, const Tip& tip, Revision at, const VersionVisitor& visit) const;
  std::string change_bytes(Place place) const;
  // The same where it may have been swept away: nullopt.
  std::optional<std::string> change_bytes_if_kept(Place place) const;
  // The value of the change of `key` at a place.
  std::string value_at(ByteView key, Place place) const;
  KeyValue read(const Version& version) const;
  void erase_row(ByteView key, const NowRow& was);
  // Takes a live key from one lease to another; 0: none.
  void hang(ByteView key, std::int64_t from, std::int64_t to);
  // Appends a change of `key` to history and returns its new tip, encoded.
  std::string append(ByteView key, const Tip& tip, std::optional<VersionHead> head, ByteView value);

  void keep_cut_link(ByteView key, std::string tip);

  Table& table_;
  Facts facts_;
  Sweep sweep_;
  // Of this node alone: of keys that were put again after a delete that is compacted, the tips they
  // had, oldest first.
  bool keeps_cut_links_ = false, cut_links_lost_ = false;
  std::map<std::string, std::vector<std::string>, std::less<>> cut_links_;
  std::size_t cut_links_count_ = 0;
  std::uint64_t changes_ = 0;  // of the command being run
};

}  // namespace capstan::cp
