// A simulated cluster: a world, its nodes, the network between them, clients and faults, put
// together from one seed's options. What is checked, and when, is the business of cp_run.cc and
// ap_run.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/clients.h"
#include "tests/sim/counters.h"
#include "tests/sim/faults.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace capstan::sim {

class Cluster {
 public:
  struct Hooks {
    std::function<void(int node)> turned = [](int) {};
    std::function<void(int node)> started = [](int) {};
    std::function<bool(int node)> whole = [](int) { return true; };
  };

  Cluster(std::uint64_t seed, Options options, Counters& counters, Hooks hooks);

  void start_all();
  SimNode& node(int number) { return *nodes[static_cast<std::size_t>(number)]; }
  int size() const { return static_cast<int>(nodes.size()); }

  // Runs until `done` holds, looking every `step`; false if `until` came first or an oracle broke.
  bool run_while_waiting(Micros until, const std::function<bool()>& done,
                         Micros step = kMillisecond);

  World world;
  const Options options;
  Counters& counters;

 private:
  std::vector<SimMember> members_;

 public:
  Nodes nodes;
  std::unique_ptr<SimNet> net;
  std::unique_ptr<Faults> faults;
  Clients clients;
};

// How a schedule ended.
struct Verdict {
  std::uint64_t seed = 0;
  bool red = false;
  std::string oracle, what, options, tail;
  std::uint64_t hash = 0, events = 0;
  Micros simulated = 0;
};

// One schedule, from its seed to its verdict. `Run` is CpRun or ApRun: what is checked, and when.
template <class Run>
Verdict run_schedule(Mode mode, std::uint64_t seed, Counters& counters, bool print_notes) {
  Rng rng = Streams(seed).options;
  const Options options = draw_options(mode, rng);
  Run run(seed, options, counters);
  run.world().print_notes(print_notes);
  run.run();
  counters.add("schedules");
  counters.add("faults", run.struck());
  const World& world = run.world();
  return {.seed = seed,
          .red = world.failed(),
          .oracle = world.oracle(),
          .what = world.what(),
          .options = to_text(options),
          .tail = world.failed() ? world.tail() : "",
          .hash = world.trace_hash(),
          .events = world.events(),
          .simulated = world.now()};
}

Verdict run_cp(std::uint64_t seed, Counters& counters, bool print_notes);
Verdict run_ap(std::uint64_t seed, Counters& counters, bool print_notes);

}  // namespace capstan::sim
