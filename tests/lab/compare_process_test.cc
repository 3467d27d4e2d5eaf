// The main job as a person starts it: six real processes, a cut, a scorecard, and nothing left.
#include <doctest/doctest.h>

#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "lab/child_process.h"
#include "lab/commands.h"
#include "run_compare.h"

namespace capstan::lab {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<ScratchDirectory> scratch() {
  auto made = ScratchDirectory::create("compare-test-");
  REQUIRE(made.has_value());
  return std::move(*made);
}

std::vector<std::string> quick_args(const std::string& out) {
  return {"compare", "--quick", "--seed=3", "--rate=40", "--keys=60", "--out=" + out};
}

TEST_CASE("compare: a quick run keeps every promise, writes its reports and leaves nothing else") {
  const auto directory = scratch();
  const std::string out = directory->path() + "/out";
  int code = 5;
  std::string said;
  // A machine that stands still for seconds can leave a write's fate open (5); a broken promise (1)
  // is never tried again.
  for (int attempt = 0; attempt < 3 && code == 5; ++attempt) {
    RunningProgram compare(quick_args(out), directory->path());
    code = compare.wait();
    said += compare.output();
  }
  INFO(said);
  REQUIRE(code == 0);
  const auto json = nlohmann::json::parse(file_text(out + "/compare-3.json"), nullptr, false);
  REQUIRE(json.is_object());
  CHECK(json["verdict"] == "yes");
  CHECK(json["cp"]["checks"]["linearizable"]["verdict"] == "yes");
  CHECK(json["cp"]["n1"]["accepted"].get<int>() < json["cp"]["n1"]["writes"].get<int>());
  CHECK(json["ap"]["n1"]["accepted"] == json["ap"]["n1"]["writes"]);
  CHECK(json["ap"]["keys_with_two_values"].get<int>() > 0);
  CHECK(json["ap"]["accounts"]["lost"].get<int>() > 0);
  CHECK(json["ap"]["lost_writes"].size() == json["ap"]["accounts"]["lost"].get<std::size_t>());
  CHECK(file_text(out + "/compare-3.html").starts_with("<!doctype html>"));
  fs::remove_all(out);
  CHECK(fs::is_empty(directory->path()));
  CHECK(processes_mentioning(directory->path()).empty());
}

// Five nodes of each mode, real processes, cut 2 | 2 | 1 and then 3 | 2.
TEST_CASE("compare: with five nodes AP takes every write on every side, CP only on a majority's") {
  struct Row {
    const char* cut;
    std::vector<const char*> sides;  // by their names in the report
    std::vector<bool> cp_goes_on;
  };
  const Row rows[] = {
      {"n1,n2 / n3,n4 / n5", {"n1_n2", "n3_n4", "n5"}, {false, false, false}},
      {"n1,n2 / n3,n4,n5", {"n1_n2", "n3_n4_n5"}, {false, true}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.cut);
    const auto directory = scratch();
    const std::string out = directory->path() + "/out";
    std::vector<std::string> args = quick_args(out);
    args.insert(args.end(), {"--nodes=5", std::string("--cut=") + row.cut});
    int code = 5;
    std::string said;
    for (int attempt = 0; attempt < 3 && code == 5; ++attempt) {
      RunningProgram compare(args, directory->path());
      code = compare.wait();
      said += compare.output();
    }
    INFO(said);
    REQUIRE(code == 0);
    const auto json = nlohmann::json::parse(file_text(out + "/compare-3.json"), nullptr, false);
    REQUIRE(json.is_object());
    for (std::size_t i = 0; i < row.sides.size(); ++i) {
      CAPTURE(row.sides[i]);
      REQUIRE(json["ap"].contains(row.sides[i]));
      REQUIRE(json["cp"].contains(row.sides[i]));
      const auto& ap = json["ap"][row.sides[i]];
      const auto& cp = json["cp"][row.sides[i]];
      CHECK(ap["writes"].get<int>() > 0);
      CHECK(ap["accepted"] == ap["writes"]);
      if (row.cp_goes_on[i]) {
        CHECK(cp["accepted"].get<int>() > 0);
      } else {
        CHECK(cp["accepted"] == 0);
        CHECK(cp["refused"].get<int>() > 0);
      }
    }
    CHECK(json["ap"]["keys_with_two_values"].get<int>() > 0);
    CHECK(json["cp"]["keys_with_two_values"] == 0);
    const auto& accounts = json["ap"]["accounts"];
    CHECK(accounts["unaccounted"] == 0);
    CHECK(accounts["survived"].get<int>() + accounts["superseded"].get<int>() +
              accounts["lost"].get<int>() ==
          accounts["acknowledged"].get<int>());
    CHECK(json["ap"].contains("equal_again_after_us"));
    CHECK(!fs::exists(out + "/compare-3.html"));  // it draws n1 | n2 n3 and nothing else
  }
}

TEST_CASE("compare: Ctrl-C leaves no process, no directory and no report, whenever it comes") {
  for (const char* moment : {"compare ", "load:", "CUT", "HEAL"}) {
    CAPTURE(moment);
    const auto directory = scratch();
    RunningProgram compare(quick_args(directory->path() + "/out"), directory->path());
    const bool reached = compare.read_until(moment);
    INFO(compare.output());
    REQUIRE(reached);
    compare.signal(SIGINT);
    CHECK(compare.wait() == 130);
    CHECK(fs::is_empty(directory->path()));
    CHECK(processes_mentioning(directory->path()).empty());
  }
}

TEST_CASE("compare: killed outright, it takes its nodes with it") {
  const auto directory = scratch();
  RunningProgram compare(quick_args(directory->path() + "/out"), directory->path());
  REQUIRE(compare.read_until("load:"));
  const std::vector<pid_t> nodes = processes_mentioning("--data-dir=" + directory->path());
  CHECK(nodes.size() == 6);
  compare.signal(SIGKILL);
  CHECK(compare.wait() == 128 + SIGKILL);
  for (pid_t node : nodes) CHECK(gone(node));
}

TEST_CASE("compare and bench: a wrong call is a sentence and exit 2, nothing is started") {
  struct Row {
    std::vector<std::string> args;
    const char* sentence;
  };
  const Row rows[] = {
      {{"compare", "--sede=3"}, "did you mean --seed?"},
      {{"compare", "--rate=0"}, "--rate is from 1"},
      {{"compare", "--nodes=2"}, "--nodes is from 3 to 7."},
      {{"compare", "--nodes=5", "--cut=n1"}, "--cut: a cut needs two sides"},
      {{"compare", "--cut=n1/n2"},
       "every node is on one side, and there are 3; like this: n1 / n2,n3"},
      {{"compare", "--cut=n1/n2,n4"}, "no node is called \"n4\""},
      {{"compare", "now"}, "compare takes no words: now"},
      {{"compare", "--durability=maybe"}, "--durability is sync, interval or none."},
      {{"bench", "--op=jump"}, "--op is put, get or mixed."},
      {{"bench", "--endpoints=:x"}, "--endpoints lists HOST:PORT,..."},
      {{"bench", "--clients=0"}, "--clients is from 1 to 10000."},
  };
  for (const Row& row : rows) {
    const auto directory = scratch();
    RunningProgram program(row.args, directory->path());
    CHECK(program.wait() == 2);
    CAPTURE(program.output());
    CHECK(program.output().find(row.sentence) != std::string::npos);
    CHECK(fs::is_empty(directory->path()));
  }
}

TEST_CASE("compare and bench: their pages fit 80 columns and name every flag") {
  for (const std::string& page : {compare_help(), bench_help()}) {
    for (std::size_t at = 0; at < page.size();) {
      const std::size_t end = std::min(page.find('\n', at), page.size());
      CHECK_MESSAGE(end - at <= 80, page.substr(at, end - at));
      at = end + 1;
    }
    CHECK(page.find("--seed=N") != std::string::npos);
  }
}

TEST_CASE("bench: nobody at the address is exit 7") {
  const auto port = free_port_pair();
  REQUIRE(port.has_value());
  const auto directory = scratch();
  RunningProgram bench({"bench", "--endpoints=127.0.0.1:" + std::to_string(*port)},
                       directory->path());
  CHECK(bench.wait() == 7);
}

TEST_CASE("bench: started with closed standard streams, as by a service, it ends in order") {
  const auto port = free_port_pair();
  REQUIRE(port.has_value());
  for (const char* streams : {"<&-", ">&-", "2>&-", "<&- >&- 2>&-"}) {
    CAPTURE(streams);
    const std::string command = "'" + capstan_program() +
                                "' bench --endpoints=127.0.0.1:" + std::to_string(*port) +
                                " >/dev/null 2>/dev/null " + streams;
    const int status = std::system(command.c_str());
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
  }
}

TEST_CASE("bench: against a real node it counts what was answered, closed loop and fixed rate") {
  const auto directory = scratch();
  const auto port = free_port_pair();
  REQUIRE(port.has_value());
  const std::string address = "127.0.0.1:" + std::to_string(*port);
  RunningProgram node({"serve", "--mode=cp", "--name=n1", "--listen=" + address,
                       "--join=n1=" + address, "--data-dir=" + directory->path() + "/n1",
                       "--free-bytes-min=64MiB", "--wal-segment-bytes=4MiB"},
                      directory->path());
  REQUIRE(node.read_until(" ready: "));
  for (const char* rate : {"--rate=0", "--rate=200"}) {
    CAPTURE(rate);
    RunningProgram bench(
        {"bench", "--endpoints=" + address, "--op=mixed", "--clients=2", "--inflight=2",
         "--keys=50", "--preload", "--duration=300ms", "--warmup=100ms", "--json", rate},
        directory->path());
    const int code = bench.wait();
    INFO(bench.output());
    CHECK(code == 0);
    const auto json = nlohmann::json::parse(bench.output(), nullptr, false);
    REQUIRE(json.is_object());
    CHECK(json["ok"].get<int>() > 0);
    CHECK(json["unknown"] == 0);
    CHECK(json["latency"]["count"].get<int>() >= json["ok"].get<int>());
    CHECK(json["latency_put"]["count"].get<int>() + json["latency_get"]["count"].get<int>() ==
          json["ok"].get<int>());
  }
  node.signal(SIGTERM);
  CHECK(node.wait() == 0);
}

}  // namespace
}  // namespace capstan::lab
