#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "core/file.h"

namespace capstan {

#if defined(__SANITIZE_THREAD__)
extern "C" {
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void __sanitizer_syscall_pre_impl_close(long fd);
}
#endif

namespace {

// ThreadSanitizer sees neither openat nor how libuv closes a socket: a file that gets a closed
// socket's number still is that socket to it, and the two threads "race". This says it is new.
void new_to_the_sanitizer([[maybe_unused]] int fd) {
#if defined(__SANITIZE_THREAD__)
  if (fd < 0) return;
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  __sanitizer_syscall_pre_impl_close(fd);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
}

std::unexpected<Error> failed(const char* call, const std::string& path) {
  const int number = errno;
  ErrorCode code = ErrorCode::kIo;
  if (number == ENOSPC || number == EDQUOT) code = ErrorCode::kNoSpace;
  if (number == ENOENT) code = ErrorCode::kNotFound;
  if (number == EEXIST) code = ErrorCode::kExists;
  return fail(code,
              std::string(call) + " " + path + ": " + std::generic_category().message(number));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) { new_to_the_sanitizer(fd); }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// O_DIRECT wants offset, length and memory on block boundaries; 4 KiB suits every disk we know.
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kDirectChunk = 1 << 20;

class PosixFile final : public File {
 public:
  PosixFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Status write(std::uint64_t offset, std::span<const ByteView> parts) override {
    while (!parts.empty()) {
      const std::size_t count = std::min<std::size_t>(parts.size(), 64);
      if (Status done = write_some(offset, parts.first(count)); !done) return done;
      for (ByteView part : parts.first(count)) offset += part.size();
      parts = parts.subspan(count);
    }
    return {};
  }

  Result<std::string> read(std::uint64_t offset, std::size_t size) override {
    std::string out(size, '\0');
    std::size_t have = 0;
    while (have < size) {
      const ssize_t n =
          ::pread(fd_.get(), out.data() + have, size - have, static_cast<off_t>(offset + have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("read", path_);
      if (n == 0) break;
      have += static_cast<std::size_t>(n);
    }
    out.resize(have);
    return out;
  }

  Result<std::string> read_uncached(std::uint64_t offset, std::size_t size) override {
    // A descriptor of its own: mixing direct and cached calls on one is the file system's business.
    // By number, since the name may have changed.
    const std::string self = "/proc/self/fd/" + std::to_string(fd_.get());
    const Descriptor direct(::open(self.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    if (!direct) {
      // tmpfs and some others cannot, and a chroot may have no /proc.
      if (errno == EINVAL || errno == ENOENT) return read(offset, size);
      return failed("open (O_DIRECT)", path_);
    }
    struct Free {
      void operator()(char* p) const { std::free(p); }
    };
    const std::unique_ptr<char, Free> buffer(
        static_cast<char*>(std::aligned_alloc(kBlock, kDirectChunk)));
    if (buffer == nullptr) return fail(ErrorCode::kIo, "no memory to read " + path_);
    std::string out;
    out.reserve(size);
    const std::uint64_t end = offset + size;
    for (std::uint64_t at = offset / kBlock * kBlock; at < end;) {
      const ssize_t n = ::pread(direct.get(), buffer.get(), kDirectChunk, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EINVAL && at == offset / kBlock * kBlock) return read(offset, size);
      if (n < 0) return failed("read (O_DIRECT)", path_);
      if (n == 0) break;
      const std::uint64_t from = std::max(at, offset);
      const std::uint64_t to = std::min(at + static_cast<std::uint64_t>(n), end);
      if (from < to) out.append(buffer.get() + (from - at), to - from);
      at += static_cast<std::uint64_t>(n);
      if (static_cast<std::size_t>(n) < kDirectChunk) break;  // the end; not aligned, so no further
    }
    return out;
  }

  Status sync() override {
    if (::fdatasync(fd_.get()) != 0) return failed("fdatasync", path_);
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat info{};
    if (::fstat(fd_.get(), &info) != 0) return failed("stat", path_);
    return static_cast<std::uint64_t>(info.st_size);
  }

 private:
  // At most 64 parts: one system call, or more if it comes back short.
  Status write_some(std::uint64_t offset, std::span<const ByteView> parts) {
    std::array<iovec, 64> vector;
    std::size_t count = 0;
    for (ByteView part : parts) {
      if (part.empty()) continue;
      vector[count++] = {const_cast<char*>(part.data()), part.size()};
    }
    iovec* next = vector.data();
    while (count > 0) {
      const ssize_t n =
          ::pwritev(fd_.get(), next, static_cast<int>(count), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("write", path_);
      offset += static_cast<std::uint64_t>(n);
      std::size_t left = static_cast<std::size_t>(n);
      while (count > 0 && left >= next->iov_len) {
        left -= next->iov_len;
        ++next;
        --count;
      }
      if (count > 0) {
        next->iov_base = static_cast<char*>(next->iov_base) + left;
        next->iov_len -= left;
      }
    }
    return {};
  }

  Descriptor fd_;
  std::string path_;
};

class PosixDirectory final : public Directory {
 public:
  PosixDirectory(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    return open_with(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  }
  Result<std::unique_ptr<File>> create(const std::string& name) override {
    return open_with(name, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL);
  }

  Result<std::vector<std::string>> list() override {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path_, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return fail(ErrorCode::kIo, "list " + path_ + ": " + error.message());
    std::ranges::sort(names);
    return names;
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) != 0) {
      return failed("rename", path_ + "/" + from);
    }
    return {};
  }

  Status remove(const std::string& name) override {
    if (::unlinkat(fd_.get(), name.c_str(), 0) != 0) return failed("remove", path_ + "/" + name);
    return {};
  }

  Status sync() override {
    if (::fsync(fd_.get()) != 0) return failed("fsync", path_);
    return {};
  }

  Result<SpaceInfo> space() override {
    struct statvfs info{};
    if (::fstatvfs(fd_.get(), &info) != 0) return failed("statvfs", path_);
    return SpaceInfo{.free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize,
                     .total_bytes = std::uint64_t{info.f_blocks} * info.f_frsize};
  }

 private:
  Result<std::unique_ptr<File>> open_with(const std::string& name, int flags) {
    Descriptor fd(::openat(fd_.get(), name.c_str(), flags, 0600));
    if (!fd) return failed("open", path_ + "/" + name);
    return std::make_unique<PosixFile>(std::move(fd), path_ + "/" + name);
  }

  Descriptor fd_;
  std::string path_;
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;
};

// mkdir -p, each new name made durable in its parent.
Status make_path(const std::filesystem::path& path) {
  if (path.empty() || std::filesystem::exists(path)) return {};
  const std::filesystem::path parent = path.parent_path();
  if (Status above = make_path(parent); !above) return above;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed("mkdir", path.string());
  const std::string within = parent.empty() ? "." : parent.string();
  const Descriptor fd(::open(within.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failed("open", within);
  if (::fsync(fd.get()) != 0) return failed("fsync", within);
  return {};
}

}  // namespace

Result<std::unique_ptr<FileLock>> lock_file(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return failed("open", path);
  // flock, not fcntl: it belongs to this open file, so two nodes in one process exclude each other.
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail(ErrorCode::kBusy, path + " is held by another process");
    return failed("flock", path);
  }
  return std::make_unique<PosixLock>(std::move(fd));
}

Result<std::unique_ptr<Directory>> open_directory(const std::string& path, bool create) {
  std::filesystem::path clean(path);
  if (!clean.has_filename()) clean = clean.parent_path();  // a slash at the end
  if (create) {
    if (Status made = make_path(clean); !made) return std::unexpected(made.error());
  }
  Descriptor fd(::open(clean.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failed("open", path);
  return std::make_unique<PosixDirectory>(std::move(fd), clean.string());
}

}  // namespace capstan
