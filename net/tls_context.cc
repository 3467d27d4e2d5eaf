#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <system_error>
#include <utility>

#include "core/check.h"
#include "core/trace.h"
#include "net/tls_internal.h"

namespace capstan::net {

namespace {

using BioPtr = std::unique_ptr<BIO, Releases<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Releases<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Releases<EVP_PKEY_free>>;

constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";  // of TLS 1.2

std::string named(const TlsFile& file) { return file.flag + '=' + file.path; }

std::unexpected<Error> unfit(const TlsFile& file, const std::string& what) {
  ERR_clear_error();
  return fail(ErrorCode::kInvalid, named(file) + ' ' + what);
}

Result<std::string> read(const TlsFile& file) {
  errno = 0;
  std::ifstream in(file.path, std::ios::binary);
  std::string text(kTlsFileBytesMax + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (!in && in.gcount() == 0 && errno != 0)) {
    return unfit(file, "cannot be read: " + std::generic_category().message(errno) + ".");
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kTlsFileBytesMax) return unfit(file, "is too large to be a PEM file.");
  return text;
}

BioPtr reader(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Every certificate of a file, at least one.
Result<std::vector<CertificatePtr>> certificates(const TlsFile& file) {
  const Result<std::string> text = read(file);
  if (!text) return std::unexpected(text.error());
  const BioPtr in = reader(*text);
  std::vector<CertificatePtr> out;
  while (X509* one = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) out.emplace_back(one);
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (out.empty() && at_end) {
    return unfit(file, "holds no certificate; give a PEM file with BEGIN CERTIFICATE.");
  }
  if (!at_end) return unfit(file, "is damaged: a certificate in it cannot be decoded.");
  ERR_clear_error();
  return out;
}

Result<KeyPtr> private_key(const TlsFile& file) {
  const Result<std::string> text = read(file);
  if (!text) return std::unexpected(text.error());
  const BioPtr in = reader(*text);
  bool encrypted = false;
  const auto nobody_to_ask = [](char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
  };
  KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, nobody_to_ask, &encrypted));
  if (encrypted) {
    return unfit(file,
                 "is encrypted, and there is nobody to ask for the password; decrypt it: "
                 "openssl pkey -in FILE -out NEW.");
  }
  if (!key) return unfit(file, "holds no private key; give a PEM file with BEGIN PRIVATE KEY.");
  return key;
}

std::string text_of(const ASN1_TIME* time) {
  std::tm broken{};
  std::array<char, 32> text{};
  if (ASN1_TIME_to_tm(time, &broken) != 1) return "a day long ago";
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &broken);
  return text.data();
}

Status use_pair(SSL_CTX* ssl, const TlsOptions& options) {
  Result<std::vector<CertificatePtr>> chain = certificates(options.certificate);
  if (!chain) return std::unexpected(chain.error());
  Result<KeyPtr> key = private_key(options.key);
  if (!key) return std::unexpected(key.error());
  X509* const own = chain->front().get();
  if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0) {
    return unfit(options.certificate,
                 "has expired on " + text_of(X509_get0_notAfter(own)) + "; renew it.");
  }
  if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0) {
    return unfit(options.certificate, "is not valid before " + text_of(X509_get0_notBefore(own)) +
                                          "; is this machine's clock right?");
  }
  if (X509_check_private_key(own, key->get()) != 1) {
    return unfit(options.key, "is not the key of the certificate in " + named(options.certificate) +
                                  "; give the two that were made " + "together.");
  }
  if (SSL_CTX_use_certificate(ssl, own) != 1) {
    return unfit(options.certificate, "is refused: " + openssl_text() + ".");
  }
  if (SSL_CTX_use_PrivateKey(ssl, key->get()) != 1) {
    return unfit(options.key, "is refused: " + openssl_text() + ".");
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(ssl, (*chain)[i].get()) != 1) {
      return unfit(options.certificate, "is refused: " + openssl_text() + ".");
    }
  }
  return {};
}

Status use_authority(SSL_CTX* ssl, const TlsFile& file) {
  Result<std::vector<CertificatePtr>> list = certificates(file);
  if (!list) return std::unexpected(list.error());
  X509_STORE* const store = SSL_CTX_get_cert_store(ssl);
  // Whatever stands in the file is trusted, an authority in the middle of a chain as well (as
  // etcd).
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  for (const CertificatePtr& one : *list) {
    if (X509_STORE_add_cert(store, one.get()) != 1 || SSL_CTX_add_client_CA(ssl, one.get()) != 1) {
      return unfit(file, "is refused: " + openssl_text() + ".");
    }
  }
  return {};
}

// A port's choice among what is offered, in the port's order.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_bytes,
                    const unsigned char* offered, unsigned offered_bytes, void* options) noexcept {
  for (const std::string& ours : static_cast<const TlsOptions*>(options)->protocols) {
    for (unsigned at = 0; at < offered_bytes; at += 1u + offered[at]) {
      const std::string_view theirs(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
      if (theirs != ours) continue;
      *out = offered + at + 1;
      *out_bytes = offered[at];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// `options` must outlive what is made.
Result<SslContextPtr> make(const TlsOptions& options) {
  SslContextPtr made(SSL_CTX_new(TLS_method()));
  SSL_CTX* const ssl = made.get();
  CAPSTAN_ASSERT(ssl != nullptr);
  CAPSTAN_ASSERT(SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1);
  CAPSTAN_ASSERT(SSL_CTX_set_cipher_list(ssl, kCiphers) == 1);
  SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(ssl, 0);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);  // idle connections hold no buffers
  // We show what our file holds. OpenSSL would look for more among the authorities, from disk and
  // at each handshake.
  SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(ssl, static_cast<long>(kTlsCertificatesBytesMax));
  if (!options.certificate.path.empty()) {
    if (Status ok = use_pair(ssl, options); !ok) return std::unexpected(ok.error());
  }
  if (!options.authority.path.empty()) {
    if (Status ok = use_authority(ssl, options.authority); !ok) return std::unexpected(ok.error());
  } else {
    SSL_CTX_set_default_verify_paths(ssl);
  }
  if (!options.protocols.empty()) {
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, const_cast<TlsOptions*>(&options));
    std::string offer;
    for (const std::string& one : options.protocols) offer += static_cast<char>(one.size()) + one;
    CAPSTAN_ASSERT(SSL_CTX_set_alpn_protos(ssl,
                                           reinterpret_cast<const unsigned char*>(offer.data()),
                                           static_cast<unsigned>(offer.size())) == 0);
  }
  ERR_clear_error();
  return made;
}

bool same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool same(const FileMark& a, const FileMark& b) {
  return a.there == b.there && a.device == b.device && a.inode == b.inode && a.size == b.size &&
         same(a.modified, b.modified) && same(a.changed, b.changed);
}

FileMark mark_of(const TlsFile& file) {
  struct stat found{};
  if (file.path.empty() || stat(file.path.c_str(), &found) != 0) return {};
  return {true, found.st_dev, found.st_ino, found.st_size, found.st_mtim, found.st_ctim};
}

FileMarks marks_of(const TlsOptions& options) {
  return {mark_of(options.certificate), mark_of(options.key), mark_of(options.authority)};
}

}  // namespace

std::string openssl_text() {
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  const char* reason = ERR_reason_error_string(code);
  return reason == nullptr ? "error " + std::to_string(code) : reason;
}

SSL_CTX* TlsContext::State::fresh() {
  const FileMarks now = marks_of(options);
  bool changed = false;
  for (std::size_t i = 0; i < now.size(); ++i) changed = changed || !same(now[i], marks[i]);
  if (!changed) return ssl.get();
  marks = now;
  if (Result<SslContextPtr> made = make(options)) {
    ssl = std::move(*made);
    trace(Level::kInfo, "tls_reloaded", "new connections use the files as they are now",
          {{"certificate", options.certificate.path}, {"authority", options.authority.path}});
  } else {
    trace(Level::kError, "tls_reload_failed",
          made.error().context + " The files read before stay in use.");
  }
  return ssl.get();
}

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

const TlsOptions& TlsContext::options() const { return state_->options; }

Result<std::shared_ptr<TlsContext>> TlsContext::load(TlsOptions options) {
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->marks = marks_of(state->options);  // before they are read: a change in between is seen
  Result<SslContextPtr> made = make(state->options);
  if (!made) return std::unexpected(made.error());
  state->ssl = std::move(*made);
  return std::make_shared<TlsContext>(std::move(state));
}

}  // namespace capstan::net
