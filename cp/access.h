// What each request needs of whoever asks, in etcd's terms: a range must be readable, a put's key
// writable, and so on. Reads are checked where they are served, writes where they are applied.
//
//   a put with a lease    all keys of the lease must be writable: it may outlive them
//   revoking a lease      likewise
//   previous values       must be readable
//   a transaction         all it compares, and both branches
//   only root             users and roles (own ones may be looked at), members, alarms, hashes
//   nobody need be known  who leads, alarms as they are, whether auth is on, logging in
//   anybody known         the rest: leases, compaction
//
// Source etcd 3.4, server/etcdserver/apply_auth.go; there nobody need be known for
//        leases, compaction and alarms, and nested transactions are not looked into
#pragma once

#include <optional>

#include "cp/auth.h"
#include "cp/command.h"
#include "cp/mvcc.h"

namespace capstan::cp {

std::optional<Refusal> access_refusal(const Auth& auth, const Mvcc& mvcc, const Command& command);
std::optional<Refusal> access_refusal(const Auth& auth, const Mvcc& mvcc,
                                      const std::optional<Principal>& who, const RequestBody& body);

}  // namespace capstan::cp
