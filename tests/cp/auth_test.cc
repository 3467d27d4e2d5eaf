#include "cp/auth.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cp/token.h"
#include "tests/cp/cp_cluster.h"
#include "tests/cp/machine_store.h"
#include "tests/support/request_ops.h"

using namespace capstan;
using namespace capstan::cp;
using test::CpCluster;

namespace {

using Action = AuthRequest::Action;
using Kind = Permission::Kind;

const std::string kSigningKey(kAuthKeyBytes, 'k');

AuthRequest enable() { return {.action = Action::kEnable, .secret = kSigningKey}; }
AuthRequest add_user(std::string name) {
  return {.action = Action::kAddUser, .user = name, .secret = "hash of " + name};
}
AuthRequest add_role(std::string name) { return {.action = Action::kAddRole, .role = name}; }
AuthRequest give(std::string user, std::string role) {
  return {.action = Action::kGrantRole, .user = user, .role = role};
}
AuthRequest allow(std::string role, Kind kind, KeyRange range) {
  return {.action = Action::kGrantPermission, .role = role, .permission = {kind, range}};
}
const std::vector<AuthRequest> kRoot{add_user("root"), give("root", "root")};

struct Store : test::MachineStore {
  Reason refused(const RequestBody& body, const std::optional<Principal>& who = {}) {
    const Applied done = run(body, "", who);
    return done.refusal ? done.refusal->reason : Reason::kNone;
  }
  Principal user(const std::string& name) { return machine.auth().login(name).value().principal; }
  Reason as(const std::string& name, const RequestBody& body) { return refused(body, user(name)); }
  // root, and alice, who may write [a, c) and read [b, d).
  void begin() {
    for (const AuthRequest& each : kRoot) CHECK(refused(each) == Reason::kNone);
    for (const AuthRequest& each :
         {add_user("alice"), add_role("r"), give("alice", "r"),
          allow("r", Kind::kWrite, {"a", "c"}), allow("r", Kind::kRead, {"b", "d"}), enable()}) {
      CHECK(refused(each) == Reason::kNone);
    }
  }
  bool may_read(const std::string& name, const KeyRange& range) {
    return !machine.auth().must_read(user(name), range);
  }
};

TxnRequest txn_of(RequestOp op) {
  TxnRequest txn;
  txn.failure = {std::move(op)};
  return txn;
}

}  // namespace

TEST_CASE("auth: what users and roles are asked to become, etcd's refusals") {
  Store store;
  CHECK(store.refused(enable()) == Reason::kRootUserMissing);
  CHECK(store.refused(add_user("root")) == Reason::kNone);
  CHECK(store.refused(enable()) == Reason::kRootRoleMissing);
  CHECK(store.refused(give("root", "root")) == Reason::kNone);  // a role that need not be there
  CHECK(store.refused(add_user("root")) == Reason::kUserExists);
  CHECK(store.refused(add_user("")) == Reason::kUserEmpty);
  CHECK(store.refused(add_role("")) == Reason::kRoleEmpty);
  CHECK(store.refused(add_role("r")) == Reason::kNone);
  CHECK(store.refused(add_role("r")) == Reason::kRoleExists);
  CHECK(store.refused(give("nobody", "r")) == Reason::kUserNotFound);
  CHECK(store.refused(give("root", "nothing")) == Reason::kRoleNotFound);
  CHECK(store.refused({AuthRequest{.action = Action::kRevokeRole, .user = "root", .role = "r"}}) ==
        Reason::kRoleNotGranted);
  CHECK(store.refused({AuthRequest{.action = Action::kDeleteUser, .user = "nobody"}}) ==
        Reason::kUserNotFound);
  CHECK(store.refused({AuthRequest{.action = Action::kDeleteRole, .role = "nothing"}}) ==
        Reason::kRoleNotFound);
  CHECK(store.refused(allow("nothing", Kind::kRead, {"a", ""})) == Reason::kRoleNotFound);
  AuthRequest revoke{.action = Action::kRevokePermission, .role = "r"};
  revoke.permission.range = {"a", "b"};
  CHECK(store.refused(revoke) == Reason::kPermissionNotGranted);
  CHECK(store.refused(allow("r", Kind::kRead, {"a", "b"})) == Reason::kNone);
  CHECK(store.refused(revoke) == Reason::kNone);

  const std::uint64_t revision = store.machine.auth().revision();
  CHECK(store.refused(enable()) == Reason::kNone);
  CHECK(store.machine.auth().revision() == revision + 1);
  CHECK(store.as("root", AuthRequest{.action = Action::kDeleteUser, .user = "root"}) ==
        Reason::kInvalidAuth);
  CHECK(store.as("root",
                 AuthRequest{.action = Action::kRevokeRole, .user = "root", .role = "root"}) ==
        Reason::kInvalidAuth);
  CHECK(store.as("root", AuthRequest{.action = Action::kDeleteRole, .role = "root"}) ==
        Reason::kInvalidAuth);
  CHECK(store.machine.auth().revision() == revision + 1);
  CHECK(store.as("root", AuthRequest{.action = Action::kDisable}) == Reason::kNone);
  CHECK(!store.machine.auth().enabled());
  CHECK(store.machine.auth().key().empty());
}

TEST_CASE("auth: permissions of all roles count together, and must cover all that is asked") {
  Store store;
  store.begin();
  const auto grant = [&](Kind kind, KeyRange range) {
    CHECK(store.as("root", allow("r", kind, range)) == Reason::kNone);
  };
  CHECK(store.may_read("alice", {"b", ""}));
  CHECK(store.may_read("alice", {"b", "d"}));
  CHECK(!store.may_read("alice", {"b", "d\x01"}));
  CHECK(!store.may_read("alice", {"a", "c"}));
  CHECK(!store.may_read("alice", {"d", ""}));
  CHECK(!store.may_read("alice", {"b", std::string(1, '\0')}));  // from b on
  // Another role, and ranges that only touch.
  CHECK(store.as("root", add_role("s")) == Reason::kNone);
  CHECK(store.as("root", allow("s", Kind::kReadWrite, {"d", "f"})) == Reason::kNone);
  CHECK(!store.may_read("alice", {"c", "e"}));
  CHECK(store.as("root", give("alice", "s")) == Reason::kNone);
  CHECK(store.may_read("alice", {"c", "e"}));
  CHECK(store.may_read("alice", {"b", "f"}));
  // A single key, next to a range.
  grant(Kind::kRead, {"f", ""});
  CHECK(store.may_read("alice", {"e", std::string("f\0", 2)}));
  CHECK(!store.may_read("alice", {"e", "g"}));
  // One that covers others, and one without an end.
  grant(Kind::kRead, {"a", "zz"});
  CHECK(store.may_read("alice", {"a", "zz"}));
  CHECK(!store.may_read("alice", {"z", std::string(1, '\0')}));
  grant(Kind::kRead, {"m", std::string(1, '\0')});
  CHECK(store.may_read("alice", {"z", std::string(1, '\0')}));
  CHECK(store.may_read("alice", {"a", std::string(1, '\0')}));
  // One that is backwards gives nothing.
  grant(Kind::kWrite, {"z", "y"});
  CHECK(store.as("alice", PutRequest{.key = "z", .value = "1"}) == Reason::kPermissionDenied);
  // Taken back.
  CHECK(store.as("root", AuthRequest{.action = Action::kDeleteRole, .role = "r"}) == Reason::kNone);
  CHECK(!store.may_read("alice", {"b", ""}));
  CHECK(store.may_read("alice", {"e", ""}));
}

TEST_CASE("auth: what each change needs") {
  Store store;
  store.begin();
  const auto alice = [&](const RequestBody& body) { return store.as("alice", body); };
  const Reason denied = Reason::kPermissionDenied;
  CHECK(alice(PutRequest{.key = "a", .value = "1"}) == Reason::kNone);
  CHECK(alice(PutRequest{.key = "c", .value = "1"}) == denied);
  CHECK(alice(PutRequest{.key = "a", .value = "1", .prev_kv = true}) == denied);
  CHECK(alice(PutRequest{.key = "b", .value = "1", .prev_kv = true}) == Reason::kNone);
  CHECK(alice(DeleteRangeRequest{.range = {"a", "c"}}) == Reason::kNone);
  CHECK(alice(DeleteRangeRequest{.range = {"a", "d"}}) == denied);
  CHECK(alice(DeleteRangeRequest{.range = {"a", "c"}, .prev_kv = true}) == denied);
  CHECK(alice(DeleteRangeRequest{.range = {"b", "c"}, .prev_kv = true}) == Reason::kNone);

  // Both branches and all compares, however deep.
  CHECK(alice(txn_of({PutRequest{.key = "a", .value = "1"}})) == Reason::kNone);
  CHECK(alice(txn_of({PutRequest{.key = "c", .value = "1"}})) == denied);
  CHECK(alice(txn_of({txn_of({PutRequest{.key = "c", .value = "1"}})})) == denied);
  TxnRequest compares = txn_of({PutRequest{.key = "a", .value = "1"}});
  compares.compare.emplace_back().range = {"b", ""};
  CHECK(alice(compares) == Reason::kNone);
  compares.compare.emplace_back().range = {"a", ""};
  CHECK(alice(compares) == denied);
  CHECK(alice(txn_of({RangeRequest{.range = {"a", ""}}})) == denied);

  // All keys of a lease hang on whoever puts another under it, or ends it.
  CHECK(store.as("root", LeaseGrantRequest{.ttl = 10, .id = 5}) == Reason::kNone);
  CHECK(alice(PutRequest{.key = "a", .value = "1", .lease = 5}) == Reason::kNone);
  CHECK(store.as("root", PutRequest{.key = "x", .value = "1", .lease = 5}) == Reason::kNone);
  CHECK(alice(PutRequest{.key = "b", .value = "1", .lease = 5}) == denied);
  CHECK(alice(LeaseRevokeRequest{5}) == denied);
  CHECK(alice(LeaseKeepAliveRequest{5}) == Reason::kNone);
  CHECK(alice(LeaseGrantRequest{.ttl = 10, .id = 6}) == Reason::kNone);
  CHECK(alice(LeaseRevokeRequest{6}) == Reason::kNone);

  CHECK(alice(add_user("mallory")) == denied);
  CHECK(alice(AuthRequest{.action = Action::kDisable}) == denied);
  CHECK(alice(AlarmRequest{
            .action = AlarmRequest::Action::kRaise, .member = {1}, .type = AlarmType::kNoSpace}) ==
        denied);
  CHECK(alice(CompactRequest{.revision = 2}) == Reason::kNone);

  // Nobody, somebody from before, the node itself.
  CHECK(store.refused(PutRequest{.key = "a", .value = "1"}) == Reason::kUserEmpty);
  CHECK(store.refused(CompactRequest{.revision = 3}) == Reason::kUserEmpty);
  const Principal before = store.user("alice");
  CHECK(store.as("root", AuthRequest{.action = Action::kSetPassword,
                                     .user = "alice",
                                     .secret = "another"}) == Reason::kNone);
  CHECK(store.refused(PutRequest{.key = "a", .value = "1"}, before) == Reason::kInvalidToken);
  CHECK(alice(PutRequest{.key = "a", .value = "1"}) == Reason::kNone);
  const Principal gone = store.user("alice");
  CHECK(store.as("root", AuthRequest{.action = Action::kDeleteUser, .user = "alice"}) ==
        Reason::kNone);
  CHECK(store.as("root", add_user("alice")) == Reason::kNone);
  CHECK(store.refused(CompactRequest{.revision = 3}, gone) == Reason::kInvalidToken);
  // By certificate, whoever has the name now.
  CHECK(store.refused(CompactRequest{.revision = 3}, Principal{"alice"}) == Reason::kNone);
  CHECK(store.refused(CompactRequest{.revision = 4}, Principal{"eve"}) == denied);
  CHECK(store.refused(CompactRequest{.revision = 4}, Principal{}) == Reason::kNone);
}

TEST_CASE("auth: a checkpoint holds all of it, and the fingerprint every change") {
  Store store;
  std::uint64_t before = store.machine.fingerprint();
  store.begin();
  for (const AuthRequest& each : {allow("r", Kind::kReadWrite, {"x", ""}), add_user("bob"),
                                  AuthRequest{.action = Action::kDeleteUser, .user = "bob"}}) {
    CHECK(store.as("root", each) == Reason::kNone);
    CHECK(store.machine.fingerprint() != before);
    before = store.machine.fingerprint();
  }
  store.machine.save({});
  REQUIRE(store.base.commit(*store.table.freeze()).has_value());
  Table table(store.base);
  StateMachine other(table);
  CHECK(other.fingerprint() == before);
  CHECK(other.auth().enabled());
  CHECK(other.auth().key() == kSigningKey);
  CHECK(other.auth().revision() == store.machine.auth().revision());
  CHECK(other.auth().login("alice")->hash == "hash of alice");
  CHECK(other.auth().login("alice")->principal == store.user("alice"));
  CHECK(!other.auth().login("bob"));
  AuthResult role;
  CHECK(!other.auth().answer({.action = Action::kRole, .role = "r"}, role));
  CHECK(role.permissions.size() == 3);
  CHECK(!other.auth().must_write(store.user("alice"), {"x", ""}));
  CHECK(other.auth().must_write(store.user("alice"), {"y", ""}));
}

TEST_CASE("auth: a retry under its request id is told what was done, though nobody would now be") {
  Store store;
  store.begin();
  const PutRequest put{.key = "a", .value = "1"};
  const Revision done = store.run(put, "id", store.user("alice")).revision;
  CHECK(
      store.as("root", AuthRequest{.action = Action::kRevokeRole, .user = "alice", .role = "r"}) ==
      Reason::kNone);
  const Applied again = store.run(put, "id", store.user("alice"));
  CHECK(!again.refusal);
  CHECK(again.revision == done);
  CHECK(store.as("alice", put) == Reason::kPermissionDenied);
}

// ---- Tokens -------------------------------------------------------------------------------------

TEST_CASE("token: good for its key, its cluster and its time, and nothing else") {
  Tokens here({7}, 300 * kSecond), elsewhere({7}, 300 * kSecond), foreign({8}, 300 * kSecond);
  const Principal alice{"alice", 12};
  const Now now{50 * kSecond, 1'000'000 * kSecond};
  const auto later = [&](Micros after) { return Now{now.monotonic + after, now.wall + after}; };
  const std::string token = here.issue(kSigningKey, alice, now, 1);
  CHECK(token != here.issue(kSigningKey, alice, now, 2));
  CHECK(here.check(kSigningKey, token, now) == alice);
  CHECK(elsewhere.check(kSigningKey, token, later(299 * kSecond)) == alice);
  CHECK(!foreign.check(kSigningKey, token, now));
  CHECK(!here.check(std::string(kAuthKeyBytes, 'x'), token, now));
  CHECK(!here.check("", token, now));
  // Shown in time it lives on, where it was shown.
  CHECK(here.check(kSigningKey, token, later(200 * kSecond)) == alice);
  CHECK(here.check(kSigningKey, token, later(499 * kSecond)) == alice);
  CHECK(here.check(kSigningKey, token, later(798 * kSecond)) == alice);
  CHECK(!here.check(kSigningKey, token, later(1098 * kSecond)));
  CHECK(!foreign.check(kSigningKey, token, later(400 * kSecond)));
  // Every change of it is noticed.
  Tokens fresh({7}, 300 * kSecond);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string other = token;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    CHECK_MESSAGE(!fresh.check(kSigningKey, other, now), i);
  }
  for (const std::string& none : {std::string(), std::string("x"), std::string(2000, 'A'),
                                  token.substr(1), token + "A", std::string("a.b\0c", 5)}) {
    CHECK(!fresh.check(kSigningKey, none, now));
  }
}

// ---- The engine ---------------------------------------------------------------------------------

namespace {

struct Guarded {
  CpCluster cluster{3};
  Caller root, alice;

  Reply ask(int n, RequestBody body, Caller caller = {}) {
    return cluster.wait(cluster.submit(n, std::move(body), {}, 0, std::move(caller)));
  }
  Caller login(int n, const std::string& user) {
    const Reply reply = ask(n, AuthenticateRequest{user, "not looked at here"});
    const auto* got = std::get_if<AuthenticateResult>(&reply.body);
    REQUIRE(got != nullptr);
    CHECK(got->hash == "hash of " + user);
    return {.token = got->token};
  }
  Guarded() {
    cluster.elect();
    for (const AuthRequest& each :
         {add_user("root"), give("root", "root"), add_user("alice"), add_role("r"),
          give("alice", "r"), allow("r", Kind::kReadWrite, {"a", "b"}), enable()}) {
      CHECK(ask(1, each).outcome == Outcome::kOk);
    }
    cluster.run(5);  // every member knows
    root = login(2, "root");
    alice = login(3, "alice");
  }
};

RangeRequest get(std::string key) { return {.range = {std::move(key), ""}}; }

}  // namespace

TEST_CASE("engine: with auth on a token counts at every member, and nothing else does") {
  Guarded g;
  for (int n = 1; n <= 3; ++n) {
    CHECK(g.ask(n, PutRequest{.key = "a", .value = "1"}).reason == Reason::kUserEmpty);
    CHECK(g.ask(n, get("a")).reason == Reason::kUserEmpty);
    CHECK(g.ask(n, get("a"), {.token = "forged"}).reason == Reason::kInvalidToken);
    CHECK(g.ask(n, PutRequest{.key = "a", .value = "1"}, g.alice).outcome == Outcome::kOk);
    CHECK(g.ask(n, get("a"), g.alice).outcome == Outcome::kOk);
    RangeRequest stale = get("x");
    stale.serializable = true;
    CHECK(g.ask(n, stale, g.alice).reason == Reason::kPermissionDenied);
    CHECK(g.ask(n, get("x"), g.alice).reason == Reason::kPermissionDenied);
    CHECK(g.ask(n, PutRequest{.key = "x", .value = "1"}, g.alice).reason ==
          Reason::kPermissionDenied);
    CHECK(g.ask(n, PutRequest{.key = "x", .value = "1"}, g.root).outcome == Outcome::kOk);
    CHECK(g.ask(n, HashRequest{}, g.alice).reason == Reason::kPermissionDenied);
    CHECK(g.ask(n, HashRequest{}, g.root).outcome == Outcome::kOk);
    CHECK(g.ask(n, DefragmentRequest{}).reason == Reason::kUserEmpty);
    CHECK(g.ask(n, AlarmRequest{}).outcome == Outcome::kOk);
    CHECK(g.ask(n,
                MemberChangeRequest{.action = MemberChangeRequest::Action::kUpdate,
                                    .member = CpCluster::id(2),
                                    .peer = "h:1"},
                g.alice)
              .reason == Reason::kPermissionDenied);
    // A certificate names a user; a token goes before it.
    CHECK(g.ask(n, get("a"), {.certificate_name = "alice"}).outcome == Outcome::kOk);
    CHECK(g.ask(n, get("a"), {.certificate_name = "eve"}).reason == Reason::kPermissionDenied);
    CHECK(g.ask(n, get("x"), {.token = g.root.token, .certificate_name = "alice"}).outcome ==
          Outcome::kOk);
    CHECK(g.ask(n, AuthenticateRequest{"eve", ""}).reason == Reason::kAuthFailed);
    const Reply own = g.ask(n, AuthRequest{.action = Action::kUser, .user = "alice"}, g.alice);
    CHECK(std::get<AuthResult>(own.body).names == std::vector<std::string>{"r"});
    CHECK(g.ask(n, AuthRequest{.action = Action::kUser, .user = "root"}, g.alice).reason ==
          Reason::kPermissionDenied);
  }
}

TEST_CASE("engine: what is taken back is gone at every member, also for watches that run") {
  Guarded g;
  int notes = 0;
  auto stream = g.cluster.engine(2).watch({.ready = [&] { ++notes; }, .caller = g.alice});
  stream->create({.range = {"a", ""}});
  stream->create({.range = {"x", ""}});
  CHECK(stream->next()->created);
  const auto refused = stream->next();
  CHECK(refused->created);
  CHECK(refused->canceled);
  CHECK(refused->cancel_reason.contains("etcdserver: permission denied"));
  auto nobodys = g.cluster.engine(2).watch({.ready = [] {}});
  nobodys->create({.range = {"a", ""}});
  CHECK(nobodys->next()->canceled);

  CHECK(g.ask(1, PutRequest{.key = "a", .value = "1"}, g.alice).outcome == Outcome::kOk);
  g.cluster.run(5);
  CHECK(stream->next()->events.size() == 1);
  CHECK(g.ask(3, AuthRequest{.action = Action::kRevokeRole, .user = "alice", .role = "r"}, g.root)
            .outcome == Outcome::kOk);
  CHECK(g.ask(1, PutRequest{.key = "a", .value = "2"}, g.root).outcome == Outcome::kOk);
  g.cluster.run(5);
  const auto ended = stream->next();
  REQUIRE(ended);
  CHECK(ended->canceled);
  CHECK(ended->events.empty());
  CHECK(!stream->next());
  for (int n = 1; n <= 3; ++n) {
    CHECK(g.ask(n, get("a"), g.alice).reason == Reason::kPermissionDenied);
  }
  CHECK(g.ask(1, AuthRequest{.action = Action::kDisable}, g.root).outcome == Outcome::kOk);
  g.cluster.run(5);
  for (int n = 1; n <= 3; ++n) {
    CHECK(g.ask(n, get("a")).outcome == Outcome::kOk);
    CHECK(g.ask(n, get("a"), g.alice).outcome == Outcome::kOk);
    CHECK(g.ask(n, AuthenticateRequest{"alice", ""}).reason == Reason::kAuthNotEnabled);
  }
}

TEST_CASE("engine: a write of one who was allowed when it was taken is not, when it is applied") {
  Guarded g;
  // The member that takes the write does not hear of the change before it.
  const int leader = g.cluster.leader();
  const int far = leader % 3 + 1;
  g.cluster.filter = [&](int, int to, const Message& message) {
    return to != far || !std::holds_alternative<Append>(message.body);
  };
  const auto revoked = g.cluster.submit(
      leader, AuthRequest{.action = Action::kRevokeRole, .user = "alice", .role = "r"}, {}, 0,
      g.root);
  CHECK(g.cluster.wait(revoked).outcome == Outcome::kOk);
  const auto put = g.cluster.submit(far, PutRequest{.key = "a", .value = "1"}, {}, 0, g.alice);
  g.cluster.run(5);
  g.cluster.filter = nullptr;
  CHECK(g.cluster.wait(put).reason == Reason::kPermissionDenied);
  CHECK(std::get<RangeResult>(g.ask(far, get("a"), g.root).body).kvs.empty());
}

TEST_CASE("engine: what a node does by itself needs no user") {
  CpCluster cluster({.auto_compaction = {.keep_revisions = 10, .revision_interval = kSecond}});
  cluster.elect();
  const auto ask = [&](RequestBody body, Caller caller = {}) {
    return cluster.wait(cluster.submit(1, std::move(body), {}, 0, std::move(caller)));
  };
  for (const AuthRequest& each : kRoot) CHECK(ask(each).outcome == Outcome::kOk);
  CHECK(ask(LeaseGrantRequest{.ttl = 2, .id = 5}).outcome == Outcome::kOk);
  CHECK(ask(enable()).outcome == Outcome::kOk);
  const Caller root{.certificate_name = "root"};
  for (int i = 0; i < 30; ++i) {
    CHECK(ask(PutRequest{.key = "k", .value = "v"}, root).outcome == Outcome::kOk);
  }
  CHECK(cluster.run_until([&] {
    const cp::Engine& leader = cluster.engine(cluster.elect());
    return leader.mvcc().facts().compacted.value > 0 && leader.leases().size() == 0;
  }));
}
