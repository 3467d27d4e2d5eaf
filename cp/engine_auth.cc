// Who asks, and may they: where the state of users and roles (cp/auth.h) meets what comes in.
#include <utility>

#include "cp/access.h"
#include "cp/engine_state.h"

namespace capstan::cp {

Engine::State::Who Engine::State::principal_of(const Caller& caller) {
  const Auth& auth = machine.auth();
  if (!auth.enabled()) return std::nullopt;
  if (caller.node_itself) return Principal{};
  if (!caller.token.empty()) {
    std::optional<Principal> who = tokens.check(auth.key(), caller.token, now);
    if (who) return who;
    return std::unexpected(
        Refusal{Reason::kInvalidToken, "the token is not one of this cluster, or too old"});
  }
  if (caller.certificate_name.empty()) return std::nullopt;
  return Principal{caller.certificate_name};
}

std::optional<Refusal> Engine::State::denied(const Who& who, const RequestBody& body) const {
  auto no = access_refusal(machine.auth(), machine.mvcc(), who.value_or(std::nullopt), body);
  // What nobody need be known for, such as logging in, is not refused for a token that is too old.
  return no && !who ? who.error() : no;
}

std::optional<Refusal> Engine::State::authenticate(const AuthenticateRequest& request,
                                                   AuthenticateResult& out) {
  const Auth& auth = machine.auth();
  if (!auth.enabled()) return Refusal{Reason::kAuthNotEnabled, "auth is off: nobody need log in"};
  std::optional<Auth::Login> login = auth.login(request.user);
  if (!login || login->hash.empty()) {
    return Refusal{Reason::kAuthFailed, "there is no such user, or it has another password"};
  }
  out.token = tokens.issue(auth.key(), login->principal, now, rng.next());
  out.hash = std::move(login->hash);
  return std::nullopt;
}

// Asked for each watch when it is made, and for all of them when users or roles have changed.
std::unique_ptr<WatchStream> Engine::State::open_watches(WatchOptions options) {
  if (is_witness()) return watches.open_ended(std::move(options), witness_refusal());
  auto may_watch = [this, who = principal_of(options.caller)](const KeyRange& range) {
    return !machine.auth().enabled() || (who && !machine.auth().must_read(*who, range));
  };
  return watches.open(std::move(options), std::move(may_watch));
}

void Engine::State::look_after_auth() {
  const std::uint64_t now_at = machine.auth().revision();
  if (std::exchange(auth_revision, now_at) != now_at) watches.recheck();
}

}  // namespace capstan::cp
