// Every byte of the log, and nothing else: no files here. docs/formats.md draws it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/disk.h"
#include "core/hash.h"
#include "core/result.h"
#include "core/types.h"

namespace capstan::wal {

inline constexpr std::uint32_t kVersion = 1;
// The header fills one sector; a copy lies in the file's last one. Groups lie between the first and
// the last page.
inline constexpr std::size_t kSector = 512;
inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kSegmentOverhead = 2 * kPage;
inline constexpr std::uint64_t kSegmentBytesMax = 1ull << 30;
inline constexpr std::size_t kGroupHeaderBytes = 64;
inline constexpr std::size_t kWhyBytesMax = 300;

struct SegmentHeader {
  ClusterId cluster;
  NodeId node;
  std::uint64_t sequence = 0;
  std::uint64_t salt = 0;           // random; of every checksum in this segment
  std::uint64_t segment_bytes = 0;  // of this file
  std::uint64_t first_group = 0;
  Hash128 previous;  // digest of the group before the first
  // Groups from here to first_group are lost; 0: none are.
  std::uint64_t gap_from = 0;
  std::string gap_why;
};

std::string encode(const SegmentHeader& header);  // kSector bytes
// kCorrupt; kMismatch for a newer version.
Result<SegmentHeader> decode_segment_header(ByteView sector);

// A group starts on a sector boundary, so that no sector that holds durable bytes is written again.
struct Group {
  std::uint64_t number = 0;
  std::uint64_t durable = 0;  // groups up to this one were durable when it was written
  std::uint32_t records = 0;
  Hash128 previous;  // digest of the group before
  Hash128 digest;    // of this one
  ByteView body;
  std::size_t sectors_bytes = 0;  // header, body and padding
};

void append_record(std::string& body, const Record& record);
std::size_t encoded_bytes(const Record& record);

// `buffer` holds kGroupHeaderBytes of room and then the body; fills the header in, pads to a sector
// and returns the group's digest.
struct GroupFields {
  std::uint64_t number, durable;
  std::uint32_t records;
  Hash128 previous;
};
Hash128 finish_group(std::string& buffer, const GroupFields& fields, std::uint64_t salt);

// What stands at `offset`. The header alone proves what it says about earlier groups.
struct Found {
  std::optional<Group> header;  // body empty if it does not hold
  bool whole = false;
};
Found group_at(ByteView image, std::size_t offset, std::uint64_t salt);

// The records of a whole group.
Result<std::vector<RecoveredRecord>> records_of(const Group& group);

}  // namespace capstan::wal
