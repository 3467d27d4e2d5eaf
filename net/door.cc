#include "net/door.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "core/check.h"
#include "core/trace.h"
#include "net/grpc_server.h"
#include "net/http_server.h"
#include "net/tls_refusal.h"
#include "net/uv_loop.h"
#include "net/uv_tcp.h"
#include "net/uv_timer.h"

namespace capstan::net {

namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// A session is asked for more once this much or less waits in the socket's queue.
constexpr std::size_t kQueueTargetBytes = 256 * 1024;
constexpr Micros kTickInterval = 100 * kMillisecond;
// A client that takes nothing for this long while something waits for it is gone.
constexpr Micros kStuckWriteTimeout = 60 * kSecond;
constexpr Micros kTlsRefusalEvery = 5 * kSecond;  // is traced

enum class Protocol { kUnknown, kGrpc, kHttp };

class DoorImpl;

class Connection final : public StreamEvents {
 public:
  Connection(DoorImpl& door, std::unique_ptr<TcpStream> stream, Micros now)
      : door_(door), stream_(std::move(stream)), since_(now) {
    stream_->set_events(*this);
  }

  void on_bytes(ByteView bytes) override;
  void on_close(CloseReason why, const std::string& text) override;
  void on_drained() override;
  void on_plaintext(ByteView bytes) override;

  void flush();
  void tick();
  void shut();

  Protocol protocol() const { return protocol_; }
  std::size_t requests_in_flight() const { return session_ ? session_->requests_in_flight() : 0; }
  bool closed() const { return closed_; }

 private:
  void choose_session(ByteView bytes);
  void receive(ByteView bytes);
  void close() {
    closed_ = true;
    note_flush();
  }
  void note_flush();

  DoorImpl& door_;
  std::unique_ptr<TcpStream> stream_;
  std::shared_ptr<Session> session_;
  Protocol protocol_ = Protocol::kUnknown;
  std::string first_bytes_;  // until the protocol is known
  Micros since_;             // accepted
  std::uint64_t bytes_out_seen_ = 0;
  Micros stuck_since_ = -1;  // something waits and nothing was taken; -1: not so
  bool waits_for_drain_ = false;
  bool wants_flush_ = false;  // it is in the door's list
  bool finishing_ = false;    // everything was said; the stream closes when it is written
  bool closed_ = false;       // to be removed by the door
};

class DoorImpl final : public Door, public TurnUser {
 public:
  DoorImpl(Loop& loop, Handler& handler, DoorOptions options)
      : loop_(loop),
        options_(std::move(options)),
        context_{handler, options_, {}, 0},
        timer_(loop) {
    context_.now = loop_.now().monotonic;
  }
  ~DoorImpl() override { loop_.remove_turn_user(*this); }

  Status listen();

  std::vector<std::uint16_t> ports() const override;
  DoorCounts counts() const override;
  void flush() override;
  void close(Micros grace, std::move_only_function<void()> done) override;

  void begin_turn(Now now) override { context_.now = now.monotonic; }
  void end_turn() override { flush(); }

  DoorContext& context() { return context_; }
  void refused_tls(const std::string& from, const std::string& why);
  void note_flush(Connection& connection) { to_flush_.push_back(&connection); }

 private:
  void accept(std::unique_ptr<TcpStream> stream);
  void tick();
  void finish_close();

  Loop& loop_;
  const DoorOptions options_;
  DoorContext context_;
  std::vector<std::unique_ptr<TcpListener>> listeners_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> to_flush_;
  Timer timer_;
  Micros said_tls_ = -kTlsRefusalEvery;  // when the last refusal was traced
  std::uint64_t unsaid_tls_ = 0;         // refusals since then
  bool closing_ = false;
  Micros close_by_ = 0;
  std::move_only_function<void()> closed_;  // of close(); called once
};

// ---- One connection -----------------------------------------------------------------------------

void Connection::note_flush() {
  if (wants_flush_) return;
  wants_flush_ = true;
  door_.note_flush(*this);
}

void Connection::on_bytes(ByteView bytes) {
  if (closed_ || finishing_) return;
  door_.context().counts.bytes_in += bytes.size();
  if (session_) return receive(bytes);
  first_bytes_.append(bytes);
  choose_session(first_bytes_);
  if (session_ && door_.context().options.users_by_certificate) {
    session_->known_as(stream_->certificate_name());
  }
  if (session_) receive(std::exchange(first_bytes_, {}));
}

void Connection::receive(ByteView bytes) {
  if (protocol_ == Protocol::kGrpc) door_.context().counts.grpc_bytes_in += bytes.size();
  session_->receive(bytes);
}

// The first bytes tell. Fewer than would decide leave it open; tick() does not wait for ever.
void Connection::choose_session(ByteView bytes) {
  const auto wake = [this] { note_flush(); };
  const ByteView shared = bytes.substr(0, kHttp2Preface.size());
  if (shared == kHttp2Preface.substr(0, shared.size())) {
    if (shared.size() < kHttp2Preface.size()) return;
    protocol_ = Protocol::kGrpc;
    session_ = make_grpc_session(door_.context(), wake);
  } else if (bytes[0] >= 'A' && bytes[0] <= 'Z') {
    protocol_ = Protocol::kHttp;
    session_ = make_http_session(door_.context(), wake);
  } else if (is_tls_hello(bytes)) {
    door_.refused_tls(stream_->remote(), stream_->remote() +
                                             " speaks TLS, and this port takes none: use http://, "
                                             "or start with --cert-file and --key-file");
    finishing_ = true;
    stream_->write(tls_refusal_alert());
    stream_->finish();
  } else {
    // RESP begins with '*' (or an inline command) and will be chosen here.
    ++door_.context().counts.protocol_errors;
    close();
  }
}

void Connection::on_plaintext(ByteView bytes) {
  door_.refused_tls(stream_->remote(), stream_->remote() +
                                           " speaks plaintext, and this port takes "
                                           "TLS only: use https://");
  finishing_ = true;
  stream_->write(plaintext_answer(bytes));
}

void Connection::on_close(CloseReason why, const std::string& text) {
  if (why == CloseReason::kNoTls) door_.refused_tls(stream_->remote(), text);
  close();
}

void Connection::on_drained() {
  waits_for_drain_ = false;
  note_flush();
}

// Hands what the session has to the socket, as far as the socket keeps up.
void Connection::flush() {
  wants_flush_ = false;
  if (closed_ || !session_) return;
  const std::size_t queued = stream_->queued_bytes();
  if (queued < kQueueTargetBytes && !finishing_) {
    std::string out;
    session_->produce(out, kQueueTargetBytes - queued);
    door_.context().counts.bytes_out += out.size();
    if (protocol_ == Protocol::kGrpc) door_.context().counts.grpc_bytes_out += out.size();
    const bool more = out.size() >= kQueueTargetBytes - queued;
    if (!out.empty()) stream_->write(std::move(out));
    if (more && !waits_for_drain_) {
      waits_for_drain_ = true;
      stream_->want_drained(kQueueTargetBytes);
    }
    if (!more && session_->finished()) {
      finishing_ = true;
      stream_->finish();
    }
  }
}

void Connection::tick() {
  const DoorContext& context = door_.context();
  if (!session_) {
    if (context.now - since_ > context.options.first_word_timeout) close();
    return;
  }
  session_->tick();
  const std::uint64_t out = stream_->counts().bytes_out;
  if (stream_->queued_bytes() == 0 || out != bytes_out_seen_) {
    stuck_since_ = -1;
    bytes_out_seen_ = out;
  } else if (stuck_since_ < 0) {
    stuck_since_ = context.now;
  } else if (context.now - stuck_since_ > kStuckWriteTimeout) {
    close();
  }
}

void Connection::shut() {
  if (session_) {
    session_->shut();
    note_flush();
  } else {
    close();
  }
}

// ---- The door -----------------------------------------------------------------------------------

Status DoorImpl::listen() {
  for (const DoorAddress& address : options_.listen) {
    auto listener = TcpListener::listen(
        loop_, address.host, address.port,
        [this](std::unique_ptr<TcpStream> stream) { accept(std::move(stream)); }, options_.tls);
    if (!listener) return std::unexpected(listener.error());
    listeners_.push_back(std::move(*listener));
  }
  loop_.add_turn_user(*this);
  timer_.every(kTickInterval, [this] { tick(); });
  return {};
}

void DoorImpl::accept(std::unique_ptr<TcpStream> stream) {
  if (closing_ || connections_.size() >= options_.connections_max) {
    ++context_.counts.turned_away;
    stream->reset();  // the client tries elsewhere at once
    return;
  }
  ++context_.counts.accepted;
  auto connection = std::make_unique<Connection>(*this, std::move(stream), context_.now);
  Connection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
}

// A crowd of them, such as probes of a load balancer, is one line every few seconds.
void DoorImpl::refused_tls(const std::string& from, const std::string& why) {
  ++context_.counts.protocol_errors;
  ++context_.counts.tls_refused;
  ++unsaid_tls_;
  if (context_.now - said_tls_ < kTlsRefusalEvery) return;
  said_tls_ = context_.now;
  trace(Level::kWarn, "tls_refused", why,
        {{"from", from}, {"refused", std::to_string(std::exchange(unsaid_tls_, 0))}});
}

std::vector<std::uint16_t> DoorImpl::ports() const {
  std::vector<std::uint16_t> ports;
  for (const auto& listener : listeners_) ports.push_back(listener->port());
  return ports;
}

DoorCounts DoorImpl::counts() const {
  DoorCounts counts = context_.counts;
  for (const auto& [key, connection] : connections_) {
    const Protocol protocol = connection->protocol();
    ++(protocol == Protocol::kGrpc   ? counts.open_grpc
       : protocol == Protocol::kHttp ? counts.open_http
                                     : counts.open_unknown);
  }
  return counts;
}

void DoorImpl::flush() {
  // A flush may wake others (never itself without end: produce() makes progress).
  while (!to_flush_.empty()) {
    const std::vector<Connection*> batch = std::exchange(to_flush_, {});
    for (Connection* connection : batch) {
      connection->flush();
      if (connection->closed()) connections_.erase(connection);
    }
  }
  if (closing_ && connections_.empty()) finish_close();
}

void DoorImpl::tick() {
  for (auto& [key, connection] : connections_) connection->tick();
  if (!closing_) return;
  if (context_.now >= close_by_) connections_.clear();
  if (connections_.empty()) finish_close();
}

void DoorImpl::close(Micros grace, std::move_only_function<void()> done) {
  CAPSTAN_ASSERT(!closing_);
  closing_ = true;
  listeners_.clear();
  closed_ = std::move(done);
  close_by_ = context_.now + grace;
  for (auto& [key, connection] : connections_) connection->shut();
  if (connections_.empty()) finish_close();
}

void DoorImpl::finish_close() {
  if (!closed_) return;
  to_flush_.clear();
  timer_.cancel();
  loop_.defer([done = std::move(closed_)]() mutable { done(); });
  closed_ = nullptr;
}

}  // namespace

Result<std::unique_ptr<Door>> Door::open(Loop& loop, Handler& handler, DoorOptions options) {
  auto door = std::make_unique<DoorImpl>(loop, handler, std::move(options));
  if (Status status = door->listen(); !status) return std::unexpected(status.error());
  return door;
}

}  // namespace capstan::net
