// The first start of a node that joins a cluster: who is it, and as whom?
#pragma once

#include <expected>
#include <string>

#include "net/uv_loop.h"
#include "node/serve_config.h"

namespace capstan::node {

// Completes a `config` that joins and whose data directory is not there yet: the cluster's id, its
// members and this node's own id among them. Through other nodes' client addresses (join_through)
// the node is added, too, unless it was before. Waits up to ten seconds for somebody to answer, on
// `loop`, which must not run yet.
//
// Errors: a sentence; nothing was written here, and at most the addition was made there.
std::expected<void, std::string> join_cluster(net::Loop& loop, ServeConfig& config);

}  // namespace capstan::node
