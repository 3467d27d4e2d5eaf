// A well-formed message with a few bytes changed, as the input directs. Few random bytes are a
// message, so a decoder is reached this way from the first input on, whatever the fuzzer has
// learnt.
#pragma once

#include <string>
#include <vector>

#include "core/coding.h"

namespace capstan::test {

// `script`: one byte that names the sample, then (position, value) of two bytes and one. Not empty.
inline std::string edited(const std::vector<std::string>& samples, ByteView script) {
  Reader in(script);
  std::string bytes = samples[in.u8() % samples.size()];
  while (in.left() >= 3) {
    const std::size_t at = (in.u8() + std::size_t{256} * in.u8()) % bytes.size();
    bytes[at] = static_cast<char>(in.u8());
  }
  return bytes;
}

}  // namespace capstan::test
