#include "processes.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/free_ports.h"

namespace capstan::node {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(30);

struct Child {
  pid_t pid;
  int out, err;
};

Child spawn(const std::vector<std::string>& args, const std::vector<std::string>& environment) {
  int out[2], err[2];
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(pipe2(err, O_CLOEXEC) == 0);
  const std::string program = capstan_program();
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> env;
  for (const std::string& one : environment) env.push_back(const_cast<char*>(one.c_str()));
  // How a sanitizer reports is the suite's to say, for the processes it starts as well; by PATH it
  // finds what names the functions.
  std::vector<std::string> passed_on;
  for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "PATH"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) passed_on.push_back(std::string(name) + '=' + value);
  }
  for (std::string& one : passed_on) env.push_back(one.data());
  env.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(99);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    execve(program.c_str(), argv.data(), env.data());
    _exit(98);
  }
  close(out[1]);
  close(err[1]);
  return {pid, out[0], err[0]};
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Reads both pipes until both are closed.
void read_both(const Child& child, std::string& out, std::string& err) {
  pollfd fds[] = {{child.out, POLLIN, 0}, {child.err, POLLIN, 0}};
  std::string* into[] = {&out, &err};
  char buffer[65536];
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    poll(fds, 2, -1);
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      const ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0) {
        into[i]->append(buffer, static_cast<std::size_t>(n));
      } else {
        close(fds[i].fd);
        fds[i].fd = -1;
      }
    }
  }
}

}  // namespace

Beside::Beside(const std::string& command) : file_(directory_.path() + "/said") {
  const std::string line = "exec >" + file_ + " 2>&1; exec " + command;
  const pid_t parent = getpid();
  pid_ = fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(99);
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(98);
  }
}

Beside::~Beside() {
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string Beside::said() const {
  std::ifstream in(file_);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string Beside::wait_for(const std::string& text) const {
  const auto deadline = Clock::now() + kPatience;
  while (said() != text && Clock::now() < deadline) poll(nullptr, 0, 10);
  return said();
}

std::string capstan_program() {
  return (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "capstan").string();
}

RunResult run_capstan(std::vector<std::string> args, std::vector<std::string> environment) {
  const Child child = spawn(args, environment);
  RunResult result;
  read_both(child, result.out, result.err);
  result.exit = wait_for(child.pid);
  return result;
}

NodeProcess::NodeProcess(std::vector<std::string> args,
                         const std::vector<std::string>& environment) {
  args.insert(args.begin(), "serve");
  const Child child = spawn(args, environment);
  pid_ = child.pid;
  out_ = child.out;
  err_ = child.err;
  fcntl(err_, F_SETFL, O_NONBLOCK);
}

NodeProcess::~NodeProcess() {
  if (exit_ < 0) {
    ::kill(pid_, SIGKILL);
    wait_end();
  }
  close(out_);
  close(err_);
}

const std::string& NodeProcess::wait_ready() {
  const auto deadline = Clock::now() + kPatience;
  std::string text;
  while (ready_.empty()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd fd{out_, POLLIN, 0};
    if (left.count() <= 0 || poll(&fd, 1, static_cast<int>(left.count())) <= 0) break;
    char c;
    if (read(out_, &c, 1) != 1) break;
    if (c != '\n') {
      text += c;
    } else if (text.find(" ready: ") != std::string::npos) {
      ready_ = text;
    } else {
      text.clear();
    }
  }
  return ready_;
}

void NodeProcess::signal(int number) { ::kill(pid_, number); }

int NodeProcess::wait_end() {
  if (exit_ < 0) exit_ = wait_for(pid_);
  return exit_;
}

const std::string& NodeProcess::err() {
  char buffer[65536];
  for (ssize_t n; (n = read(err_, buffer, sizeof buffer)) > 0;) {
    err_text_.append(buffer, static_cast<std::size_t>(n));
  }
  return err_text_;
}

bool NodeProcess::says(const std::string& part) {
  const auto deadline = Clock::now() + kPatience;
  while (err().find(part) == std::string::npos) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd fd{err_, POLLIN, 0};
    if (left.count() <= 0 || poll(&fd, 1, static_cast<int>(left.count())) <= 0) return false;
    if ((fd.revents & POLLIN) == 0) return false;  // it has ended
  }
  return true;
}

TestCluster::TestCluster(Mode mode, std::size_t nodes, std::vector<std::string> flags)
    : mode_(mode), flags_(std::move(flags)), ports_(test::free_ports(nodes, 2)), nodes_(nodes) {
  std::string pattern = (fs::temp_directory_path() / "capstan-test-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  directory_ = pattern;
  for (std::size_t i = 0; i < nodes; ++i) {
    nodes_[i] = std::make_unique<NodeProcess>(serve_args(i));
  }
  for (const auto& node : nodes_) {
    if (node->wait_ready().empty()) FAIL("a node did not start: ", node->err());
  }
}

TestCluster::~TestCluster() {
  nodes_.clear();
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::vector<std::string> TestCluster::serve_args(std::size_t i) const {
  std::string join;
  for (std::size_t n = 0; n < ports_.size(); ++n) join += (n == 0 ? "" : ",") + address(n);
  std::vector<std::string> args{"--mode=" + std::string(to_text(mode_)),
                                "--name=n" + std::to_string(i + 1),
                                "--join=" + join,
                                "--data-dir=" + data_dir(i),
                                "--wal-segment-bytes=1MiB",
                                "--free-bytes-min=1MiB",
                                "--log-level=warn",
                                "--lab"};
  args.insert(args.end(), flags_.begin(), flags_.end());
  return args;
}

std::string TestCluster::data_dir(std::size_t i) const {
  return directory_ + "/n" + std::to_string(i + 1);
}
std::string TestCluster::address(std::size_t i) const {
  return "127.0.0.1:" + std::to_string(ports_[i]);
}
std::string TestCluster::peer_address(std::size_t i) const {
  return "127.0.0.1:" + std::to_string(ports_[i] + 1);
}
std::string TestCluster::endpoints() const {
  std::string out;
  for (std::size_t i = 0; i < ports_.size(); ++i) out += (i == 0 ? "" : ",") + address(i);
  return out;
}

void TestCluster::start(std::size_t i) {
  nodes_[i] = std::make_unique<NodeProcess>(serve_args(i));
  if (nodes_[i]->wait_ready().empty()) FAIL("a node did not start: ", nodes_[i]->err());
}

void TestCluster::kill(std::size_t i) {
  nodes_[i]->signal(SIGKILL);
  nodes_[i]->wait_end();
}

RunResult TestCluster::run(std::vector<std::string> args) const {
  return run_capstan(std::move(args), {"NO_COLOR=1", "CAPSTAN_ENDPOINTS=" + endpoints()});
}

RunResult TestCluster::run_until(int exit, const std::vector<std::string>& args) const {
  const auto deadline = Clock::now() + kPatience;
  RunResult result = run(args);
  while (result.exit != exit && Clock::now() < deadline) {
    // each try is a whole process, so this is no spinning; 20 ms keep two cores for the nodes
    poll(nullptr, 0, 20);
    result = run(args);
  }
  return result;
}

}  // namespace capstan::node
