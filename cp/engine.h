// The consistent engine: Raft under etcd's MVCC semantics. It carries out Raft's Ready in order and
// answers clients; core/engine.h says how it is driven, cp/raft.h what it keeps safe.
//
//   submit ─► queue ─┬─ leader ───► one entry a turn ─► Raft ─► apply ─► answer
//                    └─ follower ─► Forward to the leader; answered here when it is applied here
//
// A write's id travels inside the entry. Its node answers when it applies it; if the leader of the
// term it was given to goes, and an entry of a later term is applied without it, it is certainly
// dead and is offered again under the same id. What stays undecided past its time is `unknown`.
//
// Read: a linearizable read joins the leader's next read round; at a follower it asks the leader
// for one and is served here once applied that far. A serializable read is served at once.
//
// Without a quorum: new requests are refused at once, reads under way too, writes under way are
// `unknown` within 1.5 s of the loss. During an election with a quorum in reach they wait up to 2E.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/engine.h"
#include "cp/alarm.h"
#include "cp/auth.h"
#include "cp/lease.h"
#include "cp/mvcc.h"
#include "cp/ports.h"
#include "cp/raft.h"

namespace capstan::cp {

class Engine final : public capstan::Engine {
 public:
  // `recovered.fresh` must be true exactly when the WAL is intact and empty of records and the base
  // holds nothing: then nothing was ever promised. config.node and config.incarnation must be this
  // disk's, or a wiped disk could not be told from the one that voted.
  Engine(EngineConfig config, Base& base, Disk& disk, Sender& sender, Recovered recovered);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void begin_turn(Now now) override;
  void receive(MemberId from, Message message);
  void tick() override;
  void submit(Request request, Answer answer) override;
  std::unique_ptr<WatchStream> watch(WatchOptions options) override;
  std::unique_ptr<BackupStream> backup(const Caller& caller, std::function<void()> ready) override;
  void peer_connected(MemberId peer) override;
  void peer_disconnected(MemberId peer) override;
  void end_turn() override;
  void describe(StatusResult& status) const override;
  bool ready() const override;
  // Why nothing goes on here although others are heard, as a sentence; nullopt: it does.
  std::optional<std::string> trouble() const;
  Micros disk_stall() const;  // for how long the disk has not answered; 0: nothing waits for it
  void stop(std::move_only_function<void()> done) override;

  // For oracles and tests. The digest covers every change of the state since revision 1, in order,
  // so two members that have applied the same index must have the same one.
  const Raft& raft() const;
  Index applied() const;
  Index checkpointed() const;
  Revision revision() const;
  std::uint64_t state_digest() const;
  const Mvcc& mvcc() const;
  const Leases& leases() const;
  const Alarms& alarms() const;
  const Auth& auth() const;
  std::size_t watches() const;  // open now
  bool is_witness() const;
  // Whom this node has to do with, itself included while it is a member, and those that were
  // removed; another version whenever that changes.
  std::uint64_t members_version() const;
  std::vector<Member> linked() const;
  // What a member says of itself; the leader writes it down.
  void describes_itself(MemberId member, std::string name, std::vector<std::string> client_urls);
  void on_apply(std::function<void(const Entry&)> observer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan::cp
