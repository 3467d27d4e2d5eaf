#include "tests/support/fault_fs.h"

#include <algorithm>
#include <span>
#include <utility>

#include "core/check.h"

namespace capstan::test {

class FaultFile final : public File {
 public:
  FaultFile(FaultFs& fs, FaultFs::InodeId inode, std::string path)
      : fs_(fs), inode_(inode), path_(std::move(path)), life_(fs.life_) {}

  Status write(std::uint64_t offset, std::span<const ByteView> parts) override {
    CAPSTAN_ASSERT(life_ == fs_.life_);
    return fs_.write(inode_, path(), offset, parts);
  }
  Result<std::string> read(std::uint64_t offset, std::size_t size) override {
    return from(inode().cache, offset, size);
  }
  Result<std::string> read_uncached(std::uint64_t offset, std::size_t size) override {
    // O_DIRECT writes back what is dirty, then reads the disk.
    std::string disk = inode().durable;
    for (const FaultFs::Write& write : inode().pending)
      FaultFs::put(disk, write.offset, write.bytes);
    return from(disk, offset, size);
  }
  Status sync() override {
    CAPSTAN_ASSERT(life_ == fs_.life_);
    return fs_.sync(inode_, path());
  }
  Result<std::uint64_t> size() override { return inode().cache.size(); }

 private:
  std::string path() const { return fs_.hook_ ? fs_.path_of(inode_, path_) : path_; }
  FaultFs::Inode& inode() {
    CAPSTAN_ASSERT(life_ == fs_.life_);  // a handle of a process that died
    return fs_.inodes_.at(inode_);
  }
  Result<std::string> from(const std::string& bytes, std::uint64_t offset, std::size_t size) {
    if (auto error = fs_.asked(FaultFs::Op::kRead, path(), offset, size)) {
      return std::unexpected(*error);
    }
    if (offset >= bytes.size()) return std::string();
    return bytes.substr(offset, size);
  }
  FaultFs& fs_;
  FaultFs::InodeId inode_;
  std::string path_;
  std::uint64_t life_;
};

class FaultDirectory final : public Directory {
 public:
  FaultDirectory(FaultFs& fs, std::string path)
      : fs_(fs), path_(std::move(path)), life_(fs.life_) {}

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    if (auto error = asked(FaultFs::Op::kOpen, name)) return std::unexpected(*error);
    const auto it = dir().names.find(name);
    if (it == dir().names.end()) return fail(ErrorCode::kNotFound, "open " + path(name));
    return std::make_unique<FaultFile>(fs_, it->second, path(name));
  }
  Result<std::unique_ptr<File>> create(const std::string& name) override {
    if (auto error = asked(FaultFs::Op::kCreate, name)) return std::unexpected(*error);
    if (dir().names.contains(name)) return fail(ErrorCode::kExists, "create " + path(name));
    const FaultFs::InodeId inode = fs_.next_inode_++;
    fs_.inodes_[inode];
    change({name, inode, std::nullopt});
    return std::make_unique<FaultFile>(fs_, inode, path(name));
  }
  Result<std::vector<std::string>> list() override {
    std::vector<std::string> names;
    for (const auto& [name, inode] : dir().names) names.push_back(name);
    return names;
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (auto error = asked(FaultFs::Op::kRename, from)) return std::unexpected(*error);
    const auto it = dir().names.find(from);
    if (it == dir().names.end()) return fail(ErrorCode::kNotFound, "rename " + path(from));
    change({to, it->second, from});
    return {};
  }
  Status remove(const std::string& name) override {
    if (auto error = asked(FaultFs::Op::kRemove, name)) return std::unexpected(*error);
    if (!dir().names.contains(name)) return fail(ErrorCode::kNotFound, "remove " + path(name));
    change({name, std::nullopt, std::nullopt});
    return {};
  }
  Status sync() override {
    if (auto error = asked(FaultFs::Op::kSyncDirectory, "")) return std::unexpected(*error);
    dir().durable = dir().names;
    dir().pending.clear();
    return {};
  }
  Result<SpaceInfo> space() override {
    const std::uint64_t used = std::min(fs_.used(), fs_.capacity_);
    return SpaceInfo{.free_bytes = fs_.capacity_ - used, .total_bytes = fs_.capacity_};
  }

 private:
  FaultFs::Dir& dir() {
    CAPSTAN_ASSERT(life_ == fs_.life_);
    return fs_.directories_.at(path_);
  }
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  std::optional<Error> asked(FaultFs::Op op, const std::string& name) {
    return fs_.asked(op, path(name), 0, 0);
  }
  void change(FaultFs::NameChange change) {
    FaultFs::apply(dir().names, change);
    dir().pending.push_back(std::move(change));
  }
  FaultFs& fs_;
  std::string path_;
  std::uint64_t life_;
};

std::unique_ptr<Directory> FaultFs::directory(const std::string& path) {
  directories_[path];
  return std::make_unique<FaultDirectory>(*this, path);
}

std::optional<Error> FaultFs::asked(Op op, const std::string& path, std::uint64_t offset,
                                    std::size_t size) {
  if (!hook_) return std::nullopt;
  std::optional<Error> error = hook_({op, path, offset, size});
  if (error) ++counts_.errors;
  return error;
}

// The name it has now; it may have been renamed since it was opened.
std::string FaultFs::path_of(InodeId id, const std::string& otherwise) const {
  for (const auto& [path, dir] : directories_) {
    for (const auto& [name, inode] : dir.names) {
      if (inode == id) return path + "/" + name;
    }
  }
  return otherwise;
}

void FaultFs::put(std::string& bytes, std::uint64_t offset, ByteView from) {
  if (bytes.size() < offset + from.size()) bytes.resize(offset + from.size());
  std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

void FaultFs::apply(Names& names, const NameChange& change) {
  if (change.from) names.erase(*change.from);
  if (change.inode) {
    names[change.name] = *change.inode;
  } else {
    names.erase(change.name);
  }
}

Status FaultFs::write(InodeId id, const std::string& path, std::uint64_t offset,
                      std::span<const ByteView> parts) {
  std::string bytes;
  for (ByteView part : parts) bytes.append(part);
  ++counts_.writes;
  Inode& inode = inodes_.at(id);
  std::optional<Error> error = asked(Op::kWrite, path, offset, bytes.size());
  const std::uint64_t end = offset + bytes.size();
  const std::uint64_t growth = end > inode.cache.size() ? end - inode.cache.size() : 0;
  if (!error && used() + growth > capacity_) {
    ++counts_.no_space;
    error = Error{ErrorCode::kNoSpace, "write " + path + ": No space left on device"};
    return std::unexpected(*error);
  }
  if (error) bytes.resize(bytes.size() / 2);
  put(inode.cache, offset, bytes);
  inode.pending.push_back({offset, std::move(bytes)});
  if (error) return std::unexpected(*error);
  return {};
}

Status FaultFs::sync(InodeId id, const std::string& path) {
  ++counts_.syncs;
  Inode& inode = inodes_.at(id);
  const std::optional<Error> error = asked(Op::kSync, path, 0, 0);
  if (!error) {
    for (const Write& write : inode.pending) put(inode.durable, write.offset, write.bytes);
  }
  inode.pending.clear();  // after a failed sync too: the pages are marked clean, and lost
  if (error) return std::unexpected(*error);
  return {};
}

std::uint64_t FaultFs::used() const {
  std::uint64_t bytes = 0;
  for (const auto& [path, dir] : directories_) {
    for (const auto& [name, inode] : dir.names) bytes += inodes_.at(inode).cache.size();
  }
  return bytes;
}

// ---- crashes ------------------------------------------------------------------------------------

namespace {

// Calls visit(offset, bytes) for each sector that a write touches.
template <class Visit>
void each_sector(std::uint64_t offset, ByteView bytes, const Visit& visit) {
  while (!bytes.empty()) {
    const std::size_t room = FaultFs::kSector - static_cast<std::size_t>(offset % FaultFs::kSector);
    const ByteView part = bytes.substr(0, room);
    visit(offset, part);
    offset += part.size();
    bytes.remove_prefix(part.size());
  }
}

}  // namespace

std::size_t FaultFs::pending_sectors() const {
  std::size_t count = 0;
  for (const auto& [id, inode] : inodes_) {
    for (const Write& write : inode.pending) {
      each_sector(write.offset, write.bytes, [&](std::uint64_t, ByteView) { ++count; });
    }
  }
  return count;
}

std::size_t FaultFs::pending_names() const {
  std::size_t count = 0;
  for (const auto& [path, dir] : directories_) count += dir.pending.size();
  return count;
}

void FaultFs::crash(const std::function<bool(std::size_t)>& survives, std::size_t names) {
  ++life_;
  ++counts_.crashes;
  std::size_t sector = 0;
  for (auto& [id, inode] : inodes_) {
    for (const Write& write : inode.pending) {
      each_sector(write.offset, write.bytes, [&](std::uint64_t offset, ByteView bytes) {
        const bool kept = survives(sector++);
        ++(kept ? counts_.sectors_kept : counts_.sectors_lost);
        if (kept) put(inode.durable, offset, bytes);
      });
    }
    inode.pending.clear();
    inode.cache = inode.durable;
  }
  for (auto& [path, dir] : directories_) {
    for (const NameChange& change : dir.pending) {
      if (names == 0) {
        ++counts_.names_lost;
        continue;
      }
      --names;
      apply(dir.durable, change);
    }
    dir.pending.clear();
    dir.names = dir.durable;
  }
  std::erase_if(inodes_, [&](const auto& item) {
    return std::ranges::none_of(directories_, [&](const auto& directory) {
      return std::ranges::any_of(directory.second.names,
                                 [&](const auto& name) { return name.second == item.first; });
    });
  });
}

void FaultFs::crash(Rng& rng) {
  // All, nothing and everything between must each be likely.
  const std::uint64_t kind = rng.below(4);
  const double chance = kind == 0   ? 0.0
                        : kind == 1 ? 1.0
                                    : static_cast<double>(rng.below(100)) / 100.0;
  const std::size_t names = static_cast<std::size_t>(rng.below(pending_names() + 1));
  crash([&](std::size_t) { return rng.chance(chance); }, names);
}

// ---- by hand ------------------------------------------------------------------------------------

const FaultFs::Inode* FaultFs::find(const std::string& path) const {
  const std::size_t slash = path.rfind('/');
  CAPSTAN_ASSERT(slash != std::string::npos);
  const auto dir = directories_.find(path.substr(0, slash));
  if (dir == directories_.end()) return nullptr;
  const auto name = dir->second.names.find(path.substr(slash + 1));
  return name == dir->second.names.end() ? nullptr : &inodes_.at(name->second);
}

FaultFs::Inode* FaultFs::find(const std::string& path) {
  return const_cast<Inode*>(std::as_const(*this).find(path));
}

bool FaultFs::has(const std::string& path) const { return find(path) != nullptr; }

std::string FaultFs::image(const std::string& path) const {
  const Inode* inode = find(path);
  CAPSTAN_ASSERT(inode != nullptr);
  return inode->durable;
}

void FaultFs::set_image(const std::string& path, std::string bytes) {
  Inode* inode = find(path);
  if (inode == nullptr) {
    const std::size_t slash = path.rfind('/');
    Dir& dir = directories_[path.substr(0, slash)];
    const InodeId id = next_inode_++;
    dir.names[path.substr(slash + 1)] = id;
    dir.durable[path.substr(slash + 1)] = id;
    inode = &inodes_[id];
  }
  *inode = {.durable = bytes, .cache = bytes, .pending = {}};
}

void FaultFs::flip(const std::string& path, std::uint64_t offset, std::uint8_t mask) {
  Inode* inode = find(path);
  CAPSTAN_ASSERT(inode != nullptr && offset < inode->durable.size());
  const auto at = static_cast<std::size_t>(offset);
  inode->durable[at] = static_cast<char>(inode->durable[at] ^ mask);
  if (at < inode->cache.size()) inode->cache[at] = static_cast<char>(inode->cache[at] ^ mask);
}

std::vector<std::string> FaultFs::names(const std::string& directory) const {
  std::vector<std::string> names;
  const auto dir = directories_.find(directory);
  if (dir == directories_.end()) return names;
  for (const auto& [name, inode] : dir->second.names) names.push_back(name);
  return names;
}

}  // namespace capstan::test
