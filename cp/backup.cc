#include "cp/backup.h"

#include <algorithm>
#include <utility>

#include "core/coding.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

constexpr ByteView kMagic = "capstanB";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeadBytes = 8 + 4 + 8 + 8 + 8 + 8 + 8;
constexpr std::uint8_t kRow = 1, kEnd = 2;
constexpr std::size_t kRowBytesMax = 16 * 1024 * 1024;

std::string encode_head(const BackupHead& head) {
  std::string out(kMagic);
  put_u32(out, kVersion);
  put_u64(out, head.cluster.value);
  put_u64(out, head.last.term.value);
  put_u64(out, head.last.index.value);
  put_u64(out, head.revision.value);
  put_u64(out, xxh3(out));
  return out;
}

}  // namespace

BackupWriter::BackupWriter(ClusterId cluster, Revision revision, StateWalk walk)
    : head_{cluster, walk.position().applied, revision}, walk_(std::move(walk)) {}

Result<std::string> BackupWriter::next(std::size_t bytes) {
  std::string out;
  if (over_) return out;
  if (!std::exchange(begun_, true)) out = encode_head(head_);
  std::vector<Change> rows;
  const Result<bool> more = walk_.next(bytes, rows);
  if (!more) return std::unexpected(more.error());
  for (const Change& row : rows) {
    put_u8(out, kRow);
    put_u8(out, static_cast<std::uint8_t>(row.space));
    put_bytes(out, row.key);
    put_bytes(out, *row.value);
  }
  if (!*more) {
    over_ = true;
    put_u8(out, kEnd);
    const std::uint64_t size = written_ + out.size();
    out.append((kBackupBlock - size % kBackupBlock) % kBackupBlock, '\0');
  }
  written_ += out.size();
  return out;
}

Status BackupReader::feed(ByteView bytes, const std::function<void(Change)>& row) {
  pending_ += bytes;
  std::size_t taken = 0;
  if (!head_) {
    if (pending_.size() < kHeadBytes) return {};
    Reader in(ByteView(pending_).substr(kMagic.size(), kHeadBytes - kMagic.size()));
    const std::uint32_t version = in.u32();
    if (!pending_.starts_with(kMagic)) {
      return fail(ErrorCode::kMalformed, "it is no backup of Capstan");
    }
    if (version > kVersion) {
      return fail(ErrorCode::kMalformed, "its format is " + std::to_string(version) +
                                             ", this build reads up to " +
                                             std::to_string(kVersion));
    }
    BackupHead head;
    head.cluster = {in.u64()};
    head.last = {{in.u64()}, {in.u64()}};
    head.revision = {in.u64()};
    if (in.u64() != xxh3(ByteView(pending_).substr(0, kHeadBytes - 8))) {
      return fail(ErrorCode::kMalformed, "its head is damaged");
    }
    head_ = head;
    taken = kHeadBytes;
  }
  while (taken < pending_.size()) {
    Reader in(ByteView(pending_).substr(taken));
    if (whole_) {  // zeroes to the end of a block
      if (pending_[taken++] != '\0') return fail(ErrorCode::kMalformed, "bytes follow its end");
      continue;
    }
    const std::uint8_t kind = in.u8();
    if (kind == kEnd) {
      whole_ = true;
      ++taken;
      continue;
    }
    const std::uint8_t space = in.u8();
    std::string key(in.bytes());
    std::string value(in.bytes());
    if (!in.ok()) {  // not all of it is here
      if (pending_.size() - taken > kRowBytesMax) break;
      pending_.erase(0, taken);
      return {};
    }
    if (kind != kRow || space >= static_cast<std::uint8_t>(Space::kCount) || key.empty()) break;
    taken = pending_.size() - in.left();
    row({static_cast<Space>(space), std::move(key), std::move(value)});
  }
  if (taken < pending_.size()) return fail(ErrorCode::kMalformed, "it is damaged");
  pending_.clear();
  return {};
}

}  // namespace capstan::cp
