// Passwords: hashed with Argon2id by libsodium, which takes some 100 ms and 64 MiB by design, so
// one at a time on a thread of its own, and a bounded number waits.
//
// What was verified is remembered, as a keyed hash under a key of this process: a thousand clients
// that log in as the same user cost one Argon2, and an attacker who guesses keeps nobody waiting
// who was here before.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace capstan::net {
class Loop;
}

namespace capstan::node {

class Passwords {
 public:
  // What waits at most; each takes its turn of some 100 ms.
  static constexpr std::size_t kWaitingMax = 64;

  explicit Passwords(net::Loop& loop);
  ~Passwords();  // after the one that is being hashed; nothing is answered then
  Passwords(const Passwords&) = delete;

  // `done` is called on the loop's thread, in a later turn or, by verify(), at once. False: too
  // many wait, and it will not be called.
  [[nodiscard]] bool hash(std::string password, std::move_only_function<void(std::string)> done);
  [[nodiscard]] bool verify(std::string password, std::string hash,
                            std::move_only_function<void(bool)> done);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace capstan::node
