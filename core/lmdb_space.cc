#include "core/lmdb_space.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

namespace capstan {
namespace {

constexpr MDB_dbi kFreeList = 0;  // LMDB's own: transaction -> count, then the pages it freed
constexpr std::uint64_t kWorthBytes = 16 * 1024 * 1024;
constexpr std::size_t kRunPagesMin = 16;            // shorter ones only scatter the file
constexpr std::size_t kPagesMax = 4 * 1024 * 1024;  // looked at in one go
constexpr std::uint64_t kNobody = std::numeric_limits<std::uint64_t>::max();

class ReadTxn {
 public:
  explicit ReadTxn(MDB_env* env) {
    if (mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn_) != 0) txn_ = nullptr;
  }
  ~ReadTxn() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  ReadTxn(const ReadTxn&) = delete;
  ReadTxn& operator=(const ReadTxn&) = delete;
  MDB_txn* get() const { return txn_; }

 private:
  MDB_txn* txn_ = nullptr;
};

}  // namespace

struct LmdbSpace::FreeList {
  std::uint64_t before = kNobody;  // pages of transactions below it are taken down
  std::uint64_t count = 0;         // of all
  std::vector<std::uint64_t> pages;
};

bool LmdbSpace::read_free_list(MDB_txn* txn, FreeList& out, bool with_pages) const {
  MDB_cursor* cursor = nullptr;
  if (mdb_cursor_open(txn, kFreeList, &cursor) != 0) return false;
  MDB_val key{}, value{};
  int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
  for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    std::uint64_t freed_by = 0, count = 0;
    if (key.mv_size != sizeof freed_by || value.mv_size < sizeof count) break;
    std::memcpy(&freed_by, key.mv_data, sizeof freed_by);
    std::memcpy(&count, value.mv_data, sizeof count);
    if (count > value.mv_size / sizeof count - 1) break;
    out.count += count;
    if (!with_pages || freed_by >= out.before || out.pages.size() + count > kPagesMax) continue;
    const std::size_t at = out.pages.size();
    out.pages.resize(at + count);
    std::memcpy(out.pages.data() + at, static_cast<const char*>(value.mv_data) + sizeof count,
                count * sizeof count);
  }
  mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND;
}

// LMDB tells of its readers in lines of text only: "pid thread txnid", or "-" for one at rest. A
// line we cannot read counts as a reader of everything.
std::uint64_t LmdbSpace::oldest_reader() const {
  std::uint64_t oldest = kNobody;
  const auto take = [](const char* line, void* to) {
    auto& least = *static_cast<std::uint64_t*>(to);
    char word[32] = "";
    unsigned long long id = 0;
    const bool read = std::sscanf(line, "%*s %*s %31s", word) == 1;
    const bool at_rest = std::strcmp(word, "-") == 0 || std::strcmp(word, "txnid") == 0;
    if (read && at_rest) return 0;
    if (!read || std::sscanf(word, "%llu", &id) != 1) id = 0;
    least = std::min<std::uint64_t>(least, id);
    return 0;
  };
  if (mdb_reader_list(env_, take, &oldest) < 0) return 0;
  return oldest;
}

std::uint64_t LmdbSpace::punch(MDB_txn* txn) {
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  FreeList free;
  // Our own read transaction is one of the readers and sees the last commit.
  const std::uint64_t last = mdb_txn_id(txn);
  free.before = std::min(oldest_reader(), last < 1 ? 0 : last - 1);
  int fd = -1;
  if (!read_free_list(txn, free, true) || mdb_env_get_fd(env_, &fd) != 0) return free.count;
  std::ranges::sort(free.pages);
  for (std::size_t from = 0, to = 0; from < free.pages.size(); from = to) {
    for (to = from + 1; to < free.pages.size() && free.pages[to] == free.pages[to - 1] + 1;) ++to;
    if (to - from < kRunPagesMin) continue;
    const auto begin = static_cast<off_t>(free.pages[from] * stat.ms_psize);
    const auto bytes = static_cast<off_t>((to - from) * stat.ms_psize);
    if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, bytes) == 0) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) has_holes_ = false;
    return free.count;
  }
  return free.count - free.pages.size();
}

void LmdbSpace::committed() {
  const ReadTxn txn(env_);
  FreeList free;
  if (txn.get() == nullptr || !read_free_list(txn.get(), free, false)) return;
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  const std::uint64_t pages = info.me_last_pgno + 1;
  const std::uint64_t live = (pages - std::min(pages, free.count)) * stat.ms_psize;
  live_.store(live, std::memory_order_relaxed);
  if (!has_holes_) return;
  const auto idle = [&] { return bytes_allocated() - std::min(bytes_allocated(), live); };
  left_ = std::min(left_, idle());
  if (idle() < left_ + std::max(kWorthBytes, live / 4)) return;
  const std::uint64_t later = punch(txn.get()) * stat.ms_psize;
  left_ = idle() - std::min(idle(), later);
}

std::uint64_t LmdbSpace::bytes_allocated() const {
  int fd = -1;
  struct stat info{};
  if (mdb_env_get_fd(env_, &fd) != 0 || ::fstat(fd, &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

}  // namespace capstan
