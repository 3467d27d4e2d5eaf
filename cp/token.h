// Tokens of those who logged in: signed, not stored. Any member that knows the key, which is part
// of the replicated state while auth is on, can tell whether one is good.
//
//   token   base64url of: format u8, since varint, issued (ms since 1970) varint, nonce u64, name,
//           16 bytes BLAKE2b of what stands before under the key and the cluster's id
//
// One lives kTokenTtl from its issue, and at a member that is shown it within that time for as long
// again since it was last shown there. Members whose clocks are further apart than that do not take
// each other's; a client logs in again then, as it does for any token that is too old.
//
// Cost   a token not seen here before: one BLAKE2b of about 100 bytes; else a look into a table
// Source etcd keeps its tokens in each member's memory, put there through the log; clients cannot
//        tell the two apart
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/time.h"
#include "core/types.h"
#include "cp/command.h"

namespace capstan::cp {

class Tokens {
 public:
  Tokens(ClusterId cluster, Micros ttl) : cluster_(cluster), ttl_(ttl) {}

  std::string issue(const std::string& key, const Principal& who, Now now,
                    std::uint64_t nonce) const;
  // Nullopt: it is not one of `key`, or too old. Whether the user is still the one it was is not
  // looked at.
  std::optional<Principal> check(const std::string& key, const std::string& token, Now now);

 private:
  struct Seen {
    Principal who;
    Micros at = 0;  // last, monotonic
  };
  std::string mac(const std::string& key, ByteView bytes) const;
  void forget_old(Micros now);

  const ClusterId cluster_;
  const Micros ttl_;
  std::string key_;  // of all in seen_
  std::unordered_map<std::string, Seen> seen_;
};

}  // namespace capstan::cp
