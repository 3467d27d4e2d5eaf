#include "tests/sim/batch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/trace.h"
#include "tests/sim/cluster.h"
#include "tests/sim/mutants.h"

namespace capstan::sim {

namespace {

// What to print should an assertion end the process: prepared before each schedule, because a
// signal handler may only write.
char replay_line[256];

std::string replay_of(const BatchOptions& options, std::uint64_t seed) {
  return std::string("sim --mode=") + std::string(to_text(options.mode)) +
         " --seed=" + std::to_string(seed) +
         (options.mutant.empty() ? "" : " --mutant=" + options.mutant);
}

extern "C" void on_abort(int) {
  const ssize_t ignored = write(STDOUT_FILENO, replay_line, std::strlen(replay_line));
  static_cast<void>(ignored);
  _exit(1);
}

void print_red(const BatchOptions& options, const Verdict& verdict) {
  std::printf("\nRED  %s\n  oracle   %s\n  what     %s\n  options  %s\n  last events\n%s",
              replay_of(options, verdict.seed).c_str(), verdict.oracle.c_str(),
              verdict.what.c_str(), verdict.options.c_str(), verdict.tail.c_str());
  std::fflush(stdout);
}

struct Share {
  Counters counters;
  std::uint64_t red = 0;
  std::uint64_t events = 0;
  Micros simulated = 0;
};

Verdict run_one(const BatchOptions& options, std::uint64_t seed, Counters& counters) {
  std::snprintf(replay_line, sizeof replay_line, "RED  %s\n  oracle   assertion (see stderr)\n",
                replay_of(options, seed).c_str());
  return options.mode == Mode::kCp ? run_cp(seed, counters, options.trace)
                                   : run_ap(seed, counters, options.trace);
}

// Every `jobs`-th seed from `first` on. With a planted bug the first red seed is the answer.
Share run_share(const BatchOptions& options, std::uint64_t first) {
  Share share;
  for (std::uint64_t i = first; i < options.count; i += static_cast<std::uint64_t>(options.jobs)) {
    Verdict verdict = run_one(options, options.seed + i, share.counters);
    if (options.twice && !verdict.red) {
      Counters again;
      if (run_one(options, options.seed + i, again).hash != verdict.hash) {
        verdict.red = true;
        verdict.oracle = "same seed, same trace";
      }
    }
    share.events += verdict.events;
    share.simulated += verdict.simulated;
    if (verdict.red) {
      ++share.red;
      print_red(options, verdict);
      if (!options.mutant.empty() || share.red >= 5) break;
    }
    if (options.count == 1) {
      std::printf("seed %llu  hash %016llx  events %llu  simulated %.3f s\n  options %s\n",
                  static_cast<unsigned long long>(verdict.seed),
                  static_cast<unsigned long long>(verdict.hash),
                  static_cast<unsigned long long>(verdict.events),
                  static_cast<double>(verdict.simulated) / kSecond, verdict.options.c_str());
    }
  }
  return share;
}

// A child's report: lines of "count name", the first three by position.
void write_share(int fd, const Share& share) {
  std::string text = std::to_string(share.red) + "\n" + std::to_string(share.events) + "\n" +
                     std::to_string(share.simulated) + "\n";
  for (const auto& [name, count] : share.counters.all()) {
    text += std::to_string(count) + " " + name + "\n";
  }
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t written = write(fd, text.data() + at, text.size() - at);
    if (written <= 0) return;
    at += static_cast<std::size_t>(written);
  }
}

bool read_share(int fd, Share& total) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  if (lines.size() < 3) return false;
  total.red += std::stoull(lines[0]);
  total.events += std::stoull(lines[1]);
  total.simulated += std::stoll(lines[2]);
  Counters counters;
  for (std::size_t i = 3; i < lines.size(); ++i) {
    const std::size_t space = lines[i].find(' ');
    counters.set(lines[i].substr(space + 1), std::stoull(lines[i].substr(0, space)));
  }
  total.counters.merge(counters);
  return true;
}

Share run_in_processes(const BatchOptions& options) {
  struct Child {
    pid_t pid;
    int fd;
  };
  std::vector<Child> children;
  for (int job = 0; job < options.jobs; ++job) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
      close(ends[0]);
      const Share share = run_share(options, static_cast<std::uint64_t>(job));
      std::fflush(stdout);
      write_share(ends[1], share);
      _exit(0);
    }
    close(ends[1]);
    children.push_back({pid, ends[0]});
  }
  Share total;
  for (const Child& child : children) {
    const bool reported = read_share(child.fd, total);
    close(child.fd);
    int status = 0;
    waitpid(child.pid, &status, 0);
    if (!reported || status != 0) ++total.red;  // it died on an assertion and said where
  }
  return total;
}

// Kinds of faults that a walk of this length must have met; one that never struck proves nothing.
std::vector<std::string> not_seen(Mode mode, const Counters& counters) {
  std::vector<std::string> kinds = {"cut swallowed",
                                    "one-way cut",
                                    "bridge",
                                    "flapping",
                                    "lost",
                                    "duplicated",
                                    "reordered",
                                    "slow",
                                    "late packet",
                                    "link closed",
                                    "replayed",
                                    "turn left work waiting",
                                    "paused",
                                    "process slowed down",
                                    "process killed",
                                    "power lost",
                                    "all crashed at once",
                                    "crashed while writing",
                                    "unsynced sectors lost",
                                    "torn tail cut",
                                    "stopped by an I/O error",
                                    "stopped cleanly",
                                    "sync stalled",
                                    "power lost in a stall",
                                    "disk full",
                                    "disk wiped",
                                    "wall clock moved",
                                    "checkpoint",
                                    "through the codec"};
  const std::vector<std::string> cp = {"bit flipped in the log",
                                       "rotten log found at start",
                                       "snapshot installed",
                                       "elected",
                                       "leader moved",
                                       "leases ended",
                                       "alarm raised",
                                       "member added",
                                       "member removed",
                                       "learner promoted",
                                       "newcomers at the end",
                                       "backup read back",
                                       "backup given up",
                                       "long range read in slices",
                                       "lost in a hole",
                                       "leader lost beside a witness",
                                       "crashed after a vote",
                                       "watches asked of a witness",
                                       "outcomes told: applied",
                                       "outcomes told: not applied",
                                       "users and roles changed",
                                       "users served",
                                       "users denied",
                                       "write repeated with its request id",
                                       "watches resumed",
                                       "watches canceled",
                                       "watches without a leader",
                                       "watch bookmarks"};
  const std::vector<std::string> ap = {"old backup restored", "digests compared",
                                       "writes lost, body kept", "writes superseded"};
  const std::vector<std::string>& own = mode == Mode::kCp ? cp : ap;
  kinds.insert(kinds.end(), own.begin(), own.end());
  std::erase_if(kinds, [&](const std::string& kind) { return counters.of(kind) > 0; });
  return kinds;
}

}  // namespace

int run_batch(const BatchOptions& options) {
  set_trace_level(options.trace ? Level::kDebug : Level::kOff);
  if (!options.mutant.empty() && !plant(options.mode, options.mutant)) {
    std::fprintf(stderr, "sim: no planted bug called %s in this build\n", options.mutant.c_str());
    return 2;
  }
  std::signal(SIGABRT, on_abort);
  std::signal(SIGSEGV, on_abort);
  const Share total = options.jobs == 1 ? run_share(options, 0) : run_in_processes(options);
  std::printf("\n%s: %llu schedules, %.1f simulated hours, %llu events, %llu red\n",
              std::string(to_text(options.mode)).c_str(),
              static_cast<unsigned long long>(total.counters.of("schedules")),
              static_cast<double>(total.simulated) / (3600.0 * kSecond),
              static_cast<unsigned long long>(total.events),
              static_cast<unsigned long long>(total.red));
  for (const auto& [name, count] : total.counters.all()) {
    std::printf("%14llu  %s\n", static_cast<unsigned long long>(count), name.c_str());
  }
  bool blind = false;
  if (options.count >= 1'000 && options.mutant.empty()) {
    for (const std::string& kind : not_seen(options.mode, total.counters)) {
      std::printf("RED  never seen: %s\n", kind.c_str());
      blind = true;
    }
  }
  std::fflush(stdout);
  return total.red == 0 && !blind ? 0 : 1;
}

}  // namespace capstan::sim
