// Inside of the log, shared by wal.cc (writing) and wal_recovery.cc (opening). Nobody else includes
// it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"
#include "core/wal.h"
#include "core/wal_format.h"

namespace capstan {

// Zero bytes in slices.
inline constexpr std::size_t kFillSlice = 1024 * 1024;
Status write_zeros(File& file, std::uint64_t from, std::uint64_t to);

struct Wal::State {
  static constexpr const char* kFillingName = "filling";

  State(Directory& directory, WalOptions options)
      : directory(directory), options(options), salts(options.salt_seed) {}

  struct Segment {
    std::uint64_t sequence;
    std::uint64_t first_group;
    std::uint64_t file_bytes;
  };

  static std::string segment_name(std::uint64_t sequence);
  static std::string spare_name(std::uint64_t number);
  // The number in a name of ours; nullopt if it is not one.
  static std::optional<std::uint64_t> segment_number(const std::string& name);
  static std::optional<std::uint64_t> spare_number(const std::string& name);

  std::size_t groups_end() const { return segments.back().file_bytes - wal::kPage; }

  Status adopt_spares(const std::vector<std::string>& names);
  // A file of `bytes` that is zero-filled or recycled, under a spare's name, which goes to `name`.
  Result<std::unique_ptr<File>> take_blank(std::uint64_t bytes, std::string& name);
  // Makes it the segment that `header` says: header and copy, `groups` behind them, sync, rename,
  // sync of the directory. A segment of that name is replaced.
  Result<std::unique_ptr<File>> make_segment(const wal::SegmentHeader& header, ByteView groups);
  Result<std::unique_ptr<File>> reuse_segment(const wal::SegmentHeader& header,
                                              std::size_t end_of_groups);
  // Appends go to this segment from now on.
  void activate(const wal::SegmentHeader& header, std::unique_ptr<File> file, std::size_t offset);
  Status roll(std::size_t group_bytes);
  Result<std::uint64_t> append_group(std::span<const Record> records);

  Directory& directory;
  WalOptions options;
  Rng salts;

  std::deque<Segment> segments;  // oldest first; the last one is active
  std::unique_ptr<File> active;
  std::size_t offset = 0;  // of the next group
  std::uint64_t salt = 0;

  std::uint64_t last_group = 0;  // number; the next one gets one more
  std::uint64_t durable = 0;     // groups up to here are
  Hash128 digest;                // of the last group
  bool sealed = true;            // the last group is empty, or there is none
  bool failed = false;           // an error that is final has happened
  std::string buffer;            // of one group

  std::deque<std::uint64_t> spares;  // numbers; whole and synced
  std::uint64_t next_spare = 1;
  std::unique_ptr<File> filling;  // a spare in the making
  std::uint64_t filled = 0;
};

}  // namespace capstan
