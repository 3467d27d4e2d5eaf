// One schedule of the available path: faults strike while clients write on every side; then
// everything heals and all nodes must be equal within 10 simulated seconds, with every acknowledged
// write accounted for.
#include <algorithm>

#include "tests/sim/ap_oracle.h"
#include "tests/sim/cluster.h"

namespace capstan::sim {

namespace {

constexpr Micros kConvergeWithin = 10 * kSecond;

using Dump = std::map<std::string, std::string>;

std::string difference(const Dump& a, const Dump& b) {
  std::string text;
  for (const auto& [key, value] : a) {
    const auto there = b.find(key);
    if (there == b.end()) text += " " + key + "=" + value + " is only in the first";
    if (there != b.end() && there->second != value) {
      text += " " + key + "=" + value + " is " + there->second + " in the second";
    }
  }
  for (const auto& [key, value] : b) {
    if (!a.contains(key)) text += " " + key + "=" + value + " is only in the second";
  }
  return text;
}

class ApRun {
 public:
  ApRun(std::uint64_t seed, Options options, Counters& counters)
      : cluster_(seed, options, counters, hooks()),
        oracle_(cluster_.world, counters, cluster_.nodes) {}

  World& world() { return cluster_.world; }
  std::uint64_t struck() const { return cluster_.faults->struck(); }

  void run() {
    cluster_.clients.set_budget(120);
    cluster_.clients.set_witness([this](std::size_t operation, int, node::Machine& machine) {
      oracle_.witness(operation, *cluster_.clients.all()[operation], machine);
    });
    cluster_.start_all();
    cluster_.clients.start();
    cluster_.faults->start();
    world().run_until(cluster_.options.chaos);
    if (world().failed()) return;
    cluster_.faults->heal();
    cluster_.net->calm();
    cluster_.clients.stop();
    check_convergence();
    check_accounts();
  }

 private:
  Cluster::Hooks hooks() {
    Cluster::Hooks hooks;
    hooks.started = [this](int node) { oracle_.started(node); };
    hooks.turned = [this](int node) { oracle_.turned(node); };
    return hooks;
  }

  void check_convergence() {
    const Micros healed = world().now();
    const bool equal = cluster_.run_while_waiting(
        healed + kConvergeWithin,
        [this] {
          // A write that its client has given up on may still wait for its node's next turn.
          const bool idle =
              std::ranges::all_of(cluster_.nodes, [](const auto& node) { return node->idle(); });
          return idle && cluster_.clients.open() == 0 &&
                 oracle_.converged(!cluster_.faults->disks_were_lost());
        },
        5 * kMillisecond);
    if (!equal)
      world().fail("convergence", "nodes differ 10 s after the heal:\n" + oracle_.differences());
  }

  template <class Result>
  std::optional<Result> ask_now(int node, RequestBody body) {
    auto slot = std::make_shared<std::optional<Result>>();
    Request request;
    request.body = std::move(body);
    cluster_.node(node).submit(std::move(request), [slot](Reply reply) {
      if (auto* result = std::get_if<Result>(&reply.body)) *slot = std::move(*result);
    });
    cluster_.run_while_waiting(world().now() + kSecond, [&] { return slot->has_value(); });
    return std::move(*slot);
  }

  void check_accounts() {
    if (world().failed()) return;
    std::vector<BooksResult> books;
    std::vector<Dump> dumps;
    for (int node = 0; node < cluster_.size(); ++node) {
      auto book = ask_now<BooksResult>(node, BooksRequest{});
      auto all = ask_now<RangeResult>(
          node, RangeRequest{.range = {std::string(1, '\0'), std::string(1, '\0')},
                             .serializable = true});
      if (!book || !all) return world().fail("answers", "books or a full read were not answered");
      books.push_back(std::move(*book));
      dumps.emplace_back();
      for (KeyValue& kv : all->kvs) dumps.back().emplace(kv.key, kv.value);
      if (dumps.back() != dumps.front()) {
        return world().fail("all nodes hold the same",
                            cluster_.node(node).name() +
                                " differs from n1: " + difference(dumps.front(), dumps.back()));
      }
    }
    oracle_.check_promise(cluster_.clients.all());
    // With a disk went what only it had; nothing can be said about single writes then.
    if (!cluster_.faults->disks_were_lost()) {
      oracle_.settle(cluster_.clients.all(), books, dumps.front());
    }
  }

  Cluster cluster_;
  ApOracle oracle_;
};

}  // namespace

Verdict run_ap(std::uint64_t seed, Counters& counters, bool print_notes) {
  return run_schedule<ApRun>(Mode::kAp, seed, counters, print_notes);
}

}  // namespace capstan::sim
