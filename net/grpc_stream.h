// The body of a call whose client and server both go on talking: messages in any pieces, and one
// message back at a time as there is room. What they mean is for the kinds of it to say.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/types.h"
#include "net/reasons.h"

namespace capstan::net {

class GrpcStream {
 public:
  virtual ~GrpcStream() = default;

  // Bytes of the client.
  void receive(ByteView bytes);
  // Bytes kept: of a message that is not whole yet, and what some kinds keep of whole ones.
  virtual std::size_t buffered() const { return body_.size(); }
  // The client has said all it will.
  virtual void half_closed() {}

  // Appends the next gRPC message. False: nothing now, or ended.
  virtual bool produce(std::string& out) = 0;

  // How the call ends, once everything produced before is sent.
  using End = CallEnd;
  void end(End how);
  const std::optional<End>& ended() const { return end_; }

 protected:
  virtual void take(ByteView message) = 0;
  virtual void close() {}  // it ends: nothing more will be produced
  void end_malformed(const std::string& why);

 private:
  std::string body_;
  std::optional<End> end_;
};

}  // namespace capstan::net
