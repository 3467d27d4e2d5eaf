// Preloaded into a node: keeps an undo log of everything that was written to its files and is not
// synced yet, so that whoever kills it can take some of it back, as a power loss would
// (disk_loss.h); and lets a test fill the disk or hang it.
//
//   LOSSY_ROOT      files below it are watched
//   LOSSY_JOURNAL   the undo log, appended to
//   LOSSY_CONTROL   a DiskControl
//
// Names are not part of it: creating, renaming and removing count as durable at once, and so does
// what is written through a descriptor with O_DSYNC.
#include "tests/soak/lossy_disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

namespace capstan::soak {
namespace {

class LossyDisk {
 public:
  static LossyDisk& get() {
    static LossyDisk disk;
    return disk;
  }

  // Before so many bytes are written from there on; an error number if they must not be.
  int before_write(int fd, std::uint64_t from, std::uint64_t bytes) {
    std::uint64_t inode = 0;
    if (!watched(fd, inode)) return 0;
    if (control_->full != 0) return ENOSPC;
    if ((fcntl(fd, F_GETFL) & O_DSYNC) != 0) return 0;
    const std::uint64_t offset = from / kSectorBytes * kSectorBytes;
    const std::uint64_t end = (from + bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    const std::uint64_t size = end - offset;
    const std::lock_guard lock(mutex_);
    append_record({RecordKind::kWrite, 0, inode, offset, size});
    const int reader = ::open(link_to(fd).c_str(), O_RDONLY | O_CLOEXEC);
    if (reader < 0) std::abort();
    std::string before(size, '\0');
    for (std::uint64_t have = 0; have < size;) {
      const ssize_t n =
          ::pread(reader, before.data() + have, size - have, static_cast<off_t>(offset + have));
      if (n <= 0) break;  // past the end it stays zero
      have += static_cast<std::uint64_t>(n);
    }
    ::close(reader);
    append(before.data(), before.size());
    return 0;
  }

  template <class Sync>
  int sync(int fd, const Sync& real) {
    std::uint64_t inode = 0;
    if (!watched(fd, inode)) return real(fd);
    std::uint64_t begun = 0;
    {
      const std::lock_guard lock(mutex_);
      begun = written_;
    }
    while (control_->hangs != 0) ::usleep(1'000);
    const int result = real(fd);
    if (result == 0) {
      const std::lock_guard lock(mutex_);
      append_record({RecordKind::kSynced, 0, inode, begun, 0});
    }
    return result;
  }

  bool full() const { return control_ != nullptr && control_->full != 0; }

 private:
  LossyDisk() {
    const char* root = std::getenv("LOSSY_ROOT");
    const char* journal = std::getenv("LOSSY_JOURNAL");
    const char* control = std::getenv("LOSSY_CONTROL");
    if (root == nullptr || journal == nullptr || control == nullptr) return;
    const int page = ::open(control, O_RDONLY | O_CLOEXEC);
    void* mapped = ::mmap(nullptr, sizeof(DiskControl), PROT_READ, MAP_SHARED, page, 0);
    journal_ = ::open(journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (mapped == MAP_FAILED || journal_ < 0) std::abort();
    ::close(page);
    control_ = static_cast<const volatile DiskControl*>(mapped);
    written_ = static_cast<std::uint64_t>(::lseek(journal_, 0, SEEK_END));
    root_ = root;
  }

  static std::string link_to(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

  bool watched(int fd, std::uint64_t& inode) const {
    if (root_.empty()) return false;
    char path[4096];
    const ssize_t size = ::readlink(link_to(fd).c_str(), path, sizeof path);
    if (size <= 0 || !std::string_view(path, static_cast<std::size_t>(size)).starts_with(root_)) {
      return false;
    }
    struct stat file{};
    if (::fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return false;
    inode = file.st_ino;
    return true;
  }

  void append_record(const JournalRecord& record) { append(&record, sizeof record); }
  void append(const void* bytes, std::size_t size) {
    // A journal with a hole in it would prove nothing.
    const char* at = static_cast<const char*>(bytes);
    for (std::size_t left = size; left > 0;) {
      const long n = ::syscall(SYS_write, journal_, at, left);
      if (n <= 0) std::abort();
      at += n;
      left -= static_cast<std::size_t>(n);
    }
    written_ += size;
  }

  std::mutex mutex_;
  std::string root_;
  int journal_ = -1;
  std::uint64_t written_ = 0;
  const volatile DiskControl* control_ = nullptr;
};

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

std::uint64_t bytes_of(const iovec* parts, int count) {
  std::uint64_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += parts[i].iov_len;
  return bytes;
}

bool refused(int fd, off_t offset, std::uint64_t size) {
  const int error = LossyDisk::get().before_write(fd, static_cast<std::uint64_t>(offset), size);
  if (error != 0) errno = error;
  return error != 0;
}

// Of a descriptor that has a position; sockets and pipes have none, and are not watched.
bool refused(int fd, std::uint64_t size) {
  const off_t at = ::lseek(fd, 0, SEEK_CUR);
  return at >= 0 && refused(fd, at, size);
}

}  // namespace
}  // namespace capstan::soak

using capstan::soak::bytes_of;
using capstan::soak::LossyDisk;
using capstan::soak::next;
using capstan::soak::refused;

extern "C" {

ssize_t write(int fd, const void* bytes, size_t size) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  return refused(fd, size) ? -1 : real(fd, bytes, size);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  static const auto real = next<ssize_t (*)(int, const iovec*, int)>("writev");
  return refused(fd, bytes_of(parts, count)) ? -1 : real(fd, parts, count);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return refused(fd, offset, size) ? -1 : real(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off_t offset) {
  return pwrite(fd, bytes, size, offset);
}
ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const iovec*, int, off_t)>("pwritev");
  return refused(fd, offset, bytes_of(parts, count)) ? -1 : real(fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const iovec* parts, int count, off_t offset) {
  return pwritev(fd, parts, count, offset);
}

int fdatasync(int fd) { return LossyDisk::get().sync(fd, next<int (*)(int)>("fdatasync")); }
int fsync(int fd) { return LossyDisk::get().sync(fd, next<int (*)(int)>("fsync")); }

int statvfs(const char* path, struct statvfs* out) {
  const int result = next<int (*)(const char*, struct statvfs*)>("statvfs")(path, out);
  if (LossyDisk::get().full()) out->f_bavail = out->f_bfree = 0;
  return result;
}
int statvfs64(const char* path, struct statvfs64* out) {
  return statvfs(path, reinterpret_cast<struct statvfs*>(out));
}
int fstatvfs(int fd, struct statvfs* out) {
  const int result = next<int (*)(int, struct statvfs*)>("fstatvfs")(fd, out);
  if (LossyDisk::get().full()) out->f_bavail = out->f_bfree = 0;
  return result;
}
int fstatvfs64(int fd, struct statvfs64* out) {
  return fstatvfs(fd, reinterpret_cast<struct statvfs*>(out));
}

}  // extern "C"
