// A power loss after the fact: a node was killed, and of what it had written and not synced some
// sectors are taken back.
#pragma once

#include <cstdint>
#include <string>

#include "core/random.h"

namespace capstan::soak {

struct DiskLoss {
  std::uint64_t unsynced = 0;  // sectors that were not durable
  std::uint64_t lost = 0;      // of these
};

// `directory` holds the files, `journal` is lossy_disk.cc's of the process that had them and lives
// no more. Each sector falls back to any of the states it had since it was last durable; in a
// quarter of the calls every one to the oldest. The journal is empty afterwards: what was not lost
// counts as durable.
DiskLoss lose_unsynced(const std::string& directory, const std::string& journal, Rng& rng);

// Leaves in the journal of a process that lives no more only what is not durable.
void shorten(const std::string& journal);

}  // namespace capstan::soak
