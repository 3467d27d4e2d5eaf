// A session: one client's protocol on one connection, bytes in and bytes out. It never sees a
// socket, so that a test can be the socket; net/door.cc joins the two.
//
//   socket ─► receive() ─► Handler ─► answer ─► (wake) ─► produce() ─► socket
//
// Sessions are held by shared_ptr: answers that come late hold a weak one.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "core/request.h"
#include "core/time.h"
#include "core/types.h"
#include "net/door.h"
#include "net/handler.h"

namespace capstan::net {

// What all sessions of a door share.
struct DoorContext {
  Handler& handler;
  const DoorOptions& options;
  DoorCounts counts;
  Micros now = 0;  // monotonic, of this turn

  // Bytes of incomplete requests are drawn from one budget. False: it is used up.
  bool take_buffer(std::size_t bytes) {
    if (counts.buffered_bytes + bytes > options.buffered_bytes_max) return false;
    counts.buffered_bytes += bytes;
    return true;
  }
  void give_buffer(std::size_t bytes) { counts.buffered_bytes -= bytes; }
  // Too much waits for clients that do not read: time to refuse more work.
  bool out_is_full() const { return counts.waiting_out_bytes > options.waiting_out_bytes_max; }
};

class Session {
 public:
  // `wake` is called when produce() would have something to say, from receive() or from an answer;
  // it must only take a note.
  Session(DoorContext& context, std::function<void()> wake)
      : context_(context), wake_(std::move(wake)) {}
  virtual ~Session() = default;
  Session(const Session&) = delete;

  // Whose certificate the connection showed; before the first byte.
  void known_as(std::string certificate_name) { certificate_name_ = std::move(certificate_name); }

  // What the client sent.
  virtual void receive(ByteView bytes) = 0;
  // Appends what should go to the client now, at least one byte if there is anything and roughly at
  // most `room`. Call again when there is room.
  virtual void produce(std::string& out, std::size_t room) = 0;
  // Nothing will be said any more: close once everything produced is written.
  virtual bool finished() const = 0;
  // Says that no new request is welcome; finished() follows when those in flight are answered.
  virtual void shut() = 0;
  // About ten times a second.
  virtual void tick() = 0;
  virtual std::size_t requests_in_flight() const = 0;

 protected:
  DoorContext& context() { return context_; }
  const DoorContext& context() const { return context_; }
  void wake() { wake_(); }
  // Who asks with this token, or with none.
  Caller caller(std::string token) const { return {std::move(token), certificate_name_}; }

 private:
  DoorContext& context_;
  std::function<void()> wake_;
  std::string certificate_name_;
};

}  // namespace capstan::net
