#include "net/json_api.h"

#include <doctest/doctest.h>

#include "net/reasons.h"
#include "tests/net/http_script.h"

namespace capstan::net {

using namespace test;

namespace {

std::string wrong_with(const std::string& json) {
  const Result<Request> request = decode_api_request(json);
  return request ? "" : request.error().context;
}

}  // namespace

TEST_CASE("api: a put, a get, a delete and a transaction over HTTP") {
  HttpScript script;
  CHECK(body_in(script.post("/api/v1/kv", R"({"op":"put","key":"a","value":"1"})")) ==
        R"({"v":1,"outcome":"ok","header":{"cluster":"cdf818194e3a8c32",)"
        R"("member":"8e9e05c52164694d","revision":2,"term":2},"write_id":"n1:3:1","epoch":1,)"
        R"("durability":"sync","replicas":{"have":2,"all":3},"type":"put"})");
  CHECK(body_in(script.post("/api/v1/kv", R"({"op":"get","key":"","prefix":true})"))
            .ends_with(R"("type":"range","kvs":[{"key":"a","value":"1","create_revision":2,)"
                       R"("mod_revision":2,"version":1}],"more":false,"count":1})"));
  CHECK(body_in(script.post("/api/v1/kv",
                            R"({"op":"txn","compare":[{"key":"a","target":"version","result":"=",)"
                            R"("number":1}],"success":[{"op":"put","key":"b","value":"2"}]})"))
            .ends_with(R"("type":"txn","succeeded":true,)"
                       R"("responses":[{"type":"put","revision":3}]})"));
  CHECK(body_in(script.post("/api/v1/kv", R"({"op":"delete","key":"a","prefix":true})"))
            .ends_with(R"("type":"delete","deleted":1})"));
}

TEST_CASE("api: bytes that are no text travel as base64, both ways") {
  HttpScript script;
  script.post("/api/v1/kv", R"({"op":"put","key":{"base64":"/wA="},"value":"caf\u00e9"})");
  const std::string got =
      body_in(script.post("/api/v1/kv", R"({"op":"get","key":{"base64":"/wA="}})"));
  CHECK(got.find(R"("key":{"base64":"/wA="},"value":"café")") != std::string::npos);
  const Result<ApiReply> reply = decode_api_reply(got);
  REQUIRE(reply);
  const auto& kvs = std::get<RangeResult>(reply->reply.body).kvs;
  REQUIRE(kvs.size() == 1);
  CHECK(kvs[0].key == std::string("\xff\0", 2));
  CHECK(kvs[0].value == "caf\xc3\xa9");
}

TEST_CASE("api: a field nobody knows or of the wrong kind is named in the error") {
  CHECK(wrong_with("[]") == "a JSON object is needed");
  CHECK(wrong_with("{") == "the body is not JSON");
  CHECK(wrong_with("{}") ==
        "op must be one of get, put, delete, txn, compact, hash, lease_grant, lease_revoke, "
        "lease_keep_alive, lease_time_to_live, leases, move_leader, defragment, "
        "alarm, member_add, member_remove, member_update, member_promote, "
        "outcome, authenticate, auth_enable, auth_disable, user_add, user_delete, user_password, "
        "user_grant, user_revoke, role_add, role_delete, role_grant, role_revoke, auth_status, "
        "user_get, user_list, role_get, role_list");
  CHECK(wrong_with(R"({"op":"txn","success":[{"op":"lease_revoke"}]})") ==
        "success: op must be one of get, put, delete, txn");
  CHECK(wrong_with(R"({"op":"put","key":"a","lease":7})") == "lease must be a string");
  CHECK(wrong_with(R"({"op":"lease_revoke","lease":"7g"})") ==
        "lease must be a string of hex digits");
  CHECK(wrong_with(R"({"op":"get","key":"a","serialisable":true})") ==
        "unknown field \"serialisable\"");
  CHECK(wrong_with(R"({"op":"get","key":"a","limit":"3"})") == "limit must be a whole number");
  CHECK(wrong_with(R"({"op":"get","key":"a","limit":9223372036854775808})") ==
        "limit must be a whole number");
  CHECK(wrong_with(R"({"op":"get","key":"a","order":"up"})") ==
        "order must be one of none, ascend, descend");
  CHECK(wrong_with(R"({"op":"put","key":{"base64":"?"}})") ==
        "key must be a string or {\"base64\":\"..\"}");
  CHECK(wrong_with(R"({"op":"get","key":"a","end":"b","prefix":true})") ==
        "prefix and end exclude each other");
  CHECK(wrong_with(R"({"op":"txn","success":[{"op":"put","kee":"a"}]})") ==
        "success: unknown field \"kee\"");
  CHECK(wrong_with(R"({"op":"put","key":"a","timeout_micros":-1})") ==
        "timeout_micros must not be negative");
  HttpScript script;
  const std::string refused = script.post("/api/v1/kv", "{}");
  CHECK(status_in(refused) == 400);
  CHECK(body_in(refused) ==
        R"({"v":1,"outcome":"failed","reason":"invalid",)"
        R"("detail":"op must be one of get, put, delete, txn, compact, hash, lease_grant, )"
        R"(lease_revoke, lease_keep_alive, lease_time_to_live, leases, move_leader, )"
        R"(defragment, alarm, member_add, member_remove, member_update, member_promote, )"
        R"(outcome, authenticate, auth_enable, auth_disable, user_add, user_delete, )"
        R"(user_password, )"
        R"(user_grant, user_revoke, role_add, role_delete, role_grant, role_revoke, )"
        R"(auth_status, user_get, user_list, role_get, role_list"})");
}

TEST_CASE("api: every request survives the way out and in") {
  RangeRequest range;
  range.range = {"a", "b"};
  range.limit = 3;
  range.revision = 9;
  range.sort_order = SortOrder::kDescend;
  range.sort_target = SortTarget::kMod;
  range.serializable = range.keys_only = range.count_only = true;
  range.min_mod_revision = 1;
  range.max_mod_revision = 2;
  range.min_create_revision = 3;
  range.max_create_revision = 4;
  PutRequest put{.key = "k",
                 .value = std::string("\0\xff", 2),
                 .lease = 4,
                 .prev_kv = true,
                 .ignore_value = true,
                 .ignore_lease = true};
  DeleteRangeRequest erase{.range = {"x", "z"}, .prev_kv = true};
  TxnRequest inner;
  inner.failure = {{erase}};
  TxnRequest txn;
  txn.compare = {{CompareResult::kNotEqual, CompareTarget::kValue, {"a", ""}, 0, "v"},
                 {CompareResult::kLess, CompareTarget::kLease, {"a", "b"}, 7, ""}};
  txn.success = {{put}, {range}};
  txn.failure = {{inner}};
  for (const RequestBody& body :
       {RequestBody(range),
        RequestBody(put),
        RequestBody(erase),
        RequestBody(txn),
        RequestBody(CompactRequest{17, true}),
        RequestBody(HashRequest{17}),
        RequestBody(LeaseGrantRequest{60, -1}),
        RequestBody(LeaseRevokeRequest{7}),
        RequestBody(LeaseKeepAliveRequest{INT64_MAX}),
        RequestBody(LeaseTimeToLiveRequest{7, true}),
        RequestBody(LeasesRequest{}),
        RequestBody(MoveLeaderRequest{{UINT64_MAX}}),
        RequestBody(DefragmentRequest{}),
        RequestBody(AlarmRequest{}),
        RequestBody(OutcomeRequest{.write = "n1:3:17"}),
        RequestBody(OutcomeRequest{.of_request = "order"}),
        RequestBody(AuthenticateRequest{"u", "p"}),
        RequestBody(AuthRequest{}),
        RequestBody(
            AuthRequest{.action = AuthRequest::Action::kAddUser, .user = "u", .secret = "p"}),
        RequestBody(AuthRequest{.action = AuthRequest::Action::kGrantPermission,
                                .role = "r",
                                .permission = {Permission::Kind::kReadWrite, {"a", "b"}}}),
        RequestBody(MemberChangeRequest{MemberChangeRequest::Action::kAdd, {}, "h:1", true}),
        RequestBody(MemberChangeRequest{MemberChangeRequest::Action::kPromote, {UINT64_MAX}}),
        RequestBody(AlarmRequest{AlarmRequest::Action::kClear, {7}, AlarmType::kCorrupt, false})}) {
    Request request;
    request.body = body;
    request.request_id = "r-1";
    request.timeout = 250'000;
    request.epoch = Epoch{2};
    const std::string once = encode_api_request(request);
    CAPTURE(once);
    const Result<Request> back = decode_api_request(once);
    REQUIRE(back);
    CHECK(back->request_id == "r-1");
    CHECK(back->timeout == 250'000);
    CHECK(back->epoch == Epoch{2});
    CHECK(back->body.index() == body.index());
    CHECK(encode_api_request(*back) == once);
  }
  CHECK(encode_api_request([&] {
          Request request;
          request.body = txn;
          return request;
        }()) ==
        R"({"op":"txn","compare":[{"key":"a","target":"value","result":"!=","value":"v"},)"
        R"({"key":"a","end":"b","target":"lease","result":"<",)"
        R"("lease":"0000000000000007"}],)"
        R"("success":[{"op":"put","key":"k","value":{"base64":"AP8="},"lease":"0000000000000004",)"
        R"("prev_kv":true,)"
        R"("ignore_value":true,"ignore_lease":true},{"op":"get","key":"a","end":"b","limit":3,)"
        R"("revision":9,"order":"descend","sort":"mod","serializable":true,"keys_only":true,)"
        R"("count_only":true,"min_mod_revision":1,"max_mod_revision":2,"min_create_revision":3,)"
        R"("max_create_revision":4}],"failure":[{"op":"txn","compare":[],"success":[],)"
        R"("failure":[{"op":"delete","key":"x","end":"z","prev_kv":true}]}]})");
}

TEST_CASE("api: every reply survives the way out and in") {
  FakeHandler handler;
  const auto again = [&handler](const Reply& reply) {
    const std::string once = encode_api_reply(reply, handler);
    CAPTURE(once);
    Result<ApiReply> back = decode_api_reply(once);
    REQUIRE(back);
    CHECK(back->reply.body.index() == reply.body.index());
    // What cannot travel is given back, and then the second text must be the first.
    back->reply.write_id = reply.write_id;
    CHECK(encode_api_reply(back->reply, handler) == once);
    return std::move(*back);
  };
  Reply reply;
  reply.header = {{1}, {2}, {3}, {4}};
  reply.epoch = Epoch{1};
  reply.write_id = {.actor = {.node = {77}, .incarnation = 1}, .sequence = {5}};
  reply.durability = Durability::kInterval;
  reply.outcome = Outcome::kOkLocal;
  reply.replicas_have = 1;
  reply.replicas_all = 3;
  const KeyValue kv{"k", std::string("\xff", 1), {1}, {2}, 3, 4};
  RangeResult range{.kvs = {kv, kv}, .more = true, .count = 9};
  TxnResult txn;
  txn.succeeded = true;
  txn.responses = {{range, {7}}, {PutResult{kv}, {8}}, {DeleteRangeResult{2, {kv}}, {9}}};
  reply.body = txn;
  CHECK(again(reply).write_id == "n1:1:5");
  reply.body = HashResult{0xfeedface, {7}};
  CHECK(again(reply).write_id == "n1:1:5");
  reply.body = CompactResult{};
  CHECK(again(reply).write_id == "n1:1:5");
  reply.body = LeaseGrantResult{-2, 60};
  CHECK(std::get<LeaseGrantResult>(again(reply).reply.body).id == -2);
  reply.body = LeaseRevokeResult{};
  again(reply);
  reply.body = MoveLeaderResult{};
  again(reply);
  reply.body = DefragmentResult{};
  again(reply);
  PeerStatus learner;
  learner.name = "n4";
  learner.learner = learner.witness = true;
  reply.body = MemberChangeResult{{7}, {learner}};
  const auto after = std::get<MemberChangeResult>(again(reply).reply.body);
  CHECK(after.member == MemberId{7});
  CHECK(after.members.at(0).learner);
  CHECK(after.members.at(0).witness);
  reply.body = OutcomeResult{Fate::kApplied, {7}};
  CHECK(std::get<OutcomeResult>(again(reply).reply.body).fate == Fate::kApplied);
  CHECK(std::get<OutcomeResult>(again(reply).reply.body).revision == Revision{7});
  reply.body = OutcomeResult{Fate::kForgotten, {}};
  CHECK(std::get<OutcomeResult>(again(reply).reply.body).fate == Fate::kForgotten);
  reply.body = AuthenticateResult{"a.token", "never told"};
  CHECK(std::get<AuthenticateResult>(again(reply).reply.body).token == "a.token");
  CHECK(std::get<AuthenticateResult>(again(reply).reply.body).hash.empty());
  reply.body = AuthResult{true, 9, {"a", "b"}, {{Permission::Kind::kWrite, {"k", "l"}}}};
  const auto auth = std::get<AuthResult>(again(reply).reply.body);
  CHECK(auth.enabled);
  CHECK(auth.revision == 9);
  CHECK(auth.names == std::vector<std::string>{"a", "b"});
  CHECK(auth.permissions.at(0).kind == Permission::Kind::kWrite);
  CHECK(auth.permissions.at(0).range.end == "l");
  reply.body = AlarmResult{{{{1}, AlarmType::kNoSpace}, {{2}, AlarmType::kCorrupt}}};
  CHECK(std::get<AlarmResult>(again(reply).reply.body).alarms[1].member == MemberId{2});
  reply.body = LeaseKeepAliveResult{INT64_MAX, 60};
  CHECK(std::get<LeaseKeepAliveResult>(again(reply).reply.body).ttl == 60);
  reply.body = LeaseTimeToLiveResult{7, 59, 60, {"k", std::string("\xff", 1)}};
  CHECK(std::get<LeaseTimeToLiveResult>(again(reply).reply.body).keys[1] == std::string("\xff", 1));
  reply.body = LeasesResult{{7, -1}};
  CHECK(std::get<LeasesResult>(again(reply).reply.body).ids == std::vector<std::int64_t>{7, -1});
  reply.body = txn;
  CHECK(again(reply).reply.durability == Durability::kInterval);
  reply.age_at_least = 4'100'000;
  reply.body = range;
  CHECK(again(reply).reply.age_at_least == 4'100'000);
  Conflict conflict{.number = 3,
                    .key = "k",
                    .loser_id = "n1:1:2",
                    .winner_id = "n2:1:1",
                    .loser_value = "a",
                    .winner_value = "b",
                    .loser_deletes = true,
                    .winner_deletes = false,
                    .loser_wall = 10,
                    .winner_wall = 11,
                    .rule = "lww"};
  reply.body = ConflictsResult{.conflicts = {conflict}, .total = 4, .dropped = 1};
  again(reply);
  reply.body = BooksResult{.survived = {"n1:1:1"}, .superseded = {"n1:1:2"}, .lost = {"n2:1:3"}};
  again(reply);
  Request status;
  status.body = StatusRequest{};
  handler.handle(std::move(status), [&](Reply r) {
    auto& s = std::get<StatusResult>(r.body);
    s.errors = {"an alarm"};
    s.vector_text = "n1:1:5";
    s.digest_text = "00ff00ff00ff00ff";
    s.divergence_alarm = true;
    s.sync_ident_bytes = 512;
    s.alone_for = 7;
    s.commit_stall = 2'100'000;
    s.disk_stall = 3;
    const ApiReply back = again(r);
    CHECK(std::get<StatusResult>(back.reply.body).peers.size() == 2);
    CHECK(std::get<StatusResult>(back.reply.body).leader == MemberId{0x8e9e05c52164694d});
  });
  Reply no = refused(Reason::kNoQuorum, "n1 reaches 1 of 3 voters.");
  const ApiReply back = again(no);
  CHECK(back.reply.outcome == Outcome::kFailed);
  CHECK(back.reply.reason == Reason::kNoQuorum);
  CHECK(back.reply.detail == "n1 reaches 1 of 3 voters.");
  CHECK_FALSE(decode_api_reply(R"({"health":"true"})"));
  CHECK_FALSE(decode_api_reply("nothing"));
}

TEST_CASE("api: HTTP's status follows the outcome") {
  HttpScript script;
  const std::string put = R"({"op":"put","key":"a","value":"1"})";
  script.handler.forced = refused(Reason::kNoQuorum, "");
  CHECK(status_in(script.post("/api/v1/kv", put)) == 503);
  script.handler.forced = refused(Reason::kNotInAp, "");
  CHECK(status_in(script.post("/api/v1/kv", put)) == 412);
  Reply unknown;
  unknown.outcome = Outcome::kUnknown;
  unknown.reason = Reason::kTimeout;
  script.handler.forced = unknown;
  CHECK(status_in(script.post("/api/v1/kv", put)) == 504);
  Reply local;
  local.outcome = Outcome::kOkLocal;
  script.handler.forced = local;
  CHECK(status_in(script.post("/api/v1/kv", put)) == 200);
}

TEST_CASE("api: the lab's commands, and their refusal on a node without --lab") {
  HttpScript script;
  const std::string cut = body_in(
      script.post("/api/v1/lab", R"({"op":"drop","drops":[{"peer":"n2"},{"peer":"n3","in":false}],)"
                                 R"("for_micros":5000000})"));
  CHECK(cut == R"({"v":1,"outcome":"ok","faults":[{"peer":"n2","in":true,"out":true,)"
               R"("remaining_micros":5000000},{"peer":"n3","in":false,"out":true,)"
               R"("remaining_micros":5000000}]})");
  const Result<LabReply> reply = decode_api_lab_reply(cut);
  REQUIRE(reply);
  REQUIRE(reply->faults.size() == 2);
  CHECK(reply->faults[1].peer == "n3");
  CHECK_FALSE(reply->faults[1].in);
  CHECK(body_in(script.post("/api/v1/lab", R"({"op":"heal"})")).ends_with(R"("faults":[]})"));
  CHECK(status_in(script.post("/api/v1/lab", R"({"op":"boom"})")) == 400);
  CHECK(status_in(script.post("/api/v1/lab", R"({"op":"drop","drops":[{"pear":"n2"}]})")) == 400);
  LabCommand command;
  command.kind = LabCommand::Kind::kDrop;
  command.drops = {{.peer = "n2", .in = true, .out = false}};
  command.for_micros = 9;
  const Result<LabCommand> back = decode_api_lab(encode_api_lab_command(command));
  REQUIRE(back);
  CHECK(back->kind == LabCommand::Kind::kDrop);
  REQUIRE(back->drops.size() == 1);
  CHECK_FALSE(back->drops[0].out);
  CHECK(back->for_micros == 9);
  script.handler.lab_allowed = false;
  const std::string refused = script.post("/api/v1/lab", R"({"op":"show"})");
  CHECK(status_in(refused) == 403);
  CHECK(body_in(refused).find(R"("outcome":"failed","reason":"not_lab")") != std::string::npos);
}

TEST_CASE("api: questions are asked with GET, and their numbers come in the query") {
  HttpScript script;
  CHECK(body_in(script.get("/api/v1/books"))
            .ends_with(R"("type":"books","survived":["n1:3:2"],"superseded":["n1:3:1"],)"
                       R"("lost":["n2:1:4"]})"));
  CHECK(body_in(script.get("/api/v1/members")).find(R"("client_urls":["http://127.0.0.1:2381"])") !=
        std::string::npos);
  script.get("/api/v1/conflicts?after=17&limit=5");
  const auto& asked = std::get<ConflictsRequest>(script.handler.requests.back().body);
  CHECK(asked.after == 17);
  CHECK(asked.limit == 5);
  script.get("/api/v1/conflicts?limit=x&after");
  CHECK(std::get<ConflictsRequest>(script.handler.requests.back().body).limit == 1000);
}

TEST_CASE("api: a body nested without end is refused, not followed") {
  HttpScript script;
  for (const char* path : {"/api/v1/kv", "/v3/kv/txn", "/api/v1/lab"}) {
    CAPTURE(path);
    CHECK(status_in(script.post(path, std::string(1'000'000, '['))) == 400);
    std::string txns;
    for (int i = 0; i < 20'000; ++i) txns += R"({"op":"txn","success":[)";
    CHECK(status_in(script.post(path, txns)) == 400);
    for (int i = 0; i < 20'000; ++i) txns += "]}";
    CHECK(status_in(script.post(path, txns)) == 400);
  }
}

}  // namespace capstan::net
