// The command line's way to nodes: /api/v1 over HTTP, asked and waited for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/request.h"
#include "core/time.h"
#include "net/handler.h"
#include "node/serve_config.h"

namespace capstan::node {

// Where a node takes clients.
struct Endpoint : HostPort {
  bool tls = false;
};

struct ApiCall {
  Endpoint at;
  std::string method = "GET";
  std::string path;
  std::string body;
};

// What came back, or why nothing did.
struct ApiAnswer {
  enum class Failure {
    kNone,
    kNobody,   // nobody listens there: nothing was sent
    kSilent,   // sent, no answer in time or the connection broke: it may have been applied
    kForeign,  // what answers there is not Capstan
    kTls,      // one side has TLS and the other not, or a certificate does not hold: nothing was
               // looked at
  };
  Failure failure = Failure::kNone;
  std::string why;  // a sentence without the address
  Endpoint at;
  std::string json;  // as it came
  Reply reply;
  std::string write_id;
  net::LabReply lab;  // of /api/v1/lab
  Micros took = 0;
};

class ApiClient {
 public:
  // `tls` is for calls whose endpoint has it; without it (null) they fail.
  explicit ApiClient(Micros timeout, std::shared_ptr<net::TlsContext> tls = nullptr);
  ~ApiClient();

  // Of whoever logged in; sent with every call from now on.
  void set_token(std::string token);

  // All at once; answers in the order of the calls.
  std::vector<ApiAnswer> ask_all(const std::vector<ApiCall>& calls);
  ApiAnswer ask(const ApiCall& call);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan::node
