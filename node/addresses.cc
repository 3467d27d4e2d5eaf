#include "node/addresses.h"

#include <algorithm>
#include <charconv>

namespace capstan::node {

std::optional<HostPort> address_of(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  HostPort at{std::string(text.substr(0, colon)), 0};
  if (at.host.starts_with('[') && at.host.ends_with(']')) {
    at.host = at.host.substr(1, at.host.size() - 2);
  }
  const char* end = text.data() + text.size();
  const auto got = std::from_chars(text.data() + colon + 1, end, at.port);
  if (got.ec != std::errc{} || got.ptr != end || at.port <= 0 || at.port > 65535) {
    return std::nullopt;
  }
  return at;
}

std::string to_text(const HostPort& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    std::string_view part = text.substr(0, text.find(by));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

HostPort normal(HostPort address) {
  std::ranges::transform(address.host, address.host.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  if (address.host == "localhost" || address.host == "::1") address.host = "127.0.0.1";
  return address;
}

bool any_address(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

std::string spelling_note(const std::string& written) {
  return written.find("localhost") != std::string::npos ? " (localhost is 127.0.0.1)" : "";
}

Checked<HostPort> parse_address(std::string_view flag, std::string_view text, int default_port) {
  const auto bad = [&](std::string_view why) {
    return wrong("--" + std::string(flag) + ": \"" + std::string(text) + "\" " + std::string(why) +
                 ".");
  };
  HostPort out{"", default_port};
  std::string_view rest = text;
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) return bad("has no closing bracket");
    out.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    const std::size_t colon = rest.find(':');
    if (colon != std::string_view::npos && rest.find(':', colon + 1) != std::string_view::npos) {
      return bad("has several colons; write an IPv6 address in brackets");
    }
    out.host = rest.substr(0, colon);
    rest.remove_prefix(out.host.size());
  }
  if (out.host.empty()) return bad("names no host");
  if (out.host.find('/') != std::string::npos) return bad("is not HOST[:PORT]");
  if (rest.empty()) return out;
  if (rest.front() != ':') return bad("is not HOST[:PORT]");
  rest.remove_prefix(1);
  int port = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
  if (error != std::errc{} || end != rest.data() + rest.size() || port < 0 || port > 65535) {
    return bad("has no port between 0 and 65535");
  }
  out.port = port;
  return out;
}

Checked<HostPort> parse_url(std::string_view flag, std::string_view url, const Scheme& scheme) {
  const std::string what = "--" + std::string(flag) + ": ";
  const bool secure = url.starts_with("https://");
  if (!secure && !url.starts_with("http://")) {
    return wrong(what + "\"" + std::string(url) + "\" is not a URL; write " + scheme.text() +
                 "HOST:PORT.");
  }
  if (secure && !scheme.tls) {
    return wrong(what + std::string(url) + " asks for TLS; give " + scheme.flag("cert-file") +
                 " and " + scheme.flag("key-file") + ", or write http://.");
  }
  if (!secure && scheme.tls) {
    return wrong(what + std::string(url) + " is plaintext, but " + scheme.flag("cert-file") +
                 " makes the port TLS; write https://, or leave the certificate out.");
  }
  std::string_view rest = url.substr(scheme.text().size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  Checked<HostPort> address = parse_address(flag, rest, -1);
  if (address && address->port < 0) {
    return wrong("--" + std::string(flag) + ": " + std::string(url) + " has no port.");
  }
  return address;
}

Checked<std::vector<HostPort>> parse_urls(const std::string& flag, const Parsed& parsed,
                                          const Scheme& scheme) {
  std::string text = parsed.text(flag);
  if (!parsed.has(flag) && text.starts_with("http://")) text.replace(0, 7, scheme.text());
  std::vector<HostPort> out;
  for (const std::string& url : split(text, ',')) {
    Checked<HostPort> address = parse_url(flag, url, scheme);
    if (!address) return std::unexpected(address.error());
    out.push_back(*address);
  }
  if (out.empty()) return wrong("--" + flag + " names no address.");
  for (std::size_t i = 0; i < out.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (out[i].port != 0 && normal(out[i]) == normal(out[j])) {
        return wrong("--" + flag + " lists " + to_text(normal(out[i])) + " twice" +
                     spelling_note(text) + ".");
      }
    }
  }
  return out;
}

}  // namespace capstan::node
