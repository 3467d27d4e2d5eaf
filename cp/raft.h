// Raft as a pure state machine.
//
//   peer   ─► step()      ┐                  ┌─► hard_state, entries   make durable, in this order
//   timer  ─► tick()      ├─► take_ready() ──┼─► send_now              may leave at once
//   client ─► propose()   │                  ├─► send_after_durable    only once the above is
//   disk   ─► persisted() ┘                  └─► committed             apply, in index order
//
// Two instances given the same calls in the same order return the same values; tests/sim replays a
// failing cluster from one seed on the strength of it.
//
// Standing. Raft's proof needs members that remember. A member whose disk was wiped, or whose log
// is rotten, may have voted or acknowledged what it no longer has; if it went on as before, a
// majority could elect a leader without a committed entry, or two leaders in one term. So:
//
//   fresh      nothing was ever written on this disk. Becomes normal once every other configured
//              member has said that it is fresh too, or that the cluster was formed with this very
//              disk (its life is in the other's roll). Hears of a cluster formed without it:
//              impaired.
//   normal     the Raft of the books.
//   impaired   follows and stores, but does not vote or campaign, and its acknowledgements count in
//              no quorum: commit, check-quorum, read round. Restored by a leader that has had a
//              read round confirmed by a quorum without it, begun after the leader heard of this
//              impairment in its term, and to whose commit index the member has caught up. Every
//              committed entry it may have acknowledged is then in its log again.
//
// Acknowledgements name the life they speak for, so that a late one of the lost disk is not
// believed. A vote given before the loss may still be under way. The quorum of that round has
// learned the new life of the member, durably; each vote carries its voter's roll; so a candidate
// that holds such an old vote also holds, in any majority, a roll that gives it away, and does not
// count it. (The idea is the crash vector of Michael et al., "Recovering Shared Objects Without
// Stable Storage", 2017.) A cluster of one or two cannot restore a member: nobody could vouch for
// it, so it waits for people.
//
// Witness (cp/config.h). It is sent entries without their commands. What the leader and the witness
// alone hold is committed, and if the leader dies then, nobody leads until it is back: the witness
// has no vote for a shorter log, and no data to give. So the leader keeps from it what the voters
// with data have not confirmed, as long as they are in step, or what its own disk has not. For one
// that is out of reach, or confirms nothing, it does not wait: then the witness is what makes a
// majority. Whoever was left behind must catch up before the next failure.
// (The idea is Pâris', "Voting with Witnesses", 1986; that the witness is idle until it is needed
// is Lamport and Massa's, "Cheap Paxos", 2004.)
//
// [Raft §n]  Ongaro & Ousterhout, USENIX ATC 2014, extended version
// [Diss §n]  Ongaro, PhD dissertation, Stanford 2014
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "core/result.h"
#include "cp/message.h"
#include "cp/progress.h"
#include "cp/quorum.h"
#include "cp/raft_log.h"

namespace capstan::cp {

enum class Role : std::uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };
std::string_view to_text(Role role);

// What a member must never forget.
struct HardState {
  Term term;
  MemberId vote;  // in this term; 0: none
  Standing standing = Standing::kFresh;
  Actor life;
  Roll roll;
  friend bool operator==(const HardState&, const HardState&) = default;
};

struct RaftOptions {
  MemberId self;
  Actor life;               // to announce if this start finds the member fresh or impaired
  int election_ticks = 25;  // E; each timeout is drawn from [E, 2E)
  int heartbeat_ticks = 5;
  std::size_t append_bytes_max = kEntryBytesMax;  // of one append; a larger entry goes alone
  std::size_t uncommitted_bytes_max = kUncommittedBytesMax;
  std::size_t log_window_bytes = kLogWindowBytes;  // kept behind the last checkpoint
};

// What the disk gave back, sorted out.
struct RaftState {
  HardState hard;
  EntryId base;                // before the first of `entries`
  std::vector<Entry> entries;  // durable
  Index applied;               // in the state machine's base; >= base.index
  Config config;               // as of `applied`
  bool impaired = false;       // a promise may be missing
};

// Something people may want to read.
struct Event {
  std::string name;  // stable: became_leader, stepped_down, restored, ...
  std::string text;
};

// What the caller owes the protocol, field by field in the order it is carried out.
struct Ready {
  // Names what must become durable; 0: nothing new must. Pass it to persisted().
  WriteNumber write = 0;

  // Term, vote and standing; empty when unchanged.
  std::optional<HardState> hard_state;

  // New log suffix, consecutive indexes. Whatever is on disk at or above entries.front() has been
  // superseded and is dropped first. [Raft §5.3]
  std::vector<Entry> entries;

  // Messages that promise nothing about our disk: a leader's appends and heartbeats, pre-votes,
  // acknowledgements of a read round. A leader may write its own disk while these are in flight.
  // [Diss §10.2.1]
  std::vector<Outgoing> send_now;

  // Messages that are promises: votes and requests for them, acknowledgements of entries. If one
  // left before every write handed out so far was durable, a crash could elect two leaders in one
  // term, or lose an entry that had already been counted as committed. [Raft §5.2, §5.3] (A request
  // for votes is one too: sent early, forgotten in a crash and answered late, it would elect a log
  // shorter than the one it described.)
  std::vector<Outgoing> send_after_durable;

  // Entries safe to apply: consecutive, each handed out once.
  std::vector<Entry> committed;

  // Confirmed rounds: reads that joined `round` or an earlier one may be served once applied >=
  // index.
  std::optional<std::pair<Round, Index>> reads;

  // Followers that need the state itself; the caller sends it and reports snapshot_sent or _failed.
  std::vector<MemberId> need_snapshot;

  std::vector<Event> events;
};

class Raft {
 public:
  Raft(RaftOptions options, RaftState state, Rng rng);

  // Feeds one message from a peer. It is well formed (the codec has checked) but may be late,
  // repeated or from an older term; such messages are answered or ignored, never an error. Of
  // Forward, Read and Snapshot messages only the term is looked at here; they are the engine's.
  void step(MemberId from, const Message& message);

  // Advances time by one tick (10 ms). A tick has no length in here.
  void tick();

  // Offers packed commands to the log. Accepted is not committed: wait for the index to come back
  // through Ready::committed under the current term.
  //
  //   returns   the index the entry holds if it commits
  //   errors    kInvalid   not the leader, or handing over the office [Diss §3.10]
  //             kTooLarge  uncommitted bytes would pass the bound; try again after the next commit
  //   cost      O(1); replication starts at the next take_ready()
  Result<Index> propose(SharedBytes commands);

  // Appends a configuration; it counts at once, and the end of a joint one follows by itself when
  // it is committed.
  //
  //   returns   the index the entry holds if it commits
  //   errors    kInvalid   may_change_config() is false
  Result<Index> propose_config(Config config);
  // Established, and every configuration in the log committed and simple: one change at a time, and
  // none before the leader knows what is committed. [Diss §4.1, and its correction of 2015]
  bool may_change_config() const;

  // Joins the next read round: the read may be served when Ready::reads names this round or a later
  // one. Leader only (asserted).
  Round join_read_round();

  // Every write up to `number`, and what was handed out with it, is on stable storage.
  void persisted(WriteNumber number);

  // All there is to do since the previous call; every field empty when there is nothing. Hands out
  // committed entries up to `apply_max` only.
  Ready take_ready(Index apply_max = {UINT64_MAX});

  // Evidence from the transport. Losing the leader's connection lets us ask for pre-votes within a
  // few ticks instead of an election timeout; it shortens the wait and changes no rule of voting.
  void peer_connected(MemberId peer);
  void peer_disconnected(MemberId peer);

  // Leader: hands the office to `to`, or to the most caught-up voter, refusing proposals meanwhile;
  // gives up after an election timeout. False: nobody who could take it is heard. [Diss §3.10]
  bool transfer_leadership(MemberId to = {});
  // Leader: has `to` (0: the voter heard that has most of the log) campaign at once, and leads on
  // until somebody wins. For a leader that gets nothing committed. Returns who was told; 0: nobody.
  MemberId tell_to_campaign(MemberId to = {});
  bool transferring() const { return bool(transferee_); }

  // Snapshots; raft_snapshot.cc. The state sent to `peer` ends at `last`.
  void snapshot_sent(MemberId peer, EntryId last);
  void snapshot_failed(MemberId peer);
  // Follower: is this one worth installing? False: we hold everything in it.
  bool wants_snapshot(EntryId last) const { return last.index > commit_; }
  // While true no append is taken and nothing is handed out to apply.
  void set_installing(bool installing) { installing_ = installing; }
  void snapshot_installed(EntryId last, Config config);

  // The state machine's durable part reaches `index`: the window may be cut behind it.
  void checkpointed(Index index);

  MemberId self() const { return options_.self; }
  Role role() const { return role_; }
  bool is_leader() const { return role_ == Role::kLeader; }
  Term term() const { return hard_.term; }
  MemberId leader() const { return leader_; }  // 0: none known
  Standing standing() const { return hard_.standing; }
  const HardState& hard_state() const { return hard_; }
  const RaftLog& log() const { return log_; }
  Index commit() const { return commit_; }
  Index handed_out() const { return handed_out_; }  // to apply
  const Config& config() const { return configs_.back().second; }
  // Of the newest configuration that has the member: one that leaves is what it was until the end.
  // Null: none has it.
  const Member* record(MemberId member) const;
  bool is_witness(MemberId member) const {
    const Member* known = record(member);
    return known != nullptr && known->witness;
  }
  // The configuration that belongs to the state at `index`, which is not below the last checkpoint:
  // a newer one may be undone yet.
  const Config& config_at(Index index) const;
  // Where the newest configuration came; 0: it was there at the start.
  Index config_index() const { return configs_.back().first; }
  std::size_t quorum() const { return quorum_of(config().voters.size()); }
  // A leader that has committed an entry of its own term.
  bool established() const { return is_leader() && commit_ >= term_first_; }
  Hello hello() const { return {hard_.standing, hard_.life, hard_.roll}; }
  const std::map<MemberId, Progress>& progress() const { return progress_; }
  // Another number whenever the newest configuration, or which of them is committed, changes.
  std::uint64_t config_version() const { return config_version_; }
  // Whom this member has to do with: everyone in a configuration that may still be the one that
  // counts, and the one before it until that is committed; a leader has to do with those that were
  // left out for a while longer, so that they hear of it. By id.
  std::vector<Member> linked() const;
  // Leader: heard within an election timeout, and in normal standing; ourselves always.
  bool hears(MemberId member) const;
  // False if `member` is known to live on another disk, or in a later life, than that.
  bool is_present_life(MemberId member, const Actor& life) const {
    const Actor* known = find_life(hard_.roll, member);
    return known == nullptr || *known == life;
  }
  bool connected(MemberId peer) const { return connected_.contains(peer); }
  // Ticks since the leader was last heard; for a leader, 0.
  std::uint64_t leader_silence_ticks() const { return is_leader() ? 0 : tick_ - leader_tick_; }

 private:
  // raft.cc
  void become_follower(Term term, MemberId leader, const std::string& why = {});
  void reset_for_role();
  void say(std::string name, std::string text);
  void send(MemberId to, Body body) { now_.push_back({to, {hard_.term, std::move(body)}}); }
  void send_durable(MemberId to, Body body) {
    durable_.push_back({to, {hard_.term, std::move(body)}});
  }
  bool counts() const { return hard_.standing == Standing::kNormal; }
  bool is_voter(MemberId member) const { return config().is_voter(member); }
  bool may_campaign() const;
  void dispatch(MemberId from, const Message& message);
  void step_lower_term(MemberId from, const Message& message);

  // raft_config.cc
  void append_config(const Config& config);
  void take_config(const Entry& entry);
  void drop_configs_from(Index index);
  void follow_config();
  void config_committed();
  void see_off();
  void advance_config();

  // raft_election.cc
  void campaign(bool pre, bool transfer);
  void become_leader();
  void on_vote_request(MemberId from, Term term, const VoteRequest& request);
  void on_vote_reply(MemberId from, Term term, const VoteReply& reply);
  void count_votes();
  bool vote_is_valid(MemberId voter) const;
  bool hears_leader() const;
  void draw_timeout();
  void campaign_soon(MemberId without);
  void campaign_if_nobody_won(Role before);
  void on_timeout_now(MemberId from);
  void check_quorum();

  // raft_replication.cc
  void heard_leader(MemberId from);
  void on_append(MemberId from, const Append& append);
  void accept(const Append& append);
  void on_append_reply(MemberId from, const AppendReply& reply);
  void on_heartbeat(MemberId from, const Heartbeat& heartbeat);
  void on_heartbeat_reply(MemberId from, const HeartbeatReply& reply);
  void advance_commit();
  void commit_to(Index index);
  void replicate(MemberId to, Progress& progress);
  void send_heartbeat(MemberId to, Progress& progress);
  void broadcast_heartbeat();
  void advance_transfer();
  Progress* heard_from(MemberId from, bool counts);

  // raft_witness.cc
  void follow_steps();
  Index witness_limit() const;

  // raft_read.cc
  void start_round();
  void confirm_round();
  bool round_acknowledged(Round round) const;

  // raft_standing.cc
  void on_hello(MemberId from, const Hello& hello);
  void learn(MemberId member, const Actor& life);
  void try_form();
  void tick_restoring();
  void confirm_restoring();
  void on_restored(MemberId from, const Restored& restored);
  void set_standing(Standing standing);

  RaftOptions options_;
  Rng rng_;

  // Durable. Invariants: the term never falls; one vote a term; handed_out <= commit <= last index.
  HardState hard_;
  RaftLog log_;
  std::vector<std::pair<Index, Config>> configs_;  // by the index that brought each; never empty
  std::uint64_t config_version_ = 0;
  Index commit_;
  Index handed_out_;
  Index checkpointed_;

  // Writes: numbered in order of hand-out.
  WriteNumber last_write_ = 0;
  WriteNumber durable_write_ = 0;
  bool hard_changed_ = false;
  std::deque<std::pair<WriteNumber, Roll>> written_rolls_;  // handed out, not durable yet
  Roll durable_roll_;

  Role role_ = Role::kFollower;
  MemberId leader_;
  std::uint64_t tick_ = 0;
  std::uint64_t leader_tick_ = 0;    // when the leader was last heard
  std::uint64_t timeout_tick_ = 0;   // when to campaign
  std::uint64_t evidence_tick_ = 0;  // when to campaign though no timeout has passed; 0: no reason
  bool evidence_lasts_ = false;      // ... and again, until a leader is heard
  bool leader_cut_ = false;          // our connection to leader_ is gone
  std::set<MemberId> connected_;

  // Follower
  Index verified_;                  // the log matches this term's leader up to here
  std::optional<AppendReply> ack_;  // at most one a turn
  bool installing_ = false;

  // Candidate
  struct Vote {
    bool granted;
    Actor life;
    Roll roll;
  };
  std::map<MemberId, Vote> votes_;
  WriteNumber own_vote_write_ = 0;  // our own vote counts once this is durable
  bool own_vote_counted_ = false;

  // Leader
  std::map<MemberId, Progress> progress_;
  struct Leaving {
    Member member;
    Index left;                   // the configuration without it
    std::uint64_t until_tick;     // then it is given up
    std::uint64_t told_tick = 0;  // it has that entry since; 0: not known yet
  };
  std::map<MemberId, Leaving> leaving_;  // still in progress_
  Index term_first_;                     // our empty entry
  // Where the log ended one to two election timeouts ago, and at most one ago.
  Index step_mark_, step_mark_next_;
  std::uint64_t step_mark_tick_ = 0;
  std::uint64_t heartbeat_tick_ = 0;
  std::size_t uncommitted_bytes_ = 0;
  MemberId transferee_;
  std::uint64_t transfer_tick_ = 0;
  bool timeout_now_sent_ = false;

  // Read rounds. joined_ is the round reads join now: round_ + 1 if any has, else round_.
  Round round_;  // the last one begun
  Round joined_;
  Round confirmed_;
  Index round_index_;  // commit when round_ began

  // Standing
  std::map<MemberId, Hello> hellos_;  // the last of each, of this process's life
  struct Restoring {
    MemberId member;
    Actor life;
    Round round;  // 0: not begun
    bool confirmed = false;
    Index commit;
    std::uint64_t told_tick = 0;
  };
  std::optional<Restoring> restoring_;
  std::map<MemberId, Actor> announced_;  // to this leader, in this term

  // Outputs under way
  std::vector<Outgoing> now_, durable_;
  std::vector<MemberId> need_snapshot_;
  std::optional<std::pair<Round, Index>> reads_;
  std::vector<Event> events_;
};

}  // namespace capstan::cp
