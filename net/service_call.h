// etcd's services of locks and elections, v3lock and v3election, without a word of a protocol. They
// are made of what the node answers anyway: transactions, ranges, leases and watches.
//
//   a claim        the key NAME/LEASE, the lease in hex, put under that lease
//   who is first   the claim with the lowest create revision holds the lock, or leads
//
// Whoever is not first waits for the one just ahead to be gone, then looks again: a key that goes
// wakes one waiter. A wait is a watch of the node and about a hundred bytes beside its name.
//
// Source  etcd 3.4: server/etcdserver/api/v3lock and v3election over clientv3/concurrency
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "core/request.h"
#include "net/asker.h"
#include "net/reasons.h"

namespace capstan::net {

// Who leads an election, as its client was told when it won.
struct LeaderKey {
  std::string name;
  std::string key;
  std::int64_t revision = 0;  // the key's create revision
  std::int64_t lease = 0;
};

// A lease of 0 is granted by the node, for kSessionTtl; nobody but the client can keep it alive.
struct LockRequest {
  std::string name;
  std::int64_t lease = 0;
};
struct UnlockRequest {
  std::string key;
};
struct CampaignRequest {
  std::string name;
  std::int64_t lease = 0;
  std::string value;
};
struct ProclaimRequest {
  std::optional<LeaderKey> leader;
  std::string value;
};
struct ResignRequest {
  std::optional<LeaderKey> leader;
};
struct LeaderRequest {
  std::string name;
};
// The leader of now, and each later word of it and its successors.
struct ObserveRequest {
  std::string name;
};
using ServiceRequest = std::variant<LockRequest, UnlockRequest, CampaignRequest, ProclaimRequest,
                                    ResignRequest, LeaderRequest, ObserveRequest>;

inline constexpr std::int64_t kSessionTtl = 60;  // seconds

// What is not part of the request's answer is empty.
struct ServiceReply {
  ReplyHeader header;
  LeaderKey claim = {};  // of a lock its key alone is told
  KeyValue kv = {};      // of the leader
};
using ServiceMessage = std::expected<ServiceReply, CallEnd>;

// One call. When it goes before its end its client has gone: a claim that waited is given up.
class ServiceCall {
 public:
  virtual ~ServiceCall() = default;
  // What there is to say: one reply, of ObserveRequest any number, or how it ended without.
  // Nullopt: nothing now; `ready` will be called when that may have changed.
  virtual std::optional<ServiceMessage> next() = 0;
};

// `ready` takes a note only; it may be called when the call is gone.
std::unique_ptr<ServiceCall> open_service(Asker asker, ServiceRequest request,
                                          std::function<void()> ready);

}  // namespace capstan::net
