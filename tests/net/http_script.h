// A scripted HTTP/1.1 client against a session: text in, text out.
#pragma once

#include <memory>
#include <string>

#include "net/http_server.h"
#include "tests/support/fake_handler.h"

namespace capstan::test {

class HttpScript {
 public:
  HttpScript() : session(net::make_http_session(context, [] {})) {}

  FakeHandler handler;
  net::DoorOptions options;
  net::DoorContext context{handler, options, {}, 1000};
  std::shared_ptr<net::Session> session;

  // All the server has to say now.
  std::string hear();
  std::string say(std::string_view bytes) {
    session->receive(bytes);
    return hear();
  }
  std::string get(const std::string& target) {
    return say("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  std::string post(const std::string& target, const std::string& body) {
    return say("POST " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body);
  }
};

// 200 in "HTTP/1.1 200 OK..."; 0 if that is not how the text begins.
int status_in(const std::string& response);
std::string body_in(const std::string& response);

}  // namespace capstan::test
