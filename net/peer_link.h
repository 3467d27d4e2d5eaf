// One connection between two nodes, from the first hello to its end: frames over a stream. It knows
// nothing of peers, faults or policy; net/peer_transport.cc decides, this carries.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "core/time.h"
#include "core/types.h"
#include "net/frame.h"
#include "net/peer_hello.h"
#include "net/uv_tcp.h"

namespace capstan::net {

class Link;

class LinkUser {
 public:
  virtual ~LinkUser() = default;
  // The stream stands; outgoing links only.
  virtual void link_connected(Link& link) = 0;
  // Whole and checked. `bytes` is its length on the wire.
  virtual void link_frame(Link& link, const Frame& frame, std::size_t bytes) = 0;
  // The stream has ended, or what came over it was no frame (`bad`).
  virtual void link_ended(Link& link, CloseReason why, const std::string& text) = 0;
  virtual void link_bad(Link& link, const Error& error) = 0;
  // Accepted links: they began in plaintext where we take TLS only, or with TLS where we take none.
  virtual void link_plaintext(Link& link, ByteView first) = 0;
  virtual void link_encrypted(Link& link) = 0;
};

class Link : public StreamEvents {
 public:
  // What this connection is in the handshake of peer_transport.h.
  enum class Stage {
    kDialled,   // ours: hello is out, theirs awaited
    kAccepted,  // theirs: hello awaited
    kGreeted,   // theirs: hellos exchanged, go awaited
    kUp,        // a link
    kOver,      // ended or given up; the object waits to be swept
  };

  Link(LinkUser& user, Stage stage, MemberId peer, Micros now)
      : user_(user), stage(stage), peer(peer), opened(now) {}

  void dial(Loop& loop, const std::string& host, std::uint16_t port,
            std::shared_ptr<TlsContext> tls) {
    stream_ = TcpStream::connect(loop, host, port, *this, std::move(tls));
  }
  void take(std::unique_ptr<TcpStream> stream) {
    stream_ = std::move(stream);
    stream_->set_events(*this);
  }

  // Returns the length on the wire.
  std::size_t send(FrameKind kind, ClusterId cluster, std::string payload);
  // To who does not speak frames.
  void send_plain(std::string words) { stream_->write(std::move(words)); }

  // No more callbacks. With `last_words` what was queued still leaves.
  void end(bool last_words);
  void reset();
  // Over, and nothing left to write: may be destroyed.
  bool done() const { return stage == Stage::kOver && (!last_words_ || stream_closed_); }

  std::size_t queued_bytes() const { return stream_ ? stream_->queued_bytes() : 0; }
  std::string remote() const { return stream_ ? stream_->remote() : std::string(); }

  std::string remote_host() const {
    const std::string at = remote();
    return at.substr(0, at.rfind(':'));
  }

  void on_connect() override { user_.link_connected(*this); }
  void on_bytes(ByteView bytes) override;
  void on_close(CloseReason why, const std::string& text) override;
  void on_plaintext(ByteView bytes) override { user_.link_plaintext(*this, bytes); }

 private:
  LinkUser& user_;
  std::unique_ptr<TcpStream> stream_;
  FrameDecoder decoder_{kHelloBytesMax};
  bool last_words_ = false;
  bool stream_closed_ = false;
  bool heard_ = false;

 public:
  // Policy's notes, by net/peer_transport.cc.
  Stage stage;
  MemberId peer;              // 0: not known yet
  NodeId node;                // from its hello
  Micros opened;              // Now::monotonic
  bool ended_unseen = false;  // ended behind a cut: nobody may know yet
  std::string end_text;

  void now_up() {
    stage = Stage::kUp;
    decoder_.set_frame_bytes_max(kFrameBytesMax);
  }
};

}  // namespace capstan::net
