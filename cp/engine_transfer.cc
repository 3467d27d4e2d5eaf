// Handing the leadership over because somebody asked for it. Writes that come meanwhile wait for
// the next leader; none is refused for it.
#include <utility>

#include "cp/engine_state.h"

namespace capstan::cp {
namespace {

constexpr Micros kMovePatience = 3 * kSecond;

}  // namespace

void Engine::State::move_leader(const MoveLeaderRequest& request, Answer answer) {
  const std::string& leader = name_of(raft->leader());
  if (!raft->is_leader()) {
    return answer(refusal(Reason::kLeaderOnly,
                          "refused: " + config.name + " does not lead; " +
                              (leader.empty() ? "nobody it hears does." : "ask " + leader + ".")));
  }
  const std::string& target = name_of(request.target);
  if (target.empty()) {
    return answer(refusal(Reason::kBadTransferee,
                          "refused: no member has that id; capstan members --json has them."));
  }
  if (raft->is_witness(request.target)) {
    return answer(refusal(Reason::kBadTransferee,
                          "refused: " + target + " is the witness, which never leads."));
  }
  Reply done = reply();
  done.body = MoveLeaderResult{};
  if (request.target == config.self) return answer(std::move(done));
  if (moving || raft->transferring()) {
    return answer(refusal(Reason::kOverloaded, "refused: it is being handed over already."));
  }
  if (!raft->transfer_leadership(request.target)) {
    return answer(refusal(
        Reason::kTimeout,
        "refused: " + target + " is not heard, or does not vote; " + config.name + " leads on."));
  }
  moving = Move{request.target, std::move(answer), now.monotonic};
}

void Engine::State::look_after_move() {
  if (!moving) return;
  const bool moved = raft->leader() == moving->target;
  const bool given_up = raft->is_leader() && !raft->transferring();
  if (!moved && !given_up && now.monotonic - moving->since < kMovePatience && !stopping) return;
  Move move = *std::exchange(moving, std::nullopt);
  Reply out = reply();
  if (moved) {
    out.body = MoveLeaderResult{};
  } else {
    out.outcome = Outcome::kUnknown;
    out.reason = stopping ? Reason::kShuttingDown : Reason::kTimeout;
    out.detail = "unknown: " + name_of(move.target) + " had not taken over within " +
                 seconds_text(now.monotonic - move.since) +
                 "; it may still. capstan status says who leads.";
  }
  move.answer(std::move(out));
}

}  // namespace capstan::cp
