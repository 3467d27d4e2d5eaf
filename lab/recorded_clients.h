// Clients that write down everything they do: one gRPC connection a node, operations begun whenever
// they are due (an open loop: a slow node does not slow the load down), each recorded with its
// times, outcome and what it saw. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "lab/convergence.h"
#include "lab/history.h"
#include "lab/plan.h"
#include "net/grpc_client.h"

namespace capstan::net {
class Loop;
}

namespace capstan::lab {

// The client waits longer than the server's own limit of 1.5 s, so that what is recorded is the
// server's answer and not our impatience.
inline constexpr Micros kClientPatience = 3 * kSecond;

class RecordedClients {
 public:
  // `ports` on the loopback, one a node. Times are recorded from `origin` of the loop's clock.
  RecordedClients(net::Loop& loop, std::vector<std::uint16_t> ports, Micros origin);

  void begin(const PlannedOperation& planned);

  // Called with each operation when its answer is recorded.
  std::function<void(const Operation&)> on_answer;

  std::size_t open() const { return open_; }
  // Nothing may be open.
  History take() { return std::move(history_); }
  // When the write of this value began; INT64_MIN if none did.
  Micros begun(const std::string& value) const;

  // Every key and value of a node. `stale`: its own state, whatever it may promise. nullptr: it did
  // not answer, or refused.
  void dump(std::uint32_t node, bool stale, std::function<void(std::unique_ptr<Dump>)> done);

 private:
  net::GrpcClient& connection(std::uint32_t node);
  void answered(std::size_t index, const net::GrpcReply& reply);
  std::uint32_t take_client(std::uint32_t node);

  net::Loop& loop_;
  std::vector<std::uint16_t> ports_;
  Micros origin_;
  std::vector<std::unique_ptr<net::GrpcClient>> connections_;
  History history_;
  std::size_t open_ = 0;
  // A client that does not know what became of its operation never acts again; others are reused.
  std::vector<std::vector<std::uint32_t>> idle_clients_;
  std::uint32_t clients_ = 0;
  std::unordered_map<std::string, Micros> begun_;
};

}  // namespace capstan::lab
