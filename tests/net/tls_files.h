// Certificates on disk and contexts of them, for tests of everything that is encrypted.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/tls_context.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

namespace capstan::net::tls_test {

// ca.pem; server.pem and client.pem with their keys.
struct Files {
  Files() {
    authority.write(path("ca.pem"));
    authority.issue(path("server.pem"), path("server.key"), {.common_name = "server"});
    authority.issue(path("client.pem"), path("client.key"), {.common_name = "client"});
  }
  std::string path(const std::string& name) const { return directory / name; }

  TlsOptions server() const {
    return {.certificate = {"--cert-file", path("server.pem")},
            .key = {"--key-file", path("server.key")},
            .authority = {"--trusted-ca-file", ""},
            .protocols = {}};
  }
  // A port that demands a certificate.
  TlsOptions strict_server() const {
    TlsOptions options = server();
    options.authority.path = path("ca.pem");
    options.demand_certificate = true;
    return options;
  }
  TlsOptions client() const {
    return {.certificate = {"--cert", ""},
            .key = {"--key", ""},
            .authority = {"--cacert", path("ca.pem")},
            .protocols = {}};
  }
  TlsOptions known_client() const {
    TlsOptions options = client();
    options.certificate.path = path("client.pem");
    options.key.path = path("client.key");
    return options;
  }

  // A node among its peers: port and dialler at once.
  TlsOptions peer() const {
    return {.certificate = {"--peer-cert-file", path("server.pem")},
            .key = {"--peer-key-file", path("server.key")},
            .authority = {"--peer-trusted-ca-file", path("ca.pem")},
            .demand_certificate = true,
            .protocols = {"capstan"}};
  }

  test::TempDir directory;
  test::Authority authority{"test authority"};
};

inline std::shared_ptr<TlsContext> loaded(TlsOptions options) {
  auto context = TlsContext::load(std::move(options));
  if (!context) FAIL(context.error().context);
  return *context;
}

}  // namespace capstan::net::tls_test
