// Addresses as people write them: HOST[:PORT], and URLs as etcd does. What is wrong with one is
// said with its flag.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "node/options.h"

namespace capstan::node {

struct HostPort {
  std::string host;
  int port = 0;
  friend auto operator<=>(const HostPort&, const HostPort&) = default;
};
std::string to_text(const HostPort& address);               // 127.0.0.1:2379, [::1]:2379
std::optional<HostPort> address_of(std::string_view text);  // and back

// One machine has several names for itself; two members may not hide behind two of them.
HostPort normal(HostPort address);
bool any_address(const std::string& host);  // 0.0.0.0 or ::
// " (localhost is 127.0.0.1)", for a sentence about two spellings of one address; else nothing.
std::string spelling_note(const std::string& written);

// What stands between separators, without blanks around it; nothing that is empty.
std::vector<std::string> split(std::string_view text, char by);

Checked<HostPort> parse_address(std::string_view flag, std::string_view text, int default_port);

// What the URLs of a port must begin with, and the flags that decide it.
struct Scheme {
  bool tls;
  std::string_view port;  // kClientPort, kPeerPort
  std::string text() const { return tls ? "https://" : "http://"; }
  std::string flag(std::string_view name) const {
    return "--" + std::string(port) + std::string(name);
  }
};
// http://HOST:PORT or https://HOST:PORT as etcd writes it.
Checked<HostPort> parse_url(std::string_view flag, std::string_view url, const Scheme& scheme);
// What was said of `flag`, or its default, whose scheme follows the port's; none twice.
Checked<std::vector<HostPort>> parse_urls(const std::string& flag, const Parsed& parsed,
                                          const Scheme& scheme);

}  // namespace capstan::node
