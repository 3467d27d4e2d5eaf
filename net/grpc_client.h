// An asynchronous client of the etcd v3 API on the store's own loop: for the load generator and the
// lab. It talks to Capstan and to etcd alike; what only Capstan says (outcome, write id) comes from
// its `capstan-*` metadata and is derived or empty elsewhere.
//
// One object is one HTTP/2 connection with any number of calls in flight. Calls of one turn of the
// loop leave in one write. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/request.h"
#include "core/time.h"
#include "core/types.h"

namespace capstan::net {

class Loop;
class TlsContext;

struct GrpcReply {
  // kFailed only where that is certain: the server said so, or the call never left. A write without
  // an answer, at its deadline or on a lost connection is kUnknown.
  Outcome outcome = Outcome::kUnknown;
  Reason reason = Reason::kNone;
  int grpc_status = 0;   // 0 OK ... 16; -1: the call ended without one (connection, deadline)
  std::string message;   // grpc-message, or what happened to the connection
  std::string detail;    // Capstan's sentence, when it sent one
  std::string write_id;  // "n1:3:17"; empty: none said
  std::uint64_t member_id = 0, cluster_id = 0;
  std::int64_t revision = 0;  // of the header
  std::uint64_t raft_term = 0;
  std::vector<KeyValue> kvs;  // range; prev_kv of a put
  std::int64_t count = 0;     // range: keys; delete: deleted
  bool more = false;
  int replicas_have = 0, replicas_all = 0;
};
using GrpcCallback = std::move_only_function<void(GrpcReply)>;

struct GrpcCallOptions {
  Micros deadline = 0;     // from now; 0: none. Also sent as grpc-timeout
  std::string request_id;  // capstan-request-id; empty: none
};

class GrpcClient {
 public:
  enum class State { kConnecting, kReady, kClosed };

  // Starts to connect at once. Calls made before it is ready wait for it; if it cannot connect they
  // fail with kUnreachable. `on_state` (may be null) hears of kReady and of kClosed with its
  // reason. A closed client stays closed: make a new one. `tls` (null: plaintext) should offer
  // "h2".
  static std::unique_ptr<GrpcClient> connect(
      Loop& loop, std::string host, std::uint16_t port,
      std::move_only_function<void(State, const std::string& why)> on_state = nullptr,
      std::shared_ptr<TlsContext> tls = nullptr);
  // Calls in flight are dropped without their callbacks. Not from inside a callback of its own: use
  // close() there.
  virtual ~GrpcClient() = default;

  virtual void put(const PutRequest& request, GrpcCallOptions options, GrpcCallback done) = 0;
  virtual void range(const RangeRequest& request, GrpcCallOptions options, GrpcCallback done) = 0;
  virtual void delete_range(const DeleteRangeRequest& request, GrpcCallOptions options,
                            GrpcCallback done) = 0;

  virtual State state() const = 0;
  virtual std::size_t in_flight() const = 0;

  // Ends the connection; calls in flight get kUnknown (writes that left) or kFailed.
  virtual void close() = 0;
};

}  // namespace capstan::net
