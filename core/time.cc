#include "core/time.h"

namespace capstan {

std::string seconds_text(Micros duration) {
  const Micros tenths = duration / (kSecond / 10);
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " s";
}

}  // namespace capstan
