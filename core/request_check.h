// What is wrong with a request whatever the data say, once for both modes and every door: sizes,
// empty keys, fields that contradict each other, too many or too deep operations, the same key
// written twice. node/machine.h asks before an engine sees the request.
//
// Source  etcd 3.4, api/v3rpc/key.go; its texts are the door's business (net/grpc_text.h)
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/request.h"

namespace capstan {

// How large a request is for kRequestBytesMax: the bytes of its keys and values.
std::size_t request_bytes(const RequestBody& body);

//   errors  kTooLarge, kKeyMissing, kKeyNotFound (an operation that is none), kValueProvided,
//           kLeaseProvided, kLeaseTtlTooLarge, kTooManyOps, kDuplicateKey
std::optional<Refusal> check_request(const RequestBody& body);

}  // namespace capstan
