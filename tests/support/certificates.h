// Authorities and certificates for tests, made on the spot and written as PEM files.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace capstan::test {

struct CertificateWish {
  std::string common_name = "test";
  // Whom it is for: names and IPv4 addresses.
  std::vector<std::string> names{"localhost", "127.0.0.1"};
  long valid_from_seconds = -3600;  // from now
  long valid_to_seconds = 3600;
  std::string key_password{};  // empty: the key lies open
};

// Signs certificates with a key of its own.
class Authority {
 public:
  explicit Authority(const std::string& name);
  ~Authority();
  Authority(const Authority&) = delete;

  // Its own certificate.
  void write(const std::string& path) const;
  // A fresh key and a certificate of it.
  void issue(const std::string& certificate_path, const std::string& key_path,
             const CertificateWish& wish = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan::test
