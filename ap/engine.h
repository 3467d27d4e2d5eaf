// The available path: every node takes every read and write at any time; copies meet later.
//
//     submit ─► replica: a dot, the table, a delta ─► disk ─► answer: ok | ok-local
//                                                  └► every peer, at once
//     receive ─► replica: gate, apply, conflict log ─► disk
//     tick ─► membership: beats, probes; pulls what is missing; collects what is stable
//
// Answers leave when the write is durable here: `ok` while every member is reachable, `ok-local`
// while one is not. Nothing is ever refused for want of peers. What etcd's API cannot mean here
// (--rev, compares) is refused with kNotInAp. Reads see this node's present state.
#pragma once

#include <memory>

#include "ap/message.h"
#include "ap/ports.h"
#include "core/base.h"
#include "core/disk.h"
#include "core/engine.h"

namespace capstan::ap {

class Engine final : public capstan::Engine {
 public:
  // `recovered` belongs to this start; the references must outlive the engine. The actor id is kept
  // only across a stop() that finished, otherwise config.incarnation makes a new one.
  Engine(EngineConfig config, Base& base, Disk& disk, Sender& sender, Recovered recovered);
  ~Engine() override;

  void begin_turn(Now now) override;
  void tick() override;
  void submit(Request request, Answer answer) override;
  std::unique_ptr<BackupStream> backup(const Caller&, std::function<void()>) override {
    return nullptr;
  }
  std::unique_ptr<WatchStream> watch(WatchOptions) override { return nullptr; }
  void receive(MemberId from, Message message);
  void peer_connected(MemberId peer) override;
  void peer_disconnected(MemberId peer) override;
  void end_turn() override;
  void describe(StatusResult& status) const override;
  bool ready() const override { return true; }
  void stop(std::move_only_function<void()> done) override;

  // For oracles in tests: what equal vectors must agree on. `whole` is false while a bucket is
  // ahead of the vector; then the pair says nothing.
  struct Fingerprint {
    VersionVector vector;
    Hash128 digest;
    std::uint64_t ahead_hash = 0;  // of the buckets that are ahead of it; 0: none
  };
  Fingerprint fingerprint() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan::ap
