// Requests of /api/v1 and their JSON, both ways; net/json_api.h has the shapes.
#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "core/limits.h"
#include "net/json_api.h"
#include "net/json_text.h"

namespace capstan::net {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 3> kOrders{"none", "ascend", "descend"};
constexpr std::array<std::string_view, 5> kSorts{"key", "version", "create", "mod", "value"};
constexpr std::array<std::string_view, 4> kResults{"=", ">", "<", "!="};
constexpr std::array<std::string_view, 3> kActions{"list", "raise", "clear"};
constexpr std::array<std::string_view, 4> kMemberOps{"member_add", "member_remove", "member_update",
                                                     "member_promote"};
constexpr std::array<std::string_view, 16> kAuthOps{
    "auth_enable", "auth_disable", "user_add",    "user_delete", "user_password", "user_grant",
    "user_revoke", "role_add",     "role_delete", "role_grant",  "role_revoke",   "auth_status",
    "user_get",    "user_list",    "role_get",    "role_list"};
constexpr std::array<std::string_view, 3> kAlarms{"none", "NOSPACE", "CORRUPT"};
constexpr std::array<std::string_view, 5> kTargets{"version", "create", "mod", "value", "lease"};

// ---- Decoding -----------------------------------------------------------------------------------

// Reads the fields of one object and remembers the first thing that is wrong. Every read names its
// field, so at the end a field nobody read is a misspelling.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {
    if (!object.is_object()) complain("a JSON object is needed");
  }

  bool has(const char* name) {
    seen_.insert(name);
    return object_.is_object() && object_.contains(name);
  }
  const Json* find(const char* name) { return has(name) ? &object_[name] : nullptr; }

  bool flag(const char* name, bool otherwise = false) {
    const Json* field = find(name);
    if (field == nullptr) return otherwise;
    if (!field->is_boolean()) complain(std::string(name) + " must be true or false");
    return field->is_boolean() ? field->get<bool>() : otherwise;
  }
  std::int64_t number(const char* name, std::int64_t otherwise = 0) {
    const Json* field = find(name);
    if (field == nullptr) return otherwise;
    // An unsigned number past the signed range would wrap.
    const bool fits = field->is_number_integer() &&
                      (!field->is_number_unsigned() ||
                       field->get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits) complain(std::string(name) + " must be a whole number");
    return fits ? field->get<std::int64_t>() : otherwise;
  }
  // Of what may be past 2^53, where some readers of JSON lose digits of a number.
  std::int64_t hex(const char* name) {
    if (!has(name)) return 0;
    const std::optional<std::int64_t> id = id_of_text(text(name));
    if (!id) complain(std::string(name) + " must be a string of hex digits");
    return id.value_or(0);
  }
  std::string text(const char* name) {
    const Json* field = find(name);
    if (field == nullptr) return {};
    if (!field->is_string()) complain(std::string(name) + " must be a string");
    return field->is_string() ? field->get<std::string>() : std::string();
  }
  // A string, or {"base64":".."}.
  std::string bytes(const char* name) {
    const Json* field = find(name);
    if (field == nullptr) return {};
    if (field->is_string()) return field->get<std::string>();
    if (field->is_object() && field->size() == 1 && field->contains("base64") &&
        (*field)["base64"].is_string()) {
      if (auto decoded = base64_decoded((*field)["base64"].get_ref<const std::string&>())) {
        return std::move(*decoded);
      }
    }
    complain(std::string(name) + " must be a string or {\"base64\":\"..\"}");
    return {};
  }
  template <class Enum>
  Enum word(const char* name, std::span<const std::string_view> words) {
    if (!has(name)) return Enum{};
    const std::string given = text(name);
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == given) return static_cast<Enum>(i);
    }
    std::string known;
    for (std::string_view each : words) known += (known.empty() ? "" : ", ") + std::string(each);
    complain(std::string(name) + " must be one of " + known);
    return Enum{};
  }

  void complain(std::string sentence) {
    if (wrong_.empty()) wrong_ = std::move(sentence);
  }
  // What is wrong; empty: nothing. Call last.
  const std::string& verdict() {
    if (wrong_.empty() && object_.is_object()) {
      for (const auto& [name, value] : object_.items()) {
        if (!seen_.contains(name)) complain("unknown field \"" + name.substr(0, 100) + "\"");
      }
    }
    return wrong_;
  }

 private:
  const Json& object_;
  std::set<std::string> seen_;
  std::string wrong_;
};

KeyRange key_range(Fields& fields) {
  KeyRange range{.key = fields.bytes("key"), .end = fields.bytes("end")};
  const bool prefix = fields.flag("prefix");
  if (prefix && !range.end.empty()) fields.complain("prefix and end exclude each other");
  if (prefix) {
    range.end = end_of_prefix(range.key);
    // Every key starts with the empty prefix; the first possible key is one zero byte.
    if (range.key.empty()) range.key.assign(1, '\0');
  }
  return range;
}

RangeRequest range_request(Fields& fields) {
  RangeRequest r;
  r.range = key_range(fields);
  r.limit = fields.number("limit");
  r.revision = fields.number("revision");
  r.sort_order = fields.word<SortOrder>("order", kOrders);
  r.sort_target = fields.word<SortTarget>("sort", kSorts);
  r.serializable = fields.flag("serializable");
  r.keys_only = fields.flag("keys_only");
  r.count_only = fields.flag("count_only");
  r.min_mod_revision = fields.number("min_mod_revision");
  r.max_mod_revision = fields.number("max_mod_revision");
  r.min_create_revision = fields.number("min_create_revision");
  r.max_create_revision = fields.number("max_create_revision");
  return r;
}

PutRequest put_request(Fields& fields) {
  return {.key = fields.bytes("key"),
          .value = fields.bytes("value"),
          .lease = fields.hex("lease"),
          .prev_kv = fields.flag("prev_kv"),
          .ignore_value = fields.flag("ignore_value"),
          .ignore_lease = fields.flag("ignore_lease")};
}

DeleteRangeRequest delete_request(Fields& fields) {
  return {.range = key_range(fields), .prev_kv = fields.flag("prev_kv")};
}

AuthRequest auth_request(Fields& fields, AuthRequest::Action action) {
  using Action = AuthRequest::Action;
  AuthRequest r{.action = action, .user = fields.text("user"), .role = fields.text("role")};
  const bool has_password = action == Action::kAddUser || action == Action::kSetPassword;
  if (has_password) r.secret = fields.text("password");
  const bool grants = action == Action::kGrantPermission;
  if (grants) r.permission.kind = fields.word<Permission::Kind>("access", kAccessWords);
  if (grants || action == Action::kRevokePermission) r.permission.range = key_range(fields);
  return r;
}

Compare compare(const Json& json, std::string& wrong) {
  Fields fields(json);
  Compare c;
  c.range = key_range(fields);
  c.target = fields.word<CompareTarget>("target", kTargets);
  c.result = fields.word<CompareResult>("result", kResults);
  if (c.target == CompareTarget::kValue) {
    c.value = fields.bytes("value");
  } else if (c.target == CompareTarget::kLease) {
    c.number = fields.hex("lease");
  } else {
    c.number = fields.number("number");
  }
  if (wrong.empty()) wrong = fields.verdict();
  return c;
}

RequestOp request_op(const Json& json, std::size_t depth, std::string& wrong);

std::vector<RequestOp> request_ops(Fields& fields, const char* name, std::size_t depth) {
  std::vector<RequestOp> ops;
  const Json* list = fields.find(name);
  if (list == nullptr) return ops;
  if (!list->is_array()) {
    fields.complain(std::string(name) + " must be a list");
    return ops;
  }
  std::string wrong;
  for (const Json& each : *list) {
    ops.push_back(request_op(each, depth, wrong));
    if (!wrong.empty()) break;
  }
  if (!wrong.empty()) fields.complain(std::string(name) + ": " + wrong);
  return ops;
}

TxnRequest txn_request(Fields& fields, std::size_t depth) {
  TxnRequest txn;
  if (depth > kTxnDepthMax) {
    fields.complain("transactions are nested deeper than " + std::to_string(kTxnDepthMax) +
                    " levels");
    return txn;
  }
  if (const Json* list = fields.find("compare")) {
    std::string wrong;
    if (!list->is_array()) wrong = "must be a list";
    if (list->is_array()) {
      for (const Json& each : *list) txn.compare.push_back(compare(each, wrong));
    }
    if (!wrong.empty()) fields.complain("compare: " + wrong);
  }
  txn.success = request_ops(fields, "success", depth);
  txn.failure = request_ops(fields, "failure", depth);
  return txn;
}

// Both kinds of holder, a whole request and an operation of a transaction, take the same words.
template <class Variant>
void assign_op(Fields& fields, std::size_t depth, Variant& to) {
  const std::string op = fields.text("op");
  if (op == "get" || op == "range") {
    to = range_request(fields);
  } else if (op == "put") {
    to = put_request(fields);
  } else if (op == "delete") {
    to = delete_request(fields);
  } else if (op == "txn") {
    to = txn_request(fields, depth);
  } else if constexpr (std::is_same_v<Variant, RequestBody>) {
    if (op == "compact") {
      to = CompactRequest{fields.number("revision"), fields.flag("physical")};
    } else if (op == "hash") {
      to = HashRequest{fields.number("revision")};
    } else if (op == "lease_grant") {
      to = LeaseGrantRequest{fields.number("ttl"), fields.hex("lease")};
    } else if (op == "lease_revoke") {
      to = LeaseRevokeRequest{fields.hex("lease")};
    } else if (op == "lease_keep_alive") {
      to = LeaseKeepAliveRequest{fields.hex("lease")};
    } else if (op == "lease_time_to_live") {
      to = LeaseTimeToLiveRequest{fields.hex("lease"), fields.flag("keys")};
    } else if (op == "leases") {
      to = LeasesRequest{};
    } else if (op == "move_leader") {
      to = MoveLeaderRequest{{static_cast<std::uint64_t>(fields.hex("target"))}};
    } else if (op == "defragment") {
      to = DefragmentRequest{};
    } else if (op == "alarm") {
      AlarmRequest alarm;
      alarm.action = fields.word<AlarmRequest::Action>("action", kActions);
      alarm.member = {static_cast<std::uint64_t>(fields.hex("member"))};
      alarm.type = fields.word<AlarmType>("alarm", kAlarms);
      to = alarm;
    } else if (const auto at = std::ranges::find(kMemberOps, op); at != kMemberOps.end()) {
      to = MemberChangeRequest{static_cast<MemberChangeRequest::Action>(at - kMemberOps.begin()),
                               {static_cast<std::uint64_t>(fields.hex("member"))},
                               fields.text("peer"),
                               fields.flag("learner"),
                               fields.flag("witness")};
    } else if (op == "outcome") {
      to = OutcomeRequest{.write = fields.text("id"), .of_request = fields.bytes("of_request")};
    } else if (op == "authenticate") {
      to = AuthenticateRequest{fields.text("user"), fields.text("password")};
    } else if (const auto at = std::ranges::find(kAuthOps, op); at != kAuthOps.end()) {
      to = auth_request(fields, static_cast<AuthRequest::Action>(at - kAuthOps.begin()));
    } else {
      std::string known =
          "op must be one of get, put, delete, txn, compact, hash, lease_grant, lease_revoke, "
          "lease_keep_alive, lease_time_to_live, leases, move_leader, defragment, alarm, "
          "member_add, member_remove, member_update, member_promote, outcome, "
          "authenticate";
      for (std::string_view each : kAuthOps) known += ", " + std::string(each);
      fields.complain(std::move(known));
    }
  } else {
    fields.complain("op must be one of get, put, delete, txn");
  }
}

RequestOp request_op(const Json& json, std::size_t depth, std::string& wrong) {
  Fields fields(json);
  RequestOp op;
  assign_op(fields, depth + 1, op.op);
  wrong = fields.verdict();
  return op;
}

Result<Json> parsed(ByteView text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return fail(ErrorCode::kMalformed, "the body is not JSON");
  return json;
}

// ---- Encoding -----------------------------------------------------------------------------------

Json bytes_json(ByteView bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  return Json{{"base64", base64_encoded(bytes)}};
}

void put_range(Json& to, const KeyRange& range) {
  to["key"] = bytes_json(range.key);
  if (!range.end.empty()) to["end"] = bytes_json(range.end);
}

void put_number(Json& to, const char* name, std::int64_t value) {
  if (value != 0) to[name] = value;
}

void put_lease(Json& to, std::int64_t id) {
  if (id != 0) to["lease"] = id_text(id);
}

void put_flag(Json& to, const char* name, bool value) {
  if (value) to[name] = true;
}

Json json_of(const RangeRequest& r) {
  Json to{{"op", "get"}};
  put_range(to, r.range);
  put_number(to, "limit", r.limit);
  put_number(to, "revision", r.revision);
  if (r.sort_order != SortOrder::kNone)
    to["order"] = kOrders[static_cast<std::size_t>(r.sort_order)];
  if (r.sort_target != SortTarget::kKey)
    to["sort"] = kSorts[static_cast<std::size_t>(r.sort_target)];
  put_flag(to, "serializable", r.serializable);
  put_flag(to, "keys_only", r.keys_only);
  put_flag(to, "count_only", r.count_only);
  put_number(to, "min_mod_revision", r.min_mod_revision);
  put_number(to, "max_mod_revision", r.max_mod_revision);
  put_number(to, "min_create_revision", r.min_create_revision);
  put_number(to, "max_create_revision", r.max_create_revision);
  return to;
}

Json json_of(const PutRequest& r) {
  Json to{{"op", "put"}, {"key", bytes_json(r.key)}, {"value", bytes_json(r.value)}};
  put_lease(to, r.lease);
  put_flag(to, "prev_kv", r.prev_kv);
  put_flag(to, "ignore_value", r.ignore_value);
  put_flag(to, "ignore_lease", r.ignore_lease);
  return to;
}

Json json_of(const DeleteRangeRequest& r) {
  Json to{{"op", "delete"}};
  put_range(to, r.range);
  put_flag(to, "prev_kv", r.prev_kv);
  return to;
}

Json json_of(const CompactRequest& r) {
  Json to{{"op", "compact"}, {"revision", r.revision}};
  put_flag(to, "physical", r.physical);
  return to;
}

Json json_of(const HashRequest& r) {
  Json to{{"op", "hash"}};
  put_number(to, "revision", r.revision);
  return to;
}

Json json_of(const LeaseGrantRequest& r) {
  Json to{{"op", "lease_grant"}, {"ttl", r.ttl}};
  put_lease(to, r.id);
  return to;
}

Json json_of(const LeaseRevokeRequest& r) {
  return {{"op", "lease_revoke"}, {"lease", id_text(r.id)}};
}

Json json_of(const LeaseKeepAliveRequest& r) {
  return {{"op", "lease_keep_alive"}, {"lease", id_text(r.id)}};
}

Json json_of(const LeaseTimeToLiveRequest& r) {
  Json to{{"op", "lease_time_to_live"}, {"lease", id_text(r.id)}};
  put_flag(to, "keys", r.keys);
  return to;
}

Json json_of(const MoveLeaderRequest& r) {
  return {{"op", "move_leader"}, {"target", id_text(r.target)}};
}

Json json_of(const DefragmentRequest&) { return {{"op", "defragment"}}; }

Json json_of(const AlarmRequest& r) {
  Json to{{"op", "alarm"}, {"action", kActions[static_cast<std::size_t>(r.action)]}};
  if (r.member) to["member"] = id_text(r.member);
  if (r.type != AlarmType::kNone) to["alarm"] = kAlarms[static_cast<std::size_t>(r.type)];
  return to;
}

Json json_of(const MemberChangeRequest& r) {
  Json to{{"op", kMemberOps[static_cast<std::size_t>(r.action)]}};
  if (r.member) to["member"] = id_text(r.member);
  if (!r.peer.empty()) to["peer"] = r.peer;
  put_flag(to, "learner", r.learner);
  put_flag(to, "witness", r.witness);
  return to;
}

Json json_of(const AuthRequest& r) {
  using Action = AuthRequest::Action;
  Json to{{"op", kAuthOps[static_cast<std::size_t>(r.action)]}};
  if (!r.user.empty()) to["user"] = r.user;
  if (!r.role.empty()) to["role"] = r.role;
  if (!r.secret.empty()) to["password"] = r.secret;
  const bool grants = r.action == Action::kGrantPermission;
  if (grants) to["access"] = kAccessWords[static_cast<std::size_t>(r.permission.kind)];
  if (grants || r.action == Action::kRevokePermission) put_range(to, r.permission.range);
  return to;
}

Json json_of(const AuthenticateRequest& r) {
  return {{"op", "authenticate"}, {"user", r.user}, {"password", r.password}};
}

Json json_of(const OutcomeRequest& r) {
  Json to{{"op", "outcome"}};
  if (!r.write.empty()) to["id"] = r.write;
  if (!r.of_request.empty()) to["of_request"] = bytes_json(r.of_request);
  return to;
}

Json json_of(const LeasesRequest&) { return {{"op", "leases"}}; }

Json json_of(const Compare& c) {
  Json to = Json::object();
  put_range(to, c.range);
  to["target"] = kTargets[static_cast<std::size_t>(c.target)];
  to["result"] = kResults[static_cast<std::size_t>(c.result)];
  if (c.target == CompareTarget::kValue) {
    to["value"] = bytes_json(c.value);
  } else if (c.target == CompareTarget::kLease) {
    put_lease(to, c.number);
  } else {
    to["number"] = c.number;
  }
  return to;
}

Json json_of(const TxnRequest& txn);

Json json_of(const RequestOp& op) {
  return std::visit(
      [](const auto& each) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(each)>, std::monostate>) {
          return Json::object();
        } else {
          return json_of(each);
        }
      },
      op.op);
}

Json json_of(const TxnRequest& txn) {
  Json to{{"op", "txn"}};
  to["compare"] = Json::array();
  to["success"] = Json::array();
  to["failure"] = Json::array();
  for (const Compare& each : txn.compare) to["compare"].push_back(json_of(each));
  for (const RequestOp& each : txn.success) to["success"].push_back(json_of(each));
  for (const RequestOp& each : txn.failure) to["failure"].push_back(json_of(each));
  return to;
}

}  // namespace

Result<Request> decode_api_request(ByteView text) {
  const Result<Json> json = parsed(text);
  if (!json) return std::unexpected(json.error());
  Fields fields(*json);
  Request request;
  request.request_id = fields.text("request_id");
  request.timeout = fields.number("timeout_micros");
  const std::int64_t epoch = fields.number("epoch");
  if (request.timeout < 0) fields.complain("timeout_micros must not be negative");
  if (epoch < 0) fields.complain("epoch must not be negative");
  request.epoch = Epoch{static_cast<std::uint64_t>(epoch)};
  assign_op(fields, 1, request.body);
  if (!fields.verdict().empty()) return fail(ErrorCode::kInvalid, fields.verdict());
  return request;
}

Result<LabCommand> decode_api_lab(ByteView text) {
  const Result<Json> json = parsed(text);
  if (!json) return std::unexpected(json.error());
  constexpr std::array<std::string_view, 3> kWords{"drop", "heal", "show"};
  Fields fields(*json);
  LabCommand command;
  if (!fields.has("op")) fields.complain("op must be one of drop, heal, show");
  command.kind = fields.word<LabCommand::Kind>("op", kWords);
  command.for_micros = fields.number("for_micros");
  if (command.for_micros < 0) fields.complain("for_micros must not be negative");
  if (const Json* drops = fields.find("drops")) {
    if (!drops->is_array()) fields.complain("drops must be a list");
    if (drops->is_array() && drops->size() > kMembersMax) fields.complain("too many drops");
    if (!drops->is_array() || drops->size() > kMembersMax) drops = nullptr;
    for (std::size_t i = 0; drops != nullptr && i < drops->size(); ++i) {
      Fields drop((*drops)[i]);
      command.drops.push_back(
          {.peer = drop.text("peer"), .in = drop.flag("in", true), .out = drop.flag("out", true)});
      if (!drop.verdict().empty()) fields.complain("drops: " + drop.verdict());
    }
  }
  if (!fields.verdict().empty()) return fail(ErrorCode::kInvalid, fields.verdict());
  return command;
}

std::string encode_api_request(const Request& request) {
  Json json = std::visit(
      [](const auto& body) -> Json {
        if constexpr (requires { json_of(body); }) {
          return json_of(body);
        } else {
          return Json::object();  // asked with GET, without a body
        }
      },
      request.body);
  if (!request.request_id.empty()) json["request_id"] = bytes_json(request.request_id);
  put_number(json, "timeout_micros", request.timeout);
  put_number(json, "epoch", static_cast<std::int64_t>(request.epoch.value));
  return json.dump();
}

std::string encode_api_lab_command(const LabCommand& command) {
  Json json = Json::object();
  switch (command.kind) {
    case LabCommand::Kind::kDrop:
      json["op"] = "drop";
      json["drops"] = Json::array();
      for (const LabDrop& drop : command.drops) {
        json["drops"].push_back({{"peer", drop.peer}, {"in", drop.in}, {"out", drop.out}});
      }
      put_number(json, "for_micros", command.for_micros);
      break;
    case LabCommand::Kind::kHeal:
      json["op"] = "heal";
      break;
    case LabCommand::Kind::kShow:
      json["op"] = "show";
      break;
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace capstan::net
