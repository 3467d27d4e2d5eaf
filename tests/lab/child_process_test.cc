#include "lab/child_process.h"

#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>

#include "lab/bench_load.h"
#include "lab/divergence.h"
#include "run_compare.h"

namespace capstan::lab {
namespace {

TEST_CASE("child process: its output is kept, and its ending is told") {
  auto directory = ScratchDirectory::create("child-test-");
  REQUIRE(directory.has_value());
  const std::string output = (*directory)->path() + "/out";
  auto child = ChildProcess::start({"/bin/sh", "-c", "echo here; exit 3"}, output);
  REQUIRE(child.has_value());
  REQUIRE(gone((*child)->pid()));
  CHECK(!(*child)->running());
  CHECK((*child)->ending() == "exited with code 3");
  CHECK(file_text(output) == "here\n");
}

TEST_CASE("child process: destroyed while running, it is killed and reaped") {
  auto directory = ScratchDirectory::create("child-test-");
  REQUIRE(directory.has_value());
  auto child = ChildProcess::start({"/bin/sh", "-c", "while :; do read x </dev/zero; done"},
                                   (*directory)->path() + "/out");
  REQUIRE(child.has_value());
  CHECK((*child)->running());
  CHECK((*child)->ending().empty());
  const pid_t pid = (*child)->pid();
  child->reset();
  CHECK(kill(pid, 0) != 0);
}

TEST_CASE("child process: a program that is not there ends with 127, and is not mistaken for one") {
  auto directory = ScratchDirectory::create("child-test-");
  REQUIRE(directory.has_value());
  auto child = ChildProcess::start({"/no/such/program"}, (*directory)->path() + "/out");
  REQUIRE(child.has_value());
  REQUIRE(gone((*child)->pid()));
  CHECK((*child)->ending() == "exited with code 127");
}

TEST_CASE("scratch directory: gone with all that is in it") {
  std::string path;
  {
    auto directory = ScratchDirectory::create("scratch-test-");
    REQUIRE(directory.has_value());
    path = (*directory)->path();
    REQUIRE(make_directory(path + "/a").has_value());
    REQUIRE(make_directory(path + "/a/b").has_value());
    CHECK(!make_directory(path + "/x/y").has_value());
  }
  CHECK(!std::filesystem::exists(path));
}

TEST_CASE("divergence: a difference counts unless one of its values may still be on its way") {
  const auto dump = [](Dump content) { return std::make_unique<Dump>(std::move(content)); };
  const auto begun = [](const std::string& value) { return static_cast<Micros>(std::stol(value)); };
  std::vector<std::unique_ptr<Dump>> dumps;
  dumps.push_back(dump({{"a", {"1", 0}}, {"b", {"1", 0}}, {"c", {"5", 0}}, {"e", {"2", 7}}}));
  dumps.push_back(nullptr);  // did not answer
  dumps.push_back(dump({{"a", {"2", 0}}, {"b", {"9", 0}}, {"d", {"3", 0}}, {"e", {"2", 8}}}));
  // a differs; b differs by a young value; c and d are on one side only; e is equal.
  CHECK(settled_differences(dumps, 8, begun) == 3);
  CHECK(settled_differences(dumps, 10, begun) == 4);
  CHECK(settled_differences(dumps, 4, begun) == 2);
  dumps.resize(1);
  CHECK(settled_differences(dumps, 10, begun) == 0);
}

TEST_CASE("bench: keys are numbers of a fixed width") {
  CHECK(bench_key(0, 4) == "0000");
  CHECK(bench_key(1207, 8) == "00001207");
  CHECK(bench_key(1207, 3) == "207");
}

}  // namespace
}  // namespace capstan::lab
