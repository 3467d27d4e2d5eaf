// The router: from a request to its keyspace rule. A pure function; node/machine.h uses it.
#pragma once

#include "core/keyspace.h"
#include "core/request.h"

namespace capstan::node {

// The rule under which a request falls; null when its keys or ranges touch two modes, or two
// epochs. Requests without keys (status, members, ...) fall under the default rule.
const KeyspaceRule* route(const KeyspaceRules& rules, const RequestBody& body);

}  // namespace capstan::node
