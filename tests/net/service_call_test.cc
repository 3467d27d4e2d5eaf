// Locks and elections, without a protocol: against a node of one map whose watches a test speaks
// for.
#include "net/service_call.h"

#include <doctest/doctest.h>

#include "tests/support/fake_handler.h"
#include "tests/support/scripted_watch.h"

namespace capstan::net {

using namespace test;

namespace {

struct Contest {
  FakeHandler handler;
  WatchScript watches;
  int notes = 0;

  Contest() { handler.open_watch = watches.opener(); }

  std::unique_ptr<ServiceCall> open(ServiceRequest request) {
    return open_service({handler}, std::move(request), [this] { ++notes; });
  }
  ServiceReply ok(ServiceCall& call) {
    std::optional<ServiceMessage> message = call.next();
    REQUIRE(message);
    REQUIRE_MESSAGE(*message, (*message ? "" : message->error().text));
    return std::move(**message);
  }
  ServiceReply ok(ServiceRequest request) { return ok(*open(std::move(request))); }
  CallEnd refusal(ServiceCall& call) {
    std::optional<ServiceMessage> message = call.next();
    REQUIRE(message);
    REQUIRE(!*message);
    return message->error();
  }
  CallEnd refusal(ServiceRequest request) { return refusal(*open(std::move(request))); }

  void put(const std::string& key) { handler.ask(PutRequest{.key = key, .value = ""}); }
  // Deletes a key, and tells the newest stream.
  void erase(const std::string& key) {
    handler.ask(DeleteRangeRequest{.range = {key, ""}});
    tell(key, "", true);
  }
  void tell(const std::string& key, const std::string& value, bool deleted) {
    WatchMessage message;
    message.header.revision = {handler.revision()};
    WatchEvent event;
    event.deleted = deleted;
    event.kv.key = key;
    event.kv.value = value;
    event.kv.mod_revision = {handler.revision()};
    message.events.push_back(std::move(event));
    watches.say.push_back(std::move(message));
    watches.ready();
  }
  bool has(const std::string& key) {
    RangeRequest get;
    get.range = {key, ""};
    return !std::get<RangeResult>(handler.ask(get).body).kvs.empty();
  }
  template <class Body>
  std::vector<Body> asked() const {
    std::vector<Body> out;
    for (const Request& request : handler.requests) {
      if (const auto* body = std::get_if<Body>(&request.body)) out.push_back(*body);
    }
    return out;
  }
};

LockRequest lock_of(std::int64_t lease) { return {.name = "l", .lease = lease}; }
CampaignRequest campaign_of(std::int64_t lease, std::string value) {
  return {.name = "l", .lease = lease, .value = std::move(value)};
}

}  // namespace

TEST_CASE("lock: the first has it with one request; the key is the name and the lease in hex") {
  Contest contest;
  const ServiceReply reply = contest.ok(lock_of(26));
  CHECK(reply.claim.key == "l/1a");
  CHECK(reply.header.revision.value == 2);
  CHECK(contest.handler.requests.size() == 1);
  CHECK(contest.watches.created.empty());
  // The same lease again: it has it still, and the call changes nothing.
  CHECK(contest.ok(lock_of(26)).claim.key == "l/1a");
  CHECK(contest.ok(LockRequest{.name = "m", .lease = -1}).claim.key == "m/-1");
  CHECK(contest.handler.keys() == 2);
}

TEST_CASE("lock: each waits for the one just ahead of it alone, and has the lock when it is gone") {
  Contest contest;
  contest.ok(lock_of(1));
  const auto second = contest.open(lock_of(2));
  CHECK(!second->next());
  REQUIRE(contest.watches.created.size() == 2);
  CHECK(contest.watches.created[0].range.key == "l/1");
  CHECK(contest.watches.created[1].range.key == "l/2");
  CHECK(contest.watches.created[0].start_revision ==
        static_cast<std::int64_t>(contest.handler.revision()) + 1);
  const auto third = contest.open(lock_of(3));
  CHECK(!third->next());
  CHECK(contest.watches.created[2].range.key == "l/2");
  CHECK(contest.watches.open == 2);

  // Something else happened, and something of the key that is no end of it.
  contest.tell("l/9", "", true);
  contest.tell("l/1", "x", false);
  const std::uint64_t asked = contest.handler.handled;
  CHECK(!second->next());
  CHECK(contest.handler.handled == asked);
  contest.erase("l/1");
  const ServiceReply won = contest.ok(*second);
  CHECK(won.claim.key == "l/2");
  CHECK(won.header.revision.value == contest.handler.revision());
  CHECK(!third->next());
  CHECK(contest.watches.open == 1);
}

TEST_CASE("lock: one whose predecessor gives up waits for the next one ahead") {
  Contest contest;
  contest.ok(lock_of(1));
  auto second = contest.open(lock_of(2));
  CHECK(!second->next());
  const auto third = contest.open(lock_of(3));
  CHECK(!third->next());
  second.reset();
  CHECK(!contest.has("l/2"));
  contest.tell("l/2", "", true);
  CHECK(!third->next());
  CHECK(contest.watches.created.size() == 6);
  CHECK(contest.watches.created[4].range.key == "l/1");
  contest.erase("l/1");
  CHECK(contest.ok(*third).claim.key == "l/3");
}

TEST_CASE("lock: a client that goes while it waits takes its own key along, and no other") {
  Contest contest;
  contest.ok(lock_of(1));
  auto waiting = contest.open(lock_of(2));
  CHECK(!waiting->next());
  CHECK(contest.has("l/2"));
  waiting.reset();
  CHECK(!contest.has("l/2"));
  CHECK(contest.has("l/1"));
  CHECK(contest.watches.open == 0);
  // A key of that name that somebody made later is not its own.
  waiting = contest.open(lock_of(2));
  CHECK(!waiting->next());
  contest.erase("l/2");
  contest.put("l/2");
  waiting.reset();
  CHECK(contest.has("l/2"));
}

TEST_CASE("lock: a client that goes before its put is answered leaves no key") {
  Contest contest;
  contest.handler.defer_answers = true;
  contest.open(lock_of(2)).reset();
  contest.handler.answer_waiting();
  CHECK(contest.handler.keys() == 1);
  contest.handler.answer_waiting();
  CHECK(contest.handler.keys() == 0);
  // But what an earlier call of the lease holds stays.
  contest.handler.defer_answers = false;
  contest.ok(lock_of(2));
  contest.handler.defer_answers = true;
  contest.open(lock_of(2)).reset();
  contest.handler.answer_waiting();
  contest.handler.answer_waiting();
  CHECK(contest.handler.keys() == 1);
}

TEST_CASE("lock: a claim whose key is gone is told at once, and is granted nothing") {
  Contest contest;
  contest.ok(lock_of(1));
  const auto waiting = contest.open(lock_of(2));
  CHECK(!waiting->next());
  contest.erase("l/2");
  const std::uint64_t asked = contest.handler.handled;
  const CallEnd lost = contest.refusal(*waiting);
  CHECK(contest.handler.handled == asked + 1);  // it looked, and had nothing to delete
  CHECK(lost.text == "mutex: session is expired");
  CHECK(lost.code == GrpcCode::kUnknown);
  CHECK(lost.reason == Reason::kLeaseNotFound);
  const auto candidate = contest.open(campaign_of(3, "v"));
  CHECK(!candidate->next());
  contest.erase("l/3");
  contest.put("l/3");
  CHECK(contest.refusal(*candidate).text == "election: not leader");
  CHECK(contest.has("l/3"));
}

TEST_CASE("lock: without a lease the node grants one, and takes it back from a client that goes") {
  Contest contest;
  CHECK(contest.ok(lock_of(0)).claim.key == "l/77");
  REQUIRE(contest.asked<LeaseGrantRequest>().size() == 1);
  CHECK(contest.asked<LeaseGrantRequest>()[0].ttl == 60);
  contest.handler.ask(DeleteRangeRequest{.range = {"l/77", ""}});

  contest.ok(lock_of(1));
  auto waiting = contest.open(lock_of(0));
  CHECK(!waiting->next());
  CHECK(contest.asked<LeaseRevokeRequest>().empty());
  waiting.reset();
  REQUIRE(contest.asked<LeaseRevokeRequest>().size() == 1);
  CHECK(contest.asked<LeaseRevokeRequest>()[0].id == 0x77);
  // So it is if the client goes before the grant is answered.
  contest.handler.defer_answers = true;
  contest.open(lock_of(0)).reset();
  contest.handler.answer_waiting();
  contest.handler.answer_waiting();
  CHECK(contest.asked<LeaseRevokeRequest>().size() == 2);
}

TEST_CASE("lock: a watch that fell behind a compaction is made anew; what ends it ends the call") {
  Contest contest;
  contest.ok(lock_of(1));
  const auto waiting = contest.open(lock_of(2));
  CHECK(!waiting->next());
  WatchMessage behind;
  behind.canceled = true;
  behind.compacted = {9};
  contest.watches.say.push_back(behind);
  CHECK(!waiting->next());
  CHECK(contest.watches.created.size() == 4);
  CHECK(contest.watches.open == 1);
  CHECK(contest.has("l/2"));
  SUBCASE("the stream") {
    WatchMessage over;
    over.end = Refusal{Reason::kShuttingDown, "stopping"};
    contest.watches.say.push_back(over);
    const CallEnd lost = contest.refusal(*waiting);
    CHECK(lost.code == GrpcCode::kUnavailable);
    CHECK(lost.text == "etcdserver: server stopped");
  }
  SUBCASE("a node with too many watches") {
    WatchMessage no_room;
    no_room.created = no_room.canceled = true;
    no_room.cancel_reason = "too many";
    contest.watches.say.push_back(no_room);
    CHECK(contest.refusal(*waiting).detail == "too many");
  }
  CHECK(!contest.has("l/2"));
  CHECK(contest.watches.open == 0);
}

TEST_CASE("lock: what goes wrong beneath comes with etcd's text, and its code where that helps") {
  Contest contest;
  contest.handler.forced = refused(Reason::kLeaseNotFound, "no such lease");
  const CallEnd missing = contest.refusal(lock_of(1));
  CHECK(missing.code == GrpcCode::kUnknown);
  CHECK(missing.text == "etcdserver: requested lease not found");
  CHECK(missing.detail == "no such lease");
  contest.handler.forced = refused(Reason::kNoLeader, "an election");
  CHECK(contest.refusal(lock_of(1)).code == GrpcCode::kUnavailable);
  contest.handler.forced.reset();
  contest.ok(lock_of(1));
  contest.handler.open_watch = nullptr;
  CHECK(contest.refusal(lock_of(2)).reason == Reason::kNotSupported);
  CHECK(!contest.has("l/2"));
}

TEST_CASE("lock: unlocking deletes the key that was told") {
  Contest contest;
  contest.ok(lock_of(1));
  const ServiceReply reply = contest.ok(UnlockRequest{"l/1"});
  CHECK(reply.header.revision.value == 3);
  CHECK(contest.handler.keys() == 0);
}

TEST_CASE("election: who campaigns is told its key, and a value it had put before is replaced") {
  Contest contest;
  const ServiceReply won = contest.ok(campaign_of(7, "v1"));
  CHECK(won.claim.name == "l");
  CHECK(won.claim.key == "l/7");
  CHECK(won.claim.revision == 2);
  CHECK(won.claim.lease == 7);
  CHECK(won.header.revision.value == 2);
  CHECK(contest.ok(LeaderRequest{"l"}).kv.value == "v1");
  const std::uint64_t before = contest.handler.revision();
  const ServiceReply again = contest.ok(campaign_of(7, "v2"));
  CHECK(again.claim.revision == 2);
  CHECK(again.header.revision.value == before);  // of the claim, not of the value
  CHECK(contest.ok(LeaderRequest{"l"}).kv.value == "v2");
  CHECK(contest.ok(LeaderRequest{"l"}).kv.lease == 7);

  const auto next = contest.open(campaign_of(8, "v3"));
  CHECK(!next->next());
  CHECK(contest.ok(LeaderRequest{"l"}).kv.value == "v2");
  contest.ok(ResignRequest{won.claim});
  contest.tell("l/7", "", true);
  CHECK(contest.ok(*next).claim.key == "l/8");
  CHECK(contest.ok(LeaderRequest{"l"}).kv.value == "v3");
}

TEST_CASE("election: only the leader proclaims; to resign what one has not is no error") {
  Contest contest;
  CHECK(contest.refusal(LeaderRequest{"l"}).text == "election: no leader");
  LeaderKey leader = contest.ok(campaign_of(7, "v1")).claim;
  contest.ok(ProclaimRequest{leader, "v2"});
  CHECK(contest.ok(LeaderRequest{"l"}).kv.value == "v2");
  LeaderKey former = leader;
  --former.revision;
  CHECK(contest.refusal(ProclaimRequest{former, "v3"}).text == "election: not leader");
  CHECK(contest.ok(LeaderRequest{"l"}).kv.value == "v2");
  contest.ok(ResignRequest{former});
  CHECK(contest.has("l/7"));
  contest.ok(ResignRequest{leader});
  CHECK(!contest.has("l/7"));
  CHECK(contest.refusal(ProclaimRequest{leader, "v3"}).text == "election: not leader");
  const std::string missing = "\"leader\" field must be provided";
  CHECK(contest.refusal(ProclaimRequest{}).text == missing);
  CHECK(contest.refusal(ResignRequest{}).text == missing);
}

TEST_CASE("election: an observer is told the leader of now, each word of it, and its successors") {
  Contest contest;
  const auto observer = contest.open(ObserveRequest{"l"});
  CHECK(!observer->next());  // nobody leads
  REQUIRE(contest.watches.created.size() == 1);
  CHECK(contest.watches.created[0].range.key == "l/");
  CHECK(contest.watches.created[0].range.end == "l0");
  contest.tell("l/0", "", true);
  CHECK(!observer->next());

  contest.ok(campaign_of(7, "v1"));
  contest.tell("l/7", "v1", false);
  const ServiceReply first = contest.ok(*observer);
  CHECK(first.kv.value == "v1");
  CHECK(first.header.revision == first.kv.mod_revision);
  CHECK(!observer->next());
  CHECK(contest.watches.created.back().range.key == "l/7");
  CHECK(contest.watches.created.back().start_revision ==
        static_cast<std::int64_t>(first.kv.mod_revision.value) + 1);
  contest.tell("l/7", "v2", false);
  contest.tell("l/7", "v3", false);
  CHECK(contest.ok(*observer).kv.value == "v2");
  CHECK(contest.ok(*observer).kv.value == "v3");
  CHECK(!observer->next());

  const auto next = contest.open(campaign_of(8, "w1"));
  contest.erase("l/7");
  CHECK(contest.ok(*observer).kv.value == "w1");
  CHECK(!observer->next());
  WatchMessage behind;
  behind.canceled = true;
  behind.compacted = {9};
  contest.watches.say.push_back(behind);
  CHECK(contest.ok(*observer).kv.value == "w1");
  WatchMessage over;
  over.end = Refusal{Reason::kNoLeader, "nobody leads"};
  CHECK(!observer->next());
  contest.watches.say.push_back(over);
  CHECK(contest.refusal(*observer).code == GrpcCode::kUnavailable);
}

TEST_CASE("services: a note is given for each answer, and one that comes late harms nobody") {
  Contest contest;
  contest.handler.defer_answers = true;
  const auto call = contest.open(LeaderRequest{"l"});
  auto gone = contest.open(ObserveRequest{"l"});
  CHECK(!call->next());
  CHECK(contest.notes == 0);
  gone.reset();
  contest.handler.answer_waiting();
  CHECK(contest.notes == 1);
  CHECK(contest.refusal(*call).text == "election: no leader");
}

}  // namespace capstan::net
