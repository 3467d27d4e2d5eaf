#include "tests/net/http_script.h"

#include <cstdlib>

namespace capstan::test {

std::string HttpScript::hear() {
  std::string out;
  for (std::size_t before = 1; before != out.size();) {
    before = out.size();
    session->produce(out, 64 * 1024);
  }
  return out;
}

int status_in(const std::string& response) {
  if (!response.starts_with("HTTP/1.1 ") || response.size() < 12) return 0;
  return std::atoi(response.c_str() + 9);
}

std::string body_in(const std::string& response) {
  const std::size_t at = response.find("\r\n\r\n");
  return at == std::string::npos ? "" : response.substr(at + 4);
}

}  // namespace capstan::test
