// A call of etcd's lock and election services on one HTTP/2 stream: one request, and the replies
// that it gets in its time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/asker.h"
#include "net/grpc_messages.h"
#include "net/grpc_stream.h"
#include "net/service_call.h"

namespace capstan::net {

class GrpcService final : public GrpcStream {
 public:
  // `ready`: produce() may have something to say; it takes a note only.
  GrpcService(Asker asker, GrpcMethod method, std::function<void()> ready)
      : asker_(std::move(asker)), method_(method), ready_(std::move(ready)) {}

  // The names and values of a call that waits count as bytes of its request.
  std::size_t buffered() const override { return GrpcStream::buffered() + kept_; }
  void half_closed() override;
  bool produce(std::string& out) override;

 private:
  void take(ByteView message) override;
  void close() override;

  const Asker asker_;
  const GrpcMethod method_;
  std::function<void()> ready_;
  std::unique_ptr<ServiceCall> call_;
  std::size_t kept_ = 0;
};

}  // namespace capstan::net
