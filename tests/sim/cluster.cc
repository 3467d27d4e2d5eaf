#include "tests/sim/cluster.h"

#include "core/hash.h"

namespace capstan::sim {

Cluster::Cluster(std::uint64_t seed, Options drawn, Counters& counts, Hooks hooks)
    : world(seed), options(drawn), counters(counts), clients(world, options, counters, nodes) {
  for (int i = 0; i < options.nodes + options.spares; ++i) {
    const std::string name = "n" + std::to_string(i + 1);
    members_.push_back({MemberId{xxh3(name)}, name});
  }
  std::vector<Port*> ports;
  for (int i = 0; i < options.nodes + options.spares; ++i) {
    SimNode::Observer observer;
    observer.turned = hooks.turned;
    observer.started = hooks.started;
    nodes.push_back(
        std::make_unique<SimNode>(world, options, counters, i, members_, std::move(observer)));
    const double drift = (world.rng.clock.chance(0.5) ? 1 : -1) * options.tick_drift;
    nodes.back()->drift(drift);
    ports.push_back(nodes.back().get());
  }
  net = std::make_unique<SimNet>(world, options, counters, std::move(ports));
  for (auto& node : nodes) node->connect(*net);
  faults = std::make_unique<Faults>(world, options, counters, nodes, *net, std::move(hooks.whole));
}

void Cluster::start_all() {
  for (auto& node : nodes) {
    if (node->number() >= options.nodes) continue;
    world.after(world.rng.nodes.between(0, 50 * kMillisecond), [&node] {
      if (!node->running()) node->start();
    });
  }
}

bool Cluster::run_while_waiting(Micros until, const std::function<bool()>& done, Micros step) {
  while (!world.failed() && !done()) {
    if (world.now() >= until) return false;
    world.run_until(std::min(until, world.now() + step));
  }
  return !world.failed();
}

}  // namespace capstan::sim
