#include "net/grpc_range.h"

#include <utility>

#include "net/grpc_messages.h"
#include "net/grpc_text.h"

namespace capstan::net {

void GrpcRange::take(ByteView) {
  end({GrpcCode::kInternal, "more than one message in a unary request"});
}

bool GrpcRange::produce(std::string& out) {
  const std::size_t before = out.size();
  while (!ended() && out.size() == before) {
    auto slice = range_->next();
    if (!slice) return false;
    if (!*slice) {
      end(end_of(slice->error()));
    } else if (measured_) {
      send(**slice, out);
    } else {
      measure(**slice, out);
    }
  }
  return out.size() > before;
}

void GrpcRange::measure(RangeStream::Slice& slice, std::string& out) {
  for (KeyValue& kv : slice.kvs) bytes_ += range_row_bytes(kv);
  if (!slice.last) return;
  const std::string head = range_head(header_);
  const std::uint64_t bytes = head.size() + bytes_ + range_tail(slice.more, slice.count).size();
  if (bytes > UINT32_MAX) {
    const std::string why = "the answer would take " + std::to_string(bytes) +
                            " bytes, and a message of gRPC ends at 4 GiB: ask with a limit, and go "
                            "on from its last key";
    return end({GrpcCode::kResourceExhausted, why, Reason::kTooLarge});
  }
  out.resize(out.size() + kGrpcPrefixBytes);
  write_grpc_prefix(out.data() + out.size() - kGrpcPrefixBytes, static_cast<std::uint32_t>(bytes));
  out += head;
  measured_ = true;
  range_->rewind();
}

void GrpcRange::send(RangeStream::Slice& slice, std::string& out) {
  for (KeyValue& kv : slice.kvs) append_range_row(kv, out);
  if (!slice.last) return;
  out += range_tail(slice.more, slice.count);
  end({GrpcCode::kOk, "", Reason::kNone});
}

}  // namespace capstan::net
