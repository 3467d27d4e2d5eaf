#include "net/uv_tcp.h"

#include <utility>

#include "net/uv_tcp_state.h"

namespace capstan::net {

namespace {

constexpr std::size_t kJoinBytesMax = 4 * 1024;     // smaller writes are joined ...
constexpr std::size_t kJoinedBytesMax = 32 * 1024;  // ... up to here
constexpr Micros kLinger = 1 * kSecond;

CloseReason reason_of(int code) {
  return code == UV_ECONNRESET || code == UV_EPIPE || code == UV_ETIMEDOUT ||
                 code == UV_ECONNABORTED
             ? CloseReason::kReset
             : CloseReason::kError;
}

void on_handle_closed(uv_handle_t* handle) noexcept {
  delete static_cast<TcpHandle*>(handle->data);
}

}  // namespace

void close_handle(TcpHandle* handle, bool abort) {
  if (handle->closing) return;
  handle->closing = true;
  if (abort && uv_tcp_close_reset(&handle->uv, on_handle_closed) == 0) return;
  uv_close(as_handle(handle), on_handle_closed);
}

void close_lingering(uv_handle_t* handle, void*) noexcept {
  if (handle->type == UV_TCP && handle->data != nullptr) {
    close_handle(static_cast<TcpHandle*>(handle->data), false);
  }
}

// ---- Stream: reading ----------------------------------------------------------------------------

void TcpStream::State::start_reading() {
  if (reading || paused || phase != Phase::kOpen || events == nullptr) return;
  reading = true;
  uv_read_start(
      as_stream(handle),
      [](uv_handle_t* uv, std::size_t, uv_buf_t* buffer) noexcept {
        std::vector<char>& shared = state_of(uv)->loop.read_buffer;
        *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(shared.size()));
      },
      [](uv_stream_t* uv, ssize_t size, const uv_buf_t* buffer) noexcept {
        State& self = *state_of(reinterpret_cast<uv_handle_t*>(uv));
        if (size == 0) return;
        if (self.phase == Phase::kLingering || self.phase == Phase::kFinishing) {
          // Whatever still comes is of no interest; its end is.
          if (size < 0 && self.phase == Phase::kLingering) self.close(false);
          if (size < 0) self.stop_reading();
          return;
        }
        if (self.phase != Phase::kOpen) return;
        self.loop.open_turn();
        if (size > 0) {
          const ByteView bytes(buffer->base, static_cast<std::size_t>(size));
          self.counts.bytes_in += bytes.size();
          if (self.tls) return self.read_tls(bytes);
          self.events->on_bytes(bytes);
          return;
        }
        const int code = static_cast<int>(size);
        const CloseReason why = size == UV_EOF ? CloseReason::kEnd : reason_of(code);
        const std::string text = size == UV_EOF ? self.remote + " closed the connection"
                                                : "read from " + self.remote + ": " + uv_text(code);
        if (self.tls) return self.end_tls(why, text);
        self.fail(why, text);
      });
}

void TcpStream::State::stop_reading() {
  if (!reading) return;
  reading = false;
  uv_read_stop(as_stream(handle));
}

// ---- Stream: writing ----------------------------------------------------------------------------

void TcpStream::State::enqueue(Piece piece, std::size_t bytes) {
  if (bytes == 0 || failing || (phase != Phase::kOpen && phase != Phase::kConnecting)) return;
  if (queued + bytes > queue_max) {
    fail_later(CloseReason::kQueueFull, (remote.empty() ? target : remote) + " reads too slowly: " +
                                            std::to_string(queued) + " bytes wait to be written");
    return;
  }
  waiting().push_back(std::move(piece));
  if (tls) tls->plain_bytes += bytes;
  queued += bytes;
  want_flush();
}

void TcpStream::State::want_flush() {
  if (will_flush || in_flight > 0 || failing) return;
  if (phase != Phase::kOpen && phase != Phase::kFinishing) return;
  will_flush = true;
  loop.wants_flush(shared_from_this());
}

// At the end of a turn: hands everything to the kernel at once. What it does not take now is left
// to libuv, and what comes meanwhile waits for that.
void TcpStream::State::flush() noexcept {
  will_flush = false;
  if (in_flight > 0 || failing || (phase != Phase::kOpen && phase != Phase::kFinishing)) return;
  while (true) {
    if (tls) encrypt();
    if (queue.empty()) break;
    const Batch batch = next_batch();
    const int wrote = uv_try_write(as_stream(handle), batch.buffers.data(), batch.count);
    if (wrote < 0 && wrote != UV_EAGAIN) {
      fail_later(reason_of(wrote), "write to " + remote + ": " + uv_text(wrote));
      return;
    }
    if (wrote > 0) take_written(static_cast<std::size_t>(wrote));
    if (wrote < 0 || static_cast<std::size_t>(wrote) < batch.bytes) {
      write_rest();
      break;
    }
  }
  check_drained();
  if (queue.empty() && phase == Phase::kFinishing) shut_down();
}

Batch TcpStream::State::next_batch() const {
  Batch batch;
  for (const Piece& piece : queue) {
    if (batch.count == batch.buffers.size()) break;
    ByteView view = piece.view();
    if (batch.count == 0) view.remove_prefix(offset);
    batch.buffers[batch.count++] =
        uv_buf_init(const_cast<char*>(view.data()), static_cast<unsigned>(view.size()));
    batch.bytes += view.size();
  }
  return batch;
}

void TcpStream::State::take_written(std::size_t bytes) {
  counts.bytes_out += bytes;
  queued -= bytes;
  offset += bytes;
  while (!queue.empty() && offset >= queue.front().view().size()) {
    offset -= queue.front().view().size();
    queue.pop_front();
  }
}

void TcpStream::State::write_rest() {
  const Batch batch = next_batch();
  in_flight = batch.count;
  in_flight_bytes = batch.bytes;
  uv_write(&write_request, as_stream(handle), batch.buffers.data(), batch.count,
           [](uv_write_t* request, int status) noexcept {
             state_of(reinterpret_cast<uv_handle_t*>(request->handle))->written(status);
           });
}

void TcpStream::State::written(int status) {
  in_flight = 0;
  if (phase == Phase::kClosed || failing) return;
  if (status < 0) {
    loop.open_turn();
    fail(reason_of(status), "write to " + remote + ": " + uv_text(status));
    return;
  }
  take_written(std::exchange(in_flight_bytes, 0));
  check_drained();
  if (unsent()) {
    want_flush();
  } else if (phase == Phase::kFinishing) {
    loop.open_turn();
    shut_down();
  }
}

void TcpStream::State::check_drained() {
  if (drained_mark == 0 || queued >= (drained_mark + 1) / 2) return;
  drained_mark = 0;
  loop.defer([self = shared_from_this()] {
    if (self->phase == Phase::kOpen && self->events != nullptr) self->events->on_drained();
  });
}

// ---- Stream: ends -------------------------------------------------------------------------------

// Within a turn: closes and says so.
void TcpStream::State::fail(CloseReason why, const std::string& text) {
  close(false);
  if (StreamEvents* to = std::exchange(events, nullptr)) to->on_close(why, text);
}

// From where no callback may be made. What has arrived before is still delivered first.
void TcpStream::State::fail_later(CloseReason why, std::string text) {
  if (failing || phase == Phase::kClosed) return;
  failing = true;
  loop.defer([self = shared_from_this(), why, text = std::move(text)] {
    if (self->phase != Phase::kClosed) self->fail(why, text);
  });
}

// Everything is written: says goodbye and waits a moment for the other side to do the same. Closing
// with bytes unread would reset the connection, and the last reply with it.
void TcpStream::State::shut_down() {
  phase = Phase::kLingering;
  uv_shutdown(&shutdown_request, as_stream(handle), [](uv_shutdown_t*, int) noexcept {});
  linger = std::make_unique<Timer>(owner_loop);
  linger->start(reading ? kLinger : 0, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->close(false);
  });
  loop.defer([self = shared_from_this()] {
    StreamEvents* to = std::exchange(self->events, nullptr);
    if (to != nullptr) to->on_close(CloseReason::kFinished, "finished");
  });
}

void TcpStream::State::close(bool abort) {
  if (phase == Phase::kClosed) return;
  phase = Phase::kClosed;
  reading = false;
  if (linger) linger->cancel();
  if (tls && tls->deadline) tls->deadline->cancel();
  if (handle != nullptr) close_handle(std::exchange(handle, nullptr), abort);
}

// ---- Stream: what the owner sees ----------------------------------------------------------------

TcpStream::~TcpStream() {
  state_->events = nullptr;
  if (state_->phase != Phase::kLingering) state_->close(false);
}

void TcpStream::set_events(StreamEvents& events) {
  if (state_->phase == Phase::kClosed) return;
  state_->events = &events;
  if (state_->tls && !state_->tls->session && state_->phase == Phase::kOpen) state_->begin_tls();
  state_->start_reading();
}

void TcpStream::write(std::string bytes) {
  const std::size_t size = bytes.size();
  if (size < kJoinBytesMax) return write(ByteView(bytes));
  state_->enqueue({std::move(bytes)}, size);
}

void TcpStream::write(ByteView bytes) {
  State& s = *state_;
  // Joins the last piece unless the kernel is reading from it.
  std::deque<Piece>& waiting = s.waiting();
  if (waiting.size() > (s.tls ? 0 : s.in_flight) && s.queued + bytes.size() <= s.queue_max &&
      !s.failing && (s.phase == Phase::kOpen || s.phase == Phase::kConnecting)) {
    auto* last = std::get_if<std::string>(&waiting.back().bytes);
    if (last != nullptr && last->size() + bytes.size() <= kJoinedBytesMax) {
      last->append(bytes);
      if (s.tls) s.tls->plain_bytes += bytes.size();
      s.queued += bytes.size();
      s.want_flush();
      return;
    }
  }
  s.enqueue({std::string(bytes)}, bytes.size());
}

void TcpStream::write(SharedBytes bytes) {
  const std::size_t size = bytes->size();
  if (size < kJoinBytesMax) return write(ByteView(*bytes));
  state_->enqueue({std::move(bytes)}, size);
}

void TcpStream::set_queue_bytes_max(std::size_t bytes) { state_->queue_max = bytes; }
std::size_t TcpStream::queued_bytes() const { return state_->queued; }

void TcpStream::want_drained(std::size_t bytes) {
  state_->drained_mark = bytes;
  state_->check_drained();
}

void TcpStream::pause_reading() {
  state_->paused = true;
  if (state_->phase == Phase::kOpen) state_->stop_reading();
}

void TcpStream::resume_reading() {
  State& s = *state_;
  s.paused = false;
  s.start_reading();
  if (!s.tls || !s.tls->session || !s.tls->session->has_input()) return;
  s.loop.defer([self = s.shared_from_this()] { self->deliver_tls(); });
}

void TcpStream::finish() {
  State& s = *state_;
  s.finish_wanted = true;
  if (s.phase != Phase::kOpen || s.handshaking()) return;
  s.paused = false;
  s.start_reading();  // and drops what comes
  s.phase = Phase::kFinishing;
  if (!s.unsent()) {
    s.shut_down();
  } else {
    s.want_flush();
  }
}

void TcpStream::reset() {
  state_->events = nullptr;
  state_->close(true);
}

bool TcpStream::open() const {
  return !state_->failing && !state_->finish_wanted &&
         (state_->phase == Phase::kOpen || state_->phase == Phase::kConnecting);
}
bool TcpStream::connected() const {
  return open() && state_->phase == Phase::kOpen && !state_->handshaking();
}
const std::string& TcpStream::remote() const { return state_->remote; }
std::string TcpStream::certificate_name() const {
  return state_->tls ? state_->tls->session->certificate_name() : std::string();
}
const StreamCounts& TcpStream::counts() const { return state_->counts; }

}  // namespace capstan::net
