// The front door: one client port for every protocol. The first bytes tell which:
//
//   "PRI * HTTP/2.0"   gRPC, the etcd v3 API        net/grpc_server.h
//   a method name      HTTP/1.1                     net/http_server.h
//   (RESP will join here: net/door.cc, choose_session)
//
// With a TlsContext these are the first bytes inside of TLS. Who speaks plaintext there is told so,
// and so is who speaks TLS where there is none (net/tls_refusal.h).
//
// Bounded in every direction: connections, bytes waiting to be written per connection, bytes of
// incomplete requests over all connections, time to say the first word. What clients send in one
// turn of the loop is answered with at most one write per connection and turn.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "core/time.h"
#include "core/types.h"
#include "net/grpc_messages.h"
#include "net/handler.h"
#include "net/reasons.h"

namespace capstan::net {

class Loop;
class TlsContext;

struct DoorAddress {
  std::string host;
  std::uint16_t port = 0;  // 0: any free one, see Door::ports()
};

struct DoorOptions {
  std::vector<DoorAddress> listen;
  std::shared_ptr<TlsContext> tls;    // of every address; null: plaintext
  bool users_by_certificate = false;  // the name in a client's certificate is that of a user
  std::string version = "0.1.0";      // Capstan's, for /version
  Mode mode = Mode::kCp;  // says what is refused for good and what is only not there yet
  std::size_t connections_max = kConnectionsMax;
  std::size_t buffered_bytes_max = 256 * 1024 * 1024;  // of incomplete requests, all connections
  std::size_t waiting_out_bytes_max = 1024 * 1024 * 1024;  // of replies nobody takes, likewise
  Micros first_word_timeout = 10 * kSecond;                // from accept to knowing the protocol
  Micros http_request_timeout = 10 * kSecond;  // from a request's first byte to its last
  Micros http_idle_timeout = 120 * kSecond;    // a kept-alive connection without a request
};

// For /metrics and tests.
struct DoorCounts {
  std::uint64_t accepted = 0, turned_away = 0;  // turned away: over connections_max
  std::uint64_t open_grpc = 0, open_http = 0, open_unknown = 0;
  std::uint64_t grpc_requests = 0, http_requests = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  std::uint64_t grpc_bytes_in = 0, grpc_bytes_out = 0;  // of these
  // gRPC calls that ended, by method and code. The first method is none that we know.
  std::array<std::array<std::uint64_t, kGrpcCodes>, kGrpcMethods> grpc_handled{};
  std::uint64_t protocol_errors = 0;    // connections closed for what they sent
  std::uint64_t tls_refused = 0;        // of these: no TLS with them, or plaintext, or TLS without
  std::uint64_t buffered_bytes = 0;     // of incomplete requests
  std::uint64_t waiting_out_bytes = 0;  // of replies not yet handed to a socket
};

class Door {
 public:
  // Listens on every address or none. The loop and the handler must outlive the door.
  //   errors  kExists   an address is in use
  //           kIo       anything else, with the address
  static Result<std::unique_ptr<Door>> open(Loop& loop, Handler& handler, DoorOptions options);
  virtual ~Door() = default;

  // Ports as bound, in the order of DoorOptions::listen.
  virtual std::vector<std::uint16_t> ports() const = 0;
  virtual DoorCounts counts() const = 0;

  // Produces and hands to the sockets what the answers of this turn gave. The door calls it itself
  // after each turn of the loop; a node that ends its turn later calls it then.
  virtual void flush() = 0;

  // Orderly stop: no new connections, GOAWAY to gRPC clients, `Connection: close` to HTTP ones;
  // `done` once every request in flight is answered, at the latest after `grace`.
  virtual void close(Micros grace, std::move_only_function<void()> done) = 0;
};

}  // namespace capstan::net
