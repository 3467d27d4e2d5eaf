// Lines of the shell, for tests with other people's tools.
#pragma once

#include <string>

namespace capstan::test {

// A tool the test needs; says that it is skipped if it is not there.
bool installed(const char* path);

struct Said {
  std::string out;  // both outputs
  int code = -1;    // 124: it did not end within a loose 60 s, and was ended
};
// Runs a line to its end.
Said run_line(const std::string& line);
inline std::string said_by(const std::string& line) { return run_line(line).out; }

}  // namespace capstan::test
