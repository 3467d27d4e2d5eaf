// AP messages to bytes and back; the one place that names Cap'n Proto for this path.
#pragma once

#include <string>

#include "ap/message.h"
#include "core/result.h"
#include "core/types.h"

namespace capstan::net {

// At most ap::kEnvelopeBytes longer than the packed body.
std::string encode(const ap::Message& message);

// `frame` must be 8-byte aligned, as net/frame.h hands it out; other bytes are copied first. What
// it returns is well formed in the sense of ap/message.h. kMalformed for anything else.
Result<ap::Message> decode_ap(ByteView frame);

}  // namespace capstan::net
