// Between a follower and its leader: writes that are given away, and reads that are asked for.
#include <algorithm>
#include <utility>

#include "cp/command.h"
#include "cp/engine_state.h"

namespace capstan::cp {
namespace {

// Numbers this far behind the newest count as taken: a packet that late is a duplicate.
constexpr std::uint64_t kForwardWindow = 4096;

}  // namespace

void Engine::State::forward_writes() {
  Forward forward{actor, 0, {}};
  Given given;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (forward.commands.empty()) return;
    forward.number = ++last_forward;
    given.term = raft->term();
    given.sent = now.monotonic;
    forwards.emplace(forward.number, std::exchange(given, {}));
    sender.send(raft->leader(), {raft->term(), std::exchange(forward, {actor, 0, {}})});
    bytes = 0;
  };
  for (std::uint64_t sequence : std::exchange(queue, {})) {
    const auto at = writes.find(sequence);
    if (at == writes.end()) continue;
    const bool alone = at->second.change.has_value();
    if (alone) flush();
    if (bytes > 0 && bytes + at->second.command.size() > kEntryBytesMax) flush();
    bytes += at->second.command.size();
    at->second.given = raft->term();
    forward.commands.push_back(at->second.command);
    given.sequences.push_back(sequence);
    if (alone) flush();
  }
  flush();
}

// The leader takes each number once, so saying it again is harmless: only what was lost on the way
// is news to it.
void Engine::State::resend_forwards(bool all) {
  if (raft->is_leader() || !raft->leader()) return;
  for (auto at = forwards.begin(); at != forwards.end();) {
    auto& [number, given] = *at;
    std::erase_if(given.sequences, [this](std::uint64_t s) { return !writes.contains(s); });
    // Given to another term, it may be in that term's log: it must not be offered to this one.
    if (given.sequences.empty() || given.term != raft->term()) {
      at = forwards.erase(at);
      continue;
    }
    if (all || now.monotonic - given.sent >= kResendAfter) {
      Forward forward{actor, number, {}};
      for (std::uint64_t sequence : given.sequences) {
        forward.commands.push_back(writes.at(sequence).command);
      }
      given.sent = now.monotonic;
      sender.send(raft->leader(), {raft->term(), std::move(forward)});
    }
    ++at;
  }
}

void Engine::State::on_forward(MemberId from, Term term, const Forward& forward) {
  // Only the leader of exactly that term may take it: whoever sees an entry of a later term then
  // knows that what was not applied before never will be.
  if (!raft->is_leader() || term != raft->term()) return;
  if (taken_term != term) {
    taken.clear();
    taken_term = term;
  }
  Taken& seen = taken[forward.origin.node];
  // An earlier life of that process has nothing to say any more.
  if (seen.incarnation > forward.origin.incarnation) return;
  if (seen.incarnation < forward.origin.incarnation) seen = {forward.origin.incarnation, {}};
  const std::uint64_t newest = seen.numbers.empty() ? 0 : *seen.numbers.rbegin();
  if (forward.number + kForwardWindow <= newest) return;
  if (!seen.numbers.insert(forward.number).second) return;
  while (seen.numbers.size() > kForwardWindow) seen.numbers.erase(seen.numbers.begin());

  Reason reason = Reason::kNone;
  std::string detail;
  bool needs_time = false;
  std::optional<Command> change;
  for (const std::string& command : forward.commands) {
    std::optional<Command> decoded = decode_command(command);
    needs_time = needs_time || (decoded && tells_life(decoded->body));
    if (!decoded || decoded->id.actor != forward.origin) {
      reason = Reason::kInvalid;
      detail = "refused: the leader cannot read the command";
    } else if (!disk.writes_allowed() && takes_space(decoded->body)) {
      reason = Reason::kNoSpace;
      detail = "refused: the disk of " + config.name +
               ", the leader, is nearly full. Not applied. "
               "Free some space there and it takes writes again by itself.";
    } else if (std::holds_alternative<MemberChangeRequest>(decoded->body)) {
      change = std::move(decoded);
    }
  }
  if (change && forward.commands.size() > 1) {
    reason = Reason::kInvalid;
    detail = "refused: a change of members travels alone";
  }
  if (stopping || forwarded.size() >= kPendingRequestsMax) {
    reason = stopping ? Reason::kNotLeader : Reason::kOverloaded;
    detail = "refused: the leader takes no more writes now." + std::string(kNotApplied);
  }
  if (reason != Reason::kNone) {
    sender.send(from, {term, ForwardRefused{forward.origin, forward.number, reason, detail}});
    return;
  }
  if (change) return take_change(*change, from, forward.number);
  for (const std::string& command : forward.commands) forwarded.push_back(command);
  lease_time_wanted = lease_time_wanted || needs_time;
}

void Engine::State::on_forward_refused(const ForwardRefused& refused) {
  if (refused.origin != actor) return;
  const auto at = forwards.find(refused.number);
  if (at == forwards.end()) return;
  for (std::uint64_t sequence : at->second.sequences) {
    const auto write = writes.find(sequence);
    if (write == writes.end()) continue;
    if (refused.reason == Reason::kNotLeader) {  // it is handing over: wait for the next one
      write->second.given = {};
      queue.push_back(sequence);
      lease_time_wanted = true;
      continue;
    }
    Answer answer = std::move(write->second.answer);
    writes.erase(write);
    answer(refusal(refused.reason, refused.detail));
  }
  forwards.erase(at);
  std::ranges::sort(queue);
}

void Engine::State::on_read_request(MemberId from, Term term, const ReadRequest& request) {
  if (raft->is_leader()) {
    round_requests[raft->join_read_round()].emplace_back(from, request);
  } else {
    sender.send(from, {term, ReadReply{request.origin, request.number, true, {}}});
  }
}

void Engine::State::on_read_reply(const ReadReply& reply) {
  if (reply.origin != actor) return;
  const auto at = asked_reads.find(reply.number);
  if (at == asked_reads.end()) return;
  for (Read& read : at->second.reads) {
    if (reply.refused) {
      read_queue.push_back(std::move(read));
    } else {
      indexed_reads.emplace(reply.index, std::move(read));
    }
  }
  asked_reads.erase(at);
}

}  // namespace capstan::cp
