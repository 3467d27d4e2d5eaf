// The inside of cp::Engine; only engine*.cc include it.
//
// Three groups of work under way, each with one owner:
//   writes   by sequence, from submit() until applied here, refused, or past their time
//   reads    queued -> asked (a read round, or the leader) -> waiting for an index -> served
//   disk     writes in order, a checkpoint, a snapshot being sent or installed
#pragma once

#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/checkpoint_schedule.h"
#include "core/table.h"
#include "cp/auto_compaction.h"
#include "cp/command.h"
#include "cp/engine.h"
#include "cp/log_ages.h"
#include "cp/snapshot.h"
#include "cp/state_compare.h"
#include "cp/state_machine.h"
#include "cp/token.h"
#include "cp/watch.h"

namespace capstan::cp {

inline constexpr Micros kResendAfter = 200 * kMillisecond;
inline constexpr std::string_view kNotApplied = " Not applied; safe to retry.";

struct Engine::State {
  struct Write;
  struct Read;

  State(EngineConfig config, Base& base, Disk& disk, Sender& sender, const Recovered& recovered);

  // ---- engine.cc: turns
  void receive(MemberId from, Message message);
  void tick();
  void end_turn();
  void carry_out(Ready ready);
  void say_hello();
  void watch_time();
  void describe(StatusResult& status) const;
  void describe_states(StatusResult& status) const;
  void compare_states();
  bool ready() const;
  void finish_stop();

  // ---- engine_client.cc: requests and answers
  void submit(Request request, Answer answer);
  bool answered_at_once(const Request& request, Answer& answer);
  void submit_write(Request request, Answer answer);
  void submit_read(Request request, Answer answer);
  void give_work();
  void give_writes_as_leader();
  void give_reads();
  void apply(const Entry& entry);
  void answer_write(const Applied& applied, Index index);
  void offer_dead_writes_again(Term applied_term);
  void serve_reads();
  std::optional<Refusal> serve(const Read& read, Reply& out);
  void requeue_reads();
  void expire();
  void expire_writes();
  void expire_reads();

  // ---- engine_forward.cc
  void forward_writes();
  void resend_forwards(bool all);
  void on_forward(MemberId from, Term term, const Forward& forward);
  void on_forward_refused(const ForwardRefused& refused);
  void on_read_request(MemberId from, Term term, const ReadRequest& request);
  void on_read_reply(const ReadReply& reply);

  // ---- engine_compaction.cc
  void hold_physical(Write write, Reply reply);
  void sweep();
  void compact_by_rule();
  void begin_sweep();
  void answer_physical(bool at_the_end = false);

  // ---- engine_lease.cc
  bool leads_leases() const;
  void count_lease_time();
  void lease_time_applied();
  std::optional<std::string> lease_time_command();
  void propose_expiries();
  bool over_by_own_clock(ByteView command) const;
  void read_lease(const LeaseTimeToLiveRequest& request, LeaseTimeToLiveResult& out) const;

  // ---- engine_auth.cc
  // Nullopt: it did not say, or nobody need.
  using Who = std::expected<std::optional<Principal>, Refusal>;
  Who principal_of(const Caller& caller);
  std::optional<Refusal> denied(const Who& who, const RequestBody& body) const;
  std::optional<Refusal> authenticate(const AuthenticateRequest& request, AuthenticateResult& out);
  std::unique_ptr<WatchStream> open_watches(WatchOptions options);
  void look_after_auth();

  // ---- engine_alarm.cc
  std::uint64_t space_taken() const;
  void watch_quota();
  std::string alarm_text(const MemberAlarm& alarm) const;
  std::string alarms_text(AlarmType type) const;

  // ---- engine_members.cc
  struct MemberChange {
    MemberChangeRequest request;
    std::optional<Principal> who;
    WriteId asked;
    MemberId from;             // 0: a client of ours asked
    std::uint64_t number = 0;  // of the Forward it came in
  };
  void take_change(const Command& command, MemberId from, std::uint64_t number);
  void refuse_change(const MemberChange& change, const Refusal& why);
  void advance_changes();
  std::optional<Refusal> begin_change(const MemberChange& change);
  void propose_config(Config next);
  bool in_step(MemberId member) const;
  bool enough_heard(const Config& next) const;
  void look_after_members();
  void describes_itself(MemberId member, std::string name, std::vector<std::string> client_urls);
  void apply_config(const Config& applied_config);
  std::vector<PeerStatus> member_list(const Config& of) const;
  std::vector<Member> linked() const;
  void follow_members();
  std::string removed_text() const;
  bool is_witness() const;
  void learn_to_be_witness();
  Refusal witness_refusal() const;

  // ---- engine_backup.cc
  class Backup;
  std::unique_ptr<BackupStream> open_backup(const Caller& caller, std::function<void()> ready);
  void look_after_backup();

  // ---- engine_range.cc
  class LongRange;
  std::optional<Refusal> read_range(const Read& read, Reply& out);
  bool may_read_slice(LongRange& range);
  void wake_range();
  bool ranges_need(Revision target);

  // ---- engine_grey.cc
  void watch_grey();
  Micros commit_stall() const;  // leader: of the oldest entry that is not committed
  Micros disk_stall() const;    // since the disk answered last, while it should
  Micros write_stall() const;
  void watch_writes();
  std::string heard_lately() const;
  std::optional<std::string> own_trouble() const;
  std::vector<std::string> peer_troubles() const;
  void hand_over_if_stuck();
  void hand_over_to(MemberId member);
  void connected_while_stuck(MemberId peer);

  // ---- engine_transfer.cc
  void move_leader(const MoveLeaderRequest& request, Answer answer);
  void look_after_move();

  // ---- engine_storage.cc: disk, checkpoints, snapshots
  void write_out(Ready& ready);
  void append(std::vector<Record> records, std::optional<WriteNumber> write, Index last);
  void send_after_writes(std::vector<Outgoing> messages);
  Index apply_limit() const;
  void maybe_checkpoint();
  void release_log(Index upto);
  void checkpoint_done(StateMachine::Position position, Revision compacted);
  void begin_snapshots();
  void pump_snapshot();
  void end_snapshot(bool sent);
  void on_snapshot_chunk(MemberId from, Term term, SnapshotChunk chunk);
  void on_snapshot_reply(MemberId from, Term term, const SnapshotReply& reply);
  void piece_staged(std::uint64_t number);
  void maybe_install();
  void installed();

  // ---- Small questions
  Micros election_timeout() const { return config.election_timeout; }
  bool reaches(MemberId member) const;  // heard within E; ourselves always
  std::size_t in_reach() const;         // voters
  bool hears_leader() const;
  bool quorum_in_reach() const;
  std::string unheard(std::string_view between) const;
  std::string no_quorum_text() const;
  std::string state_alarm(MemberId member) const;  // empty: none
  std::string no_leader_text() const;
  bool election_is_stuck() const;       // waiting for it makes no sense any more
  Reason no_quorum_reason() const;      // a cluster not formed yet is not one that lost its quorum
  std::string_view old_values() const;  // where to read meanwhile; empty: nowhere
  const std::string& name_of(MemberId member) const;
  WriteId write_id(std::uint64_t sequence) const { return {actor, {sequence}}; }
  Reply reply() const;
  Reply refusal(Reason reason, std::string detail) const;
  Reply unknown(const WriteId& id, Reason reason, Micros waited) const;
  // Runs a completion only while this engine lives.
  template <class F>
  auto alive(F function) {
    return
        [guard = std::weak_ptr<char>(life), function = std::move(function)](auto... args) mutable {
          if (guard.lock()) function(args...);
        };
  }

  // What a client waits for, from submit() on.
  struct Write {
    std::string command;
    Answer answer;
    Micros since = 0;
    Micros deadline = 0;
    Term given;              // to the log or to the leader of this term; 0: queued
    Revision physical;       // a compaction up to there that is answered when it is on disk
    Micros physical_by = 0;  // 0: however long it takes
    std::optional<MemberChangeRequest> change;
    bool begun = false;  // a change: its joint configuration is in force, so it will end
  };
  struct Read {
    RequestBody body;  // a range, a read-only transaction, a question about leases, users, ...
    Caller caller;
    Answer answer;
    std::function<void()> more_ready;  // Request's
    Micros since = 0;
    Micros deadline = 0;
  };
  // A batch of reads asked for in one round, or of the leader under one number.
  struct Asked {
    std::vector<Read> reads;
    Micros at = 0;
  };
  struct Given {
    std::vector<std::uint64_t> sequences;
    Term term;
    Micros sent = 0;
  };

  const EngineConfig config;
  const Actor actor;
  Base& base;
  Disk& disk;
  Sender& sender;
  Table table;
  StateMachine machine;
  std::shared_ptr<char> life = std::make_shared<char>();
  std::optional<Raft> raft;
  Rng rng;

  Now now;
  std::uint64_t ticks = 0;
  std::map<MemberId, Micros> heard_at;
  std::set<MemberId> connected;

  // Members. What follows from the configurations is taken from Raft when they change.
  std::uint64_t members_version = UINT64_MAX;
  std::vector<MemberId> others;                  // whom we have to do with
  std::set<MemberId> witnesses;                  // of them, ourselves included
  std::map<MemberId, std::string> names;         // of everyone there ever was
  std::map<MemberId, Member> self_descriptions;  // each member's own word
  std::deque<MemberChange> changes;              // leader: not begun yet
  bool removed = false;                          // this very member, for good
  bool refuses_as_witness = false;               // it has learned that it is one
  Micros leader_heard_at = -1;
  Micros leaderless_since = -1;    // with a quorum in reach; -1: not so
  std::size_t reached_before = 0;  // at the last tick
  Micros lost_since = -1;          // no quorum in reach since; -1: there is one
  Micros started_at = -1;
  MemberId known_leader;  // to notice a change
  Term known_term;

  // Writes. queue holds the sequences not given yet, in order.
  std::uint64_t last_sequence = 0;
  std::map<std::uint64_t, Write> writes;
  std::deque<std::uint64_t> queue;
  std::uint64_t last_forward = 0;
  std::map<std::uint64_t, Given> forwards;  // not resolved yet
  // Leader: what followers forwarded, and the numbers taken in this term: by disk, not by member,
  // because a packet of a disk that has since been replaced may still arrive, and arrive twice.
  struct Taken {
    Incarnation incarnation = 0;
    std::set<std::uint64_t> numbers;
  };
  std::map<NodeId, Taken> taken;
  std::deque<std::string> forwarded;
  Term taken_term;

  // Reads.
  std::deque<Read> read_queue;
  std::map<Round, Asked> round_reads;  // leader
  std::map<Round, std::vector<std::pair<MemberId, ReadRequest>>> round_requests;
  std::uint64_t last_read = 0;
  std::map<std::uint64_t, Asked> asked_reads;  // follower
  std::multimap<Index, Read> indexed_reads;

  // Application. Invariant: applied <= raft commit.
  EntryId applied;
  std::function<void(const Entry&)> observer;

  // Disk.
  WriteNumber last_write = 0;
  WriteNumber durable_write = 0;
  std::deque<std::pair<WriteNumber, std::vector<Outgoing>>> after;  // messages behind a write
  std::deque<std::pair<Index, std::uint64_t>> positions;  // last index of a group, its position
  EntryId checkpointed;
  Revision checkpointed_compacted;  // what the base knows to be compacted
  CheckpointSchedule checkpoints{config};
  bool checkpoint_due = false;  // asked for, waiting until our own log has caught up
  bool force_checkpoint = false;

  // Snapshots.
  std::set<MemberId> snapshot_wanted;
  std::unique_ptr<SnapshotSender> snapshot;
  Micros snapshot_news = 0;
  Micros snapshot_resent = 0;
  SnapshotReceiver receiver;
  Term receiver_term;
  bool installing = false;

  Backup* backup = nullptr;  // the one there is; its client's

  // Long ranges; their clients'.
  std::vector<LongRange*> ranges;
  std::vector<LongRange*> ranges_waiting;  // for a slice, longest first
  LongRange* range_woken = nullptr;        // has not come for its slice yet
  bool slice_read_in_turn = false;
  std::uint64_t slices_read = 0;

  // Grey failures.
  LogAges ages;                  // leader
  Micros disk_waits_since = -1;  // -1: everything was answered
  WriteNumber disk_answered = 0;
  Micros writes_wait_since = -1;  // since then nothing of ours has come back; -1: nothing waits
  Micros writes_open_at = 0;      // last
  Micros trouble_said_at = -1;
  struct HandOver {
    Micros next = 0;    // try
    Micros until = -1;  // of a series of tries; -1: none is on
    Micros quiet = 0;   // after the next series
    MemberId to;        // of this series
  } hand_over;

  StateCompare compare;
  std::set<MemberId> state_alarms;  // said already

  // Watches. Behind `machine`, of which they read.
  Watches watches{machine.mvcc(), config.watches, [this] { return reply().header; }};

  // Compaction.
  AutoCompaction auto_compaction{config.auto_compaction};
  Micros sweep_wanted_at = -1;
  bool sweeping = false;  // a slice is with the disk
  Micros sweep_rests_until = 0;
  struct Physical {
    Answer answer;
    Reply reply;
    Micros since = 0, by = 0;
  };
  std::multimap<Revision, Physical> physical;  // applied; by what must be swept

  // Leases. What passed since the last time in the log is counted here; whoever leads tells it.
  Micros lease_time = 0;
  Micros lease_counted_at = 0;
  Term lease_term;             // in which we tell it
  Micros lease_time_told = 0;  // in that term, to the log
  bool lease_time_wanted = false;
  std::set<std::uint64_t> expiring;  // generations whose end was proposed in that term

  Tokens tokens{config.cluster, config.token_ttl};
  std::uint64_t auth_revision = 0;  // whose watches are there

  Micros quota_looked_at = 0;

  struct Move {
    MemberId target;
    Answer answer;
    Micros since = 0;
  };
  std::optional<Move> moving;

  // Stop.
  bool stopping = false;
  Micros stop_deadline = 0;
  std::move_only_function<void()> stopped;
};

}  // namespace capstan::cp
