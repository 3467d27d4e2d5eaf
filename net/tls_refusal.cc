#include "net/tls_refusal.h"

#include <algorithm>

namespace capstan::net {

namespace {

void put_big_endian(std::string& out, std::size_t value, int bytes) {
  while (bytes-- > 0) out += static_cast<char>(value >> (8 * bytes) & 0xff);
}

// RFC 9113 4.1.
void put_h2_frame(std::string& out, char type, ByteView payload) {
  put_big_endian(out, payload.size(), 3);
  out += type;
  put_big_endian(out, 0, 5);  // no flags, stream 0
  out += payload;
}

}  // namespace

std::string plaintext_answer(ByteView first) {
  constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  constexpr char kSettings = 4, kGoAway = 7;
  constexpr std::size_t kInadequateSecurity = 12;
  const std::size_t shared = std::min(first.size(), kPreface.size());
  if (shared >= 3 && first.substr(0, shared) == kPreface.substr(0, shared)) {
    std::string payload, out;
    put_big_endian(payload, 0, 4);  // no stream was looked at
    put_big_endian(payload, kInadequateSecurity, 4);
    payload += kTlsPortText;
    put_h2_frame(out, kSettings, {});
    put_h2_frame(out, kGoAway, payload);
    return out;
  }
  if (first.empty() || first[0] < 'A' || first[0] > 'Z') return {};
  const std::string body = std::string(kTlsPortText) + ".\n";
  return "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

bool is_tls_hello(ByteView first) { return first.starts_with('\x16'); }

// RFC 8446 6: a fatal handshake_failure. An alert of the version would send people looking for
// another one.
std::string tls_refusal_alert() { return {"\x15\x03\x01\x00\x02\x02\x28", 7}; }

}  // namespace capstan::net
