// SHA-256, as etcd's backups end with it. OpenSSL does it.
#pragma once

#include <memory>
#include <string>

#include "core/types.h"

namespace capstan::net {

class Sha256 {
 public:
  static constexpr std::size_t kBytes = 32;

  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;

  void add(ByteView bytes);
  // Of all that was added; once.
  std::string take();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan::net
