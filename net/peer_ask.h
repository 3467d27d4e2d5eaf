// Asks the nodes of a cluster, at their peer addresses, who belongs to it: the first thing a node
// does that is to join one (net/peer_hello.h, Hello::asks). One answer is enough.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "net/peer_hello.h"
#include "net/peer_transport.h"

namespace capstan::net {

class Loop;

struct WhoIsThere {
  ClusterId cluster;
  std::vector<KnownMember> members;
};

class PeerAsk {
 public:
  using Done = std::move_only_function<void(std::expected<WhoIsThere, std::string>)>;

  // Asks all of `at`, again every half second, until one answers or `patience` is over. Then
  // `done`, once, within a turn: what was said, or why nothing was as a sentence. `options` says
  // who asks: mode and token.
  PeerAsk(Loop& loop, const PeerOptions& options, std::string name, std::vector<ListenAddress> at,
          Micros patience, Done done);
  ~PeerAsk();
  PeerAsk(const PeerAsk&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan::net
