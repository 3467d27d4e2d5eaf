// Real `capstan` processes for tests: nodes that are waited for by reading their ready line, and
// single runs of a command with everything they said.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "core/types.h"
#include "tests/support/shell.h"
#include "tests/support/temp_dir.h"

namespace capstan::node {

using test::installed;
using test::said_by;

// build/capstan, beside the directory of this test program.
std::string capstan_program();

struct RunResult {
  int exit = -1;  // 128 + number when a signal ended it
  std::string out, err;
};
// Runs the program to its end.
RunResult run_capstan(std::vector<std::string> args,
                      std::vector<std::string> environment = {"NO_COLOR=1"});

// A line of the shell that runs beside the test, killed with it; what it has said so far.
class Beside {
 public:
  explicit Beside(const std::string& command);
  ~Beside();
  Beside(const Beside&) = delete;

  std::string said() const;  // on both outputs
  // Until it has said exactly that, for at most a loose 30 s; what it has said.
  std::string wait_for(const std::string& text) const;

 private:
  test::TempDir directory_;
  std::string file_;
  pid_t pid_ = -1;
};

// A running node; killed and reaped at the latest by the destructor, or when the test dies.
class NodeProcess {
 public:
  explicit NodeProcess(std::vector<std::string> args,
                       const std::vector<std::string>& environment = {"NO_COLOR=1"});
  ~NodeProcess();
  NodeProcess(const NodeProcess&) = delete;
  NodeProcess& operator=(const NodeProcess&) = delete;

  // Reads stdout up to the ready line, for at most a loose 30 s. Empty if the process ended first;
  // then err() may say why.
  const std::string& wait_ready();
  void signal(int number);
  // Waits for the end; as RunResult::exit.
  int wait_end();
  const std::string& err();  // all it has said there so far
  // Reads on until it has said `part` there, for at most a loose 30 s; true if it has.
  bool says(const std::string& part);
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  std::string ready_, err_text_;
  int exit_ = -1;
};

// Three nodes on free loopback ports with data in a directory of their own.
class TestCluster {
 public:
  TestCluster(Mode mode, std::size_t nodes, std::vector<std::string> flags = {});
  ~TestCluster();

  // Starts node `i` (0 ..) on its old data, or anew; waits until it is ready.
  void start(std::size_t i);
  NodeProcess& node(std::size_t i) { return *nodes_[i]; }
  void kill(std::size_t i);  // -9
  std::string address(std::size_t i) const;
  std::string peer_address(std::size_t i) const;
  std::string endpoints() const;
  std::vector<std::string> serve_args(std::size_t i) const;
  std::string data_dir(std::size_t i) const;

  // Runs a command against these nodes.
  RunResult run(std::vector<std::string> args) const;
  // Repeats a command until it exits so, for at most a loose 30 s; what it said last.
  RunResult run_until(int exit, const std::vector<std::string>& args) const;
  RunResult run_until_ok(const std::vector<std::string>& args) const { return run_until(0, args); }

 private:
  Mode mode_;
  std::vector<std::string> flags_;
  std::string directory_;
  std::vector<std::uint16_t> ports_;
  std::vector<std::unique_ptr<NodeProcess>> nodes_;
};

}  // namespace capstan::node
