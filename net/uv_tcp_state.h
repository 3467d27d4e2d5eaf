// The inside of streams and listeners, for net/uv_tcp.cc (reading, writing, ending),
// net/uv_tcp_dial.cc (addresses, dialling, listening) and net/uv_tcp_tls.cc (encryption).
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/limits.h"
#include "net/tls_session.h"
#include "net/uv_internal.h"
#include "net/uv_tcp.h"

namespace capstan::net {

inline constexpr std::size_t kBuffersAWrite = 256;

using Addresses = std::vector<sockaddr_storage>;

// libuv's handle lives until its close callback, whatever became of the stream.
struct TcpHandle {
  uv_tcp_t uv{};
  uv_connect_t connect_request{};
  std::shared_ptr<void> owner;  // keeps the state alive as long as libuv may call
  bool closing = false;
};

inline uv_handle_t* as_handle(TcpHandle* handle) {
  return reinterpret_cast<uv_handle_t*>(&handle->uv);
}
inline uv_stream_t* as_stream(TcpHandle* handle) {
  return reinterpret_cast<uv_stream_t*>(&handle->uv);
}

// Once; the handle deletes itself when libuv is done with it.
void close_handle(TcpHandle* handle, bool abort);

// A queued piece: our own bytes, or bytes shared with others.
struct Piece {
  std::variant<std::string, SharedBytes> bytes;
  ByteView view() const {
    if (const auto* own = std::get_if<std::string>(&bytes)) return *own;
    return *std::get<SharedBytes>(bytes);
  }
};

// What one writev may carry.
struct Batch {
  std::array<uv_buf_t, kBuffersAWrite> buffers;
  unsigned count = 0;
  std::size_t bytes = 0;
};

// What a stream is doing; it only moves down this list.
enum class Phase {
  kConnecting,  // looking up or dialling
  kOpen,
  kFinishing,  // finish(): the queue goes out, what comes in is dropped
  kLingering,  // all written and shut down; waits for the other side's end, so that the close
               // does not reset what it has not read yet
  kClosed,
};

// What a stream with TLS has besides. Written bytes wait in `plain` and move, encrypted, to the
// stream's own queue when that has room; `queued` counts both.
struct TlsLayer {
  explicit TlsLayer(std::shared_ptr<TlsContext> with, std::string dialled = {})
      : context(std::move(with)), host(std::move(dialled)) {}

  std::shared_ptr<TlsContext> context;
  std::string host;                     // who was dialled; empty: accepted
  std::unique_ptr<TlsSession> session;  // null: the connection does not stand yet
  std::deque<Piece> plain;
  std::size_t plain_offset = 0;  // of plain[0], encrypted already
  std::size_t plain_bytes = 0;
  std::unique_ptr<Timer> deadline;  // of the handshake
  bool handshaking = true;
  bool heard = false;       // something came from the other side
  bool decrypted = false;   // ... and plain bytes were in it
  bool said_close = false;  // our own close is in the queue
};

struct TcpStream::State : Flushable, std::enable_shared_from_this<TcpStream::State> {
  explicit State(Loop& the_loop) : owner_loop(the_loop), loop(the_loop.state()) {}

  Loop& owner_loop;
  Loop::State& loop;
  TcpHandle* handle = nullptr;
  StreamEvents* events = nullptr;  // null: nobody listens (not yet, not any more, or was told)
  Phase phase = Phase::kOpen;
  bool reading = false;
  bool paused = false;
  bool will_flush = false;
  bool failing = false;        // on_close() is due in the next turn
  bool finish_wanted = false;  // finish() came while dialling

  // Dialling.
  std::string target;  // "host:port", as given
  Addresses addresses;
  std::size_t next_address = 0;
  int last_error = 0;

  // queue[0, in_flight) belong to the kernel's pending write; `offset` bytes of queue[0] are gone.
  std::deque<Piece> queue;
  std::size_t in_flight = 0;
  std::size_t in_flight_bytes = 0;
  std::size_t offset = 0;
  std::size_t queued = 0;
  std::size_t queue_max = kClientWriteQueueBytesMax;
  std::size_t drained_mark = 0;
  uv_write_t write_request{};
  uv_shutdown_t shutdown_request{};
  std::unique_ptr<Timer> linger;

  std::unique_ptr<TlsLayer> tls;  // null: plaintext

  std::string remote;
  StreamCounts counts;

  void look_up(const std::string& host, std::uint16_t port);
  void dial_next();
  void dialled(int status);
  void new_handle();
  void adopt();  // the connection stands
  void start_reading();
  void stop_reading();
  void enqueue(Piece piece, std::size_t bytes);
  void want_flush();
  void flush() noexcept override;
  void take_written(std::size_t bytes);
  Batch next_batch() const;
  void write_rest();
  void written(int status);
  void check_drained();
  void fail(CloseReason why, const std::string& text);
  void fail_later(CloseReason why, std::string text);
  void shut_down();
  void close(bool abort);

  // With TLS.
  void begin_tls();
  void read_tls(ByteView wire);
  void end_tls(CloseReason why, const std::string& text);
  bool advance_tls();
  void deliver_tls();
  void encrypt();
  bool unsent() const;  // something waits to be written, encrypted or not
  bool handshaking() const { return tls && tls->handshaking; }
  void refuse_plaintext(ByteView bytes);
  void fail_tls(CloseReason why, const std::string& clause);
  std::deque<Piece>& waiting() { return tls ? tls->plain : queue; }
};

inline TcpStream::State* state_of(uv_handle_t* handle) {
  return static_cast<TcpStream::State*>(static_cast<TcpHandle*>(handle->data)->owner.get());
}

}  // namespace capstan::net
