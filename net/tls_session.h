// TLS of one connection, without its socket: what came from the wire goes in, plain bytes come out,
// and the other way round. net/uv_tcp_tls.cc is the socket; a test can be it too.
//
//   wire ─► feed() ─► advance() until open, then read() ─► plain
//   plain ─► write() ─► take_wire() ─► wire              (every call may leave something to take)
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/types.h"
#include "net/tls_context.h"

namespace capstan::net {

class TlsSession {
 public:
  enum class Stage {
    kHandshake,
    kOpen,
    kEnded,   // the other side has closed in order: nothing more will be read
    kFailed,  // see why(); an alert for the other side may wait in take_wire()
  };

  static std::unique_ptr<TlsSession> accept(std::shared_ptr<TlsContext> context);
  // `host` as the user wrote it: a name or an IP address, which the certificate must be for.
  static std::unique_ptr<TlsSession> connect(std::shared_ptr<TlsContext> context,
                                             const std::string& host);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;

  // Bytes from the wire, read where they lie; what of them is still unread must be kept before they
  // go.
  void feed(ByteView wire);
  void keep();
  bool has_input() const;  // something was fed and not yet read

  // Goes on with the handshake as far as what was fed allows.
  Stage advance();
  // Plain bytes of what was fed; 0: no more now, stage() may have changed.
  //   room   at least 16 KiB, so that nothing decrypted is left inside
  std::size_t read(char* to, std::size_t room);
  // Encrypts; only when open. False: it failed.
  bool write(ByteView plain);
  // Says that we have said everything.
  void close();
  // What is to be sent, the handshake's own messages included; empty: nothing.
  std::string take_wire();

  Stage stage() const;
  // A clause for people: "its certificate is not for 10.0.0.2, but for n2.example".
  const std::string& why() const;
  // What failed was a certificate: nothing that we sent was looked at.
  bool refused() const;
  // The common name in the other side's certificate; empty: it showed none.
  std::string certificate_name() const;
  // The application protocol agreed on; empty: none.
  std::string protocol() const;

  struct State;  // for net/tls_session.cc only
  explicit TlsSession(std::unique_ptr<State> state);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace capstan::net
