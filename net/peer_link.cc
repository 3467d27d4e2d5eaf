#include "net/peer_link.h"

#include <utility>

#include "net/tls_refusal.h"

namespace capstan::net {

std::size_t Link::send(FrameKind kind, ClusterId cluster, std::string payload) {
  const std::size_t size = payload.size();
  const auto header = frame_header(kind, cluster, payload);
  stream_->write(ByteView(header.data(), header.size()));
  stream_->write(std::move(payload));
  stream_->write(ByteView("\0\0\0\0\0\0\0", frame_padding(size)));
  return frame_bytes(size);
}

void Link::on_bytes(ByteView bytes) {
  const bool first = !std::exchange(heard_, true);
  if (first && stage == Stage::kAccepted && is_tls_hello(bytes)) {
    return user_.link_encrypted(*this);
  }
  decoder_.feed(bytes);
  for (Frame frame; stage != Stage::kOver;) {
    const Result<bool> got = decoder_.next(frame);
    if (!got) return user_.link_bad(*this, got.error());
    if (!*got) return;
    user_.link_frame(*this, frame, frame_bytes(frame.payload.size()));
  }
}

void Link::on_close(CloseReason why, const std::string& text) {
  stream_closed_ = true;
  if (stage != Stage::kOver) user_.link_ended(*this, why, text);
}

void Link::end(bool last_words) {
  stage = Stage::kOver;
  last_words_ = last_words;
  if (last_words) {
    stream_->finish();
  } else {
    stream_.reset();
  }
}

void Link::reset() {
  stage = Stage::kOver;
  if (stream_) stream_->reset();
}

}  // namespace capstan::net
