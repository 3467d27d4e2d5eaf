// What a node's lossy disk (lossy_disk.cc, preloaded into it) and the test that kills it share.
#pragma once

#include <cstdint>

namespace capstan::soak {

inline constexpr std::uint64_t kSectorBytes = 512;  // is lost, or not, as a whole

// The journal: records in the order of the calls. One of a write speaks of whole sectors, and
// behind it is what was in them before, zeros past the end of the file; it is in the journal before
// the write is in the file.
enum class RecordKind : std::uint32_t { kWrite = 1, kSynced = 2 };
struct JournalRecord {
  RecordKind kind = RecordKind::kWrite;
  std::uint32_t reserved = 0;
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;  // synced: of the journal; what was written before that is durable
  std::uint64_t size = 0;
};

// In a file that both have mapped.
struct DiskControl {
  std::uint32_t full = 0;   // writes fail with ENOSPC, and no space is free
  std::uint32_t hangs = 0;  // syncs wait until it is 0 again
};

}  // namespace capstan::soak
