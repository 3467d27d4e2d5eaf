// One schedule of the consistent path: faults strike while clients work; then everything heals and
// must go on within 5 simulated seconds; then what the clients saw and what the nodes hold is
// judged.
#include "lab/linearizable.h"
#include "tests/sim/cluster.h"
#include "tests/sim/history_check.h"
#include "tests/sim/raft_oracle.h"
#include "tests/sim/watchers.h"

namespace capstan::sim {

namespace {

constexpr Micros kProgressWithin = 5 * kSecond;
constexpr Micros kCompareLogsEvery = 200 * kMillisecond;
constexpr std::uint32_t kProber = 100;

class CpRun {
 public:
  CpRun(std::uint64_t seed, Options options, Counters& counters)
      : cluster_(seed, options, counters, hooks()),
        oracle_(cluster_.world, counters, cluster_.nodes),
        watchers_(cluster_) {}

  World& world() { return cluster_.world; }
  std::uint64_t struck() const { return cluster_.faults->struck(); }

  void run() {
    cluster_.start_all();
    compare_logs_for_ever();
    cluster_.clients.start();
    watchers_.start();
    world().after(world().rng.faults.between(0, kSecond), [this] { cluster_.faults->start(); });
    world().run_until(cluster_.options.chaos);
    if (world().failed()) return;
    cluster_.faults->heal();
    cluster_.net->calm();
    check_progress();
    finish_clients();
    finish_watchers();
    check_histories();
  }

 private:
  Cluster::Hooks hooks() {
    Cluster::Hooks hooks;
    hooks.started = [this](int node) { oracle_.started(node); };
    hooks.turned = [this](int node) { oracle_.turned(node); };
    hooks.whole = [this](int node) {
      const cp::Engine* engine = cluster_.node(node).machine()->cp_engine();
      // Also by its disk's word: a crash must not bring the damage back.
      return engine->raft().standing() == cp::Standing::kNormal &&
             cluster_.node(node).disk()->in_flight() == 0;
    };
    return hooks;
  }

  void compare_logs_for_ever() {
    world().after(kCompareLogsEvery, [this] {
      oracle_.compare_logs();
      compare_logs_for_ever();
    });
  }

  // A put through every node, repeated until it is acknowledged.
  void probe(int node) {
    Request request;
    request.body =
        PutRequest{.key = "p" + std::to_string(node), .value = "p" + std::to_string(++probes_)};
    const auto client = kProber + static_cast<std::uint32_t>(node);
    cluster_.clients.ask(client, node, std::move(request), kSecond,
                         [this, node](const Asked& asked) {
                           if (asked.op.acknowledged()) {
                             ++reached_;
                           } else {
                             world().after(20 * kMillisecond, [this, node] { probe(node); });
                           }
                         });
  }

  void check_progress() {
    const Micros healed = world().now();
    for (int node = 0; node < cluster_.size(); ++node) probe(node);
    const bool all = cluster_.run_while_waiting(healed + kProgressWithin,
                                                [this] { return reached_ == cluster_.size(); });
    if (!all) {
      world().fail("progress", "a node did not acknowledge a write within 5 s of the heal:" +
                                   where_all_stand());
    }
  }

  std::string where_all_stand() {
    std::string text;
    for (int node = 0; node < cluster_.size(); ++node) {
      text += "  " + cluster_.node(node).name();
      const node::Machine* machine = cluster_.node(node).machine();
      if (machine == nullptr) {
        text += " down";
        continue;
      }
      const cp::Raft& raft = cluster_.node(node).machine()->cp_engine()->raft();
      text += " " + std::string(to_text(raft.role())) + " t" + std::to_string(raft.term().value) +
              (raft.standing() == cp::Standing::kFresh      ? " fresh"
               : raft.standing() == cp::Standing::kImpaired ? " impaired"
                                                            : " normal") +
              ", log to " + std::to_string(raft.log().last_index().value);
    }
    return text;
  }

  void finish_clients() {
    if (world().failed()) return;
    cluster_.clients.stop();
    const Micros limit = world().now() + 10 * kSecond;
    if (!cluster_.run_while_waiting(
            limit, [this] { return cluster_.clients.open() == 0; }, 10 * kMillisecond)) {
      world().fail("answers", "a request was never answered");
    }
    // A follower learns of the last commits by what is sent next, and may still be catching up.
    if (!cluster_.run_while_waiting(world().now() + kProgressWithin,
                                    [this] { return all_applied_alike(); })) {
      world().fail("progress", "a node did not catch up within 5 s of the last write");
    }
  }

  void finish_watchers() {
    if (world().failed()) return;
    watchers_.finish(cluster_.node(0).machine()->cp_engine()->revision().value);
    const Micros limit = world().now() + kProgressWithin + cluster_.options.watch_pause_max;
    if (!cluster_.run_while_waiting(limit, [this] { return watchers_.finished(); })) {
      world().fail("watch", watchers_.unfinished());
    }
  }

  bool all_applied_alike() {
    const Index applied = cluster_.node(0).machine()->cp_engine()->applied();
    for (int node = 1; node < cluster_.size(); ++node) {
      if (cluster_.node(node).machine()->cp_engine()->applied() != applied) return false;
    }
    return true;
  }

  std::optional<Reply> ask_now(int node, RangeRequest range) {
    std::optional<Reply> got;
    auto slot = std::make_shared<std::optional<Reply>>();
    Request request;
    request.body = std::move(range);
    cluster_.node(node).submit(std::move(request),
                               [slot](Reply reply) { *slot = std::move(reply); });
    cluster_.run_while_waiting(world().now() + kSecond, [&] { return slot->has_value(); });
    return std::move(*slot);
  }

  // Everything a node holds, revision by revision.
  Truth truth_of(int node) {
    Truth truth(1);
    RangeRequest all{.range = {"a", "z"}, .serializable = true};
    const std::optional<Reply> now = ask_now(node, all);
    if (!now || now->outcome != Outcome::kOk) {
      world().fail("reads", "a serializable read was not answered");
      return truth;
    }
    auto wanted = std::make_shared<std::uint64_t>(now->header.revision.value);
    auto read = std::make_shared<Truth>(*wanted + 1);
    auto answered = std::make_shared<std::uint64_t>(0);
    for (std::uint64_t revision = 1; revision <= *wanted; ++revision) {
      Request request;
      all.revision = static_cast<std::int64_t>(revision);
      request.body = all;
      cluster_.node(node).submit(std::move(request), [read, revision, answered](Reply reply) {
        ++*answered;
        if (auto* range = std::get_if<RangeResult>(&reply.body)) {
          for (KeyValue& kv : range->kvs) (*read)[revision].emplace(kv.key, std::move(kv));
        }
      });
    }
    if (!cluster_.run_while_waiting(world().now() + kSecond,
                                    [&] { return *answered == *wanted; })) {
      world().fail("reads", "historical reads were not answered");
    }
    return std::move(*read);
  }

  void judge(const char* oracle, const std::string& wrong) {
    if (!wrong.empty()) world().fail(oracle, wrong);
  }

  // The first revision both hold in which they differ. One may be ahead of the other: a write that
  // its client has given up on (unknown) can still be applied while we read.
  static std::optional<std::size_t> first_difference(const Truth& left, const Truth& right) {
    for (std::size_t revision = 0; revision < std::min(left.size(), right.size()); ++revision) {
      if (left[revision] != right[revision]) return revision;
    }
    return std::nullopt;
  }

  void check_histories() {
    if (world().failed()) return;
    const Truth truth = truth_of(0);
    for (int node = 1; node < cluster_.size() && !world().failed(); ++node) {
      if (const auto revision = first_difference(truth, truth_of(node))) {
        world().fail("all nodes hold the same", cluster_.node(node).name() +
                                                    " differs from n1 at revision " +
                                                    std::to_string(*revision));
      }
    }
    if (world().failed()) return;
    const AskedList& all = cluster_.clients.all();
    judge("real time", check_real_time(all));
    judge("content", check_content(all, truth));
    judge("once", check_once(all, truth));
    judge("watch", watchers_.check(truth));
    const lab::LinearizableResult result =
        lab::check_linearizable(single_key_history(all), {.steps_max = 200'000});
    if (result.verdict == lab::Verdict::kNo) {
      world().fail("linearizable per key", result.key + "\n" + result.counterexample);
    }
    cluster_.counters.add(result.verdict == lab::Verdict::kUnknown ? "linearizability undecided"
                                                                   : "linearizability decided");
  }

  Cluster cluster_;
  RaftOracle oracle_;
  Watchers watchers_;
  int reached_ = 0;
  std::uint64_t probes_ = 0;
};

}  // namespace

Verdict run_cp(std::uint64_t seed, Counters& counters, bool print_notes) {
  return run_schedule<CpRun>(Mode::kCp, seed, counters, print_notes);
}

}  // namespace capstan::sim
