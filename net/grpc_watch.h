// Watch, etcd's stream of watches, on one HTTP/2 stream: messages of the client to the node's
// WatchStream, and what that has to say back.
#pragma once

#include <memory>
#include <string>

#include "core/watch.h"
#include "net/grpc_stream.h"

namespace capstan::net {

class GrpcWatch final : public GrpcStream {
 public:
  explicit GrpcWatch(std::unique_ptr<WatchStream> stream) : stream_(std::move(stream)) {}

  bool produce(std::string& out) override;

 private:
  void take(ByteView message) override;
  void close() override { stream_.reset(); }

  std::unique_ptr<WatchStream> stream_;
};

}  // namespace capstan::net
