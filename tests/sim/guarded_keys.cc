#include "tests/sim/guarded_keys.h"

#include <algorithm>
#include <utility>

#include "cp/auth.h"

namespace capstan::sim {

namespace {

using Action = AuthRequest::Action;

const std::string kUser = "u", kRole = "r", kKey = "guarded";

AuthRequest of_user(Action action) {
  return {.action = action, .user = kUser, .role = kRole, .secret = "hash"};
}

}  // namespace

int GuardedKeys::any_node() { return static_cast<int>(rng_.below(cluster_.nodes.size())); }

void GuardedKeys::start() {
  if (!cluster_.options.auth) return;
  AuthRequest allow{.action = Action::kGrantPermission, .role = kRole};
  allow.permission = {Permission::Kind::kReadWrite, {kKey, ""}};
  change({{.action = Action::kAddUser, .user = "root"},
          {.action = Action::kGrantRole, .user = "root", .role = "root"},
          of_user(Action::kAddUser),
          {.action = Action::kAddRole, .role = kRole},
          allow,
          {.action = Action::kEnable, .secret = std::string(cp::kAuthKeyBytes, 'k')}},
         false);
  enabled_ = true;
  cluster_.world.after(rng_.between(0, kSecond), [this] { next_use(); });
}

// ---- The administrator --------------------------------------------------------------------------

void GuardedKeys::change(std::vector<AuthRequest> steps, bool may) {
  if (!certain_.empty()) certain_.back().to = cluster_.world.now();
  change_step(std::make_shared<std::vector<AuthRequest>>(std::move(steps)), 0,
              "auth" + std::to_string(++ids_), may);
}

// Repeated under its id until it is answered, so that it happens once, and not after what follows.
void GuardedKeys::change_step(std::shared_ptr<std::vector<AuthRequest>> steps, std::size_t at,
                              std::string request_id, bool may) {
  if (stopped_) return;
  if (at == steps->size()) {
    certain_.push_back({may, cluster_.world.now(), -1});
    cluster_.world.after(rng_.between(0, 2 * kSecond), [this] { next_change(); });
    return;
  }
  Request request;
  request.body = (*steps)[at];
  request.request_id = request_id;
  auto answered = std::make_shared<bool>(false);
  const auto go_on = [this, steps, at, request_id, may, answered](bool done) {
    if (std::exchange(*answered, true)) return;
    cluster_.world.after(done ? 0 : 50 * kMillisecond, [=, this] {
      change_step(steps, done ? at + 1 : at, done ? "auth" + std::to_string(++ids_) : request_id,
                  may);
    });
  };
  SimNode& node = cluster_.node(any_node());
  cluster_.world.after(kSecond, [go_on] { go_on(false); });  // it may have died
  if (!node.running()) return;
  node.submit(std::move(request), [this, go_on](const Reply& reply) {
    if (reply.outcome == Outcome::kOk) cluster_.counters.add("users and roles changed");
    go_on(reply.outcome == Outcome::kOk);
  });
}

void GuardedKeys::next_change() {
  if (stopped_) return;
  switch (rng_.below(5)) {
    case 0:
      enabled_ = !enabled_;
      change({{.action = enabled_ ? Action::kEnable : Action::kDisable,
               .secret = std::string(cp::kAuthKeyBytes, static_cast<char>('a' + rng_.below(26)))}},
             !enabled_ || granted_);
      break;
    case 1:
      change({of_user(Action::kSetPassword)}, !enabled_ || granted_);
      break;
    case 2:
      granted_ = false;
      change({of_user(Action::kDeleteUser), of_user(Action::kAddUser)}, !enabled_);
      break;
    default:
      granted_ = !granted_;
      change({of_user(granted_ ? Action::kGrantRole : Action::kRevokeRole)}, !enabled_ || granted_);
  }
}

// ---- The user -----------------------------------------------------------------------------------

void GuardedKeys::next_use() {
  if (stopped_) return;
  cluster_.world.after(rng_.between(0, 100 * kMillisecond), [this] { next_use(); });
  Request request;
  if (rng_.chance(0.5)) {
    request.body = PutRequest{.key = kKey, .value = "g" + std::to_string(++ids_)};
  } else {
    request.body = RangeRequest{.range = {kKey, ""}};
  }
  // By certificate, or by a token that lives until it is refused.
  if (rng_.chance(0.3)) {
    request.caller.certificate_name = kUser;
    return use(std::move(request));
  }
  if (!token_.empty()) {
    request.caller.token = token_;
    return use(std::move(request));
  }
  Request login;
  login.body = AuthenticateRequest{kUser, ""};
  login.caller.certificate_name = kUser;
  SimNode& node = cluster_.node(any_node());
  if (!node.running()) return;
  node.submit(std::move(login), [this](const Reply& reply) {
    if (const auto* got = std::get_if<AuthenticateResult>(&reply.body)) token_ = got->token;
  });
}

void GuardedKeys::use(Request request) {
  SimNode& node = cluster_.node(any_node());
  if (!node.running()) return;
  const std::string what =
      std::string(std::holds_alternative<PutRequest>(request.body) ? "put" : "get") + " at " +
      node.name() + (request.caller.token.empty() ? " by certificate" : " by token");
  const Micros sent = cluster_.world.now();
  node.submit(std::move(request), [this, what, sent](const Reply& reply) {
    if (reply.reason == Reason::kInvalidToken) token_.clear();
    const bool denied = reply.reason == Reason::kPermissionDenied;
    if (reply.outcome != Outcome::kOk && !denied) return;
    cluster_.counters.add(denied ? "users denied" : "users served");
    told_.push_back({what, !denied, sent, cluster_.world.now()});
  });
}

std::string GuardedKeys::check() const {
  for (const Told& told : told_) {
    const auto at = std::ranges::find_if(certain_, [&](const Certain& certain) {
      return certain.from < told.sent && (certain.to < 0 || told.answered < certain.to);
    });
    if (at == certain_.end() || at->may == told.was_allowed) continue;
    return told.what + ", sent at " + seconds_text(told.sent) + ", answered at " +
           seconds_text(told.answered) + ", was " + (told.was_allowed ? "served" : "denied") +
           ", but since " + seconds_text(at->from) + " it was certain that it may" +
           (at->may ? "" : " not");
  }
  return {};
}

}  // namespace capstan::sim
