// Replies of /api/v1 as JSON; net/json_api.h has the shapes, net/json_reply_read.cc reads them
// back.
#include <array>
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
          {"learner", peer.learner},
          {"witness", peer.witness}};
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

void put(Json& to, const AuthResult& result) {
  to["type"] = "auth";
  to["enabled"] = result.enabled;
  to["auth_revision"] = result.revision;
  to["names"] = result.names;
  to["permissions"] = Json::array();
  for (const Permission& permission : result.permissions) {
    Json each{{"access", kAccessWords[static_cast<std::size_t>(permission.kind)]},
              {"key", bytes_json(permission.range.key)}};
    if (!permission.range.end.empty()) each["end"] = bytes_json(permission.range.end);
    to["permissions"].push_back(std::move(each));
  }
}

void put(Json& to, const AuthenticateResult& result) {
  to["type"] = "authenticate";
  to["token"] = result.token;
}

void put(Json& to, const OutcomeResult& result) {
  to["type"] = "outcome";
  to["fate"] = to_text(result.fate);
  if (result.revision) to["at_revision"] = result.revision.value;
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
                  {"commit_stall_micros", s.commit_stall},
                  {"disk_stall_micros", s.disk_stall},
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

std::string range_head_api(const Reply& reply, const Handler& handler) {
  std::string out = encode_api_reply(reply, handler);
  out.pop_back();
  return out + ",\"type\":\"range\"";
}

std::string range_row_api(KeyValue& kv) { return dumped(json_of(kv)); }

std::string range_tail_api(bool more, std::int64_t count) {
  return ",\"more\":" + std::string(more ? "true" : "false") +
         ",\"count\":" + std::to_string(count) + '}';
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

}  // namespace capstan::net
