// Replies of /api/v1 from their JSON, as the command line reads them (net/json_api.h).
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "net/json_api.h"
#include "net/json_text.h"
#include "net/reasons.h"

namespace capstan::net {

namespace {

using Json = nlohmann::ordered_json;

// Reads lenient: a field that is absent or of another type keeps its default, so that an older
// client reads a newer server.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  template <class T>
  void take(const char* name, T& to) const {
    const auto at = object_.is_object() ? object_.find(name) : object_.end();
    if (!object_.is_object() || at == object_.end()) return;
    if constexpr (std::is_same_v<T, bool>) {
      if (at->is_boolean()) to = at->template get<bool>();
    } else if constexpr (std::is_arithmetic_v<T>) {
      if (at->is_number_integer()) to = at->template get<T>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (at->is_string()) to = at->template get<std::string>();
    } else {
      static_assert(std::is_same_v<T, std::vector<std::string>>);
      if (!at->is_array()) return;
      for (const Json& each : *at) {
        if (each.is_string()) to.push_back(each.get<std::string>());
      }
    }
  }
  void take_bytes(const char* name, std::string& to) const {
    const Json& field = object(name);
    if (field.is_string()) to = field.get<std::string>();
    if (field.is_object() && field.contains("base64") && field["base64"].is_string()) {
      to = base64_decoded(field["base64"].get_ref<const std::string&>()).value_or("");
    }
  }
  template <class Tag>
  void take_hex(const char* name, Number<Tag>& to) const {
    std::string text;
    take(name, text);
    std::from_chars(text.data(), text.data() + text.size(), to.value, 16);
  }
  void take_lease(std::int64_t& to) const { to = id_of_text(text("lease")).value_or(0); }
  template <class Tag>
  void take_number(const char* name, Number<Tag>& to) const {
    take(name, to.value);
  }
  // Null when absent.
  const Json& object(const char* name) const {
    static const Json kNothing;
    if (!object_.is_object()) return kNothing;
    const auto at = object_.find(name);
    return at == object_.end() ? kNothing : *at;
  }
  std::string text(const char* name) const {
    std::string out;
    take(name, out);
    return out;
  }

 private:
  const Json& object_;
};

KeyValue kv_of(const Json& json) {
  const Fields from(json);
  KeyValue kv;
  from.take_bytes("key", kv.key);
  from.take_bytes("value", kv.value);
  from.take_number("create_revision", kv.create_revision);
  from.take_number("mod_revision", kv.mod_revision);
  from.take("version", kv.version);
  from.take_lease(kv.lease);
  return kv;
}

std::vector<KeyValue> kvs_of(const Json& json) {
  std::vector<KeyValue> kvs;
  if (!json.is_array()) return kvs;
  for (const Json& each : json) kvs.push_back(kv_of(each));
  return kvs;
}

std::vector<PeerStatus> peers_of(const Json& json) {
  std::vector<PeerStatus> peers;
  if (!json.is_array()) return peers;
  for (const Json& each : json) {
    const Fields from(each);
    PeerStatus& peer = peers.emplace_back();
    from.take("name", peer.name);
    from.take_hex("id", peer.id);
    from.take("peer_address", peer.peer_address);
    from.take("client_urls", peer.client_urls);
    from.take("self", peer.self);
    from.take("reachable", peer.reachable);
    from.take("last_heard_ago_micros", peer.last_heard_ago);
    from.take("round_trip_micros", peer.round_trip);
    from.take("match", peer.match);
    from.take("state", peer.state);
    from.take("learner", peer.learner);
    from.take("witness", peer.witness);
  }
  return peers;
}

Durability durability_of(std::string_view text) {
  for (const Durability d : {Durability::kInterval, Durability::kNone}) {
    if (text == to_text(d)) return d;
  }
  return Durability::kSync;
}

StatusResult status_of(const Json& json) {
  const Fields from(json);
  StatusResult s;
  from.take("name", s.name);
  from.take_hex("id", s.id);
  from.take_hex("cluster", s.cluster);
  s.mode = from.text("mode") == to_text(Mode::kAp) ? Mode::kAp : Mode::kCp;
  from.take("version", s.version);
  from.take("role", s.role);
  from.take("leader_name", s.leader_name);
  from.take_hex("leader", s.leader);
  from.take("term", s.term);
  from.take("index", s.index);
  from.take("committed", s.committed);
  from.take("applied", s.applied);
  from.take_number("revision", s.revision);
  from.take_number("compacted", s.compacted);
  s.peers = peers_of(from.object("peers"));
  from.take("voters", s.voters);
  from.take("reachable", s.reachable);
  from.take("quorum", s.quorum);
  from.take("alone_for_micros", s.alone_for);
  s.durability = durability_of(from.text("durability"));
  from.take("keys", s.keys);
  from.take("base_bytes", s.base_bytes);
  from.take("base_live_bytes", s.base_live_bytes);
  from.take("wal_bytes", s.wal_bytes);
  from.take("table_bytes", s.table_bytes);
  from.take("conflicts", s.conflicts);
  from.take("vector", s.vector_text);
  from.take("digest", s.digest_text);
  from.take("divergence_alarm", s.divergence_alarm);
  from.take("sync_bytes_in", s.sync_bytes_in);
  from.take("sync_bytes_out", s.sync_bytes_out);
  from.take("sync_ident_bytes", s.sync_ident_bytes);
  from.take("sync_payload_bytes", s.sync_payload_bytes);
  from.take("commit_stall_micros", s.commit_stall);
  from.take("disk_stall_micros", s.disk_stall);
  from.take("errors", s.errors);
  return s;
}

ConflictsResult conflicts_of(const Json& json) {
  const Fields from(json);
  ConflictsResult result;
  from.take("total", result.total);
  from.take("dropped", result.dropped);
  const Json& list = from.object("conflicts");
  if (!list.is_array()) return result;
  for (const Json& each : list) {
    const Fields one(each);
    Conflict& c = result.conflicts.emplace_back();
    one.take("number", c.number);
    one.take_bytes("key", c.key);
    one.take("loser_id", c.loser_id);
    one.take("winner_id", c.winner_id);
    one.take_bytes("loser_value", c.loser_value);
    one.take_bytes("winner_value", c.winner_value);
    one.take("loser_deletes", c.loser_deletes);
    one.take("winner_deletes", c.winner_deletes);
    one.take("loser_wall_micros", c.loser_wall);
    one.take("winner_wall_micros", c.winner_wall);
    one.take("rule", c.rule);
  }
  return result;
}

constexpr int kReplyDepthMax = 16;  // deeper than any transaction nests

// The four results a transaction may hold, too.
template <class Variant>
void assign_result(const Json& json, Variant& to, int depth);

TxnResult txn_of(const Json& json, int depth) {
  const Fields from(json);
  TxnResult result;
  from.take("succeeded", result.succeeded);
  const Json& list = from.object("responses");
  if (!list.is_array() || depth > kReplyDepthMax) return result;
  for (const Json& each : list) {
    ResponseOp& op = result.responses.emplace_back();
    assign_result(each, op.result, depth + 1);
    Fields(each).take_number("revision", op.revision);
  }
  return result;
}

template <class Variant>
void assign_result(const Json& json, Variant& to, int depth) {
  const Fields from(json);
  const std::string type = from.text("type");
  if (type == "range") {
    RangeResult result{.kvs = kvs_of(from.object("kvs"))};
    from.take("more", result.more);
    from.take("count", result.count);
    to = std::move(result);
  } else if (type == "put") {
    PutResult result;
    if (from.object("prev").is_object()) result.prev = kv_of(from.object("prev"));
    to = std::move(result);
  } else if (type == "delete") {
    DeleteRangeResult result{.prevs = kvs_of(from.object("prevs"))};
    from.take("deleted", result.deleted);
    to = std::move(result);
  } else if (type == "txn") {
    to = txn_of(json, depth);
  }
}

AlarmResult alarms_of(const Json& list) {
  AlarmResult result;
  if (!list.is_array()) return result;
  for (const Json& each : list) {
    const Fields from(each);
    MemberAlarm& alarm = result.alarms.emplace_back();
    from.take_hex("member", alarm.member);
    alarm.type = from.text("alarm") == "CORRUPT" ? AlarmType::kCorrupt : AlarmType::kNoSpace;
  }
  return result;
}

AuthResult auth_of(const Json& json) {
  const Fields from(json);
  AuthResult result;
  from.take("enabled", result.enabled);
  from.take("auth_revision", result.revision);
  from.take("names", result.names);
  const Json& list = from.object("permissions");
  if (!list.is_array()) return result;
  for (const Json& each : list) {
    const Fields one(each);
    Permission& permission = result.permissions.emplace_back();
    const auto word = std::ranges::find(kAccessWords, one.text("access"));
    if (word != kAccessWords.end()) {
      permission.kind = static_cast<Permission::Kind>(word - kAccessWords.begin());
    }
    one.take_bytes("key", permission.range.key);
    one.take_bytes("end", permission.range.end);
  }
  return result;
}

// What leases are asked; nothing if it is none of it.
ReplyBody lease_body_of(const Fields& from, std::string_view type) {
  if (type == "lease_grant") {
    LeaseGrantResult result;
    from.take_lease(result.id);
    from.take("ttl", result.ttl);
    return result;
  }
  if (type == "lease_revoke") return LeaseRevokeResult{};
  if (type == "lease_keep_alive") {
    LeaseKeepAliveResult result;
    from.take_lease(result.id);
    from.take("ttl", result.ttl);
    return result;
  }
  if (type == "lease_time_to_live") {
    LeaseTimeToLiveResult result;
    from.take_lease(result.id);
    from.take("ttl", result.ttl);
    from.take("granted_ttl", result.granted_ttl);
    for (const Json& key : from.object("keys")) {
      Fields(Json{{"key", key}}).take_bytes("key", result.keys.emplace_back());
    }
    return result;
  }
  if (type == "leases") {
    std::vector<std::string> ids;
    from.take("leases", ids);
    LeasesResult result;
    for (const std::string& id : ids) result.ids.push_back(id_of_text(id).value_or(0));
    return result;
  }
  return {};
}

ReplyBody body_of(const Json& json) {
  const Fields from(json);
  const std::string type = from.text("type");
  if (type == "status") return status_of(from.object("status"));
  if (type == "members") return MembersResult{.members = peers_of(from.object("members"))};
  if (type == "member_change") {
    MemberChangeResult result{.member = {}, .members = peers_of(from.object("members"))};
    from.take_hex("member", result.member);
    return result;
  }
  if (type == "conflicts") return conflicts_of(json);
  if (type == "compact") return CompactResult{};
  if (type == "move_leader") return MoveLeaderResult{};
  if (type == "defragment") return DefragmentResult{};
  if (type == "outcome") {
    OutcomeResult result;
    const std::string fate = from.text("fate");
    for (const Fate each : {Fate::kApplied, Fate::kNotApplied, Fate::kForgotten}) {
      if (to_text(each) == fate) result.fate = each;
    }
    from.take_number("at_revision", result.revision);
    return result;
  }
  if (type == "auth") return auth_of(json);
  if (type == "authenticate") {
    AuthenticateResult result;
    from.take("token", result.token);
    return result;
  }
  if (type == "alarm") return alarms_of(from.object("alarms"));
  if (type == "hash") {
    HashResult result;
    from.take("hash", result.hash);
    from.take_number("compacted", result.compacted);
    return result;
  }
  if (type == "books") {
    BooksResult result;
    from.take("survived", result.survived);
    from.take("superseded", result.superseded);
    from.take("lost", result.lost);
    return result;
  }
  ReplyBody body = lease_body_of(from, type);
  if (std::holds_alternative<std::monostate>(body)) assign_result(json, body, 1);
  return body;
}

// False: not the head of a reply.
bool take_outcome(const Fields& from, Outcome& outcome, Reason& reason, std::string& detail) {
  const std::string word = from.text("outcome");
  bool known = false;
  for (const Outcome each :
       {Outcome::kOk, Outcome::kOkLocal, Outcome::kFailed, Outcome::kUnknown}) {
    if (to_text(each) != word) continue;
    outcome = each;
    known = true;
  }
  reason = reason_of_word(from.text("reason"));
  from.take("detail", detail);
  return known;
}

}  // namespace

Result<ApiReply> decode_api_reply(ByteView text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const Fields from(json);
  ApiReply out;
  Reply& reply = out.reply;
  if (!take_outcome(from, reply.outcome, reply.reason, reply.detail)) {
    return fail(ErrorCode::kMalformed, "not a reply of Capstan's API");
  }
  const Fields header(from.object("header"));
  header.take_hex("cluster", reply.header.cluster);
  header.take_hex("member", reply.header.member);
  header.take_number("revision", reply.header.revision);
  header.take_number("term", reply.header.term);
  from.take("write_id", out.write_id);
  from.take_number("epoch", reply.epoch);
  reply.durability = durability_of(from.text("durability"));
  const Fields replicas(from.object("replicas"));
  replicas.take("have", reply.replicas_have);
  replicas.take("all", reply.replicas_all);
  from.take("age_at_least_micros", reply.age_at_least);
  reply.body = body_of(json);
  return out;
}

Result<LabReply> decode_api_lab_reply(ByteView text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const Fields from(json);
  LabReply reply;
  if (!take_outcome(from, reply.outcome, reply.reason, reply.detail)) {
    return fail(ErrorCode::kMalformed, "not a reply of Capstan's API");
  }
  const Json& list = from.object("faults");
  if (!list.is_array()) return reply;
  for (const Json& each : list) {
    const Fields one(each);
    LabFault& fault = reply.faults.emplace_back();
    one.take("peer", fault.peer);
    one.take("in", fault.in);
    one.take("out", fault.out);
    one.take("remaining_micros", fault.remaining);
  }
  return reply;
}

}  // namespace capstan::net
