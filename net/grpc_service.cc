#include "net/grpc_service.h"

#include <utility>

#include "net/grpc_service_messages.h"

namespace capstan::net {

void GrpcService::take(ByteView message) {
  if (call_) return end({GrpcCode::kInternal, "more than one message in a unary request"});
  Result<ServiceRequest> request = decode_service_request(method_, message);
  if (!request) return end_malformed(request.error().context);
  kept_ = message.size();
  call_ = open_service(asker_, std::move(*request), ready_);
}

void GrpcService::half_closed() {
  if (call_ || ended()) return;
  end({GrpcCode::kInternal, "the request holds no message"});
  ready_();
}

bool GrpcService::produce(std::string& out) {
  if (ended() || !call_) return false;
  std::optional<ServiceMessage> message = call_->next();
  if (!message) return false;
  if (!*message) {
    end(std::move(message->error()));
    return false;
  }
  encode_service_reply(method_, **message, out);
  if (method_ != GrpcMethod::kObserve) end({GrpcCode::kOk, "", Reason::kNone});
  return true;
}

void GrpcService::close() {
  call_.reset();
  kept_ = 0;
}

}  // namespace capstan::net
