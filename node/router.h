// The router: a request, its bounds and its keyspace rule. Pure functions; node/machine.h uses
// them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/keyspace.h"
#include "core/request.h"

namespace capstan::node {

// How large a request is for kRequestBytesMax: the bytes of its keys and values.
std::size_t request_bytes(const RequestBody& body);

struct Refusal {
  Reason reason;
  std::string detail;
};

// What is wrong with a request whatever the data say: sizes, empty keys, too many operations,
// nesting, fields that contradict each other. Etcd's checks, in etcd's order.
//   source  etcd 3.4 api/v3rpc/key.go
std::optional<Refusal> check_request(const RequestBody& body);

// The rule under which a request falls; null when its keys or ranges touch two modes, or two
// epochs. Requests without keys (status, members, ...) fall under the default rule.
const KeyspaceRule* route(const KeyspaceRules& rules, const RequestBody& body);

}  // namespace capstan::node
