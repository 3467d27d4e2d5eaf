// The real program under test, its output read line by line as it comes.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace capstan::lab {

// build/capstan beside this test's directory.
std::string capstan_program();

class RunningProgram {
 public:
  // stdout and stderr are read together; TMPDIR is `scratch`.
  RunningProgram(std::vector<std::string> args, const std::string& scratch);
  // Kills what is still running.
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  // Reads on until a line holds `part`; false at the end of the output or after a minute.
  bool read_until(const std::string& part);
  // Reads to the end and reaps: the exit code, or 128 + the signal.
  int wait();
  void signal(int number);
  const std::string& output() const { return output_; }

 private:
  bool read_some();
  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string output_;
};

// Processes whose command line mentions `text`, this one excepted.
std::vector<pid_t> processes_mentioning(const std::string& text);
// True once the process is gone; waits for that up to 20 s without looking again and again.
bool gone(pid_t pid);

}  // namespace capstan::lab
