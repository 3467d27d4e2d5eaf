// The file seam: what the WAL and the identity file need of an operating system. posix_file.cc is
// the real one; tests/support/fault_fs.h is one in memory that can lose what was not synced, tear,
// rot and run full.
//
// All calls block; they belong to the disk thread, to start-up, or to the simulator.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/types.h"

namespace capstan {

class File {
 public:
  virtual ~File() = default;
  // Writes the parts one after another at `offset`, all of them or an error (kIo, kNoSpace).
  virtual Status write(std::uint64_t offset, std::span<const ByteView> parts) = 0;
  // Reads up to `size` bytes; fewer only at the end of the file.
  virtual Result<std::string> read(std::uint64_t offset, std::size_t size) = 0;
  // As read(), but from the disk and not from the page cache where the system can (O_DIRECT): after
  // a failed fsync the cache may hold what the disk does not.
  virtual Result<std::string> read_uncached(std::uint64_t offset, std::size_t size) = 0;
  virtual Status sync() = 0;  // fdatasync
  virtual Result<std::uint64_t> size() = 0;
};

struct SpaceInfo {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;
};

// One directory; names are plain file names within it.
class Directory {
 public:
  virtual ~Directory() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& name) = 0;    // kNotFound
  virtual Result<std::unique_ptr<File>> create(const std::string& name) = 0;  // kExists
  virtual Result<std::vector<std::string>> list() = 0;                        // sorted
  virtual Status rename(const std::string& from, const std::string& to) = 0;  // replaces
  virtual Status remove(const std::string& name) = 0;
  virtual Status sync() = 0;  // makes creates, renames and removes durable
  virtual Result<SpaceInfo> space() = 0;
};

// Held until destroyed or the process ends.
class FileLock {
 public:
  virtual ~FileLock() = default;
};
// kBusy if another process (or another lock of this one) holds it.
Result<std::unique_ptr<FileLock>> lock_file(const std::string& path);

// Opens `path`, creating it (and parents) with mode 0700 if `create`.
Result<std::unique_ptr<Directory>> open_directory(const std::string& path, bool create);

}  // namespace capstan
