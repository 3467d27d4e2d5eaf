// TCP for everyone: listener and stream, for the peer links, the front door and the clients.
//
// A stream reads into one buffer shared by the whole loop (views die with the callback) and writes
// at the end of the turn: what write() was given in one turn leaves in one writev. Its queue is
// bounded: a reader that is too slow loses its connection, not our memory.
//
// Life: the owner holds a unique_ptr. Destroying it closes at once, in any callback, its own
// included; what was not yet written is dropped, and no callback follows. When the connection ends
// by itself, on_close() says why, once, and nothing follows either; the object may then be
// destroyed at leisure.
//
// With a TlsContext the stream is encrypted, and its owner need not know: on_connect() comes once
// the handshake is done, bytes written before wait for it, and queues, bounds and pauses mean plain
// bytes as before (on their way out up to 256 KiB of them are already encrypted). A handshake that
// fails, or takes longer than its context allows, ends the stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/types.h"
#include "net/uv_loop.h"

namespace capstan::net {

class TlsContext;

enum class CloseReason {
  kEnd,            // the other side closed in order
  kReset,          // the other side, or a firewall, reset it
  kCannotConnect,  // refused, unreachable, no such host, left during TLS: nothing was ever sent
  kQueueFull,      // more than queue_bytes_max waited to be written
  kFinished,       // our own finish(), all written
  kNoTls,          // no TLS with the other side: nothing of ours was looked at
  kPlaintext,      // likewise, because it answered a TLS handshake in plaintext
  kError,          // anything else
};

class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  virtual void on_connect() {}  // outgoing streams only, before any byte
  // Valid during the call only.
  virtual void on_bytes(ByteView bytes) = 0;
  // `text` for people: "connect 127.0.0.1:2380: connection refused".
  virtual void on_close(CloseReason why, const std::string& text) = 0;
  // The queue has fallen below half of what want_drained() asked for.
  virtual void on_drained() {}
  // Accepted for TLS, but the other side began in plaintext, with `bytes`. What is written within
  // this call leaves in plaintext, to say so; then the stream finishes. Nothing else is ever read.
  virtual void on_plaintext(ByteView bytes) { (void)bytes; }
};

struct StreamCounts {  // of the wire
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;  // taken by the kernel
};

class TcpStream {
 public:
  // Looks the host up, tries its addresses in turn, and says on_connect() or on_close() in a later
  // turn. Bytes written meanwhile wait in the queue. With `tls` the other side's certificate must
  // be for `host`.
  static std::unique_ptr<TcpStream> connect(Loop& loop, const std::string& host, std::uint16_t port,
                                            StreamEvents& events,
                                            std::shared_ptr<TlsContext> tls = nullptr);
  ~TcpStream();
  TcpStream(TcpStream&&) = delete;

  // An accepted stream is silent until someone listens to it; also hands a stream from one listener
  // to the next (the door does, once it knows the protocol).
  void set_events(StreamEvents& events);

  // Queues bytes; small ones are joined, large ones (4 KiB on) moved without a copy. After the end
  // of the connection it does nothing. Past queue_bytes_max the stream closes with kQueueFull, in a
  // later turn.
  void write(std::string bytes);
  void write(ByteView bytes);
  void write(const char* text) { write(ByteView(text)); }
  // Shared bytes are not copied however often they are sent.
  void write(SharedBytes bytes);
  void set_queue_bytes_max(std::size_t bytes);  // default: kClientWriteQueueBytesMax

  // Waiting here, not yet taken by the kernel.
  std::size_t queued_bytes() const;
  // Asks for one on_drained() once the queue is below half of `bytes`.
  void want_drained(std::size_t bytes);

  // Stops and resumes reading: the kernel's buffer fills, then the sender waits.
  void pause_reading();
  void resume_reading();

  // Writes what is queued, then closes; on_close(kFinished) follows. Reading stops now.
  void finish();
  // Makes the close an abortive one: the other side learns of it at once, the queue is dropped. No
  // on_close() follows.
  void reset();

  bool open() const;       // neither closed nor closing
  bool connected() const;  // open, and the connection stands
  // "10.0.0.2:51034"; empty before the connection stands.
  const std::string& remote() const;
  // The common name in the certificate the other side showed; empty: it showed none.
  std::string certificate_name() const;
  const StreamCounts& counts() const;

  struct State;  // for net/uv_tcp.cc only
  explicit TcpStream(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

class TcpListener {
 public:
  using Accept = std::move_only_function<void(std::unique_ptr<TcpStream>)>;

  // Binds and listens; blocks for the look-up of a host name (an IPv4 address is preferred, as etcd
  // and the seed exercise mean by `localhost`). Port 0 takes any free one. No-delay is set on all
  // streams. `accept` is called within turns; with `tls` the handshake begins when someone listens
  // to the stream.
  //   errors  kExists   address in use         kNotFound  no such host or address here
  //           kIo       anything else; the context is a sentence: "listen 127.0.0.1:80: ..."
  static Result<std::unique_ptr<TcpListener>> listen(Loop& loop, const std::string& host,
                                                     std::uint16_t port, Accept accept,
                                                     std::shared_ptr<TlsContext> tls = nullptr);
  ~TcpListener();
  TcpListener(TcpListener&&) = delete;

  std::uint16_t port() const;
  const std::string& address() const;  // "127.0.0.1:2380"

  struct State;
  explicit TcpListener(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

}  // namespace capstan::net
