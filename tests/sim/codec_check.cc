#include "tests/sim/codec_check.h"

#include "net/codec_ap.h"
#include "net/codec_cp.h"

namespace capstan::sim {

std::size_t bytes_of(const node::PeerMessage& message) {
  const auto* cp = std::get_if<cp::Message>(&message);
  return cp != nullptr ? net::encode(*cp).size()
                       : net::encode(std::get<ap::Message>(message)).size();
}

Result<node::PeerMessage> through_bytes(const node::PeerMessage& message) {
  if (const auto* cp = std::get_if<cp::Message>(&message)) {
    Result<cp::Message> again = net::decode_cp(net::encode(*cp));
    if (!again) return std::unexpected(again.error());
    return node::PeerMessage(std::move(*again));
  }
  Result<ap::Message> again = net::decode_ap(net::encode(std::get<ap::Message>(message)));
  if (!again) return std::unexpected(again.error());
  return node::PeerMessage(std::move(*again));
}

const char* describe_message(const node::PeerMessage& message) {
  if (const auto* cp = std::get_if<cp::Message>(&message)) {
    static constexpr const char* kNames[] = {
        "hello",        "vote request",   "vote reply",      "append",
        "append reply", "heartbeat",      "heartbeat reply", "timeout now",
        "restored",     "forward",        "forward refused", "read request",
        "read reply",   "snapshot chunk", "snapshot reply",  "state digest"};
    static_assert(std::size(kNames) == std::variant_size_v<cp::Body>);
    return kNames[cp->body.index()];
  }
  static constexpr const char* kNames[] = {"delta",     "beat",       "ping",
                                           "pong",      "ping for",   "sync request",
                                           "sync more", "sync slice", "sync refused"};
  static_assert(std::size(kNames) == std::variant_size_v<ap::Body>);
  return kNames[std::get<ap::Message>(message).body.index()];
}

}  // namespace capstan::sim
