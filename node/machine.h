// A node without threads and sockets: the router and the engine of its mode over three seams.
//
//   node/node.h (libuv)  ─┐                    ┌─► Base    what checkpoints wrote
//                         ├─► Machine ─► Engine┼─► Disk    WAL, checkpoints, installs
//   tests/sim (one seed) ─┘    router          └─► PeerSender
//
// The server and the simulator drive exactly this class, so what the simulator has proved is what
// runs. Like the engines it is driven in turns, see core/engine.h:
//
//   begin_turn(now)  ->  receive()*  submit()*  disk completions*  tick()?  ->  end_turn()
//
// The router is where a request meets its keyspace rule: a malformed request, one past a bound, one
// for another epoch or one whose keys live in two modes is refused here, so that an engine only
// ever sees requests it may carry out.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ap/message.h"
#include "core/base.h"
#include "core/disk.h"
#include "core/engine.h"
#include "core/keyspace.h"
#include "core/request.h"
#include "cp/message.h"

namespace capstan::cp {
class Engine;
}
namespace capstan::ap {
class Engine;
}

namespace capstan::node {

using PeerMessage = std::variant<cp::Message, ap::Message>;

// Where a turn's messages to other members go. Sending never fails from the machine's view: what
// cannot be delivered is lost, as it would be on a wire.
class PeerSender {
 public:
  virtual ~PeerSender() = default;
  virtual void send(MemberId to, PeerMessage message) = 0;
};

struct MachineConfig {
  Mode mode = Mode::kCp;
  EngineConfig engine;
  std::vector<MemberId> order;  // in which people listed the members of the start
};

class Machine {
 public:
  // `base`, `disk` and `sender` outlive the machine.
  Machine(MachineConfig config, Base& base, Disk& disk, PeerSender& sender, Recovered recovered);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void begin_turn(Now now);
  void tick();
  // A message of the other mode is dropped: the sender is misconfigured and the transport says so.
  void receive(MemberId from, PeerMessage message);
  void peer_connected(MemberId peer);
  void peer_disconnected(MemberId peer);
  void end_turn();

  // Any request. `answer` is called exactly once, now or in a later turn; not after ~Machine().
  //
  //   errors  kKeyMissing, kTooLarge, kTooManyOps, kInvalid   the request itself
  //           kWrongEpoch      the client believes in another epoch of the rule
  //           kNotSupported    a transaction whose keys live in two modes
  //           kOverloaded      kPendingRequestsMax are waiting
  //           kShuttingDown    after stop()
  //           and all of the engine's
  void submit(Request request, Answer answer);

  // Opens a stream of watches; nullptr in AP, which has none. It must not outlive the machine's
  // turns by more than its destructor.
  std::unique_ptr<WatchStream> watch(WatchOptions options);

  // Begins a backup; nullptr in AP.
  std::unique_ptr<BackupStream> backup(const Caller& caller, std::function<void()> ready) {
    return engine_->backup(caller, std::move(ready));
  }

  // Learned later: what a member announced of itself.
  void describes_itself(MemberId member, std::string name, std::vector<std::string> client_urls);

  // Everyone who belongs to the cluster now.
  std::vector<Member> members() const;
  StatusResult describe() const;
  bool ready() const;
  std::size_t pending() const { return pending_; }
  Mode mode() const { return config_.mode; }
  const MachineConfig& config() const { return config_; }

  // Orderly stop, see Engine::stop().
  void stop(std::move_only_function<void()> done);

  // The engine of this mode, for the simulator's oracles; null for the other.
  cp::Engine* cp_engine() { return cp_.get(); }
  ap::Engine* ap_engine() { return ap_.get(); }

 private:
  struct CpSender;
  struct ApSender;

  Reply stamped(Reply reply) const;

  MachineConfig config_;
  KeyspaceRules rules_;
  std::unique_ptr<CpSender> cp_sender_;
  std::unique_ptr<ApSender> ap_sender_;
  std::unique_ptr<cp::Engine> cp_;
  std::unique_ptr<ap::Engine> ap_;
  Engine* engine_ = nullptr;  // the one of the two that exists
  std::size_t pending_ = 0;   // submitted to the engine, not yet answered
  bool stopping_ = false;
};

}  // namespace capstan::node
