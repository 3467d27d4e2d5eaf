// Watch, etcd's stream of watches, on one HTTP/2 stream: messages of the client to the node's
// WatchStream, and what that has to say back, one message at a time as there is room.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/watch.h"
#include "net/reasons.h"

namespace capstan::net {

class GrpcWatch {
 public:
  explicit GrpcWatch(std::unique_ptr<WatchStream> stream) : stream_(std::move(stream)) {}

  // Bytes of the client, in any pieces.
  void receive(ByteView bytes);
  // Bytes kept of a message that is not whole yet.
  std::size_t buffered() const { return body_.size(); }

  // Appends the next gRPC message. False: nothing now, or ended.
  bool produce(std::string& out);

  // How the call ends, once everything produced before is sent.
  struct End {
    GrpcCode code = GrpcCode::kOk;
    std::string text;
    Reason reason = Reason::kInvalid;
    std::string detail = {};  // ours, beside etcd's text
  };
  void end(End how);
  const std::optional<End>& ended() const { return end_; }

 private:
  void take(ByteView message);

  std::unique_ptr<WatchStream> stream_;
  std::string body_;
  std::optional<End> end_;
};

}  // namespace capstan::net
