#include "core/wal_format.h"

#include <algorithm>

#include "core/check.h"
#include "core/coding.h"

namespace capstan::wal {

namespace {

constexpr ByteView kMagic = "capstanW";
constexpr std::size_t kChecksumAt = kSector - sizeof(Hash128);

void put_hash(std::string& out, const Hash128& hash) {
  put_u64(out, hash.low);
  put_u64(out, hash.high);
}
Hash128 get_hash(Reader& reader) {
  Hash128 hash;
  hash.low = reader.u64();
  hash.high = reader.u64();
  return hash;
}

}  // namespace

std::string encode(const SegmentHeader& header) {
  std::string out(kMagic);
  put_u32(out, kVersion);
  put_u32(out, 0);
  put_u64(out, header.cluster.value);
  put_u64(out, header.node.value);
  put_u64(out, header.sequence);
  put_u64(out, header.salt);
  put_u64(out, header.segment_bytes);
  put_u64(out, header.first_group);
  put_hash(out, header.previous);
  put_u64(out, header.gap_from);
  put_bytes(out, ByteView(header.gap_why).substr(0, kWhyBytesMax));
  CAPSTAN_ASSERT(out.size() <= kChecksumAt);
  out.resize(kChecksumAt);
  put_hash(out, xxh3_128(out));
  return out;
}

Result<SegmentHeader> decode_segment_header(ByteView sector) {
  if (sector.size() < kSector || !sector.starts_with(kMagic)) {
    return fail(ErrorCode::kCorrupt, "segment header");
  }
  Reader check(sector.substr(kChecksumAt, sizeof(Hash128)));
  if (get_hash(check) != xxh3_128(sector.substr(0, kChecksumAt))) {
    return fail(ErrorCode::kCorrupt, "segment header checksum");
  }
  Reader reader(sector.substr(kMagic.size(), kChecksumAt - kMagic.size()));
  // The checksum's place is the same in every version, so a newer number is not rot.
  if (const std::uint32_t version = reader.u32(); version > kVersion) {
    return fail(ErrorCode::kMismatch, "format " + std::to_string(version) +
                                          ", this build reads up to " + std::to_string(kVersion));
  }
  reader.u32();
  SegmentHeader header;
  header.cluster = {reader.u64()};
  header.node = {reader.u64()};
  header.sequence = reader.u64();
  header.salt = reader.u64();
  header.segment_bytes = reader.u64();
  header.first_group = reader.u64();
  header.previous = get_hash(reader);
  header.gap_from = reader.u64();
  header.gap_why = reader.bytes();
  const bool sizes = header.segment_bytes % kPage == 0 && header.segment_bytes > kSegmentOverhead &&
                     header.segment_bytes <= kSegmentBytesMax && header.first_group > 0;
  if (!reader.ok() || !sizes) return fail(ErrorCode::kCorrupt, "segment header");
  return header;
}

// ---- records ------------------------------------------------------------------------------------

//   type (1)  head: varint size, bytes  body: varint size + 1 (0: no body), bytes
void append_record(std::string& body, const Record& record) {
  put_u8(body, static_cast<std::uint8_t>(record.type));
  put_bytes(body, record.head);
  if (record.body == nullptr) {
    put_varint(body, 0);
  } else {
    put_varint(body, record.body->size() + 1);
    body.append(*record.body);
  }
}

std::size_t encoded_bytes(const Record& record) {
  const std::size_t varints = 2 * 5;  // a group is far below 2^35 bytes
  return 1 + varints + record.head.size() + (record.body == nullptr ? 0 : record.body->size());
}

Result<std::vector<RecoveredRecord>> records_of(const Group& group) {
  Reader reader(group.body);
  std::vector<RecoveredRecord> records;
  if (!reader.plausible(group.records, 3)) return fail(ErrorCode::kCorrupt, "record count");
  records.reserve(group.records);
  for (std::uint32_t i = 0; i < group.records; ++i) {
    RecoveredRecord record;
    record.type = static_cast<RecordType>(reader.u8());
    record.head = reader.bytes();
    if (const std::uint64_t size = reader.varint(); size > 0) {
      record.body = shared_bytes(std::string(reader.raw(size - 1)));
    }
    record.position = group.number;
    records.push_back(std::move(record));
  }
  // The checksum held, so this is not rot: the writer and the reader disagree.
  if (!reader.done()) return fail(ErrorCode::kCorrupt, "records of a whole group");
  return records;
}

// ---- groups -------------------------------------------------------------------------------------

//   0  header checksum, XXH3-64 salted, of the 56 bytes behind it
//   8  number   16 durable   24 body bytes (4)   28 records (4)   32 previous digest
//  48  body checksum, XXH3-128 salted
Hash128 finish_group(std::string& buffer, const GroupFields& fields, std::uint64_t salt) {
  CAPSTAN_ASSERT(buffer.size() >= kGroupHeaderBytes);
  const ByteView body = ByteView(buffer).substr(kGroupHeaderBytes);
  std::string header(sizeof(std::uint64_t), '\0');
  put_u64(header, fields.number);
  put_u64(header, fields.durable);
  put_u32(header, static_cast<std::uint32_t>(body.size()));
  put_u32(header, fields.records);
  put_hash(header, fields.previous);
  put_hash(header, xxh3_128(body, salt));
  CAPSTAN_ASSERT(header.size() == kGroupHeaderBytes);
  const std::uint64_t check = xxh3(ByteView(header).substr(sizeof check), salt);
  std::memcpy(header.data(), &check, sizeof check);
  std::ranges::copy(header, buffer.begin());
  buffer.resize((buffer.size() + kSector - 1) / kSector * kSector);
  return xxh3_128(header, salt);
}

Found group_at(ByteView image, std::size_t offset, std::uint64_t salt) {
  Found found;
  if (offset > image.size() || image.size() - offset < kGroupHeaderBytes) return found;
  const ByteView header = image.substr(offset, kGroupHeaderBytes);
  Reader reader(header);
  if (reader.u64() != xxh3(header.substr(sizeof(std::uint64_t)), salt)) return found;
  Group group;
  group.number = reader.u64();
  group.durable = reader.u64();
  const std::size_t size = reader.u32();
  group.records = reader.u32();
  group.previous = get_hash(reader);
  const Hash128 body_check = get_hash(reader);
  group.digest = xxh3_128(header, salt);
  group.sectors_bytes = (kGroupHeaderBytes + size + kSector - 1) / kSector * kSector;
  const ByteView rest = image.substr(offset + kGroupHeaderBytes);
  if (size <= rest.size() && xxh3_128(rest.substr(0, size), salt) == body_check) {
    group.body = rest.substr(0, size);
    found.whole = true;
  }
  found.header = group;
  return found;
}

}  // namespace capstan::wal
