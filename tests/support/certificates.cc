#include "tests/support/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdio>

#include "core/check.h"

namespace capstan::test {

struct Authority::State {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
};

namespace {

void name(X509_NAME* to, const std::string& common_name) {
  X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
}

void extend(X509* certificate, X509* issuer, int what, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
  CAPSTAN_ASSERT(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* begin(EVP_PKEY* key, const std::string& common_name, long from, long to) {
  X509* made = X509_new();
  X509_set_version(made, X509_VERSION_3);
  std::int64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), 7);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(made), serial);
  X509_gmtime_adj(X509_getm_notBefore(made), from);
  X509_gmtime_adj(X509_getm_notAfter(made), to);
  X509_set_pubkey(made, key);
  name(X509_get_subject_name(made), common_name);
  return made;
}

std::string subject_alternatives(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& one : names) {
    const bool address = one.find_first_not_of("0123456789.") == std::string::npos;
    out += (out.empty() ? "" : ",") + std::string(address ? "IP:" : "DNS:") + one;
  }
  return out;
}

void write_certificate(const std::string& path, X509* certificate) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  CAPSTAN_ASSERT(file != nullptr);
  PEM_write_X509(file, certificate);
  std::fclose(file);
}

}  // namespace

Authority::Authority(const std::string& common_name) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.key = EVP_EC_gen("P-256");
  s.certificate = begin(s.key, common_name, -3600, 3600);
  X509_set_issuer_name(s.certificate, X509_get_subject_name(s.certificate));
  extend(s.certificate, s.certificate, NID_basic_constraints, "critical,CA:TRUE");
  extend(s.certificate, s.certificate, NID_subject_key_identifier, "hash");
  X509_sign(s.certificate, s.key, EVP_sha256());
}

Authority::~Authority() {
  X509_free(state_->certificate);
  EVP_PKEY_free(state_->key);
}

void Authority::write(const std::string& path) const {
  write_certificate(path, state_->certificate);
}

void Authority::issue(const std::string& certificate_path, const std::string& key_path,
                      const CertificateWish& wish) const {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* made = begin(key, wish.common_name, wish.valid_from_seconds, wish.valid_to_seconds);
  X509_set_issuer_name(made, X509_get_subject_name(state_->certificate));
  extend(made, state_->certificate, NID_basic_constraints, "CA:FALSE");
  extend(made, state_->certificate, NID_ext_key_usage, "serverAuth,clientAuth");
  extend(made, state_->certificate, NID_authority_key_identifier, "keyid");
  if (!wish.names.empty()) {
    extend(made, state_->certificate, NID_subject_alt_name, subject_alternatives(wish.names));
  }
  X509_sign(made, state_->key, EVP_sha256());
  write_certificate(certificate_path, made);
  std::FILE* file = std::fopen(key_path.c_str(), "w");
  CAPSTAN_ASSERT(file != nullptr);
  const std::string& password = wish.key_password;
  PEM_write_PrivateKey(file, key, password.empty() ? nullptr : EVP_aes_256_cbc(),
                       reinterpret_cast<const unsigned char*>(password.data()),
                       static_cast<int>(password.size()), nullptr, nullptr);
  std::fclose(file);
  X509_free(made);
  EVP_PKEY_free(key);
}

}  // namespace capstan::test
