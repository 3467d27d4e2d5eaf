#include "lab/child_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace capstan::lab {
namespace {

std::string errno_text(const std::string& call) { return call + ": " + std::strerror(errno); }

// Between fork and exec: only calls that are safe there.
[[noreturn]] void become(char* const* argv, int output, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before we asked
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(argv[0], argv);
  _exit(127);
}

// A socket bound to the loopback port (0: any), closed by the destructor.
class BoundSocket {
 public:
  explicit BoundSocket(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (fd_ < 0 || bind(fd_, raw, size) != 0 || getsockname(fd_, raw, &size) != 0) return;
    port_ = ntohs(address.sin_port);
  }
  ~BoundSocket() {
    if (fd_ >= 0) close(fd_);
  }
  BoundSocket(const BoundSocket&) = delete;
  BoundSocket& operator=(const BoundSocket&) = delete;
  std::uint16_t port() const { return port_; }  // 0: could not be bound

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(const std::vector<std::string>& args,
                                                          const std::string& output_path) {
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const int output = open(output_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (output < 0) return fail(ErrorCode::kIo, errno_text("open " + output_path));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) become(argv.data(), output, parent);
  close(output);
  if (pid < 0) return fail(ErrorCode::kIo, errno_text("fork"));
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid));
}

ChildProcess::~ChildProcess() { kill_and_reap(); }

bool ChildProcess::running() {
  if (status_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return !status_;
}

std::string ChildProcess::ending() {
  if (running()) return "";
  if (WIFSIGNALED(*status_)) return "was ended by signal " + std::to_string(WTERMSIG(*status_));
  return "exited with code " + std::to_string(WEXITSTATUS(*status_));
}

void ChildProcess::signal(int number) {
  if (running()) kill(pid_, number);
}

void ChildProcess::kill_and_reap() {
  if (status_) return;
  kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = status;
}

Result<std::unique_ptr<ScratchDirectory>> ScratchDirectory::create(const std::string& prefix) {
  const char* base = std::getenv("TMPDIR");
  std::string path =
      std::string(base != nullptr && *base != 0 ? base : "/tmp") + '/' + prefix + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return fail(ErrorCode::kIo, errno_text("mkdtemp " + path));
  return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(path));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Status make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0) return fail(ErrorCode::kIo, errno_text("mkdir " + path));
  return {};
}

Result<std::uint16_t> free_port_pair() {
  // Below what the system gives to outgoing connections (Linux: from 32,768 on), or one of those
  // could take a port before its node does.
  std::random_device any;
  std::uniform_int_distribution<int> port_in(10'000, 32'000);
  for (int attempt = 0; attempt < 200; ++attempt) {
    const auto port = static_cast<std::uint16_t>(port_in(any));
    const BoundSocket first(port);
    const BoundSocket second(static_cast<std::uint16_t>(port + 1));
    if (first.port() == port && second.port() == port + 1) return port;
  }
  return fail(ErrorCode::kBusy, "no two neighbouring loopback ports are free");
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace capstan::lab
