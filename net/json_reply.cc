// Replies of /api/v1 and their JSON, both ways; net/json_api.h has the shapes.
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "net/json_api.h"
#include "net/json_text.h"
#include "net/reasons.h"
#include "net/reply_text.h"

namespace capstan::net {

namespace {

using Json = nlohmann::ordered_json;

// ---- Encoding -----------------------------------------------------------------------------------

Json bytes_json(ByteView bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  return Json{{"base64", base64_encoded(bytes)}};
}

std::string hex(std::uint64_t value) {
  std::array<char, 16> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value, 16).ptr};
}

std::string dumped(const Json& json) {
  // Sentences and names may hold anything; keys and values were seen to by bytes_json().
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json json_of(const KeyValue& kv) {
  Json to{{"key", bytes_json(kv.key)},
          {"value", bytes_json(kv.value)},
          {"create_revision", kv.create_revision.value},
          {"mod_revision", kv.mod_revision.value},
          {"version", kv.version}};
  if (kv.lease != 0) to["lease"] = id_text(kv.lease);
  return to;
}

Json json_of(const std::vector<KeyValue>& kvs) {
  Json to = Json::array();
  for (const KeyValue& kv : kvs) to.push_back(json_of(kv));
  return to;
}

Json json_of(const PeerStatus& peer) {
  return {{"name", peer.name},
          {"id", hex(peer.id.value)},
          {"peer_address", peer.peer_address},
          {"client_urls", peer.client_urls},
          {"self", peer.self},
          {"reachable", peer.reachable},
          {"last_heard_ago_micros", peer.last_heard_ago},
          {"round_trip_micros", peer.round_trip},
          {"match", peer.match},
          {"state", peer.state},
          {"learner", peer.learner}};
}

Json json_of(const std::vector<PeerStatus>& peers) {
  Json to = Json::array();
  for (const PeerStatus& peer : peers) to.push_back(json_of(peer));
  return to;
}

void put(Json&, const std::monostate&) {}

void put(Json& to, const RangeResult& result) {
  to["type"] = "range";
  to["kvs"] = json_of(result.kvs);
  to["more"] = result.more;
  to["count"] = result.count;
}

void put(Json& to, const PutResult& result) {
  to["type"] = "put";
  if (result.prev) to["prev"] = json_of(*result.prev);
}

void put(Json& to, const DeleteRangeResult& result) {
  to["type"] = "delete";
  to["deleted"] = result.deleted;
  if (!result.prevs.empty()) to["prevs"] = json_of(result.prevs);
}

void put(Json& to, const TxnResult& result) {
  to["type"] = "txn";
  to["succeeded"] = result.succeeded;
  to["responses"] = Json::array();
  for (const ResponseOp& op : result.responses) {
    Json each = Json::object();
    std::visit([&each](const auto& one) { put(each, one); }, op.result);
    each["revision"] = op.revision.value;
    to["responses"].push_back(std::move(each));
  }
}

void put(Json& to, const CompactResult&) { to["type"] = "compact"; }

void put(Json& to, const HashResult& result) {
  to["type"] = "hash";
  to["hash"] = result.hash;
  to["compacted"] = result.compacted.value;
}

void put(Json& to, const LeaseGrantResult& result) {
  to["type"] = "lease_grant";
  to["lease"] = id_text(result.id);
  to["ttl"] = result.ttl;
}

void put(Json& to, const LeaseRevokeResult&) { to["type"] = "lease_revoke"; }

void put(Json& to, const LeaseKeepAliveResult& result) {
  to["type"] = "lease_keep_alive";
  to["lease"] = id_text(result.id);
  to["ttl"] = result.ttl;
}

void put(Json& to, const LeaseTimeToLiveResult& result) {
  to["type"] = "lease_time_to_live";
  to["lease"] = id_text(result.id);
  to["ttl"] = result.ttl;
  to["granted_ttl"] = result.granted_ttl;
  to["keys"] = Json::array();
  for (const std::string& key : result.keys) to["keys"].push_back(bytes_json(key));
}

void put(Json& to, const LeasesResult& result) {
  to["type"] = "leases";
  to["leases"] = Json::array();
  for (const std::int64_t id : result.ids) to["leases"].push_back(id_text(id));
}

void put(Json& to, const MoveLeaderResult&) { to["type"] = "move_leader"; }

void put(Json& to, const DefragmentResult&) { to["type"] = "defragment"; }

void put(Json& to, const AlarmResult& result) {
  to["type"] = "alarm";
  to["alarms"] = Json::array();
  for (const MemberAlarm& alarm : result.alarms) {
    to["alarms"].push_back({{"member", hex(alarm.member.value)},
                            {"alarm", alarm.type == AlarmType::kCorrupt ? "CORRUPT" : "NOSPACE"}});
  }
}

void put(Json& to, const StatusResult& s) {
  to["type"] = "status";
  to["status"] = {{"name", s.name},
                  {"id", hex(s.id.value)},
                  {"cluster", hex(s.cluster.value)},
                  {"mode", to_text(s.mode)},
                  {"version", s.version},
                  {"role", s.role},
                  {"leader_name", s.leader_name},
                  {"leader", hex(s.leader.value)},
                  {"term", s.term},
                  {"index", s.index},
                  {"committed", s.committed},
                  {"applied", s.applied},
                  {"revision", s.revision.value},
                  {"compacted", s.compacted.value},
                  {"peers", json_of(s.peers)},
                  {"voters", s.voters},
                  {"reachable", s.reachable},
                  {"quorum", s.quorum},
                  {"alone_for_micros", s.alone_for},
                  {"durability", to_text(s.durability)},
                  {"keys", s.keys},
                  {"base_bytes", s.base_bytes},
                  {"base_live_bytes", s.base_live_bytes},
                  {"wal_bytes", s.wal_bytes},
                  {"table_bytes", s.table_bytes},
                  {"conflicts", s.conflicts},
                  {"vector", s.vector_text},
                  {"digest", s.digest_text},
                  {"divergence_alarm", s.divergence_alarm},
                  {"sync_bytes_in", s.sync_bytes_in},
                  {"sync_bytes_out", s.sync_bytes_out},
                  {"sync_ident_bytes", s.sync_ident_bytes},
                  {"sync_payload_bytes", s.sync_payload_bytes},
                  {"errors", s.errors}};
}

void put(Json& to, const MembersResult& result) {
  to["type"] = "members";
  to["members"] = json_of(result.members);
}

void put(Json& to, const MemberChangeResult& result) {
  to["type"] = "member_change";
  to["member"] = hex(result.member.value);
  to["members"] = json_of(result.members);
}

void put(Json& to, const ConflictsResult& result) {
  to["type"] = "conflicts";
  to["conflicts"] = Json::array();
  for (const Conflict& c : result.conflicts) {
    to["conflicts"].push_back({{"number", c.number},
                               {"key", bytes_json(c.key)},
                               {"loser_id", c.loser_id},
                               {"winner_id", c.winner_id},
                               {"loser_value", bytes_json(c.loser_value)},
                               {"winner_value", bytes_json(c.winner_value)},
                               {"loser_deletes", c.loser_deletes},
                               {"winner_deletes", c.winner_deletes},
                               {"loser_wall_micros", c.loser_wall},
                               {"winner_wall_micros", c.winner_wall},
                               {"rule", c.rule}});
  }
  to["total"] = result.total;
  to["dropped"] = result.dropped;
}

void put(Json& to, const BooksResult& result) {
  to["type"] = "books";
  to["survived"] = result.survived;
  to["superseded"] = result.superseded;
  to["lost"] = result.lost;
}

// ---- Decoding -----------------------------------------------------------------------------------

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

std::string encode_api_reply(const Reply& reply, const Handler& handler) {
  Json json{{"v", 1}, {"outcome", to_text(reply.outcome)}};
  const bool ok = reply.outcome == Outcome::kOk || reply.outcome == Outcome::kOkLocal;
  if (reply.reason != Reason::kNone) json["reason"] = to_text(reply.reason);
  if (!reply.detail.empty()) {
    json["detail"] = reply.detail;
  } else if (!ok) {
    json["detail"] = default_sentence(reply.reason);
  }
  if (reply.header.cluster) {
    json["header"] = {{"cluster", hex(reply.header.cluster.value)},
                      {"member", hex(reply.header.member.value)},
                      {"revision", reply.header.revision.value},
                      {"term", reply.header.term.value}};
  }
  if (reply.write_id) json["write_id"] = write_id_text(reply.write_id, handler);
  if (reply.epoch) json["epoch"] = reply.epoch.value;
  if (reply.write_id) {
    json["durability"] = to_text(reply.durability);
    json["replicas"] = {{"have", reply.replicas_have}, {"all", reply.replicas_all}};
  }
  if (reply.age_at_least >= 0) json["age_at_least_micros"] = reply.age_at_least;
  std::visit([&json](const auto& body) { put(json, body); }, reply.body);
  return dumped(json);
}

std::string encode_api_lab(const LabReply& reply) {
  Json json{{"v", 1}, {"outcome", to_text(reply.outcome)}};
  if (reply.reason != Reason::kNone) json["reason"] = to_text(reply.reason);
  if (!reply.detail.empty()) {
    json["detail"] = reply.detail;
  } else if (reply.outcome == Outcome::kFailed) {
    json["detail"] = default_sentence(reply.reason);
  }
  json["faults"] = Json::array();
  for (const LabFault& fault : reply.faults) {
    json["faults"].push_back({{"peer", fault.peer},
                              {"in", fault.in},
                              {"out", fault.out},
                              {"remaining_micros", fault.remaining}});
  }
  return dumped(json);
}

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
