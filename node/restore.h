// A new cluster from what is left of an old one: a backup file, or the data directory of a member
// that survived. It has an id of its own, so no member of the old one can ever speak in it.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "cp/backup.h"
#include "node/serve_config.h"

namespace capstan::node {

struct RestoreFrom {
  std::string backup;    // a file, or
  std::string data_dir;  // of a stopped member
};

struct Restored {
  cp::BackupHead head;        // whose cluster, up to where, at which revision
  ClusterId cluster;          // the new one
  std::uint64_t rows = 0;     // copied
  std::uint64_t entries = 0;  // of the member's log, applied beyond its last checkpoint
  std::string impaired = {};  // the member's log was damaged: why
};

// Makes config.data_dir, which must not hold a node, a member's directory of a new cluster of
// config.members, normal and counted from its first start. Nothing is written before the backup has
// been read whole and its hash has been checked. A restore that is interrupted leaves a directory
// that no node starts on.
std::expected<Restored, std::string> restore(const RestoreFrom& from, const ServeConfig& config);

}  // namespace capstan::node
