// A child that cannot outlive us, and a directory that is gone when we are.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"

namespace capstan::lab {

// A process of its own group (a Ctrl-C at the terminal reaches only us), which the kernel kills
// when this process dies, however it dies. stdout and stderr go to one file, stdin is /dev/null.
class ChildProcess {
 public:
  // args[0] is the program's path.
  static Result<std::unique_ptr<ChildProcess>> start(const std::vector<std::string>& args,
                                                     const std::string& output_path);
  // Kills and reaps.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // True until the process has ended; reaps it then.
  bool running();
  // "exited with code 2", "was ended by signal 9"; empty while it runs.
  std::string ending();
  void signal(int number);
  void kill_and_reap();
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
  std::optional<int> status_;  // of waitpid; the pid must not be touched once it is here
};

// A fresh directory under TMPDIR (or /tmp), removed with all in it by the destructor.
class ScratchDirectory {
 public:
  static Result<std::unique_ptr<ScratchDirectory>> create(const std::string& prefix);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Status make_directory(const std::string& path);

// Two neighbouring loopback ports, both free a moment ago; the first is returned.
Result<std::uint16_t> free_port_pair();

// The file's whole text; empty when it cannot be read.
std::string file_text(const std::string& path);

}  // namespace capstan::lab
