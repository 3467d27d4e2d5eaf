// Who asks: what a client says of itself reaches the node with each of its requests, in every
// protocol and through every kind of call.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "net/grpc_server.h"
#include "tests/net/h2_script.h"
#include "tests/net/http_script.h"
#include "tests/support/scripted_watch.h"

namespace capstan::net {

using namespace test;

namespace {

// The handler, and the callers of every request and watch it was given.
struct Heard {
  WatchScript watches;
  std::vector<std::string> watched_by;

  void listen(FakeHandler& handler) {
    handler.open_watch = [this, open = watches.opener()](WatchOptions options) mutable {
      watched_by.push_back(options.caller.token);
      return open(std::move(options));
    };
  }
  static void check_all(const FakeHandler& handler, const std::string& token) {
    CHECK(!handler.requests.empty());
    for (const Request& request : handler.requests) CHECK(request.caller.token == token);
  }
};

}  // namespace

TEST_CASE("caller: the token of a gRPC call goes with it, under either of its names") {
  for (const char* name : {"token", "authorization"}) {
    CAPTURE(name);
    Heard heard;
    H2Script script;
    heard.listen(script.handler);
    script.greet();
    const Headers with{{name, "a.token"}};
    const std::string lock = pb_bytes(1, "l") + pb_number(2, 7);
    script.say(h2_call(1, "/etcdserverpb.KV/Put", pb_bytes(1, "k"), with));
    script.say(h2_call(3, "/etcdserverpb.Lease/LeaseKeepAlive", pb_number(1, 7), with));
    script.say(h2_call(5, "/v3lockpb.Lock/Lock", lock, with));
    script.say(h2_call(7, "/v3lockpb.Lock/Lock", pb_bytes(1, "l") + pb_number(2, 8), with));
    script.say(h2_call(9, "/v3electionpb.Election/Observe", pb_bytes(1, "l"), with));
    script.say(h2_call(11, "/etcdserverpb.Watch/Watch", pb_bytes(1, pb_bytes(1, "k")), with));
    CHECK(script.handler.requests.size() >= 5);
    Heard::check_all(script.handler, "a.token");
    CHECK(heard.watched_by == std::vector<std::string>(3, "a.token"));
    // A claim that is given up is given up in the same name.
    script.handler.requests.clear();
    script.say(h2_frame(kResetStream, 0, 7, h2_number(8)));
    Heard::check_all(script.handler, "a.token");
    script.say(h2_call(13, "/etcdserverpb.KV/Put", pb_bytes(1, "k")));
    CHECK(script.handler.requests.back().caller.token.empty());
  }
}

TEST_CASE("caller: the Authorization of an HTTP request goes with it, and with no other") {
  for (const std::string before : {"", "Bearer ", "bearer "}) {
    Heard heard;
    HttpScript script;
    heard.listen(script.handler);
    const auto post = [&](const std::string& path, const std::string& body) {
      return script.say("POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + before +
                        "a.token\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                        body);
    };
    post("/v3/kv/put", R"({"key":"aw=="})");
    post("/api/v1/kv", R"({"op":"get","key":"k"})");
    post("/v3/lock/lock", R"({"name":"bA==","lease":"7"})");
    Heard::check_all(script.handler, "a.token");
    script.get("/api/v1/status");
    CHECK(script.handler.requests.back().caller.token.empty());
    post("/v3/watch", R"({"create_request":{"key":"aw=="}})");
    CHECK(heard.watched_by == std::vector<std::string>{"a.token"});
  }
}

TEST_CASE("caller: the name in a certificate goes with every request of its connection") {
  H2Script grpc;
  grpc.session->known_as("alice");
  grpc.greet();
  grpc.say(h2_call(1, "/etcdserverpb.KV/Put", pb_bytes(1, "k")));
  CHECK(grpc.handler.requests.back().caller.certificate_name == "alice");
  HttpScript http;
  http.session->known_as("alice");
  for (int i = 0; i < 2; ++i) {
    http.post("/v3/kv/put", R"({"key":"aw=="})");
    CHECK(http.handler.requests.back().caller.certificate_name == "alice");
    CHECK(!http.handler.requests.back().caller.node_itself);
  }
}

TEST_CASE("caller: every call of etcd's Auth says what it means") {
  using Action = AuthRequest::Action;
  struct Case {
    const char* call;
    std::string message;
    AuthRequest means;
  };
  const std::string name = pb_bytes(1, "n");
  const std::string range = pb_bytes(2, "k") + pb_bytes(3, "l");
  const std::vector<Case> cases{
      {"AuthEnable", "", {.action = Action::kEnable}},
      {"AuthDisable", "", {.action = Action::kDisable}},
      {"AuthStatus", "", {.action = Action::kStatus}},
      {"UserAdd",
       name + pb_bytes(2, "p"),
       {.action = Action::kAddUser, .user = "n", .secret = "p"}},
      {"UserAdd",
       name + pb_bytes(2, "p") + pb_bytes(3, pb_number(1, 1)),
       {.action = Action::kAddUser, .user = "n"}},
      {"UserGet", name, {.action = Action::kUser, .user = "n"}},
      {"UserList", "", {.action = Action::kUsers}},
      {"UserDelete", name, {.action = Action::kDeleteUser, .user = "n"}},
      {"UserChangePassword",
       name + pb_bytes(2, "p"),
       {.action = Action::kSetPassword, .user = "n", .secret = "p"}},
      {"UserGrantRole",
       name + pb_bytes(2, "r"),
       {.action = Action::kGrantRole, .user = "n", .role = "r"}},
      {"UserRevokeRole",
       name + pb_bytes(2, "r"),
       {.action = Action::kRevokeRole, .user = "n", .role = "r"}},
      {"RoleAdd", name, {.action = Action::kAddRole, .role = "n"}},
      {"RoleGet", name, {.action = Action::kRole, .role = "n"}},
      {"RoleList", "", {.action = Action::kRoles}},
      {"RoleDelete", name, {.action = Action::kDeleteRole, .role = "n"}},
      {"RoleGrantPermission",
       name + pb_bytes(2, pb_number(1, 2) + range),
       {.action = Action::kGrantPermission,
        .role = "n",
        .permission = {Permission::Kind::kReadWrite, {"k", "l"}}}},
      {"RoleRevokePermission",
       name + range,
       {.action = Action::kRevokePermission,
        .role = "n",
        .permission = {Permission::Kind::kRead, {"k", "l"}}}},
  };
  H2Script script;
  script.greet();
  std::uint32_t stream = 1;
  for (const Case& each : cases) {
    CAPTURE(each.call);
    script.say(h2_call(stream, "/etcdserverpb.Auth/" + std::string(each.call), each.message));
    stream += 2;
    const auto* got = std::get_if<AuthRequest>(&script.handler.requests.back().body);
    REQUIRE(got != nullptr);
    CHECK(got->action == each.means.action);
    CHECK(got->user == each.means.user);
    CHECK(got->role == each.means.role);
    CHECK(got->secret == each.means.secret);
    CHECK(got->permission.kind == each.means.permission.kind);
    CHECK(got->permission.range.key == each.means.permission.range.key);
    CHECK(got->permission.range.end == each.means.permission.range.end);
  }
  const auto frames = script.say(h2_call(stream, "/etcdserverpb.Auth/RoleGrantPermission",
                                         name + pb_bytes(2, pb_number(1, 9) + range)));
  CHECK(status_of(frames, stream) == "3");
}

}  // namespace capstan::net
