// Members that come, are promoted and leave while everything else strikes: who is asked, at which
// node, and which machine belongs to whom.
//
// A machine stands for one member at a time. Once its removal is answered it goes on as a zombie
// for a while; before it is added again it gets an empty disk and another id. An addition of which
// nobody knows whether it happened is started all the same: if it did not, a stranger asks for ever
// and nobody listens.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "tests/sim/counters.h"
#include "tests/sim/options.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace capstan::sim {

class MemberChanges {
 public:
  MemberChanges(World& world, const Options& options, Counters& counters,
                std::vector<std::unique_ptr<SimNode>>& nodes, SimNet& net);

  void strike();
  // Requests that are not answered yet.
  int open() const { return open_; }
  // Not a member as far as anybody was told, and not to be started by others.
  bool absent(int node) const;
  // Everybody is asked: the machines of the committed configuration of the highest index. Those of
  // others stop for good. Empty: none leads, or a change is under way.
  std::vector<int> settle();

 private:
  void add();
  void remove();
  void promote();
  void ask(MemberChangeRequest request, std::move_only_function<void(const Reply&)> then);
  int pick();

  World& world_;
  Counters& counters_;
  std::vector<std::unique_ptr<SimNode>>& nodes_;
  SimNet& net_;
  const bool witnesses_;  // some newcomers are to be one
  std::set<int> out_;
  int open_ = 0;
};

}  // namespace capstan::sim
