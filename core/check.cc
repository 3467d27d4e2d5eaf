#include "core/check.h"

#include <cstdio>
#include <cstdlib>

namespace capstan {

void assertion_failed(const char* text, std::source_location where) {
  std::fprintf(stderr, "%s:%u: assertion failed: %s\n", where.file_name(),
               static_cast<unsigned>(where.line()), text);
  std::abort();
}

}  // namespace capstan
