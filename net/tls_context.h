// TLS for a port, for those who dial, or for both: certificate, key and authority, from files that
// may be replaced while the process runs.
//
// At each handshake the files are looked at (three calls of stat), and when one has changed, all
// are read again. New connections use the new ones; old connections stay as they are. Files that
// do not fit leave the last good ones in use, and are traced once as an error.
//
// Fixed, for every user: TLS 1.2 or 1.3, no renegotiation, no compression, no resumption (so that
// a changed authority holds for every connection), ciphers as HTTP/2 wants them (RFC 7540 9.2.2).
// OpenSSL is named in net/tls_*.cc and net/tls_internal.h only (and in net/sha256.cc).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "core/time.h"

namespace capstan::net {

// A PEM file as the user named it; what is wrong with it is said with the flag.
struct TlsFile {
  std::string flag;  // "--cert-file"
  std::string path;  // empty: not given
};

struct TlsOptions {
  TlsFile certificate;  // ours, with the chain behind it; a port must have one
  TlsFile key;          // of the certificate
  TlsFile authority;    // whose certificates we take; not given: the system's
  // A port asks for the other side's certificate and refuses who shows none of the authority's.
  bool demand_certificate = false;
  // Who dials takes any certificate if this is false.
  bool verify = true;
  // Application protocols (ALPN), the preferred first. A port takes the first of them that is
  // offered, and refuses who offers others only.
  std::vector<std::string> protocols;
  Micros handshake_timeout = kTlsHandshakeTimeout;  // from the connection to its end
};

class TlsContext {
 public:
  // Reads and checks the files.
  //   errors  kInvalid  a sentence that names the flag, the cause and the way out: unreadable, not
  //                     PEM, encrypted, key and certificate that do not fit, expired, too weak
  static Result<std::shared_ptr<TlsContext>> load(TlsOptions options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;

  const TlsOptions& options() const;

  // For net/tls_*.cc only.
  struct State;
  explicit TlsContext(std::unique_ptr<State> state);
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace capstan::net
