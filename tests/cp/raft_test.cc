// One sentence of the paper, or of cp/raft.h, one test. Arrange, step, read the output.
#include "cp/raft.h"

#include <doctest/doctest.h>

#include "tests/cp/raft_builder.h"

using namespace capstan;
using namespace capstan::cp;
using namespace capstan::test;

TEST_CASE(
    "raft 5.2: a follower that hears nothing asks within [E, 2E), and changes no term by asking") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    Raft raft = member({.term = 3, .seed = seed});
    int ticks = 0;
    Ready ready;
    do {
      raft.tick();
      ++ticks;
      ready = raft.take_ready();
    } while (ready.send_now.empty() && ticks < 100);
    CHECK(ticks >= 25);
    CHECK(ticks < 50);
    CHECK(raft.term() == Term{3});
    CHECK(!ready.hard_state);
    REQUIRE(ready.send_now.size() == 2);
    CHECK(ready.send_now[0].message.term == Term{4});
    CHECK(std::get<VoteRequest>(ready.send_now[0].message.body).pre);
  }
}

TEST_CASE(
    "raft 5.2: a candidate asks for votes only once its own is durable, and counts it only then") {
  Raft raft = member({.term = 3});
  pre_elect(raft);
  Ready ready = raft.take_ready();
  REQUIRE(ready.hard_state);
  CHECK(ready.hard_state->term == Term{4});
  CHECK(ready.hard_state->vote == k1);
  CHECK(ready.send_now.empty());
  CHECK(ready.send_after_durable.size() == 2);
  raft.step(k2, grant(raft.term()));
  CHECK(raft.role() == Role::kCandidate);  // one of two: our own is not on disk yet
  raft.persisted(ready.write);
  CHECK(raft.is_leader());
}

TEST_CASE("raft 5.2: a member votes once in a term, also after a restart") {
  Raft raft = member({.term = 3});
  raft.step(k2, ask(4, {{3}, {9}}));
  Ready ready = raft.take_ready();
  REQUIRE(ready.send_after_durable.size() == 1);
  CHECK(std::get<VoteReply>(ready.send_after_durable[0].message.body).granted);
  CHECK(ready.send_now.empty());  // a vote is a promise
  REQUIRE(ready.hard_state);
  raft.step(k3, ask(4, {{3}, {9}}));
  ready = raft.take_ready();
  CHECK(!std::get<VoteReply>(ready.send_after_durable[0].message.body).granted);

  Raft again = member({.term = 4, .vote = k2});
  again.step(k3, ask(4, {{3}, {9}}));
  ready = again.take_ready();
  CHECK(!std::get<VoteReply>(ready.send_after_durable[0].message.body).granted);
  again.step(k2, ask(4, {{3}, {9}}));  // the same candidate, asking again
  ready = again.take_ready();
  CHECK(std::get<VoteReply>(ready.send_after_durable[0].message.body).granted);
}

TEST_CASE("raft 5.4.1: a log that is behind gets no vote, but its newer term is taken") {
  struct Row {
    std::uint64_t term, index;
    bool granted;
  };
  const Row rows[] = {{1, 9, false},  // longer, but of an older term
                      {2, 2, false},  // shorter in the same term
                      {2, 3, true},
                      {2, 4, true},
                      {3, 1, true}};
  for (const Row& row : rows) {
    CAPTURE(row.term);
    CAPTURE(row.index);
    Raft voter = member({.term = 2, .log_terms = {1, 1, 2}});
    voter.step(k2, ask(4, {{row.term}, {row.index}}));
    const Ready ready = voter.take_ready();
    REQUIRE(ready.send_after_durable.size() == 1);
    CHECK(std::get<VoteReply>(ready.send_after_durable[0].message.body).granted == row.granted);
    CHECK(ready.hard_state->term == Term{4});
  }
}

TEST_CASE(
    "raft 6: while it hears a leader, a member ignores who asks; not once its connection is gone") {
  Raft raft = member({.term = 3, .log_terms = {3}});
  raft.peer_connected(k2);
  raft.step(k2, heartbeat(3));
  raft.take_ready();
  raft.step(k3, ask(9, {{3}, {9}}));
  raft.step(k3, ask(9, {{3}, {9}}, true));
  Ready ready = raft.take_ready();
  CHECK(raft.term() == Term{3});
  CHECK(ready.send_after_durable.empty());
  CHECK(ready.send_now.empty());
  raft.peer_disconnected(k2);
  raft.step(k3, ask(4, {{3}, {9}}, true));
  ready = raft.take_ready();
  REQUIRE(ready.send_now.size() == 1);
  CHECK(std::get<VoteReply>(ready.send_now[0].message.body).granted);
  CHECK(raft.term() == Term{3});  // a pre-vote binds nobody
}

TEST_CASE("raft: the leader's connection lost, a follower looks within a few ticks, in turn") {
  Raft raft = member({.term = 3});
  raft.peer_connected(k2);
  raft.step(k2, heartbeat(3));
  raft.take_ready();
  raft.peer_disconnected(k2);
  for (int i = 0; i < 3; ++i) raft.tick();
  CHECK(raft.role() == Role::kPreCandidate);
  // Lost for a moment only: the leader is followed again.
  raft.peer_connected(k2);
  raft.step(k2, heartbeat(3));
  CHECK(raft.role() == Role::kFollower);
  CHECK(raft.leader() == k2);
}

TEST_CASE(
    "raft 5.3: an append that does not fit is refused with the place where the logs may meet") {
  Raft raft = member({.term = 5, .log_terms = {1, 1, 4, 4, 4}});
  raft.step(k2, append(5, {{5}, {9}}, {}));  // beyond our end
  Ready ready = raft.take_ready();
  AppendReply reply = std::get<AppendReply>(ready.send_after_durable.at(0).message.body);
  CHECK(reply.rejected);
  CHECK(reply.index == Index{9});
  CHECK(reply.hint == EntryId{{4}, {5}});
  raft.step(k2, append(5, {{2}, {4}}, {}));  // we hold a newer term there: skip all of it
  ready = raft.take_ready();
  reply = std::get<AppendReply>(ready.send_after_durable.at(0).message.body);
  CHECK(reply.hint == EntryId{{1}, {2}});
}

TEST_CASE("raft 5.3: a conflict drops what follows; a late duplicate drops nothing") {
  Raft raft = member({.term = 5, .log_terms = {1, 1, 4, 4}});
  raft.step(k2, append(5, {{1}, {2}}, {5}));
  Ready ready = raft.take_ready();
  CHECK(raft.log().last() == EntryId{{5}, {3}});
  REQUIRE(ready.entries.size() == 1);
  CHECK(ready.entries[0].index == Index{3});
  raft.step(k2, append(5, {{5}, {3}}, {5, 5}));
  CHECK(raft.log().last() == EntryId{{5}, {5}});
  raft.step(k2, append(5, {{1}, {2}}, {5}));  // the first one again
  CHECK(raft.log().last() == EntryId{{5}, {5}});
}

TEST_CASE(
    "raft: an acknowledgement waits for the disk, and covers all of a turn's appends at once") {
  Raft raft = member({.term = 5});
  raft.step(k2, append(5, {}, {5, 5}));
  raft.step(k2, append(5, {{5}, {2}}, {5}));
  const Ready ready = raft.take_ready();
  CHECK(ready.send_now.empty());
  REQUIRE(ready.send_after_durable.size() == 1);
  CHECK(std::get<AppendReply>(ready.send_after_durable[0].message.body).index == Index{3});
  CHECK(ready.entries.size() == 3);
}

TEST_CASE("raft: a heartbeat commits only what is known to match the leader's log") {
  Raft raft = member({.term = 5, .log_terms = {1, 4, 4}});
  raft.step(k2, heartbeat(5, 3));
  CHECK(raft.commit() == Index{0});  // entries 2 and 3 may be another leader's
  raft.step(k2, append(5, {{4}, {2}}, {}, 2));
  CHECK(raft.commit() == Index{2});
  raft.step(k2, heartbeat(5, 3));
  CHECK(raft.commit() == Index{2});
}

TEST_CASE(
    "raft 5.3: what a leader appends is committed once a majority holds it, itself when durable") {
  Raft raft = leader({.term = 3});
  const Index first = raft.log().last_index();
  Ready ready = raft.take_ready();
  CHECK(!ready.send_now.empty());  // at once, beside its own write
  CHECK(ready.entries.size() == 1);
  raft.persisted(ready.write);
  CHECK(raft.commit() < first);  // one of three
  raft.step(k3, acknowledge(k3, raft.term(), first));
  CHECK(raft.commit() == first);

  CHECK(raft.propose(shared_bytes("x")).has_value());
  ready = raft.take_ready();
  raft.step(k2, acknowledge(k2, raft.term(), first));
  raft.step(k3, acknowledge(k3, raft.term(), next(first)));
  CHECK(raft.commit() == first);  // its own copy is not on disk
  raft.persisted(ready.write);
  CHECK(raft.commit() == next(first));
}

TEST_CASE("raft 5.4.2: an entry of an older term is not committed by counting (figure 8)") {
  Raft raft = leader({.term = 4, .log_terms = {1, 2}});
  const Ready ready = raft.take_ready();
  raft.persisted(ready.write);
  raft.step(k3, acknowledge(k3, raft.term(), {2}));  // entry 2, of term 2, is on a majority
  CHECK(raft.commit() == Index{0});
  raft.step(k3, acknowledge(k3, raft.term(), {3}));
  CHECK(raft.commit() == Index{3});
}

TEST_CASE("raft 6.2: a leader that hears no majority for E steps down") {
  Raft raft = leader({.term = 3});
  for (int i = 0; i < 24; ++i) raft.tick();
  CHECK(raft.is_leader());
  raft.step(k2, Message{raft.term(), HeartbeatReply{}});
  for (int i = 0; i < 24; ++i) raft.tick();
  CHECK(raft.is_leader());
  for (int i = 0; i < 2; ++i) raft.tick();
  CHECK(!raft.is_leader());
  CHECK(!raft.leader());
}

// Ticks until it asks for pre-votes; 0: not within `most`.
int ticks_until_it_asks(Raft& raft, int most) {
  for (int i = 1; i <= most; ++i) {
    raft.tick();
    if (raft.role() == Role::kPreCandidate) return i;
  }
  return 0;
}

TEST_CASE("raft: a leader deposed by a newer term alone asks for its office back, once") {
  Raft raft = established_leader({.term = 3});
  raft.step(k2, Message{{4}, HeartbeatReply{{}, {}, {}, true, false}});
  CHECK(raft.role() == Role::kFollower);
  CHECK(ticks_until_it_asks(raft, 24) == 5);
  const Ready ready = raft.take_ready();
  REQUIRE(ready.send_now.size() == 2);
  CHECK(std::get<VoteRequest>(ready.send_now[0].message.body).pre);
  CHECK(ready.send_now[0].message.term == Term{5});
  for (int i = 0; i < 24; ++i) raft.tick();  // unanswered, it waits for its timeout again
  CHECK(raft.take_ready().send_now.empty());
}

TEST_CASE("raft: a deposed leader that hears the new one, or has voted for it, lets it be") {
  Raft hears = established_leader({.term = 3});
  hears.step(k2, Message{{4}, HeartbeatReply{{}, {}, {}, true, false}});
  hears.step(k3, heartbeat(4));
  CHECK(ticks_until_it_asks(hears, 24) == 0);
  CHECK(hears.leader() == k3);

  Raft votes = established_leader({.term = 3});
  votes.step(k2, Message{{4}, HeartbeatReply{{}, {}, {}, true, false}});
  for (int i = 0; i < 4; ++i) votes.tick();
  votes.step(k3, ask(4, {{3}, votes.log().last_index()}));
  CHECK(ticks_until_it_asks(votes, 24) == 6);
}

TEST_CASE("raft: a follower lets its own leader ask in a later term, and nobody else") {
  for (const MemberId asks : {k2, k3}) {
    Raft raft = member({.term = 3, .log_terms = {3}});
    raft.step(k2, heartbeat(3));
    raft.take_ready();
    raft.step(asks, ask(4, {{3}, {1}}, true));
    CHECK(raft.take_ready().send_now.size() == (asks == k2 ? 1 : 0));
    raft.step(asks, ask(4, {{3}, {1}}));
    CHECK(raft.take_ready().send_after_durable.size() == (asks == k2 ? 1 : 0));
    CHECK(raft.term() == Term{asks == k2 ? 4u : 3u});
  }
}

TEST_CASE("raft: who asks for a term that is over by then asks for the next one soon, in turn") {
  for (const MemberId self : {k1, k2, k3}) {
    Raft raft = member({.self = self, .term = 3});
    REQUIRE(ticks_until_it_asks(raft, 50) >= 25);
    raft.take_ready();
    const MemberId other = self == k1 ? k2 : k1;
    raft.step(other, Message{{7}, VoteReply{true, false, life_of(other), {}}});
    CHECK(raft.role() == Role::kFollower);
    CHECK(raft.term() == Term{7});
    CHECK(ticks_until_it_asks(raft, 24) == static_cast<int>(5 + 2 * self.value));
    CHECK(raft.take_ready().send_now.at(0).message.term == Term{8});
  }
}

TEST_CASE("raft: a member that does not count holds up no leader") {
  Raft raft = leader({.term = 3});
  for (int i = 0; i < 26; ++i) {
    raft.step(k2, Message{raft.term(), HeartbeatReply{{}, {}, {}, false, false}});
    raft.tick();
  }
  CHECK(!raft.is_leader());
}

TEST_CASE("raft 8: no read round begins before an entry of the leader's own term is committed") {
  Raft raft = leader({.term = 3});
  Ready ready = raft.take_ready();
  raft.join_read_round();
  raft.persisted(ready.write);
  ready = raft.take_ready();
  CHECK(!ready.reads);
  raft.step(k2, acknowledge(k2, raft.term(), raft.log().last_index()));
  ready = raft.take_ready();  // begins now
  CHECK(!ready.reads);
  raft.step(k2, round_reply(raft.term(), 1));
  ready = raft.take_ready();
  REQUIRE(ready.reads);
  CHECK(ready.reads->second == raft.commit());
}

TEST_CASE("raft: a late acknowledgement of an old round does not confirm a new one") {
  Raft raft = established_leader({.term = 3});
  CHECK(raft.join_read_round() == Round{1});
  raft.take_ready();
  CHECK(raft.join_read_round() == Round{2});  // one is under way: joins the next
  raft.step(k2, round_reply(raft.term(), 1));
  Ready ready = raft.take_ready();
  REQUIRE(ready.reads);
  CHECK(ready.reads->first == Round{1});
  raft.step(k3, round_reply(raft.term(), 1));
  raft.step(k2, round_reply(raft.term(), 1));
  ready = raft.take_ready();
  CHECK(!ready.reads);
  raft.step(k3, round_reply(raft.term(), 2));
  CHECK(raft.take_ready().reads->first == Round{2});
}

TEST_CASE("raft: the completion of an old write does not vouch for what replaced it") {
  Raft raft = member({.term = 1});
  raft.step(k2, append(1, {}, {1, 1, 1}));
  const Ready first = raft.take_ready();
  raft.step(k3, append(2, {{1}, {1}}, {2, 2}));  // replaces 2 and 3
  const Ready second = raft.take_ready();
  raft.persisted(first.write);
  CHECK(raft.log().stable() == Index{1});
  raft.persisted(second.write);
  CHECK(raft.log().stable() == Index{3});
}

TEST_CASE("raft: a message of an older term is told the newer one, and nothing else happens") {
  Raft raft = member({.term = 7, .log_terms = {7}});
  raft.step(k2, append(6, {}, {6, 6}));
  const Ready ready = raft.take_ready();
  CHECK(raft.log().last() == EntryId{{7}, {1}});
  REQUIRE(ready.send_now.size() == 1);
  CHECK(ready.send_now[0].message.term == Term{7});
}

TEST_CASE(
    "raft: a full window stops the stream, an acknowledgement opens it, a loss is sent again") {
  Raft raft = established_leader({.term = 3});
  raft.step(k2, acknowledge(k2, raft.term(), raft.log().last_index()));
  raft.take_ready();
  const std::string big(kEntryBytesMax, 'x');
  for (int i = 0; i < 40; ++i) CHECK(raft.propose(shared_bytes(big)).has_value());
  const auto sent_to_2 = [&] {
    Index last;
    for (const Outgoing& out : raft.take_ready().send_now) {
      const Append* append = std::get_if<Append>(&out.message.body);
      if (out.to == k2 && append != nullptr && !append->entries.empty()) {
        last = append->entries.back().index;
      }
    }
    return last;
  };
  const Index first = sent_to_2();
  CHECK(first.value > 10);
  CHECK(first < raft.log().last_index());
  CHECK(raft.progress().at(k2).inflight.bytes() <= kInflightBytesMax + kEntryBytesMax);
  CHECK(sent_to_2() == Index{});
  raft.step(k2, acknowledge(k2, raft.term(), {first.value - 1}));
  CHECK(sent_to_2() > first);
  // A heartbeat reply that has not got what was sent before the heartbeat: lost.
  HeartbeatReply lost;
  lost.tip = {raft.progress().at(k2).next.value - 1};
  lost.received = {first.value - 1};
  raft.step(k2, Message{raft.term(), lost});
  CHECK(sent_to_2() > first);
}

TEST_CASE("raft 3.10: the office is handed to the most caught-up voter once it has everything") {
  Raft raft = established_leader({.term = 3});
  const Index last = raft.log().last_index();
  CHECK(raft.propose(shared_bytes("x")).has_value());
  raft.persisted(raft.take_ready().write);
  raft.step(k2, acknowledge(k2, raft.term(), last));
  raft.step(k3, acknowledge(k3, raft.term(), last));
  raft.take_ready();
  raft.transfer_leadership();
  CHECK(!raft.propose(shared_bytes("y")).has_value());
  const auto timeout_now = [&] {
    for (const Outgoing& out : raft.take_ready().send_now) {
      if (std::holds_alternative<TimeoutNow>(out.message.body)) return out.to;
    }
    return MemberId{};
  };
  CHECK(timeout_now() == MemberId{});
  raft.step(k2, acknowledge(k2, raft.term(), raft.log().last_index()));
  CHECK(timeout_now() == k2);
  CHECK(timeout_now() == MemberId{});  // once
  // Nobody took it: an election timeout later it is ours again.
  for (int i = 0; i < 27; ++i) {
    raft.step(k2, Message{raft.term(), HeartbeatReply{}});
    raft.tick();
  }
  CHECK(raft.propose(shared_bytes("y")).has_value());
}

TEST_CASE("raft: any two logs meet, and probing jumps whole terms") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    std::vector<std::uint64_t> ours, theirs;
    std::uint64_t term = 1;
    for (auto n = rng.below(8); n > 0; --n) ours.push_back(term += rng.below(2));
    theirs = ours;
    std::uint64_t a = term, b = term;
    for (auto n = rng.below(30); n > 0; --n) ours.push_back(a += rng.below(3) / 2 * 2);
    for (auto n = rng.below(30); n > 0; --n) theirs.push_back(b += rng.below(2) * 2 + 1);
    Raft lead = leader({.term = std::max(a, b) + 1, .log_terms = ours});
    Raft follow = member({.self = k2, .term = 1, .log_terms = theirs});
    int rounds = 0;
    for (; lead.progress().at(k2).match != lead.log().last_index() && rounds < 200; ++rounds) {
      Ready ready = lead.take_ready();
      if (ready.write != 0) lead.persisted(ready.write);
      for (const Outgoing& out : ready.send_now) {
        if (out.to == k2) follow.step(k1, out.message);
      }
      Ready back = follow.take_ready();
      if (back.write != 0) follow.persisted(back.write);
      for (const Outgoing& out : back.send_now) lead.step(k2, out.message);
      for (const Outgoing& out : back.send_after_durable) lead.step(k2, out.message);
    }
    CHECK(follow.log().last() == lead.log().last());
    CHECK(rounds <= 34);  // at most one probe a term
  }
}

// ---- Standing -----------------------------------------------------------------------------------

TEST_CASE("standing: fresh members form only when every one of them has said it is fresh") {
  Raft raft = member({.standing = Standing::kFresh});
  raft.step(k2, Message{{}, Hello{Standing::kFresh, life_of(k2), {}}});
  CHECK(raft.standing() == Standing::kFresh);
  for (int i = 0; i < 100; ++i) raft.tick();
  CHECK(raft.role() == Role::kFollower);
  raft.step(k3, Message{{}, Hello{Standing::kFresh, life_of(k3), {}}});
  CHECK(raft.standing() == Standing::kNormal);
  CHECK(raft.take_ready().hard_state->roll == full_roll());
}

TEST_CASE(
    "standing: a fresh disk that the cluster was formed with joins; one it never knew does not") {
  Raft known = member({.standing = Standing::kFresh});
  known.step(k2, Message{{5}, Hello{Standing::kNormal, life_of(k2), full_roll()}});
  CHECK(known.standing() == Standing::kNormal);

  Raft wiped = member({.standing = Standing::kFresh});
  Roll roll = full_roll();
  roll[0].life = {NodeId{999}, 0};  // formed with another disk of ours
  wiped.step(k2, Message{{5}, Hello{Standing::kNormal, life_of(k2), roll}});
  CHECK(wiped.standing() == Standing::kImpaired);
}

TEST_CASE("standing: a disk that forgot in a crash that it is impaired finds it out again") {
  Roll roll = full_roll();
  roll[0].life = {NodeId{999}, 0};  // formed with another disk of ours
  Raft first = member({.standing = Standing::kFresh, .incarnation = 1});
  first.step(k2, Message{{5}, Hello{Standing::kNormal, life_of(k2), roll}});
  REQUIRE(first.standing() == Standing::kImpaired);
  roll[0].life = first.hello().life;  // k2 has heard of it; then we crash, before our disk has
  Raft again = member({.standing = Standing::kFresh, .incarnation = 2});
  again.step(k2, Message{{5}, Hello{Standing::kNormal, life_of(k2), roll}});
  CHECK(again.standing() == Standing::kImpaired);
}

TEST_CASE(
    "standing: a fresh disk hears from an impaired member too that it was there at the start") {
  Raft late = member({.standing = Standing::kFresh});
  late.step(k2, Message{{5}, Hello{Standing::kImpaired, life_of(k2), full_roll()}});
  CHECK(late.standing() == Standing::kNormal);
  // An impaired member whose roll lacks us may have lost that: it settles nothing.
  Raft unknown = member({.standing = Standing::kFresh});
  unknown.step(k2, Message{{5}, Hello{Standing::kImpaired, life_of(k2), {}}});
  unknown.step(k3, Message{{5}, Hello{Standing::kFresh, life_of(k3), {}}});
  CHECK(unknown.standing() == Standing::kFresh);
}

TEST_CASE(
    "standing: who is fresh or impaired neither votes nor campaigns, and its word is marked") {
  for (const Standing standing : {Standing::kFresh, Standing::kImpaired}) {
    Raft raft = member({.term = 3, .standing = standing});
    raft.step(k2, ask(4, {{9}, {9}}));
    CHECK(raft.take_ready().send_after_durable.empty());
    for (int i = 0; i < 100; ++i) raft.tick();
    CHECK(raft.role() == Role::kFollower);
    raft.step(k2, append(4, {}, {4}));
    const Ready ready = raft.take_ready();
    CHECK(!std::get<AppendReply>(ready.send_after_durable.at(0).message.body).counts);
    raft.step(k2, heartbeat(4));
    CHECK(!std::get<HeartbeatReply>(raft.take_ready().send_now.at(0).message.body).counts);
  }
}

TEST_CASE("standing: an acknowledgement that does not count commits nothing") {
  Raft raft = leader({.term = 3});
  raft.persisted(raft.take_ready().write);
  Message ack = acknowledge(k2, raft.term(), raft.log().last_index());
  std::get<AppendReply>(ack.body).counts = false;
  raft.step(k2, ack);
  CHECK(raft.commit() == Index{0});
  raft.step(k3, acknowledge(k3, raft.term(), raft.log().last_index()));
  CHECK(raft.commit() == raft.log().last_index());
}

TEST_CASE("standing: an acknowledgement of a disk that is gone is not believed") {
  Raft raft = established_leader({.term = 3});
  CHECK(raft.propose(shared_bytes("x")).has_value());
  raft.persisted(raft.take_ready().write);
  const Actor reborn{NodeId{777}, 0};
  raft.step(k2, Message{{}, Hello{Standing::kImpaired, reborn, {}}});
  CHECK(raft.progress().at(k2).match == Index{0});
  raft.step(k2, acknowledge(k2, raft.term(), raft.log().last_index()));  // sent before the loss
  CHECK(raft.progress().at(k2).match == Index{0});
}

TEST_CASE("standing: a vote of a life that another voter knows to be over does not elect") {
  // Five members: we, k2 (its vote given before its disk was lost), k3 who knows, k4.
  Raft raft = member({.term = 3, .members = 5});
  pre_elect(raft);
  Ready ready = raft.take_ready();
  raft.persisted(ready.write);
  raft.step(k2, grant(raft.term(), life_of(k2)));
  Roll told = full_roll(5);
  told[1].life = {NodeId{777}, 0};
  raft.step(k3, grant(raft.term(), life_of(k3), told));
  CHECK(!raft.is_leader());  // ours and k3's; k2's is exposed
  raft.step(MemberId{4}, grant(raft.term(), life_of(MemberId{4}), told));
  CHECK(raft.is_leader());
}

TEST_CASE(
    "standing: restored only after a quorum without it knows its life, and it has caught up") {
  Raft raft = established_leader({.term = 3});
  const Actor reborn{NodeId{777}, 0};
  raft.step(k2, Message{{}, Hello{Standing::kImpaired, reborn, {}}});
  const auto restored = [&] {
    Ready ready = raft.take_ready();
    if (ready.write != 0) raft.persisted(ready.write);
    for (const Ready& r : {std::move(ready), raft.take_ready()}) {
      for (const Outgoing& out : r.send_now) {
        if (std::holds_alternative<Restored>(out.message.body)) return true;
      }
    }
    return false;
  };
  const auto pass = [&](bool learned, bool caught_up) {
    for (int i = 0; i < 6; ++i) raft.tick();
    if (const Ready ready = raft.take_ready(); ready.write != 0) raft.persisted(ready.write);
    const Round round{raft.progress().at(k3).acked_round.value + 1};
    raft.step(k3, Message{raft.term(), HeartbeatReply{round, {}, {}, true, learned}});
    raft.step(k2, Message{raft.term(), HeartbeatReply{round, {}, {}, false, false}});
    if (caught_up) {
      Message ack = acknowledge(k2, raft.term(), raft.log().last_index());
      std::get<AppendReply>(ack.body).life = reborn;
      std::get<AppendReply>(ack.body).counts = false;
      raft.step(k2, ack);
    }
    return restored();
  };
  CHECK(!pass(false, true));  // k3 does not know it yet
  CHECK(pass(true, true));
}

TEST_CASE("replication: a lost acknowledgement is asked for again, though nothing new is sent") {
  Raft raft = established_leader({.term = 2});
  raft.step(k2, acknowledge(k2, raft.term(), raft.log().last_index()));
  REQUIRE(raft.propose(shared_bytes("a")));
  raft.persisted(raft.take_ready().write);
  const Index last = raft.log().last_index();
  REQUIRE(raft.progress().at(k2).match < last);
  // k2 has it, and says in every heartbeat's answer that it has received it.
  int asked = 0;
  for (int tick = 0; tick < 20 && raft.commit() < last; ++tick) {
    raft.tick();
    for (const Outgoing& out : raft.take_ready().send_now) {
      if (out.to != k2) continue;
      if (const auto* beat = std::get_if<Heartbeat>(&out.message.body)) {
        raft.step(k2, {raft.term(), HeartbeatReply{beat->round, beat->tip, last, true, false}});
      } else if (const auto* append = std::get_if<Append>(&out.message.body)) {
        if (append->prev.index != last) continue;
        ++asked;
        raft.step(k2, acknowledge(k2, raft.term(), last));
      }
    }
  }
  CHECK(raft.commit() == last);
  CHECK(asked == 1);
}
