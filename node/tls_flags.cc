#include "node/tls_flags.h"

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <utility>

namespace capstan::node {
namespace {

std::expected<std::shared_ptr<net::TlsContext>, UsageError> loaded(net::TlsOptions options) {
  auto context = net::TlsContext::load(std::move(options));
  if (!context) return wrong(context.error().context);
  return std::move(*context);
}

net::TlsFile file(const Parsed& parsed, const std::string& flag) {
  return {"--" + flag, parsed.text(flag)};
}

// Certificate and key go together.
std::expected<void, UsageError> both(const net::TlsOptions& options) {
  if (options.certificate.path.empty() == options.key.path.empty()) return {};
  const bool key_missing = options.key.path.empty();
  return wrong((key_missing ? options.certificate : options.key).flag + " is given without " +
               (key_missing ? options.key : options.certificate).flag + "; TLS needs both.");
}

}  // namespace

std::expected<std::shared_ptr<net::TlsContext>, UsageError> port_tls(const Parsed& parsed,
                                                                     std::string_view port) {
  const std::string prefix(port);
  net::TlsOptions options;
  options.certificate = file(parsed, prefix + "cert-file");
  options.key = file(parsed, prefix + "key-file");
  options.authority = file(parsed, prefix + "trusted-ca-file");
  const auto& [certificate, key, authority] =
      std::tie(options.certificate, options.key, options.authority);
  const std::string demand = prefix + "client-cert-auth";
  const bool has_authority = !authority.path.empty();
  if (certificate.path.empty() && key.path.empty()) {
    if (!has_authority && !parsed.on(demand)) return nullptr;
    return wrong((has_authority ? authority.flag : "--" + demand) +
                 " asks others for certificates, which only a port with TLS can; give " +
                 certificate.flag + " and " + key.flag + " as well, or leave it out.");
  }
  if (auto ok = both(options); !ok) return std::unexpected(ok.error());
  if (parsed.on(demand) && !has_authority) {
    return wrong("--" + demand + " does not say whose certificates to take; give " +
                 authority.flag + "=FILE as well.");
  }
  options.demand_certificate = has_authority;
  options.protocols = port == kPeerPort ? std::vector<std::string>{"capstan"}
                                        : std::vector<std::string>{"http/1.1", "h2"};
  return loaded(std::move(options));
}

std::expected<std::shared_ptr<net::TlsContext>, UsageError> client_tls(
    const Parsed& parsed, const std::string& protocol) {
  net::TlsOptions options;
  options.certificate = file(parsed, "cert");
  options.key = file(parsed, "key");
  options.authority = file(parsed, "cacert");
  options.verify = !parsed.on("insecure-skip-tls-verify");
  options.protocols = {protocol};
  if (auto ok = both(options); !ok) return std::unexpected(ok.error());
  return loaded(std::move(options));
}

bool asks_for_tls(const Parsed& parsed) {
  constexpr std::array<std::string_view, 3> kFiles{"cacert", "cert", "key"};
  return parsed.on("insecure-skip-tls-verify") ||
         std::ranges::any_of(kFiles, [&](std::string_view flag) { return parsed.has(flag); });
}

}  // namespace capstan::node
