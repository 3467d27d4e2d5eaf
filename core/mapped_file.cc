#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <sstream>

namespace capstan {

std::span<char> mapping_of(const std::string& path) {
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) return {};
  const std::string name = path.substr(path.rfind('/') + 1);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    // begin-end perms offset device inode path
    std::istringstream fields(line);
    std::uintptr_t begin = 0, end = 0;
    std::string perms, offset, device;
    std::uint64_t inode = 0;
    char dash = 0;
    fields >> std::hex >> begin >> dash >> end >> perms >> offset >> device >> std::dec >> inode;
    if (fields && inode == file.st_ino && line.ends_with('/' + name)) {
      return {reinterpret_cast<char*>(begin), end - begin};
    }
  }
  return {};
}

void make_mapping_private(const std::string& path) {
  const std::span<char> mapping = mapping_of(path);
  const int file = mapping.empty() ? -1 : ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void* const mapped = ::mmap(mapping.data(), mapping.size(), PROT_READ | PROT_WRITE,
                              MAP_FIXED | MAP_PRIVATE, file, 0);
  ::close(file);
  if (mapped == MAP_FAILED) return;
  // Each page is written once now, so that none has to be fetched later.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (std::size_t at = 0; at < mapping.size(); at += page) {
    volatile char& first = mapping[at];
    first = first;
  }
}

void drop_pages(std::span<char> mapping) {
  if (!mapping.empty()) ::madvise(mapping.data(), mapping.size(), MADV_DONTNEED);
}

}  // namespace capstan
