#include "net/grpc_watch.h"

#include <utility>
#include <variant>

#include "net/grpc_messages.h"

namespace capstan::net {

void GrpcWatch::take(ByteView message) {
  Result<WatchAsked> asked = decode_watch_asked(message);
  if (!asked) return end_malformed(asked.error().context);
  if (auto* create = std::get_if<WatchRequest>(&*asked)) {
    stream_->create(std::move(*create));
  } else if (const auto* cancel = std::get_if<CancelWatch>(&*asked)) {
    stream_->cancel(cancel->id);
  } else if (std::holds_alternative<AskProgress>(*asked)) {
    stream_->ask_progress();
  }
}

bool GrpcWatch::produce(std::string& out) {
  if (ended()) return false;
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
