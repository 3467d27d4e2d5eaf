#include "tests/support/shell.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>

namespace capstan::test {
namespace {

// As one word of the shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

bool installed(const char* path) {
  if (std::filesystem::exists(path)) return true;
  MESSAGE("skipped: " << std::string(path) << " is not installed");
  return false;
}

Said run_line(const std::string& line) {
  FILE* pipe = popen(("timeout 60 sh -c " + quoted(line) + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  Said said;
  std::array<char, 4096> buffer;
  for (std::size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    said.out.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  said.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return said;
}

}  // namespace capstan::test
