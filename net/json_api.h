// The JSON of /api/v1, both ways: the door decodes requests and encodes replies, the command line
// and the lab do the reverse with the same code.
//
//   POST /api/v1/kv          {"op":"put","key":K,"value":V,...}           one request, as below
//   GET  /api/v1/status      GET /api/v1/members      GET /api/v1/books
//   GET  /api/v1/conflicts?after=N&limit=N
//   POST /api/v1/lab         {"op":"drop","drops":[{"peer":"n2","in":true,"out":true}],
//                             "for_micros":N} | {"op":"heal"} | {"op":"show"}
//
// Requests of /api/v1/kv; fields in brackets may be left out:
//
//   {"op":"put", "key":K, "value":V, [lease, prev_kv, ignore_value, ignore_lease]}
//   {"op":"get", "key":K, [end:K | prefix:true, limit, revision, order:"ascend"|"descend",
//        sort:"key"|"version"|"create"|"mod"|"value", serializable, keys_only, count_only,
//        min_mod_revision, max_mod_revision, min_create_revision, max_create_revision]}
//   {"op":"delete", "key":K, [end:K | prefix:true, prev_kv]}
//   {"op":"compact", "revision":N, [physical]}    {"op":"hash", [revision]}
//   {"op":"lease_grant", "ttl":SECONDS, [lease]}  {"op":"lease_revoke", "lease":L}
//   {"op":"lease_keep_alive", "lease":L}          {"op":"lease_time_to_live", "lease":L, [keys]}
//   {"op":"leases"}    {"op":"move_leader", "target":MEMBER}    {"op":"defragment"}
//   {"op":"alarm", "action":"list"|"raise"|"clear", [member:MEMBER, alarm:"NOSPACE"|"CORRUPT"]}
//   {"op":"txn", [compare:[{"key":K, [end], "target":"version"|"create"|"mod"|"value"|"lease",
//        "result":"="|"!="|"<"|">", "number":N | "value":V | "lease":L}], success:[op...],
//        failure:[op...]]}
//   and beside any of them [request_id, timeout_micros, epoch]
//
// K and V are JSON strings where the bytes are valid UTF-8, else {"base64":".."}. Ids of clusters,
// members and leases (L) are strings of hex digits; everything else is a plain number. An unknown
// field is an error: a misspelt "serialisable" must not turn into a linearizable read in silence.
//
// Every reply: {"v":1,"outcome":"ok", ...}; tests/net/json_api_test.cc has one of each, to the
// letter.
#pragma once

#include <string>

#include "core/request.h"
#include "core/result.h"
#include "core/types.h"
#include "net/handler.h"

namespace capstan::net {

// ---- The server's half --------------------------------------------------------------------------

// errors  kMalformed  not JSON;  kInvalid  JSON that asks for nothing sensible. Both with a
// sentence.
Result<Request> decode_api_request(ByteView json);
Result<LabCommand> decode_api_lab(ByteView json);
std::string encode_api_reply(const Reply& reply, const Handler& handler);
std::string encode_api_lab(const LabReply& reply);
// The reply to a range in parts, for one too long to be held: a head, a row for each key, a
// tail.
std::string range_head_api(const Reply& reply, const Handler& handler);
std::string range_row_api(KeyValue& kv);
std::string range_tail_api(bool more, std::int64_t count);

// ---- The client's half --------------------------------------------------------------------------

std::string encode_api_request(const Request& request);
std::string encode_api_lab_command(const LabCommand& command);

struct ApiReply {
  Reply reply;           // write_id is left empty: the number of a disk does not travel,
  std::string write_id;  // its name does
};
// errors  kMalformed  what came is not such a reply
Result<ApiReply> decode_api_reply(ByteView json);
Result<LabReply> decode_api_lab_reply(ByteView json);

}  // namespace capstan::net
