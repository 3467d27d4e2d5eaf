// Members and messages for tests of cp/raft.h, in one line each.
#pragma once

#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include "cp/raft.h"

namespace capstan::test {

inline constexpr MemberId k1{1}, k2{2}, k3{3};

inline Actor life_of(MemberId member) { return {NodeId{100 + member.value}, 0}; }
inline cp::Roll full_roll(int members = 3) {
  cp::Roll roll;
  for (std::uint64_t m = 1; m <= static_cast<std::uint64_t>(members); ++m) {
    roll.push_back({{m}, life_of({m})});
  }
  return roll;
}

struct MemberOptions {
  MemberId self = k1;
  std::uint64_t term = 1;
  MemberId vote = {};
  std::vector<std::uint64_t> log_terms = {};
  cp::Standing standing = cp::Standing::kNormal;
  int members = 3;
  std::uint64_t seed = 1;
  Incarnation incarnation = 0;  // of the life to announce
};

inline cp::Raft member(const MemberOptions& options) {
  cp::RaftState state;
  state.hard.term = {options.term};
  state.hard.vote = options.vote;
  state.hard.standing = options.standing;
  state.hard.life = life_of(options.self);
  if (options.standing == cp::Standing::kNormal) state.hard.roll = full_roll(options.members);
  for (std::uint64_t term : options.log_terms) {
    state.entries.push_back(
        {{term}, {state.entries.size() + 1}, cp::EntryKind::kCommands, nullptr});
  }
  for (std::uint64_t m = 1; m <= static_cast<std::uint64_t>(options.members); ++m) {
    state.config.voters.push_back({m});
  }
  cp::RaftOptions raft;
  raft.self = options.self;
  raft.life = {life_of(options.self).node, options.incarnation};
  return cp::Raft(raft, std::move(state), Rng{options.seed});
}

inline cp::Message ask(std::uint64_t term, cp::EntryId last, bool pre = false) {
  return {{term}, cp::VoteRequest{pre, false, last}};
}
inline cp::Message grant(Term term, Actor life = life_of(k2), cp::Roll roll = {}) {
  return {term, cp::VoteReply{false, true, life, std::move(roll)}};
}
inline cp::Message heartbeat(std::uint64_t term, std::uint64_t commit = 0) {
  return {{term}, cp::Heartbeat{{commit}, {}, {}, {}, {}}};
}
inline cp::Message append(std::uint64_t term, cp::EntryId prev, std::vector<std::uint64_t> terms,
                          std::uint64_t commit = 0) {
  cp::Append out{prev, {commit}, {}};
  for (std::uint64_t t : terms) {
    out.entries.push_back(
        {{t}, {prev.index.value + out.entries.size() + 1}, cp::EntryKind::kCommands, nullptr});
  }
  return {{term}, std::move(out)};
}
inline cp::Message acknowledge(MemberId from, Term term, Index index) {
  cp::AppendReply reply;
  reply.index = index;
  reply.life = life_of(from);
  return {term, reply};
}
inline cp::Message round_reply(Term term, std::uint64_t round) {
  return {term, cp::HeartbeatReply{{round}, {}, {}, true, false}};
}

// Ticks a follower into an election and grants it the pre-votes.
inline void pre_elect(cp::Raft& raft) {
  for (int i = 0; i < 50 && raft.role() == cp::Role::kFollower; ++i) raft.tick();
  REQUIRE(raft.role() == cp::Role::kPreCandidate);
  raft.take_ready();
  for (MemberId voter : {k2, k3}) {
    raft.step(voter, {next(raft.term()), cp::VoteReply{true, true, life_of(voter), {}}});
    if (raft.role() == cp::Role::kCandidate) return;
  }
}

// Leader of options.term; its empty entry is in the log and not handed out yet.
inline cp::Raft leader(const MemberOptions& options) {
  MemberOptions before = options;
  before.term = options.term - 1;
  cp::Raft raft = member(before);
  pre_elect(raft);
  raft.persisted(raft.take_ready().write);
  for (MemberId voter : raft.config().voters) {
    if (voter != options.self && !raft.is_leader()) {
      raft.step(voter, grant(raft.term(), life_of(voter)));
    }
  }
  REQUIRE(raft.is_leader());
  return raft;
}

// The same, with its empty entry committed.
inline cp::Raft established_leader(const MemberOptions& options) {
  cp::Raft raft = leader(options);
  raft.persisted(raft.take_ready().write);
  raft.step(k3, acknowledge(k3, raft.term(), raft.log().last_index()));
  raft.take_ready();
  REQUIRE(raft.established());
  return raft;
}

}  // namespace capstan::test
