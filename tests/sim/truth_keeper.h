// Writes down what the store holds at each revision while it happens: a compaction may forget it
// before a schedule ends. The first node to come to a revision tells; that the others hold the same
// is judged against it.
#pragma once

#include "cp/engine.h"
#include "tests/sim/history_check.h"

namespace capstan::sim {

class TruthKeeper {
 public:
  // After each turn of a node; what it has applied in it is still there.
  void turned(const cp::Engine& engine);
  const Truth& truth() const { return truth_; }

 private:
  Truth truth_{{}, {}};  // revision 1 is empty
};

}  // namespace capstan::sim
