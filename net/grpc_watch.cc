#include "net/grpc_watch.h"

#include <utility>
#include <variant>

#include "net/grpc_messages.h"
#include "net/grpc_text.h"

namespace capstan::net {

void GrpcWatch::end(End how) {
  if (end_) return;
  end_ = std::move(how);
  stream_.reset();
  body_.clear();
}

void GrpcWatch::receive(ByteView bytes) {
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

void GrpcWatch::take(ByteView message) {
  Result<WatchAsked> asked = decode_watch_asked(message);
  if (!asked) {
    return end(
        {GrpcCode::kInternal, "grpc: error unmarshalling request: " + asked.error().context});
  }
  if (auto* create = std::get_if<WatchRequest>(&*asked)) {
    stream_->create(std::move(*create));
  } else if (const auto* cancel = std::get_if<CancelWatch>(&*asked)) {
    stream_->cancel(cancel->id);
  } else if (std::holds_alternative<AskProgress>(*asked)) {
    stream_->ask_progress();
  }
}

bool GrpcWatch::produce(std::string& out) {
  if (end_) return false;
  std::optional<WatchMessage> message = stream_->next();
  if (!message) return false;
  if (message->end) {
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, message->end->reason);
    end({status.code, std::string(status.text), message->end->reason, message->end->detail});
    return false;
  }
  encode_watch_message(*message, out);
  return true;
}

}  // namespace capstan::net
