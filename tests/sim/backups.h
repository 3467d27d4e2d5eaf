// Somebody takes backups of nodes, at his own pace, while everything else strikes. Each that comes
// to its end is read back: what it holds must be what the nodes held at its revision.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/backup.h"
#include "tests/sim/cluster.h"
#include "tests/sim/truth_keeper.h"

namespace capstan::sim {

class Backups {
 public:
  Backups(Cluster& cluster, const TruthKeeper& truth) : cluster_(cluster), truth_(truth) {}
  void start();
  void stop() { stopped_ = true; }

 private:
  void begin();
  void pull(std::uint64_t number);
  void later();
  void check();

  Cluster& cluster_;
  const TruthKeeper& truth_;
  std::unique_ptr<BackupStream> stream_;
  std::string file_;
  int node_ = 0;
  std::uint64_t life_ = 0;    // of the node
  std::uint64_t number_ = 0;  // of this backup
  bool stopped_ = false;
};

}  // namespace capstan::sim
