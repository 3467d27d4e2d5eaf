#include "net/uv_tcp.h"

#include <array>
#include <cstring>
#include <deque>
#include <utility>
#include <variant>

#include "core/limits.h"
#include "net/uv_internal.h"

namespace capstan::net {

namespace {

constexpr std::size_t kJoinBytesMax = 4 * 1024;     // smaller writes are joined ...
constexpr std::size_t kJoinedBytesMax = 32 * 1024;  // ... up to here
constexpr std::size_t kBuffersAWrite = 256;
constexpr int kBacklog = 1024;
constexpr Micros kLinger = 1 * kSecond;

std::string address_text(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN + 1> host{};
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    uv_ip6_name(&v6, host.data(), host.size());
    return '[' + std::string(host.data()) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
  uv_ip4_name(&v4, host.data(), host.size());
  return std::string(host.data()) + ':' + std::to_string(ntohs(v4.sin_port));
}

std::uint16_t port_of(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

using Addresses = std::vector<sockaddr_storage>;

// IPv4 first: `localhost` means 127.0.0.1 to etcd and to those who copy its command lines.
Addresses addresses_of(const addrinfo* list) {
  Addresses out;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* info = list; info != nullptr; info = info->ai_next) {
      if (info->ai_family != family || info->ai_addrlen > sizeof(sockaddr_storage)) continue;
      std::memcpy(&out.emplace_back(), info->ai_addr, info->ai_addrlen);
    }
  }
  return out;
}

addrinfo stream_hints() {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  return hints;
}

// A numeric address needs no look-up.
bool parse_numeric(const std::string& host, std::uint16_t port, sockaddr_storage& out) {
  out = {};
  return uv_ip4_addr(host.c_str(), port, reinterpret_cast<sockaddr_in*>(&out)) == 0 ||
         uv_ip6_addr(host.c_str(), port, reinterpret_cast<sockaddr_in6*>(&out)) == 0;
}

CloseReason reason_of(int code) {
  return code == UV_ECONNRESET || code == UV_EPIPE || code == UV_ETIMEDOUT ||
                 code == UV_ECONNABORTED
             ? CloseReason::kReset
             : CloseReason::kError;
}

// libuv's handle lives until its close callback, whatever became of the stream.
struct TcpHandle {
  uv_tcp_t uv{};
  uv_connect_t connect_request{};
  std::shared_ptr<void> owner;  // keeps the state alive as long as libuv may call
  bool closing = false;
};

uv_handle_t* as_handle(TcpHandle* handle) { return reinterpret_cast<uv_handle_t*>(&handle->uv); }
uv_stream_t* as_stream(TcpHandle* handle) { return reinterpret_cast<uv_stream_t*>(&handle->uv); }

void on_handle_closed(uv_handle_t* handle) noexcept {
  delete static_cast<TcpHandle*>(handle->data);
}

void close_handle(TcpHandle* handle, bool abort) {
  if (handle->closing) return;
  handle->closing = true;
  if (abort && uv_tcp_close_reset(&handle->uv, on_handle_closed) == 0) return;
  uv_close(as_handle(handle), on_handle_closed);
}

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

}  // namespace

void close_lingering(uv_handle_t* handle, void*) noexcept {
  if (handle->type == UV_TCP && handle->data != nullptr) {
    close_handle(static_cast<TcpHandle*>(handle->data), false);
  }
}

// ---- Stream: state ------------------------------------------------------------------------------

// What a stream is doing; it only moves down this list.
enum class Phase {
  kConnecting,  // looking up or dialling
  kOpen,
  kFinishing,  // finish(): the queue goes out, what comes in is dropped
  kLingering,  // all written and shut down; waits for the other side's end, so that the close
               // does not reset what it has not read yet
  kClosed,
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
};

namespace {

TcpStream::State* state_of(uv_handle_t* handle) {
  return static_cast<TcpStream::State*>(static_cast<TcpHandle*>(handle->data)->owner.get());
}

}  // namespace

void TcpStream::State::new_handle() {
  handle = new TcpHandle;
  CAPSTAN_ASSERT(uv_tcp_init(&loop.uv, &handle->uv) == 0);
  handle->uv.data = handle;
  handle->owner = shared_from_this();
}

void TcpStream::State::adopt() {
  phase = Phase::kOpen;
  sockaddr_storage address{};
  int size = sizeof address;
  if (uv_tcp_getpeername(&handle->uv, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    remote = address_text(address);
  }
  uv_tcp_nodelay(&handle->uv, 1);
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
          self.counts.bytes_in += static_cast<std::uint64_t>(size);
          self.events->on_bytes({buffer->base, static_cast<std::size_t>(size)});
        } else if (size == UV_EOF) {
          self.fail(CloseReason::kEnd, self.remote + " closed the connection");
        } else {
          const int code = static_cast<int>(size);
          self.fail(reason_of(code), "read from " + self.remote + ": " + uv_text(code));
        }
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
  queue.push_back(std::move(piece));
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
  while (!queue.empty()) {
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
  if (!queue.empty()) {
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
  if (handle != nullptr) close_handle(std::exchange(handle, nullptr), abort);
}

// ---- Stream: dialling ---------------------------------------------------------------------------

namespace {

struct LookUp {
  uv_getaddrinfo_t request{};
  std::shared_ptr<TcpStream::State> stream;
};

// A dial to a free port of this machine may be given that very port to dial from, and connects to
// itself; that is "nobody there" (and would keep the real owner from binding it).
bool connected_to_itself(const uv_tcp_t& tcp) {
  sockaddr_storage here{}, there{};
  int here_size = sizeof here, there_size = sizeof there;
  return uv_tcp_getsockname(&tcp, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
         uv_tcp_getpeername(&tcp, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
         address_text(here) == address_text(there);
}

}  // namespace

void TcpStream::State::look_up(const std::string& host, std::uint16_t port) {
  sockaddr_storage numeric;
  if (parse_numeric(host, port, numeric)) {
    addresses = {numeric};
    dial_next();
    return;
  }
  auto* look_up = new LookUp{.request = {}, .stream = shared_from_this()};
  look_up->request.data = look_up;
  const addrinfo hints = stream_hints();
  const int code = uv_getaddrinfo(
      &loop.uv, &look_up->request,
      [](uv_getaddrinfo_t* request, int status, addrinfo* list) noexcept {
        const std::unique_ptr<LookUp> done(static_cast<LookUp*>(request->data));
        if (status == 0) done->stream->addresses = addresses_of(list);
        uv_freeaddrinfo(list);
        done->stream->last_error = status;
        if (done->stream->phase == Phase::kConnecting) done->stream->dial_next();
      },
      host.c_str(), std::to_string(port).c_str(), &hints);
  if (code < 0) {
    delete look_up;
    last_error = code;
    dial_next();
  }
}

// Tries the next address; when there is none left, gives up with the last error.
void TcpStream::State::dial_next() {
  while (next_address < addresses.size()) {
    const sockaddr_storage& address = addresses[next_address++];
    new_handle();
    last_error = uv_tcp_connect(
        &handle->connect_request, &handle->uv, reinterpret_cast<const sockaddr*>(&address),
        [](uv_connect_t* request, int status) noexcept {
          state_of(reinterpret_cast<uv_handle_t*>(request->handle))->dialled(status);
        });
    if (last_error == 0) return;
    close_handle(std::exchange(handle, nullptr), false);
  }
  fail_later(CloseReason::kCannotConnect,
             "connect " + target + ": " + (last_error == 0 ? "no address" : uv_text(last_error)));
}

void TcpStream::State::dialled(int status) {
  if (phase != Phase::kConnecting) return;  // closed meanwhile
  if (status == 0 && connected_to_itself(handle->uv)) status = UV_ECONNREFUSED;
  if (status < 0) {
    last_error = status;
    close_handle(std::exchange(handle, nullptr), status == UV_ECONNREFUSED);
    dial_next();
    return;
  }
  adopt();
  loop.open_turn();
  if (events != nullptr) events->on_connect();
  if (phase != Phase::kOpen) return;
  start_reading();
  if (finish_wanted) phase = Phase::kFinishing;
  want_flush();
}

// ---- Stream: what the owner sees ----------------------------------------------------------------

std::unique_ptr<TcpStream> TcpStream::connect(Loop& loop, const std::string& host,
                                              std::uint16_t port, StreamEvents& events) {
  auto state = std::make_shared<State>(loop);
  state->events = &events;
  state->phase = Phase::kConnecting;
  state->target = host + ':' + std::to_string(port);
  state->look_up(host, port);
  return std::make_unique<TcpStream>(std::move(state));
}

TcpStream::~TcpStream() {
  state_->events = nullptr;
  if (state_->phase != Phase::kLingering) state_->close(false);
}

void TcpStream::set_events(StreamEvents& events) {
  if (state_->phase == Phase::kClosed) return;
  state_->events = &events;
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
  if (s.queue.size() > s.in_flight && s.queued + bytes.size() <= s.queue_max && !s.failing &&
      (s.phase == Phase::kOpen || s.phase == Phase::kConnecting)) {
    auto* last = std::get_if<std::string>(&s.queue.back().bytes);
    if (last != nullptr && last->size() + bytes.size() <= kJoinedBytesMax) {
      last->append(bytes);
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
  state_->paused = false;
  state_->start_reading();
}

void TcpStream::finish() {
  State& s = *state_;
  s.finish_wanted = true;
  if (s.phase != Phase::kOpen) return;
  s.paused = false;
  s.start_reading();  // and drops what comes
  s.phase = Phase::kFinishing;
  if (s.queue.empty()) {
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
bool TcpStream::connected() const { return open() && state_->phase == Phase::kOpen; }
const std::string& TcpStream::remote() const { return state_->remote; }
const StreamCounts& TcpStream::counts() const { return state_->counts; }

// ---- Listener -----------------------------------------------------------------------------------

struct TcpListener::State : std::enable_shared_from_this<TcpListener::State> {
  explicit State(Loop& the_loop) : owner_loop(the_loop), loop(the_loop.state()) {}
  void connection(int status);

  Loop& owner_loop;
  Loop::State& loop;
  TcpHandle* handle = nullptr;
  Accept accept;
  std::string address;
  std::uint16_t port = 0;
};

void TcpListener::State::connection(int status) {
  if (status < 0 || handle == nullptr) return;
  auto stream = std::make_shared<TcpStream::State>(owner_loop);
  stream->new_handle();
  if (uv_accept(as_stream(handle), as_stream(stream->handle)) != 0) {
    stream->close(false);
    return;
  }
  stream->adopt();
  loop.open_turn();
  const auto self = shared_from_this();  // accept() may destroy the listener
  accept(std::make_unique<TcpStream>(std::move(stream)));
}

Result<std::unique_ptr<TcpListener>> TcpListener::listen(Loop& loop, const std::string& host,
                                                         std::uint16_t port, Accept accept) {
  const std::string what = "listen " + host + ':' + std::to_string(port) + ": ";
  sockaddr_storage address{};
  if (!parse_numeric(host, port, address)) {
    addrinfo* list = nullptr;
    const addrinfo hints = stream_hints();
    const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
    if (code != 0) return fail(ErrorCode::kNotFound, what + gai_strerror(code));
    const Addresses found = addresses_of(list);
    freeaddrinfo(list);
    if (found.empty()) return fail(ErrorCode::kNotFound, what + "no address");
    address = found.front();
  }
  auto state = std::make_shared<State>(loop);
  auto* handle = new TcpHandle;
  uv_tcp_init(&state->loop.uv, &handle->uv);
  handle->uv.data = handle;
  handle->owner = state;
  state->handle = handle;
  state->accept = std::move(accept);
  auto listener = std::make_unique<TcpListener>(state);  // closes the handle on any way out
  int code = uv_tcp_bind(&handle->uv, reinterpret_cast<const sockaddr*>(&address), 0);
  if (code == 0) {
    code = uv_listen(as_stream(handle), kBacklog, [](uv_stream_t* server, int status) noexcept {
      auto* self = static_cast<TcpHandle*>(server->data);
      static_cast<State*>(self->owner.get())->connection(status);
    });
  }
  if (code != 0) {
    return fail(code == UV_EADDRINUSE      ? ErrorCode::kExists
                : code == UV_EADDRNOTAVAIL ? ErrorCode::kNotFound
                                           : ErrorCode::kIo,
                what + uv_text(code));
  }
  sockaddr_storage bound{};
  int size = sizeof bound;
  uv_tcp_getsockname(&handle->uv, reinterpret_cast<sockaddr*>(&bound), &size);
  state->port = port_of(bound);
  state->address = address_text(bound);
  return listener;
}

TcpListener::~TcpListener() {
  if (state_->handle != nullptr) close_handle(std::exchange(state_->handle, nullptr), false);
}

std::uint16_t TcpListener::port() const { return state_->port; }
const std::string& TcpListener::address() const { return state_->address; }

}  // namespace capstan::net
