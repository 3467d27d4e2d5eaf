#include "net/tls_session.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "net/tls_internal.h"

namespace capstan::net {

struct TlsSession::State {
  std::shared_ptr<TlsContext> context;  // its options are named by `ssl`
  bool dialled = false;
  std::string host;  // of who is dialled
  SslPtr ssl;
  Stage stage = Stage::kHandshake;
  std::string why;
  bool refused = false;
  std::string names;  // whom a certificate is for that was not taken

  ByteView in;       // of the wire, not yet read; into kept, or into what was fed
  std::string kept;  // what of it had to be copied
  std::string out;   // for the wire

  void fail(int code);
  std::string clause();
  std::string certificate_clause(long verdict);
};

namespace {

using NamesPtr = std::unique_ptr<GENERAL_NAMES, Releases<GENERAL_NAMES_free>>;

// ---- OpenSSL's view of the wire: two buffers ----------------------------------------------------

TlsSession::State& state_of(BIO* bio) {
  return *static_cast<TlsSession::State*>(BIO_get_data(bio));
}

int bio_read(BIO* bio, char* to, int room) noexcept {
  ByteView& in = state_of(bio).in;
  BIO_clear_retry_flags(bio);
  if (in.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t size = std::min(in.size(), static_cast<std::size_t>(room));
  std::memcpy(to, in.data(), size);
  in.remove_prefix(size);
  return static_cast<int>(size);
}

int bio_write(BIO* bio, const char* bytes, int size) noexcept {
  BIO_clear_retry_flags(bio);
  state_of(bio).out.append(bytes, static_cast<std::size_t>(size));
  return size;
}

long bio_control(BIO*, int command, long, void*) noexcept {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* wire_method() {
  static BIO_METHOD* const shared = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    CAPSTAN_ASSERT(made != nullptr);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return shared;
}

// ---- Sentences ----------------------------------------------------------------------------------

// "n1.example, 10.0.0.1": whom a certificate is for.
std::string names_in(const X509* certificate) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()) && out.size() < 200; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string text;
    if (name->type == GEN_DNS) {
      const ASN1_STRING* dns = name->d.dNSName;
      text.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(dns)),
                  static_cast<std::size_t>(ASN1_STRING_length(dns)));
      std::ranges::replace_if(text, [](char c) { return c <= ' ' || c > '~'; }, '?');
    } else if (name->type == GEN_IPADD) {
      const ASN1_OCTET_STRING* ip = name->d.iPAddress;
      const unsigned char* byte = ASN1_STRING_get0_data(ip);
      const int size = ASN1_STRING_length(ip);
      if (size == 4) {
        for (int b = 0; b < 4; ++b) text += (b == 0 ? "" : ".") + std::to_string(byte[b]);
      } else {
        text = "an IPv6 address";
      }
    }
    if (!text.empty()) out += (out.empty() ? "" : ", ") + text.substr(0, 100);
  }
  return out.empty() ? "nobody by name" : out;
}

// Called for each complaint of a verification; changes nothing.
int note_names(int fine, X509_STORE_CTX* verification) noexcept {
  if (fine == 1) return fine;
  auto* ssl = static_cast<SSL*>(
      X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  state_of(SSL_get_rbio(ssl)).names = names_in(X509_STORE_CTX_get0_cert(verification));
  return fine;
}

// An alert that says what the other side thinks of our certificate.
bool is_about_certificates(int reason) {
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string TlsSession::State::certificate_clause(long verdict) {
  const TlsOptions& options = context->options();
  const std::string text = X509_verify_cert_error_string(verdict);
  const std::string authority =
      options.authority.path.empty()
          ? "this system's authorities; name its own with " + options.authority.flag + "=FILE"
          : options.authority.flag + '=' + options.authority.path;
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "its certificate is not for " + host + ", but for " + names;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "its certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "its certificate is not valid yet";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "its certificate is not signed by " + authority;
    default:
      return "its certificate does not hold: " + text;
  }
}

// Why the handshake or a record failed, from the error queue, which is emptied.
std::string TlsSession::State::clause() {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  const std::string text = openssl_text();
  const TlsOptions& options = context->options();
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return certificate_clause(SSL_get_verify_result(ssl.get()));
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "it shows no certificate, and one of " + options.authority.flag + " is demanded";
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return "the two sides speak different protocols inside TLS; is the port the right one?";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "it demands a certificate of ours; give " + options.certificate.flag + " and " +
             options.key.flag;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return options.certificate.path.empty()
                 ? "it does not trust our certificate's authority"
                 : "it does not trust the authority of " + options.certificate.flag + '=' +
                       options.certificate.path;
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      return "it refused the handshake; a port without TLS does so, and one that demands a "
             "certificate";
    default:
      return text;
  }
}

void TlsSession::State::fail(int code) {
  const int error = SSL_get_error(ssl.get(), code);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
  if (error == SSL_ERROR_ZERO_RETURN) {
    stage = Stage::kEnded;
    return;
  }
  refused = stage == Stage::kHandshake || is_about_certificates(ERR_GET_REASON(ERR_peek_error()));
  stage = Stage::kFailed;
  why = clause();
}

namespace {

// The state stays where it is for as long as its SSL.
std::unique_ptr<TlsSession::State> begin(std::shared_ptr<TlsContext> context) {
  auto state = std::make_unique<TlsSession::State>();
  state->ssl.reset(SSL_new(context->state().fresh()));
  state->context = std::move(context);
  BIO* const bio = BIO_new(wire_method());
  CAPSTAN_ASSERT(state->ssl != nullptr);
  CAPSTAN_ASSERT(bio != nullptr);
  BIO_set_data(bio, state.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(state->ssl.get(), bio, bio);
  return state;
}

}  // namespace

std::unique_ptr<TlsSession> TlsSession::accept(std::shared_ptr<TlsContext> context) {
  const TlsOptions& options = context->options();
  auto state = begin(std::move(context));
  SSL_set_accept_state(state->ssl.get());
  SSL_set_verify(state->ssl.get(),
                 options.demand_certificate ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                            : SSL_VERIFY_NONE,
                 nullptr);
  return std::make_unique<TlsSession>(std::move(state));
}

std::unique_ptr<TlsSession> TlsSession::connect(std::shared_ptr<TlsContext> context,
                                                const std::string& host) {
  const TlsOptions& options = context->options();
  auto state = begin(std::move(context));
  SSL* const ssl = state->ssl.get();
  state->dialled = true;
  state->host = host;
  SSL_set_connect_state(ssl);
  // As Go reads certificates: names stand in the subject's alternative names only.
  SSL_set_hostflags(ssl,
                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) != 1) {
    ERR_clear_error();
    SSL_set1_host(ssl, host.c_str());
    SSL_set_tlsext_host_name(ssl, host.c_str());
  }
  SSL_set_verify(ssl, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, note_names);
  return std::make_unique<TlsSession>(std::move(state));
}

TlsSession::TlsSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsSession::~TlsSession() = default;

// ---- Bytes --------------------------------------------------------------------------------------

void TlsSession::feed(ByteView wire) {
  State& s = *state_;
  if (s.in.empty()) {
    s.in = wire;
  } else {
    keep();
    s.kept.append(wire);
    s.in = s.kept;
  }
}

void TlsSession::keep() {
  State& s = *state_;
  s.kept = std::string(s.in);
  s.in = s.kept;
}

bool TlsSession::has_input() const { return !state_->in.empty(); }

TlsSession::Stage TlsSession::advance() {
  State& s = *state_;
  if (s.stage != Stage::kHandshake) return s.stage;
  ERR_clear_error();
  const int code = SSL_do_handshake(s.ssl.get());
  if (code == 1) {
    s.stage = Stage::kOpen;
  } else {
    s.fail(code);
  }
  return s.stage;
}

std::size_t TlsSession::read(char* to, std::size_t room) {
  State& s = *state_;
  CAPSTAN_ASSERT(room >= SSL3_RT_MAX_PLAIN_LENGTH);
  if (s.stage != Stage::kOpen) return 0;
  ERR_clear_error();
  std::size_t size = 0;
  const int code = SSL_read_ex(s.ssl.get(), to, room, &size);
  if (code != 1) s.fail(code);
  return code == 1 ? size : 0;
}

bool TlsSession::write(ByteView plain) {
  State& s = *state_;
  CAPSTAN_ASSERT(s.stage == Stage::kOpen || s.stage == Stage::kEnded);
  ERR_clear_error();
  std::size_t size = 0;
  const int code = SSL_write_ex(s.ssl.get(), plain.data(), plain.size(), &size);
  if (code != 1) s.fail(code);
  return code == 1;
}

void TlsSession::close() {
  ERR_clear_error();
  SSL_shutdown(state_->ssl.get());
  ERR_clear_error();
}

std::string TlsSession::take_wire() { return std::exchange(state_->out, {}); }

TlsSession::Stage TlsSession::stage() const { return state_->stage; }
const std::string& TlsSession::why() const { return state_->why; }
bool TlsSession::refused() const { return state_->refused; }

std::string TlsSession::certificate_name() const {
  const X509* shown = SSL_get0_peer_certificate(state_->ssl.get());
  if (shown == nullptr) return {};
  const X509_NAME* subject = X509_get_subject_name(shown);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return name;
}

std::string TlsSession::protocol() const {
  const unsigned char* at = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(state_->ssl.get(), &at, &size);
  return std::string(reinterpret_cast<const char*>(at), size);
}

}  // namespace capstan::net
