// What a leader knows of one member, and how fast it may send to it.
//
//   probe      one append at a time until the logs are known to meet
//   replicate  appends stream ahead of their acknowledgements, within a window of count and bytes
//   snapshot   nothing is appended until the state has been installed
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "core/limits.h"
#include "cp/message.h"

namespace capstan::cp {

// Appends sent and not acknowledged yet.
class Inflight {
 public:
  void add(Index last, std::size_t bytes) {
    sent_.push_back({last, bytes});
    bytes_ += bytes;
  }
  // An acknowledgement covers everything before it too.
  void acknowledge(Index upto) {
    while (!sent_.empty() && sent_.front().last <= upto) {
      bytes_ -= sent_.front().bytes;
      sent_.pop_front();
    }
  }
  void clear() {
    sent_.clear();
    bytes_ = 0;
  }
  bool full() const { return sent_.size() >= kInflightMessagesMax || bytes_ >= kInflightBytesMax; }
  bool empty() const { return sent_.empty(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Sent {
    Index last;
    std::size_t bytes;
  };
  std::deque<Sent> sent_;
  std::size_t bytes_ = 0;
};

struct Progress {
  enum class State : std::uint8_t { kProbe, kReplicate, kSnapshot };

  // Invariant: match < next. Entries up to match are durable there; next is the first to send.
  Index match;
  Index next{1};
  State state = State::kProbe;
  bool verify = false;      // an append must go out even if it carries no entry
  bool probe_sent = false;  // wait for the answer or a heartbeat before probing again
  Inflight inflight;

  bool counts = true;  // in normal standing, by its own word
  bool heard = false;  // at all, in this term
  std::uint64_t heard_tick = 0;
  Index commit_sent;
  Index match_before;    // at the last heartbeat
  bool witness = false;  // is sent no commands
  bool waited_for = false;  // holds data, and confirms what it is sent: the witness waits for it
  std::uint64_t apart_tick = 0;  // when it was behind last, or not there
  std::uint64_t news_tick = 0;  // when match grew last, or there was nothing to wait for
  Round acked_round;
  Round learned_round;  // of the last reply that knew the life of the member being restored

  void to_probe(Index from) {
    state = State::kProbe;
    next = from > match ? from : capstan::next(match);
    probe_sent = false;
    inflight.clear();
  }
  void to_replicate() {
    state = State::kReplicate;
    next = capstan::next(match);
    inflight.clear();
  }
  bool may_send() const {
    switch (state) {
      case State::kProbe:
        return !probe_sent;
      case State::kReplicate:
        return !inflight.full();
      case State::kSnapshot:
        return false;
    }
    return false;
  }
};

}  // namespace capstan::cp
