// The inside of node/node.h: who is wired to whom. For node/node*.cc only.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "core/data_dir.h"
#include "core/metrics.h"
#include "net/disk_thread.h"
#include "net/door.h"
#include "net/handler.h"
#include "net/peer_transport.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"
#include "node/machine.h"
#include "node/node.h"
#include "node/passwords.h"

namespace capstan::node {

// What was asked and how it ended, for /metrics: counts by outcome and reason, time by operation.
class RequestFigures {
 public:
  enum Op : std::uint8_t { kGet, kPut, kDelete, kTxn, kCompact, kLease, kOther, kOps };
  static Op op_of(const RequestBody& body);
  static std::string_view to_text(Op op);

  void record(Op op, Outcome outcome, Reason reason, Micros duration);
  void write(MetricsText& out) const;
  std::uint64_t unknown() const { return unknown_; }

  // As etcd counts them: what would go into the log.
  struct Proposals {
    std::uint64_t pending = 0;
    std::uint64_t failed = 0;  // of these it is not known, or known not, that they were applied
    std::uint64_t leases_granted = 0;
  };
  Proposals proposals;

 private:
  struct Key {
    Op op;
    Outcome outcome;
    Reason reason;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  std::map<Key, std::uint64_t> counts_;
  std::array<Histogram, kOps> micros_;
  std::uint64_t unknown_ = 0;
};

struct Node::Parts final : net::TurnUser, net::Handler, net::PeerEvents, PeerSender {
  Parts(net::Loop& on, ServeConfig with)
      : loop(on), config(std::move(with)), ticks(on), passwords(on) {}
  ~Parts() override;

  // Start, step by step; each needs the ones before.
  Status open_data();
  void make_machine();
  Status open_ports();

  // net::TurnUser
  void begin_turn(Now now) override;
  void end_turn() override;

  // net::Handler
  void handle(Request request, Answer answer) override;
  std::unique_ptr<WatchStream> watch(WatchOptions options) override {
    return machine->watch(std::move(options));
  }
  std::unique_ptr<BackupStream> backup(const Caller& caller, std::function<void()> ready) override {
    return machine->backup(caller, std::move(ready));
  }
  net::Health health() override;
  std::string metrics_text() override;
  void lab(net::LabCommand command, net::LabAnswer answer) override;
  std::string_view name_of(NodeId node) const override;

  // net::PeerEvents
  void on_connected(MemberId peer, NodeId node) override;
  void on_disconnected(MemberId peer, const std::string& why) override;
  void on_frame(MemberId from, net::FrameKind kind, ByteView payload) override;

  // PeerSender
  void send(MemberId to, PeerMessage message) override;

  // Finds the id of the write that is asked about; refuses what nobody can mean.
  bool names_a_write(Request& request, Answer& answer) const;
  // Those whose password must be hashed first are taken, and asked when that is done.
  bool hashes_first(Request& request, Answer& answer);
  Answer if_password_is_right(std::string password, Answer answer);
  void ask(Request request, Answer answer);

  // What the links know and the engine does not: round trips, mismatches, cuts in force.
  void add_links(StatusResult& status) const;
  void add_links(std::vector<PeerStatus>& peers) const;
  std::vector<net::LabFault> faults_now() const;
  std::optional<Member> member(std::string_view name) const;
  std::optional<Member> member(MemberId id) const;
  bool formed() const;
  Status check_list() const;
  void follow_members();
  void watch_quorum();
  void watch_leader();
  void watch_space();

  net::Loop& loop;
  ServeConfig config;
  DataDir data;
  std::unique_ptr<net::DiskThread> disk;
  std::unique_ptr<Machine> machine;
  std::unique_ptr<net::PeerTransport> peers;
  std::unique_ptr<net::Door> door;
  net::Timer ticks;
  Passwords passwords;
  bool turning = false;    // added to the loop's turn users
  bool turn_over = false;  // the machine's part of this turn; what comes now is for the next

  std::map<NodeId, std::string> names;  // disks seen behind names
  RequestFigures figures;
  std::uint64_t bad_messages = 0;  // peer payloads that did not decode
  Now started;
  bool had_space = true;
  bool links_formed = false;
  std::uint64_t members_version = UINT64_MAX;
  bool was_ready = false;  // at least once since the start
  MemberId leader_seen;
  std::uint64_t leader_changes = 0;
  Micros not_ready_since = -1;  // Now::monotonic; -1: ready
  Micros reminded_at = 0;
  std::uint64_t refused_while_not_ready = 0;
  Micros not_ready_total = 0;

  // The disk thread's bell: many rings, one task. Outlives the node, since a task may be on its
  // way.
  struct Bell {
    std::atomic<bool> rung{false};
    Parts* owner = nullptr;  // loop thread only; null once the node is gone
  };
  std::shared_ptr<Bell> bell = std::make_shared<Bell>();
};

}  // namespace capstan::node
