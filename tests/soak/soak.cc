// Three real nodes under everything at once, for as long as asked: kill -9, power losses that take
// unsynced writes back, SIGSTOP, cuts, full disks, disks that hang; clients that write down what
// they see, and etcdctl watching. In the end: is the history linearizable, was every watcher sent
// exactly what there is, is what was acknowledged there and what was refused nowhere?
//
//   soak [--seconds=N] [--seed=N]        60, 1; exit 0: all holds, 1: it does not, 2: it could not
//   be run
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/random.h"
#include "lab/child_process.h"
#include "lab/cluster.h"
#include "lab/linearizable.h"
#include "lab/recorded_clients.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"
#include "tests/soak/disk_loss.h"
#include "tests/soak/lossy_disk.h"
#include "tests/soak/watch_log.h"

namespace capstan::soak {
namespace {

constexpr std::uint32_t kNodes = 3;
constexpr std::uint64_t kKeys = 60;
constexpr Micros kOperationEvery = 2 * kMillisecond;
constexpr Micros kLookEvery = 50 * kMillisecond;
constexpr Micros kSettledWithin = 60 * kSecond;
constexpr int kExitDisk = 74;  // of a node whose disk fails

// The end of what a process said.
std::string last_words(const std::string& path) {
  const std::string text = lab::file_text(path);
  return text.substr(text.size() - std::min<std::size_t>(text.size(), 500));
}

class Soak {
 public:
  Soak(std::string program, std::string shim, std::uint64_t seed, Micros length)
      : program_(std::move(program)), shim_(std::move(shim)), rng_(seed), length_(length) {}

  // Empty: all holds. Else the first thing that does not.
  std::string run() {
    auto scratch = lab::ScratchDirectory::create("capstan-soak");
    if (!scratch) return "no scratch directory: " + scratch.error().context;
    directory_ = (*scratch)->path();
    for (std::uint32_t node = 0; node < kNodes; ++node) disks_[node].open(control(node));
    lab::ClusterOptions options;
    options.mode = Mode::kCp;
    options.nodes = kNodes;
    options.executable = program_;
    options.directory = directory_;
    options.serve_flags = {"--free-bytes-min=1MiB"};
    options.under = [this](std::uint32_t node) { return under(node); };
    cluster_.emplace(loop_, std::move(options));
    if (Status ok = cluster_->start(); !ok) return "it does not start: " + ok.error().context;
    look_.every(kLookEvery, [this] { look(); });
    loop_.run();
    if (!failure_.empty()) return failure_;
    say("judged");
    return judge();
  }

 private:
  struct DiskPage {
    void open(const std::string& path) {
      const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      CAPSTAN_ASSERT(fd >= 0 && ::ftruncate(fd, sizeof(DiskControl)) == 0);
      void* page = ::mmap(nullptr, sizeof(DiskControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      CAPSTAN_ASSERT(page != MAP_FAILED);
      ::close(fd);
      control = static_cast<volatile DiskControl*>(page);
    }
    volatile DiskControl* control = nullptr;
  };

  std::string journal(std::uint32_t node) const { return directory_ + "/journal" + number(node); }
  std::string control(std::uint32_t node) const { return directory_ + "/control" + number(node); }
  std::string watched(std::size_t n) const { return directory_ + "/watched" + std::to_string(n); }
  static std::string number(std::uint32_t node) { return std::to_string(node + 1); }
  std::vector<std::string> under(std::uint32_t node) const {
    return {"/usr/bin/env", "LD_PRELOAD=" + shim_,
            "LOSSY_ROOT=" + directory_ + "/n" + number(node) + "/",
            "LOSSY_JOURNAL=" + journal(node), "LOSSY_CONTROL=" + control(node)};
  }

  Micros now() const { return net::Loop::clock().monotonic; }
  void say(const std::string& what) {
    std::printf("%7.1f s  %s\n", static_cast<double>(now() - origin_) / kSecond, what.c_str());
    std::fflush(stdout);
  }
  void fail(std::string what) {
    if (failure_.empty()) failure_ = std::move(what);
    loop_.stop();
  }
  void after(Micros delay, std::function<void()> task) {
    timers_.push_back(std::make_unique<net::Timer>(loop_));
    timers_.back()->start(delay, std::move(task));
  }

  // ---- What goes on -----------------------------------------------------------------------------

  enum class Phase : std::uint8_t { kStarting, kFaults, kHealing, kLast, kAnswers, kWatchers };

  void look() {
    look_after_processes();
    if (!failure_.empty()) return;
    switch (phase_) {
      case Phase::kStarting:
        if (ask_whether_all_are_ready()) begin();
        break;
      case Phase::kFaults:
        if (now() - origin_ >= length_) {
          phase_ = Phase::kHealing;
          healing_since_ = now();
          all_ready_ = false;
        }
        break;
      case Phase::kHealing:
        if (busy_.empty() && now() >= cut_until_ && ask_whether_all_are_ready()) {
          say("all nodes are ready");
          phase_ = Phase::kLast;
          last_until_ = now() + 2 * kSecond;
        } else if (now() - healing_since_ > kSettledWithin) {
          fail("not all nodes became ready again");
        }
        break;
      case Phase::kLast:
        if (now() < last_until_) break;
        load_.cancel();
        phase_ = Phase::kAnswers;
        break;
      case Phase::kAnswers:
        if (clients_->open() == 0) find_the_end();
        break;
      case Phase::kWatchers:
        wait_for_watchers();
        break;
    }
  }

  // True once all have said so since it was asked first.
  bool ask_whether_all_are_ready() {
    if (all_ready_) return std::exchange(all_ready_, false);
    if (asking_) return false;
    asking_ = true;
    auto left = std::make_shared<std::uint32_t>(kNodes);
    auto all = std::make_shared<bool>(true);
    for (std::uint32_t node = 0; node < kNodes; ++node) {
      cluster_->ready(node, [this, left, all](bool ready) {
        *all = *all && ready;
        if (--*left > 0) return;
        asking_ = false;
        all_ready_ = *all;
      });
    }
    return false;
  }

  void begin() {
    origin_ = now();
    std::vector<std::uint16_t> ports;
    for (std::uint32_t node = 0; node < kNodes; ++node) ports.push_back(cluster_->port(node));
    clients_ = std::make_unique<lab::RecordedClients>(loop_, ports, origin_);
    for (std::size_t n = 0; n < kNodes; ++n) watch(n, 1);
    load_.every(kOperationEvery, [this] { operate(); });
    phase_ = Phase::kFaults;
    strike_later();
  }

  // The first ones have all nodes, each beginning with another; the later ones, which are not
  // resumed, have one each.
  void watch(std::size_t n, std::uint64_t from) {
    std::string endpoints;
    for (std::uint32_t i = 0; i < (n < kNodes ? kNodes : 1); ++i) {
      const auto node = static_cast<std::uint32_t>((n + resumed_ + i) % kNodes);
      endpoints += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + std::to_string(cluster_->port(node));
    }
    auto process = lab::ChildProcess::start(
        {"/usr/bin/env", "ETCDCTL_API=3", "etcdctl", "--endpoints=" + endpoints, "watch", "",
         "--prefix", "--rev=" + std::to_string(from), "-w", "json"},
        watched(n));
    if (!process) return fail("etcdctl does not start: " + process.error().context);
    if (n == watchers_.size()) watchers_.emplace_back();
    watchers_[n] = std::move(*process);
  }

  void operate() {
    lab::PlannedOperation op;
    op.node = static_cast<std::uint32_t>(rng_.below(kNodes));
    op.key = "k" + std::to_string(rng_.below(kKeys));
    const std::uint64_t draw = rng_.below(100);
    op.kind = draw < 45 ? lab::OpKind::kPut : draw < 55 ? lab::OpKind::kDelete : lab::OpKind::kGet;
    if (op.kind == lab::OpKind::kPut) op.value = "v" + std::to_string(++values_);
    clients_->begin(op);
  }

  // ---- Faults -----------------------------------------------------------------------------------

  void strike_later() {
    after(rng_.between(300, 2'500) * kMillisecond, [this] {
      if (phase_ != Phase::kFaults) return;
      strike();
      strike_later();
    });
  }

  void strike() {
    const auto node = static_cast<std::uint32_t>(rng_.below(kNodes));
    const std::uint64_t kind = rng_.below(20);
    if (kind == 0) {
      if (!busy_.empty()) return;
      count("power lost everywhere");
      for (std::uint32_t each = 0; each < kNodes; ++each) crash(each, true);
      return;
    }
    if (kind <= 3) {
      const Micros length = rng_.between(500, 5'000) * kMillisecond;
      lab::Sides sides(2);
      for (std::uint32_t each = 0; each < kNodes; ++each)
        sides[each == node ? 0 : 1].push_back(each);
      cut_until_ = std::max(cut_until_, now() + length + kSecond);
      cluster_->cut(sides, length, [](const std::string&) {});  // who is down hears nothing of it
      return count("cut");
    }
    if (busy_.contains(node)) return;
    volatile DiskControl* disk = disks_[node].control;
    if (kind <= 7) {
      count("killed");
      crash(node, false);
    } else if (kind <= 11) {
      // Its disk was slow before, so that there is something to lose.
      count("power lost");
      busy_.insert(node);
      disk->hangs = 1;
      after(rng_.between(1, 300) * kMillisecond, [this, node, disk] {
        crash(node, true);
        disk->hangs = 0;
      });
    } else if (kind <= 14) {
      count("stopped by SIGSTOP");
      busy_.insert(node);
      cluster_->process(node).signal(SIGSTOP);
      after(rng_.between(100, 4'000) * kMillisecond, [this, node] {
        cluster_->process(node).signal(SIGCONT);
        busy_.erase(node);
      });
    } else if (kind <= 17) {
      count("disk full");
      busy_.insert(node);
      disk->full = 1;
      after(rng_.between(500, 5'000) * kMillisecond, [this, node, disk] {
        disk->full = 0;
        // One that could not write ends, and comes back with room.
        if (!cluster_->process(node).running()) return come_back(node);
        busy_.erase(node);
      });
    } else {
      count("disk hung");
      busy_.insert(node);
      disk->hangs = 1;
      after(rng_.between(500, 5'000) * kMillisecond, [this, node, disk] {
        disk->hangs = 0;
        busy_.erase(node);
      });
    }
  }

  void crash(std::uint32_t node, bool power) {
    busy_.insert(node);
    cluster_->process(node).kill_and_reap();
    if (power) {
      const DiskLoss loss = lose_unsynced(cluster_->data_dir(node), journal(node), rng_);
      count("sectors not durable", loss.unsynced);
      count("sectors lost", loss.lost);
    }
    after(rng_.between(10, 1'500) * kMillisecond, [this, node] { come_back(node); });
  }

  void come_back(std::uint32_t node) {
    shorten(journal(node));
    if (Status ok = cluster_->restart(node); !ok) return fail("no restart: " + ok.error().context);
    busy_.erase(node);
  }

  // Nobody ends who was not told to, but for a disk that takes nothing.
  void look_after_processes() {
    for (std::uint32_t node = 0; node < kNodes; ++node) {
      if (cluster_->process(node).running() || down_.contains(node)) continue;
      if (busy_.contains(node)) {
        const bool full = disks_[node].control->full != 0;
        if (full &&
            cluster_->process(node).ending() == "exited with code " + std::to_string(kExitDisk)) {
          down_.insert(node);
          count("ended for its full disk");
        }
        continue;
      }
      return fail(cluster_->trouble());
    }
    std::erase_if(down_, [this](std::uint32_t node) { return cluster_->process(node).running(); });
    for (std::size_t n = 0; n < watchers_.size(); ++n) {
      if (!watchers_[n]->running()) resume(n);
      if (!failure_.empty()) return;
    }
  }

  // etcdctl asks for a leader and ends when its node has none for a while. Whoever watches goes on
  // behind the last revision seen.
  void resume(std::size_t n) {
    const std::string said = last_words(watched(n));
    if (said.find("etcdserver: no leader") == std::string::npos) {
      return fail("watcher " + std::to_string(n + 1) + " " + watchers_[n]->ending() + ": " + said);
    }
    ++resumed_;  // elsewhere
    watch(n, last_revision_in(watched(n)) + 1);
  }

  void count(const std::string& what, std::uint64_t by = 1) { counts_[what] += by; }

  // ---- The end ----------------------------------------------------------------------------------

  // What there is, told anew by each node; and up to where.
  void find_the_end() {
    phase_ = Phase::kWatchers;
    healing_since_ = now();
    cluster_->status(0, [this](Result<StatusResult> status) {
      if (!status) return fail("no status: " + status.error().context);
      final_ = status->revision.value;
      say("the last revision is " + std::to_string(final_));
      for (std::size_t n = kNodes; n < 2 * kNodes; ++n) watch(n, 1);
    });
  }

  void wait_for_watchers() {
    if (final_ == 0 || watchers_.size() < 2 * kNodes) return;
    const bool all = std::ranges::all_of(
        std::views::iota(std::size_t{0}, watchers_.size()),
        [this](std::size_t n) { return last_revision_in(watched(n)) >= final_; });
    if (all) return loop_.stop();
    if (now() - healing_since_ <= kSettledWithin) return;
    std::string late;
    for (std::size_t n = 0; n < watchers_.size(); ++n) {
      late += " " + std::to_string(last_revision_in(watched(n)));
    }
    fail("a watcher did not come to revision " + std::to_string(final_) + ":" + late);
  }

  std::string judge() {
    for (const auto& process : watchers_) process->kill_and_reap();
    const Result<std::vector<WatchedEvent>> truth = read_watch_log(watched(kNodes));
    if (!truth) return "what etcdctl wrote cannot be read: " + truth.error().context;
    for (std::size_t n = 0; n < watchers_.size(); ++n) {
      const Result<std::vector<WatchedEvent>> seen = read_watch_log(watched(n));
      if (!seen) return "what etcdctl wrote cannot be read: " + seen.error().context;
      if (auto wrong = first_difference(*truth, *seen); !wrong.empty()) {
        return "watcher " + std::to_string(n + 1) + ": " + wrong;
      }
    }
    const lab::History history = clients_->take();
    std::map<std::string, std::uint64_t> outcomes;
    for (const lab::Operation& op : history) ++outcomes[std::string(to_text(op.outcome))];
    for (const auto& [outcome, times] : outcomes) {
      std::printf("%12llu  operations %s\n", static_cast<unsigned long long>(times),
                  outcome.c_str());
    }
    for (const auto& [what, times] : counts_) {
      std::printf("%12llu  %s\n", static_cast<unsigned long long>(times), what.c_str());
    }
    std::printf("%12llu  watches resumed\n", static_cast<unsigned long long>(resumed_));
    std::printf("%12zu  events, at each of %zu watchers\n", truth->size(), watchers_.size());
    if (auto wrong = compare_with_history(*truth, history); !wrong.empty()) return wrong;
    const lab::LinearizableResult result = lab::check_linearizable(history);
    std::printf("%12llu  operations judged on %llu keys: linearizable %s\n",
                static_cast<unsigned long long>(result.operations),
                static_cast<unsigned long long>(result.keys),
                std::string(to_text(result.verdict)).c_str());
    if (result.verdict != lab::Verdict::kYes) return result.key + "\n" + result.counterexample;
    return {};
  }

  const std::string program_, shim_;
  Rng rng_;
  const Micros length_;
  std::string directory_;
  net::Loop loop_;
  std::array<DiskPage, kNodes> disks_;
  std::optional<lab::Cluster> cluster_;
  std::unique_ptr<lab::RecordedClients> clients_;
  std::vector<std::unique_ptr<lab::ChildProcess>> watchers_;
  net::Timer look_{loop_}, load_{loop_};
  std::vector<std::unique_ptr<net::Timer>> timers_;  // of faults, also those that are over
  Phase phase_ = Phase::kStarting;
  Micros origin_ = net::Loop::clock().monotonic;
  Micros healing_since_ = 0, last_until_ = 0, cut_until_ = 0;
  bool asking_ = false, all_ready_ = false;
  std::set<std::uint32_t> busy_;  // with a fault of its own
  std::set<std::uint32_t> down_;  // ended by itself, as it should
  std::uint64_t values_ = 0, final_ = 0, resumed_ = 0;
  std::map<std::string, std::uint64_t> counts_;
  std::string failure_;
};

std::optional<std::uint64_t> number_of(std::string_view arg, std::string_view flag) {
  if (!arg.starts_with(flag)) return std::nullopt;
  arg.remove_prefix(flag.size());
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(arg.data(), arg.data() + arg.size(), value);
  if (error != std::errc{} || end != arg.data() + arg.size()) return std::nullopt;
  return value;
}

int run(int argc, char** argv) {
  std::uint64_t seconds = 60, seed = 1;
  for (int i = 1; i < argc; ++i) {
    if (const auto length = number_of(argv[i], "--seconds=")) {
      seconds = *length;
    } else if (const auto drawn = number_of(argv[i], "--seed=")) {
      seed = *drawn;
    } else {
      std::fprintf(stderr, "soak [--seconds=N] [--seed=N]\n");
      return 2;
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  Soak soak((here.parent_path() / "capstan").string(), (here / "liblossy_disk.so").string(), seed,
            static_cast<Micros>(seconds) * kSecond);
  const std::string wrong = soak.run();
  if (wrong.empty()) return 0;
  std::printf("RED  %s\n", wrong.c_str());
  return 1;
}

}  // namespace
}  // namespace capstan::soak

int main(int argc, char** argv) { return capstan::soak::run(argc, argv); }
