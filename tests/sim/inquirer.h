// Somebody who asks, at any node, what became of puts that were answered `unknown` or, by the ids
// of their requests, are still on their way, while everything else strikes. What it is told must
// hold to the end: what was told as applied is there, what was told as not applied is nowhere and
// never comes.
#pragma once

#include <map>
#include <string>

#include "tests/sim/cluster.h"
#include "tests/sim/history_check.h"

namespace capstan::sim {

class Inquirer {
 public:
  explicit Inquirer(Cluster& cluster) : cluster_(cluster), rng_(cluster.world.rng.outcomes) {}

  void start() { later(); }
  void stop() { stopped_ = true; }
  // The first contradiction as a sentence, or nothing.
  std::string check(const Truth& truth) const;

 private:
  void later();
  void ask();

  Cluster& cluster_;
  Rng& rng_;
  std::map<std::string, Fate> told_;  // by the value that was put, which names the write
  std::string changed_;               // told so once and otherwise later
  bool stopped_ = false;
};

}  // namespace capstan::sim
