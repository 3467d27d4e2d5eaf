// LeaseKeepAlive, etcd's stream of signs of life: one reply for each request, in their order. What
// goes wrong ends the stream, and the client asks again; that a lease is not there is no wrong, but
// a time to live of 0. Replies that are not taken are bounded.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/asker.h"
#include "net/grpc_stream.h"

namespace capstan::net {

class GrpcKeepAlive final : public GrpcStream {
 public:
  // `ready`: produce() may have something to say; it takes a note only.
  GrpcKeepAlive(Asker asker, std::function<void()> ready)
      : asker_(std::move(asker)), ready_(std::move(ready)) {}

  void half_closed() override;
  bool produce(std::string& out) override;

 private:
  void take(ByteView message) override;
  void close() override { asked_.clear(); }

  // Held by whoever answers, too, who may come when we are gone.
  struct Asked {
    std::function<void()> ready;
    bool answered = false;
    std::string message;       // the reply, ready to be sent
    std::optional<End> wrong;  // in its place
  };
  const Asker asker_;
  std::function<void()> ready_;
  std::deque<std::shared_ptr<Asked>> asked_;
  bool half_closed_ = false;
};

}  // namespace capstan::net
