#include "net/sha256.h"

#include <openssl/evp.h>

#include "core/check.h"

namespace capstan::net {

struct Sha256::State {
  State() : context(EVP_MD_CTX_new()) {
    CAPSTAN_ASSERT(context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
  }
  ~State() { EVP_MD_CTX_free(context); }
  EVP_MD_CTX* context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;

void Sha256::add(ByteView bytes) {
  CAPSTAN_ASSERT(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::take() {
  std::string out(kBytes, '\0');
  unsigned size = 0;
  CAPSTAN_ASSERT(EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(out.data()),
                                    &size) == 1);
  CAPSTAN_ASSERT(size == kBytes);
  return out;
}

}  // namespace capstan::net
