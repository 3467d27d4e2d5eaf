#include "tests/soak/disk_loss.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include "core/check.h"
#include "tests/soak/lossy_disk.h"

namespace capstan::soak {
namespace {

struct Write {
  JournalRecord record;
  std::string before;
};

// What is not durable, in order. A record that the process died in is none: its write was not made.
std::vector<Write> unsynced_of(const std::string& journal) {
  std::ifstream file(journal, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  const std::string text = std::move(all).str();
  struct Placed {
    Write write;
    std::uint64_t at;
  };
  std::vector<Placed> open;
  for (std::size_t at = 0; at + sizeof(JournalRecord) <= text.size();) {
    JournalRecord record;
    std::memcpy(&record, text.data() + at, sizeof record);
    const std::size_t begin = at;
    at += sizeof record;
    if (record.kind == RecordKind::kSynced) {
      std::erase_if(open, [&](const Placed& placed) {
        return placed.write.record.inode == record.inode && placed.at < record.offset;
      });
      continue;
    }
    CAPSTAN_ASSERT(record.kind == RecordKind::kWrite);
    if (text.size() - at < record.size) break;
    open.push_back({{record, text.substr(at, record.size)}, begin});
    at += record.size;
  }
  std::vector<Write> out;
  for (Placed& placed : open) out.push_back(std::move(placed.write));
  return out;
}

}  // namespace

DiskLoss lose_unsynced(const std::string& directory, const std::string& journal, Rng& rng) {
  // By file and sector, what was there before each write that is not durable, oldest first.
  std::map<std::uint64_t, std::map<std::uint64_t, std::vector<std::string>>> files;
  for (const Write& write : unsynced_of(journal)) {
    auto& sectors = files[write.record.inode];
    for (std::uint64_t at = 0; at < write.record.size; at += kSectorBytes) {
      sectors[write.record.offset + at].push_back(write.before.substr(at, kSectorBytes));
    }
  }
  DiskLoss loss;
  const bool all = rng.chance(0.25);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    struct stat status{};
    if (!entry.is_regular_file() || ::stat(entry.path().c_str(), &status) != 0) continue;
    const auto found = files.find(status.st_ino);
    if (found == files.end()) continue;
    const int fd = ::open(entry.path().c_str(), O_WRONLY | O_CLOEXEC);
    CAPSTAN_ASSERT(fd >= 0);
    for (const auto& [at, before] : found->second) {
      ++loss.unsynced;
      const std::uint64_t kept = all ? 0 : rng.below(before.size() + 1);
      if (kept == before.size()) continue;
      ++loss.lost;
      // The file ends where it did.
      const auto size = static_cast<std::uint64_t>(status.st_size);
      const std::uint64_t bytes = std::min(kSectorBytes, size - std::min(size, at));
      const ssize_t n = ::pwrite(fd, before[kept].data(), bytes, static_cast<off_t>(at));
      CAPSTAN_ASSERT(n == static_cast<ssize_t>(bytes));
    }
    ::close(fd);
  }
  std::filesystem::resize_file(journal, 0);
  return loss;
}

void shorten(const std::string& journal) {
  const std::vector<Write> open = unsynced_of(journal);
  std::ofstream file(journal, std::ios::binary | std::ios::trunc);
  for (const Write& write : open) {
    file.write(reinterpret_cast<const char*>(&write.record), sizeof write.record);
    file << write.before;
  }
}

}  // namespace capstan::soak
