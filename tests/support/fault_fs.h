// A disk in memory that may do what real ones do: lose what was not synced, in any combination of
// 512-byte sectors; lose renames whose directory was not synced; rot; fail a call; run full. The
// simulator and the crash tests run the real log over it.
//
// Deterministic: the only choices are the caller's (a mask, an Rng, a hook). Copyable: a copy is an
// independent disk in the same state, so that one moment can be crashed in many ways.
//
//   bytes   write ─► cache and pending ─ File::sync ─► durable
//   names   create, rename, remove ─► names and pending ─ Directory::sync ─► durable
//
// A crash keeps any subset of the pending bytes, and of the pending names a prefix.
//
// A failed sync is as nasty as Linux's: what was pending will never reach the disk, yet read() goes
// on showing it; read_uncached() shows what the disk has.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/random.h"

namespace capstan::test {

class FaultFs {
 public:
  static constexpr std::size_t kSector = 512;

  enum class Op { kOpen, kCreate, kRead, kWrite, kSync, kRename, kRemove, kSyncDirectory };
  struct Call {
    Op op;
    std::string path;  // DIRECTORY/NAME, as the file is called now
    std::uint64_t offset = 0;
    std::size_t size = 0;
  };
  // Asked before each call; an error makes the call fail with it. A write that fails may have
  // written a part: half of it is pending.
  using Hook = std::function<std::optional<Error>(const Call&)>;

  // A directory of this disk; it exists from now on. The disk must outlive it and not be moved.
  std::unique_ptr<Directory> directory(const std::string& path);

  void set_hook(Hook hook) { hook_ = std::move(hook); }
  // Bytes of the whole disk; growth beyond is kNoSpace. Default: a terabyte.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }

  // --- crashes: handles opened before them must not be used any more ---

  // Power loss. What was pending survives per sector (bytes) and up to a point (names), as drawn.
  void crash(Rng& rng);
  // Power loss with everything chosen: sector i of pending_sectors() survives if survives(i), and
  // the first `names` of pending_names() happened.
  void crash(const std::function<bool(std::size_t)>& survives, std::size_t names);
  std::size_t pending_sectors() const;
  std::size_t pending_names() const;
  // The process alone died: the kernel has everything, the disk not yet.
  void kill() { ++life_; }

  // --- rot, by hand ---
  bool has(const std::string& path) const;
  std::string image(const std::string& path) const;            // durable bytes
  void set_image(const std::string& path, std::string bytes);  // durable at once
  void flip(const std::string& path, std::uint64_t offset, std::uint8_t mask);
  std::vector<std::string> names(const std::string& directory) const;

  struct Counts {
    std::uint64_t writes = 0, syncs = 0, crashes = 0, sectors_lost = 0, sectors_kept = 0,
                  names_lost = 0, errors = 0, no_space = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  friend class FaultFile;
  friend class FaultDirectory;
  using InodeId = std::uint64_t;
  struct Write {
    std::uint64_t offset;
    std::string bytes;
  };
  struct Inode {
    std::string durable;         // what survives any crash
    std::string cache;           // what read() shows
    std::vector<Write> pending;  // oldest first
  };
  using Names = std::map<std::string, InodeId>;
  struct NameChange {
    std::string name;
    std::optional<InodeId> inode;     // nullopt: removed
    std::optional<std::string> from;  // rename: this name goes at the same moment
  };
  struct Dir {
    Names names;
    Names durable;
    std::vector<NameChange> pending;
  };

  std::optional<Error> asked(Op op, const std::string& path, std::uint64_t offset,
                             std::size_t size);
  Status write(InodeId id, const std::string& path, std::uint64_t offset,
               std::span<const ByteView> parts);
  Status sync(InodeId id, const std::string& path);
  static void put(std::string& bytes, std::uint64_t offset, ByteView from);
  static void apply(Names& names, const NameChange& change);
  std::string path_of(InodeId id, const std::string& otherwise) const;
  std::uint64_t used() const;
  const Inode* find(const std::string& path) const;
  Inode* find(const std::string& path);

  std::map<InodeId, Inode> inodes_;
  std::map<std::string, Dir> directories_;
  InodeId next_inode_ = 1;
  std::uint64_t life_ = 0;
  std::uint64_t capacity_ = 1ull << 40;
  Hook hook_;
  Counts counts_;
};

}  // namespace capstan::test
