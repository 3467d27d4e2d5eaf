// A small HTTP/1.1 client on the store's loop, for the command line and the lab: one request on one
// connection at a time, connections kept alive per address and reused. Bodies are whatever the
// caller makes them; Capstan's API speaks JSON. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace capstan::net {

class Loop;
class TlsContext;

struct HttpCall {
  std::string host;
  std::uint16_t port = 0;
  std::shared_ptr<TlsContext> tls;  // null: plaintext
  std::string method = "GET";
  std::string path = "/";
  std::string body;  // sent with Content-Type: application/json when not empty
  std::vector<std::pair<std::string, std::string>> headers;
  Micros timeout = 5 * kSecond;  // from now to the last byte of the reply
};
struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  // Empty when absent. `name` in lower case.
  std::string_view header(std::string_view name) const;
};
// Errors: kNotFound   nobody listens at the address: nothing was sent
//         kMismatch   no TLS with who listens there: nothing was looked at
//         kIo         the connection ended before the reply was whole; a write may have been
//                     applied
//         kBusy       timeout; likewise
//         kMalformed, kTooLarge   what came back is not HTTP, or past 64 MiB
using HttpCallback = std::move_only_function<void(Result<HttpResponse>)>;

class HttpClient {
 public:
  static std::unique_ptr<HttpClient> create(Loop& loop);
  // Calls in flight are dropped without their callbacks.
  virtual ~HttpClient() = default;
  virtual void call(HttpCall call, HttpCallback done) = 0;
};

}  // namespace capstan::net
