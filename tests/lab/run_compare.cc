#include "run_compare.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace capstan::lab {
namespace {

namespace fs = std::filesystem;
constexpr int kPatienceMs = 60'000;

}  // namespace

std::string capstan_program() {
  return (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "capstan").string();
}

RunningProgram::RunningProgram(std::vector<std::string> args, const std::string& scratch) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  pipe_ = ends[0];
  args.insert(args.begin(), capstan_program());
  std::vector<std::string> environment{"TMPDIR=" + scratch, "NO_COLOR=1", "PATH=/usr/bin:/bin"};
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
  };
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  if (posix_spawn(&pid_, args[0].c_str(), &actions, nullptr, pointers(args).data(),
                  pointers(environment).data()) != 0) {
    pid_ = -1;
  }
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
}

RunningProgram::~RunningProgram() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(pipe_);
}

bool RunningProgram::read_some() {
  pollfd ready{.fd = pipe_, .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, kPatienceMs) <= 0) return false;
  char bytes[4096];
  const ssize_t count = read(pipe_, bytes, sizeof bytes);
  if (count <= 0) return false;
  output_.append(bytes, static_cast<std::size_t>(count));
  return true;
}

bool RunningProgram::read_until(const std::string& part) {
  while (output_.find(part) == std::string::npos) {
    if (!read_some()) return false;
  }
  return true;
}

int RunningProgram::wait() {
  while (read_some()) {
  }
  int status = 0;
  if (pid_ <= 0 || waitpid(pid_, &status, 0) != pid_) return -1;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void RunningProgram::signal(int number) {
  if (pid_ > 0) kill(pid_, number);
}

std::vector<pid_t> processes_mentioning(const std::string& text) {
  std::vector<pid_t> found;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    const std::string line{std::istreambuf_iterator<char>(file), {}};
    if (pid != getpid() && line.find(text) != std::string::npos) found.push_back(pid);
  }
  return found;
}

bool gone(pid_t pid) {
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;  // no such process any more
  pollfd ended{.fd = fd, .events = POLLIN, .revents = 0};
  const bool is_gone = poll(&ended, 1, 20'000) == 1;
  close(fd);
  return is_gone;
}

}  // namespace capstan::lab
