// CP messages to bytes and back (net/schema/cp.capnp). codec_cp.cc alone of the CP side names Cap'n
// Proto; its exceptions end there.
#pragma once

#include <string>

#include "core/result.h"
#include "cp/message.h"

namespace capstan::net {

// The message must be one an engine produces: within the bounds of core/limits.h.
std::string encode(const cp::Message& message);

// kMalformed: not a message, or one no member would send. What decodes is well formed: entries with
// terms that never fall, all at most the message's; lists and sizes within their bounds; indexes
// far from overflow. `frame` may have any alignment (aligned to 8 it is read in place).
Result<cp::Message> decode_cp(ByteView frame);

}  // namespace capstan::net
