// Peer messages through their bytes and back: what arrives must be what a real link would deliver.
#pragma once

#include <cstdint>

#include "core/result.h"
#include "node/machine.h"

namespace capstan::sim {

Result<node::PeerMessage> through_bytes(const node::PeerMessage& message);

std::size_t bytes_of(const node::PeerMessage& message);

// A short name of the message's kind, for the trace.
const char* describe_message(const node::PeerMessage& message);

}  // namespace capstan::sim
