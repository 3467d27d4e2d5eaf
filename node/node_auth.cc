// What of users and passwords the pure machine cannot do: draw keys, hash, verify.
#include <sodium.h>

#include <utility>

#include "core/limits.h"
#include "cp/auth.h"
#include "node/node_parts.h"

namespace capstan::node {
namespace {

Reply too_many() {
  return refused(Reason::kOverloaded,
                 "refused: " + std::to_string(Passwords::kWaitingMax) +
                     " passwords wait to be hashed. Not applied; safe to retry.");
}

}  // namespace

bool Node::Parts::hashes_first(Request& request, Answer& answer) {
  using Action = AuthRequest::Action;
  auto* auth = std::get_if<AuthRequest>(&request.body);
  if (auth == nullptr || config.mode != Mode::kCp) return false;
  if (auth->action == Action::kEnable) {
    auth->secret.resize(cp::kAuthKeyBytes);
    randombytes_buf(auth->secret.data(), auth->secret.size());
    return false;
  }
  const bool sets = auth->action == Action::kAddUser || auth->action == Action::kSetPassword;
  if (!sets || auth->secret.empty()) return false;
  if (auth->secret.size() > kPasswordBytesMax) {
    answer(refused(Reason::kTooLarge, "refused: a password has at most " +
                                          std::to_string(kPasswordBytesMax) + " bytes"));
    return true;
  }
  std::string password = std::exchange(auth->secret, {});
  auto waiting =
      std::make_shared<std::pair<Request, Answer>>(std::move(request), std::move(answer));
  const bool taken = passwords.hash(std::move(password), [this, waiting](std::string hash) {
    std::get<AuthRequest>(waiting->first.body).secret = std::move(hash);
    ask(std::move(waiting->first), std::move(waiting->second));
  });
  if (!taken) waiting->second(too_many());
  return true;
}

// The engine answers with a token; it is handed over to who knows the password.
Answer Node::Parts::if_password_is_right(std::string password, Answer answer) {
  return [this, password = std::move(password), answer = std::move(answer)](Reply reply) mutable {
    auto* login = std::get_if<AuthenticateResult>(&reply.body);
    if (login == nullptr || reply.outcome != Outcome::kOk) return answer(std::move(reply));
    std::string hash = std::exchange(login->hash, {});
    if (password.size() > kPasswordBytesMax) password.clear();
    auto waiting = std::make_shared<std::pair<Reply, Answer>>(std::move(reply), std::move(answer));
    const bool taken =
        passwords.verify(std::move(password), std::move(hash), [waiting](bool right) {
          auto& [good, tell] = *waiting;
          if (right) return tell(std::move(good));
          Reply wrong = refused(Reason::kAuthFailed,
                                "refused: there is no such user, or it has another password");
          wrong.header = good.header;
          tell(std::move(wrong));
        });
    if (!taken) waiting->second(too_many());
  };
}

}  // namespace capstan::node
