// Commands as they stand in log entries: packed bytes, decoded only where they are applied.
//
//   entry data   commands one after another, each length-prefixed (varint)
//   command      format u8, write id, request id, kind u8, body; docs/formats-cp.md has all
//
// A put is decoded to views into the entry, since it is nearly every command there is.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "core/coding.h"
#include "core/request.h"
#include "core/types.h"

namespace capstan::cp {

struct PutView {
  ByteView key;
  ByteView value;
  std::int64_t lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

// Views into the bytes it was decoded from.
struct Command {
  WriteId id;
  ByteView request_id;
  std::variant<PutView, DeleteRangeRequest, TxnRequest, CompactRequest> body;
};

// `body` is a put, a delete, a transaction or a compaction (asserted); of the last, whether it is
// physical is no part: that concerns only the node that was asked.
std::string encode_command(const WriteId& id, ByteView request_id, const RequestBody& body);

// nullopt: not a command. Never reads past the end, never recurses past kTxnDepthMax.
std::optional<Command> decode_command(ByteView bytes);

// The id alone, without decoding the rest.
std::optional<WriteId> command_id(ByteView bytes);

PutView view_of(const PutRequest& put);

}  // namespace capstan::cp
