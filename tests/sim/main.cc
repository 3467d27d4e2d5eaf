// The simulator's command line. One seed or many, on one core or several:
//
//   sim --mode=cp --seed=17            one schedule; prints its trace hash
//   sim --mode=ap --seed=1 --count=20000 --jobs=2
//   sim --mode=cp --seed=17 --trace    prints every note of the run
//   sim --mode=cp --mutant=8 --count=2000    planted bug number 8 (builds with CAPSTAN_MUTANTS)
//
// Exit 0: every schedule green and every kind of fault seen; 1: a red schedule, or a fault that
// never struck; 2: bad arguments.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/trace.h"
#include "tests/sim/batch.h"

namespace {

using capstan::Mode;
using capstan::sim::BatchOptions;

bool take(std::string_view arg, std::string_view name, std::string& value) {
  if (!arg.starts_with(name) || arg.size() <= name.size() || arg[name.size()] != '=') return false;
  value = arg.substr(name.size() + 1);
  return true;
}

int usage(const char* why) {
  std::fprintf(stderr,
               "sim: %s\nusage: sim --mode=cp|ap [--seed=N] [--count=M] [--jobs=J] [--trace] "
               "[--mutant=NAME] [--twice]\n",
               why);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  BatchOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    std::string value;
    if (take(arg, "--mode", value)) {
      if (value != "cp" && value != "ap") return usage("--mode is cp or ap");
      options.mode = value == "cp" ? Mode::kCp : Mode::kAp;
    } else if (take(arg, "--seed", value)) {
      options.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (take(arg, "--count", value)) {
      options.count = std::strtoull(value.c_str(), nullptr, 10);
    } else if (take(arg, "--jobs", value)) {
      options.jobs = std::atoi(value.c_str());
    } else if (take(arg, "--mutant", value)) {
      options.mutant = value;
    } else if (arg == "--trace") {
      options.trace = true;
    } else if (arg == "--twice") {
      options.twice = true;
    } else {
      return usage(("unknown argument " + std::string(arg)).c_str());
    }
  }
  if (options.count == 0 || options.jobs < 1 || options.jobs > 64) return usage("nothing to do");
  return capstan::sim::run_batch(options);
}
