// The answer to KV.Range where it is too long to be held: one message all the same, as clients
// expect, written piece by piece. Its length stands before it, so the range is read twice: once to
// measure it, once to send it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/range_stream.h"
#include "net/grpc_stream.h"

namespace capstan::net {

class GrpcRange final : public GrpcStream {
 public:
  GrpcRange(const ReplyHeader& header, std::shared_ptr<RangeStream> range)
      : header_(header), range_(std::move(range)) {}

  bool produce(std::string& out) override;

 private:
  void take(ByteView message) override;
  void close() override { range_.reset(); }
  void measure(RangeStream::Slice& slice, std::string& out);
  void send(RangeStream::Slice& slice, std::string& out);

  const ReplyHeader header_;
  std::shared_ptr<RangeStream> range_;
  std::uint64_t bytes_ = 0;  // of keys and values, as they will be sent
  bool measured_ = false;
};

}  // namespace capstan::net
