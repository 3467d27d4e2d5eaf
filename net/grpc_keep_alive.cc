#include "net/grpc_keep_alive.h"

#include <utility>

#include "net/grpc_messages.h"

namespace capstan::net {

void GrpcKeepAlive::take(ByteView message) {
  Result<RequestBody> body = decode_etcd_request(GrpcMethod::kLeaseKeepAlive, message);
  if (!body) return end_malformed(body.error().context);
  asked_.push_back(std::make_shared<Asked>(ready_));
  Request request;
  request.body = std::move(*body);
  handler_.handle(std::move(request), [asked = std::weak_ptr(asked_.back())](Reply reply) {
    const auto waiting = asked.lock();
    if (!waiting) return;
    waiting->reply = std::move(reply);
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
  if (!asked_.front()->reply) return false;
  Reply reply = std::move(*asked_.front()->reply);
  asked_.pop_front();
  if (reply.outcome != Outcome::kOk) {
    end({grpc_status_of(reply.outcome, reply.reason).code, grpc_message_of(reply), reply.reason,
         reply.detail});
    return false;
  }
  encode_etcd_reply(GrpcMethod::kLeaseKeepAlive, reply, out);
  return true;
}

}  // namespace capstan::net
