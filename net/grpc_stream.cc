#include "net/grpc_stream.h"

#include <utility>

#include "net/grpc_messages.h"
#include "net/grpc_text.h"

namespace capstan::net {

void GrpcStream::end(End how) {
  if (end_) return;
  end_ = std::move(how);
  body_.clear();
  close();
}

void GrpcStream::end_malformed(const std::string& why) {
  end({GrpcCode::kInternal, "grpc: error unmarshalling request: " + why});
}

void GrpcStream::receive(ByteView bytes) {
  if (end_) return;
  body_.append(bytes);
  std::size_t done = 0;
  while (!end_ && body_.size() - done >= kGrpcPrefixBytes) {
    const GrpcPrefix prefix = parse_grpc_prefix(ByteView(body_).substr(done));
    if (prefix.compressed) {
      return end({GrpcCode::kInternal, "compressed message without grpc-encoding"});
    }
    if (prefix.length > kGrpcMessageBytesMax) {
      return end({GrpcCode::kResourceExhausted, too_large_text(prefix.length), Reason::kTooLarge});
    }
    if (body_.size() - done < kGrpcPrefixBytes + prefix.length) break;
    take(ByteView(body_).substr(done + kGrpcPrefixBytes, prefix.length));
    done += kGrpcPrefixBytes + prefix.length;
  }
  if (!end_) body_.erase(0, done);
}

}  // namespace capstan::net
