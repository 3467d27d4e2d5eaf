#include "net/grpc_keep_alive.h"

#include <utility>

#include "core/limits.h"
#include "net/grpc_messages.h"

namespace capstan::net {

void GrpcKeepAlive::take(ByteView message) {
  Result<RequestBody> body = decode_etcd_request(GrpcMethod::kLeaseKeepAlive, message);
  if (!body) return end_malformed(body.error().context);
  if (asked_.size() >= kKeepAlivesMax) {
    const GrpcStatus status = grpc_status_of(Outcome::kFailed, Reason::kOverloaded);
    return end({status.code, std::string(status.text), Reason::kOverloaded});
  }
  asked_.push_back(std::make_shared<Asked>(ready_));
  asker_.ask(std::move(*body), [asked = std::weak_ptr(asked_.back())](Reply reply) {
    const auto waiting = asked.lock();
    if (!waiting) return;
    waiting->answered = true;
    if (reply.outcome == Outcome::kOk) {
      encode_etcd_reply(GrpcMethod::kLeaseKeepAlive, reply, waiting->message);
    } else {
      waiting->wrong = {grpc_status_of(reply.outcome, reply.reason).code, grpc_message_of(reply),
                        reply.reason, reply.detail};
    }
    waiting->ready();
  });
}

void GrpcKeepAlive::half_closed() {
  half_closed_ = true;
  ready_();
}

bool GrpcKeepAlive::produce(std::string& out) {
  if (ended()) return false;
  if (asked_.empty()) {
    if (half_closed_) end({GrpcCode::kOk, "", Reason::kNone});
    return false;
  }
  if (!asked_.front()->answered) return false;
  Asked& next = *asked_.front();
  if (next.wrong) {
    end(*std::exchange(next.wrong, std::nullopt));
    return false;
  }
  out += next.message;
  asked_.pop_front();
  return true;
}

}  // namespace capstan::net
