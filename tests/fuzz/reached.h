// Proof that a fuzz target fuzzes: of its inputs, some must get through the decoder. One that is
// turned away at the first checksum every time would be green for ever and mean nothing.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace capstan::test {

class Reached {
 public:
  explicit Reached(const char* what) : what_(what) {}
  void saw(bool decoded) { ++(decoded ? decoded_ : refused_); }

  // A run of ten thousand or more decodes one of a hundred and refuses one of a hundred.
  ~Reached() {
    const std::uint64_t all = decoded_ + refused_;
    std::fprintf(stderr, "%s: %llu decoded, %llu refused\n", what_,
                 static_cast<unsigned long long>(decoded_),
                 static_cast<unsigned long long>(refused_));
    if (all >= 10'000 && (decoded_ < all / 100 || refused_ < all / 100)) std::abort();
  }

 private:
  const char* what_;
  std::uint64_t decoded_ = 0, refused_ = 0;
};

}  // namespace capstan::test
