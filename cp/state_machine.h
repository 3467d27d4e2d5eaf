// The replicated state: committed commands applied in order to core/table.h.
//
// What it knows of itself (position in the log, revision, digest, configuration, window of request
// ids) lies in one row of Space::kMeta, written into the table just before it is frozen: so a
// checkpoint holds the data and the position they belong to in one transaction, or neither.
//
// Request ids: a client's retry under the id of an applied write changes nothing and is answered
// with what was done then (revision, counts, branch; not the previous values). The window holds the
// last kRequestWindow ids. Whoever asks what became of one that is not there settles it: it is
// refused from then on.
#pragma once

#include <optional>

#include "cp/alarm.h"
#include "cp/auth.h"
#include "cp/lease.h"
#include "cp/message.h"
#include "cp/mvcc.h"
#include "cp/outcomes.h"

namespace capstan::cp {

inline constexpr std::uint64_t kRequestWindow = 65'536;

// What one command did.
struct Applied {
  WriteId id;                      // of the command
  WriteId first;                   // the id it was first applied under, if a request was repeated
  std::optional<Refusal> refusal;  // nothing was changed
  Revision revision;               // of the store after it
  ReplyBody body;
};

class StateMachine {
 public:
  explicit StateMachine(Table& table)
      : table_(table),
        mvcc_(table),
        leases_(table),
        alarms_(table),
        auth_(table),
        outcomes_(table) {
    load();
  }

  // Where the table stands; what is read at start and after a snapshot was installed.
  struct Position {
    EntryId applied;
    Config config;           // empty: nothing was ever saved
    Revision revision = {};  // read only: save() writes what the store is at
  };
  Position load();
  static Position parse(ByteView row);
  static constexpr ByteView kStateKey = "cp/state";
  // Puts the position into the table; the next freeze() carries it.
  void save(const Position& position);

  // The row of a state that ends there and holds nothing: that of a witness.
  static Change nothing_at(const Position& position);

  // Bytes that are no command change nothing, on every member alike.
  // `term` is that of its entry.
  Applied apply(ByteView command, Term term);

  // A configuration: the alarms of those that were removed go with them.
  void apply(const Config& config);
  // Of a cluster that is no more.
  void clear(const MemberAlarm& alarm);

  // Reads of the present state. A txn must be read-only.
  std::optional<Refusal> read(const RangeRequest& request, RangeResult& out) const;
  std::optional<Refusal> read(const TxnRequest& request, TxnResult& out);

  // What is compacted is removed by whoever drives this, a slice at a time (Mvcc::sweep_slice).
  void begin_sweep(Revision target) { mvcc_.begin_sweep(target); }
  void swept(const Mvcc::Sweep& after) { mvcc_.swept(after); }

  void keep_cut_links(bool on) { mvcc_.keep_cut_links(on); }

  // Refused at what is compacted, too, as etcd does.
  std::optional<Refusal> read(const HashRequest& request, HashResult& out) const;

  // What is known of it already; Fate::kOpen: not applied so far.
  OutcomeResult outcome(const OutcomeRequest& request) const;

  Revision revision() const { return mvcc_.facts().revision; }
  // One number of all that members must agree on: every change since revision 1, in order, what is
  // compacted, everything done to leases and to users and roles, and
  // the alarms; and of which writes that was.
  std::uint64_t fingerprint() const;
  const Mvcc::Facts& facts() const { return mvcc_.facts(); }
  const Mvcc& mvcc() const { return mvcc_; }
  const Leases& leases() const { return leases_; }
  const Alarms& alarms() const { return alarms_; }
  const Auth& auth() const { return auth_; }

 private:
  void apply_body(const Command& command, Term term, Applied& out);
  OutcomeResult decide(const Command& command, const OutcomeRequest& request);
  std::optional<Refusal> apply_lease(const Command& command, Term term, ReplyBody& out);
  void end_lease(std::int64_t id);
  std::optional<Applied> recall(const Command& command) const;
  void remember(const Command& command, const Applied& applied);
  void remember(ByteView request_id, std::string row);

  Table& table_;
  Mvcc mvcc_;
  Leases leases_;
  Alarms alarms_;
  Auth auth_;
  Outcomes outcomes_;
  std::uint64_t requests_first_ = 0;  // numbers [first, next) are in the window
  std::uint64_t requests_next_ = 0;
};

}  // namespace capstan::cp
