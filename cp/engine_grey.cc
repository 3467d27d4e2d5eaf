// Grey failures: a member that is heard, and yet nothing goes on. Packets above some size are lost
// on the way (an MTU hole), a way is slower than what is to go over it, a disk does not answer.
// Heartbeats are small and need no disk, so nobody is missed.
//
//   noticed by   the age of the oldest entry that is not committed, not confirmed by one member,
//                not durable here, not taken by the leader: 2 s are too many
//   done         a leader that commits nothing, or whose disk is stuck, tells the member that has
//                most of the log to campaign, again and again and more and more seldom: it may be
//                everybody's trouble
//   said         in `status`, /readyz and the log
//
// Source "Gray Failure: The Achilles' Heel of Cloud-Scale Systems" (2017), differential
//        observability; docs/decisions.md
#include <algorithm>
#include <utility>

#include "core/trace.h"
#include "cp/engine_state.h"

namespace capstan::cp {
namespace {

constexpr Micros kGreyAfter = 2 * kSecond;
constexpr Micros kHandOverAfter = kGreyAfter + 500 * kMillisecond;  // first it is said
// A connection that large packets break is made anew all the time; heard within this counts.
constexpr Micros kHeardLately = kSecond;
constexpr Micros kHandOverEvery = 200 * kMillisecond;  // told again, while it is the same trouble
constexpr Micros kHandOverTries = 2 * kSecond;
constexpr Micros kQuietAtFirst = 4 * kSecond;  // then twice as long each time
constexpr Micros kQuietAtMost = 60 * kSecond;
constexpr Micros kForgottenAfter = 5 * kSecond;
constexpr Micros kReminder = 30 * kSecond;

}  // namespace

Micros Engine::State::commit_stall() const {
  return raft->is_leader() ? ages.age_behind(raft->commit(), now.monotonic) : 0;
}

Micros Engine::State::disk_stall() const {
  return disk_waits_since < 0 ? 0 : now.monotonic - disk_waits_since;
}

// For how long nothing has come back of what we, who do not lead, were asked to write.
Micros Engine::State::write_stall() const {
  return writes_wait_since < 0 ? 0 : now.monotonic - writes_wait_since;
}

// Clients may give up before us: what went wrong is remembered for a while after the last of them.
void Engine::State::watch_writes() {
  if (raft->is_leader()) {
    writes_wait_since = -1;
  } else if (!writes.empty()) {
    writes_open_at = now.monotonic;
    if (writes_wait_since < 0) writes_wait_since = now.monotonic;
  } else if (now.monotonic - writes_open_at >= kForgottenAfter) {
    writes_wait_since = -1;
  }
}

// By name, of those that are heard.
std::string Engine::State::heard_lately() const {
  std::string out;
  for (const auto& [member, at] : heard_at) {
    const bool counts = raft->config().is_voter(member) && member != config.self;
    if (!counts || now.monotonic - at >= kHeardLately) continue;
    out += (out.empty() ? "" : " and ") + name_of(member);
  }
  return out;
}

std::optional<std::string> Engine::State::own_trouble() const {
  if (const Micros stall = disk_stall(); stall >= kGreyAfter) {
    return "degraded: the disk of " + config.name + " has not answered for " + seconds_text(stall) +
           ".";
  }
  if (std::max(commit_stall(), write_stall()) < kGreyAfter) return std::nullopt;
  const std::string heard = heard_lately();
  if (heard.empty()) return std::nullopt;
  const std::string although = " although " + heard + (heard.contains(" and ") ? " are" : " is") +
                               " heard: large packets may be lost on the way (path MTU?), or the "
                               "way is slow.";
  if (const Micros stall = commit_stall(); stall >= kGreyAfter) {
    return "degraded: nothing has been committed for " + seconds_text(stall) + although;
  }
  return "degraded: nothing of what " + config.name + " was asked to write has come back for " +
         seconds_text(write_stall()) + although;
}

// A leader's view of the others, one by one.
std::vector<std::string> Engine::State::peer_troubles() const {
  std::vector<std::string> out;
  if (!raft->is_leader() || commit_stall() >= kGreyAfter) return out;
  for (const auto& [member, progress] : raft->progress()) {
    const auto heard = heard_at.find(member);
    const bool lately = heard != heard_at.end() && now.monotonic - heard->second < kHeardLately;
    const Micros behind = ages.age_behind(progress.match, now.monotonic);
    if (!lately || behind < kGreyAfter || progress.state == Progress::State::kSnapshot) continue;
    out.push_back("degraded: " + name_of(member) + " is heard, but what it has confirmed is " +
                  seconds_text(behind) +
                  " old: its disk is slow, or large packets are lost on the way (path MTU?).");
  }
  return out;
}

void Engine::State::watch_grey() {
  if (durable_write == last_write) {
    disk_waits_since = -1;
  } else if (disk_waits_since < 0 || durable_write != disk_answered) {
    disk_waits_since = now.monotonic;
  }
  disk_answered = durable_write;
  watch_writes();
  if (raft->is_leader()) {
    ages.note(raft->log().last_index(), now.monotonic);
  } else {
    ages.clear();
  }
  const std::optional<std::string> trouble = own_trouble();
  if (!trouble) {
    trouble_said_at = -1;
  } else if (trouble_said_at < 0 || now.monotonic - trouble_said_at >= kReminder) {
    trouble_said_at = now.monotonic;
    trace(Level::kWarn, "degraded", *trouble);
  }
  hand_over_if_stuck();
}

void Engine::State::hand_over_if_stuck() {
  const bool stuck = raft->is_leader() && !stopping &&
                     (commit_stall() >= kHandOverAfter || disk_stall() >= kHandOverAfter);
  if (!stuck) {
    hand_over.until = -1;
    hand_over.to = {};
  }
  if (!stuck || now.monotonic < hand_over.next) return;
  if (hand_over.until < 0) {
    const bool long_ago = now.monotonic - hand_over.next >= kQuietAtMost;
    if (long_ago || hand_over.quiet == 0) hand_over.quiet = kQuietAtFirst;
    hand_over.until = now.monotonic + kHandOverTries;
  }
  hand_over_to(hand_over.to);
  hand_over.next = now.monotonic + kHandOverEvery;
  if (now.monotonic < hand_over.until) return;
  hand_over.next = now.monotonic + hand_over.quiet;
  hand_over.quiet = std::min(2 * hand_over.quiet, kQuietAtMost);
  hand_over.until = -1;
  hand_over.to = {};
}

// 0: to whoever has most of the log.
void Engine::State::hand_over_to(MemberId member) {
  const MemberId told = raft->tell_to_campaign(member);
  if (!told || std::exchange(hand_over.to, told) == told) return;
  trace(Level::kWarn, "hands_over",
        config.name + " cannot lead as things are; " + name_of(told) + " is told to");
}

// Before anything else goes over it that may be too large for the way.
void Engine::State::connected_while_stuck(MemberId peer) {
  if (hand_over.until >= 0 && (!hand_over.to || hand_over.to == peer)) hand_over_to(peer);
}

}  // namespace capstan::cp
