// Where streams come from: names looked up, addresses dialled, connections accepted.
#include <cstring>
#include <utility>

#include "net/uv_tcp_state.h"

namespace capstan::net {

namespace {

constexpr int kBacklog = 1024;

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

// ---- Dialling -----------------------------------------------------------------------------------

std::unique_ptr<TcpStream> TcpStream::connect(Loop& loop, const std::string& host,
                                              std::uint16_t port, StreamEvents& events,
                                              std::shared_ptr<TlsContext> tls) {
  auto state = std::make_shared<State>(loop);
  if (tls) state->tls = std::make_unique<TlsLayer>(std::move(tls), host);
  state->events = &events;
  state->phase = Phase::kConnecting;
  state->target = host + ':' + std::to_string(port);
  state->look_up(host, port);
  return std::make_unique<TcpStream>(std::move(state));
}

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
  if (tls) {
    begin_tls();
    start_reading();
    return;
  }
  if (events != nullptr) events->on_connect();
  if (phase != Phase::kOpen) return;
  start_reading();
  if (finish_wanted) phase = Phase::kFinishing;
  want_flush();
}

// ---- Listener -----------------------------------------------------------------------------------

struct TcpListener::State : std::enable_shared_from_this<TcpListener::State> {
  explicit State(Loop& the_loop) : owner_loop(the_loop), loop(the_loop.state()) {}
  void connection(int status);

  Loop& owner_loop;
  Loop::State& loop;
  TcpHandle* handle = nullptr;
  Accept accept;
  std::shared_ptr<TlsContext> tls;  // null: plaintext
  std::string address;
  std::uint16_t port = 0;
};

void TcpListener::State::connection(int status) {
  if (status < 0 || handle == nullptr) return;
  auto stream = std::make_shared<TcpStream::State>(owner_loop);
  if (tls) stream->tls = std::make_unique<TlsLayer>(tls);
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
                                                         std::uint16_t port, Accept accept,
                                                         std::shared_ptr<TlsContext> tls) {
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
  state->tls = std::move(tls);
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
