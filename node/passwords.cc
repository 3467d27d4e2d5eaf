#include "node/passwords.h"

#include <sodium.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "core/check.h"
#include "net/uv_loop.h"

namespace capstan::node {
namespace {

constexpr std::size_t kRememberedMax = 65'536;

std::string hashed(const std::string& password) {
  std::string out(crypto_pwhash_STRBYTES, '\0');
  const int failed =
      crypto_pwhash_str(out.data(), password.data(), password.size(),
                        crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
  CAPSTAN_ASSERT(failed == 0);  // no 64 MiB: the node has other worries
  out.resize(out.find('\0'));
  return out;
}

}  // namespace

struct Passwords::State {
  explicit State(net::Loop& on) : loop(on) {
    CAPSTAN_ASSERT(sodium_init() >= 0);
    randombytes_buf(key.data(), key.size());
  }

  using Work = std::move_only_function<std::move_only_function<void()>()>;  // gives what follows

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      wakes.wait(lock, [this] { return stopping || !waiting.empty(); });
      if (stopping) return;
      Work work = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      loop.post([alive = std::weak_ptr(life), then = work()]() mutable {
        if (alive.lock()) then();
      });
      lock.lock();
    }
  }

  bool give(Work work) {
    {
      const std::scoped_lock lock(mutex);
      if (waiting.size() >= kWaitingMax) return false;
      waiting.push_back(std::move(work));
    }
    if (!thread.joinable()) thread = std::thread([this] { run(); });
    wakes.notify_one();
    return true;
  }

  std::string note_of(const std::string& password, const std::string& hash) const {
    std::string note(32, '\0');
    const std::string both = hash + '\0' + password;
    const int failed = crypto_generichash(
        reinterpret_cast<unsigned char*>(note.data()), note.size(),
        reinterpret_cast<const unsigned char*>(both.data()), both.size(), key.data(), key.size());
    CAPSTAN_ASSERT(failed == 0);
    return note;
  }

  net::Loop& loop;
  std::array<unsigned char, crypto_generichash_KEYBYTES> key{};
  std::unordered_set<std::string> verified;               // loop thread only
  std::shared_ptr<char> life = std::make_shared<char>();  // likewise

  std::thread thread;
  std::mutex mutex;
  std::condition_variable wakes;
  std::deque<Work> waiting;
  bool stopping = false;
};

Passwords::Passwords(net::Loop& loop) : state_(std::make_shared<State>(loop)) {}

Passwords::~Passwords() {
  state_->life.reset();
  {
    const std::scoped_lock lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wakes.notify_one();
  if (state_->thread.joinable()) state_->thread.join();
}

bool Passwords::hash(std::string password, std::move_only_function<void(std::string)> done) {
  return state_->give([password = std::move(password), done = std::move(done)]() mutable {
    return [hash = hashed(password), done = std::move(done)]() mutable { done(std::move(hash)); };
  });
}

bool Passwords::verify(std::string password, std::string hash,
                       std::move_only_function<void(bool)> done) {
  std::string note = state_->note_of(password, hash);
  if (state_->verified.contains(note)) {
    done(true);
    return true;
  }
  return state_->give([state = state_.get(), note = std::move(note), password = std::move(password),
                       hash = std::move(hash), done = std::move(done)]() mutable {
    const bool good = crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) == 0;
    return [state, good, note = std::move(note), done = std::move(done)]() mutable {
      if (good) {
        if (state->verified.size() >= kRememberedMax) state->verified.clear();
        state->verified.insert(std::move(note));
      }
      done(good);
    };
  });
}

}  // namespace capstan::node
