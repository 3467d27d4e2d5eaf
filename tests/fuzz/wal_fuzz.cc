// Any bytes at the decoders of the log and the identity file. Whole starts on spoilt logs are in
// tests/core/wal_crash_test.cc; they are too slow for here.
//
// Random bytes never pass a checksum, so besides the raw input each of the three also gets a forged
// file whose checksums hold, or held until one byte was changed.
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/coding.h"
#include "core/identity.h"
#include "core/wal_format.h"
#include "tests/fuzz/reached.h"
#include "tests/support/fault_fs.h"

namespace {

using namespace capstan;

constexpr std::uint64_t kSalt = 5;

// Checksums as a writer would have made them, so that only the contents are hostile.
std::string forged_group(std::uint32_t records, ByteView body) {
  std::string bytes(wal::kGroupHeaderBytes, '\0');
  bytes += body;
  (void)wal::finish_group(bytes, {.number = 1, .durable = 0, .records = records, .previous = {}},
                          kSalt);
  return bytes;
}

// A body of that many records, as a writer would have laid it out.
std::string records_around(std::uint32_t records, ByteView contents) {
  std::string body;
  for (std::uint32_t i = 0; i < records; ++i) {
    const ByteView head = contents.substr(0, contents.size() / 3);
    const ByteView rest = contents.substr(head.size());
    wal::append_record(body, {static_cast<RecordType>(i), std::string(head),
                              i % 2 == 0 ? nullptr : shared_bytes(std::string(rest))});
    contents = rest;
  }
  return body;
}

// Bytes of a valid file changed one by one: (position, value) pairs.
std::string edited(std::string bytes, ByteView edits) {
  for (; edits.size() >= 2; edits.remove_prefix(2)) {
    bytes[static_cast<std::uint8_t>(edits[0]) % bytes.size()] = edits[1];
  }
  return bytes;
}

std::string forged_header(ByteView edits) {
  const wal::SegmentHeader valid{.cluster = {7},
                                 .node = {9},
                                 .sequence = 3,
                                 .salt = kSalt,
                                 .segment_bytes = 64 * wal::kPage,
                                 .first_group = 11,
                                 .previous = {},
                                 .gap_from = 5,
                                 .gap_why = "a reason"};
  std::string bytes = edited(wal::encode(valid).substr(0, wal::kSector - sizeof(Hash128)), edits);
  const Hash128 check = xxh3_128(bytes);
  put_u64(bytes, check.low);
  put_u64(bytes, check.high);
  return bytes;
}

std::string forged_identity(ByteView edits) {
  static const std::string valid = [] {
    test::FaultFs fs;
    const auto directory = fs.directory("data");
    const Identity identity{Mode::kAp, {7}, "n1", {9}, 4, {11}, 12};
    CAPSTAN_ASSERT(store_identity(*directory, identity).has_value());
    return fs.image("data/identity");
  }();
  std::string bytes = edited(valid.substr(0, valid.size() - sizeof(std::uint64_t)), edits);
  put_u64(bytes, xxh3(bytes));
  return bytes;
}

bool decode_group(const std::string& image) {
  const wal::Found found = wal::group_at(image, 0, kSalt);
  CAPSTAN_ASSERT(!found.whole || found.header.has_value());
  if (!found.whole) return false;
  const auto records = wal::records_of(*found.header);
  if (!records) return false;
  CAPSTAN_ASSERT(records->size() == found.header->records);
  // What was read is written again as it stood, but for varints longer than they need be.
  std::string again;
  for (const RecoveredRecord& record : *records) {
    wal::append_record(again, {record.type, record.head, record.body});
  }
  CAPSTAN_ASSERT(again.size() <= found.header->body.size());
  return true;
}

bool decode_header(ByteView bytes) {
  const Result<wal::SegmentHeader> header = wal::decode_segment_header(bytes);
  if (!header) return false;
  const Result<wal::SegmentHeader> again = wal::decode_segment_header(wal::encode(*header));
  CAPSTAN_ASSERT(again.has_value());
  CAPSTAN_ASSERT(again->segment_bytes == header->segment_bytes);
  return true;
}

bool decode_identity(const std::string& bytes) {
  test::FaultFs fs;
  fs.set_image("data/identity", bytes);
  const auto directory = fs.directory("data");
  const Result<Identity> identity = load_identity(*directory);
  if (!identity) return false;
  CAPSTAN_ASSERT(store_identity(*directory, *identity).has_value());
  CAPSTAN_ASSERT(load_identity(*directory) == *identity);
  return true;
}

test::Reached groups("groups"), headers("segment headers"), identities("identities");

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const ByteView bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  const std::string raw(bytes);
  (void)decode_group(raw);
  (void)decode_header(raw);
  (void)decode_identity(raw);

  const auto spoilt = [&](std::string file) {
    if (data[1] % 4 == 0) file[data[2] % file.size()] ^= static_cast<char>(data[1]);
    return file;
  };
  const std::uint32_t records = data[0] % 8;
  const bool regular = data[0] / 8 % 2 == 0;
  const std::string body = regular ? records_around(records, bytes) : raw;
  groups.saw(decode_group(spoilt(forged_group(records, body))));
  headers.saw(decode_header(spoilt(forged_header(bytes))));
  identities.saw(decode_identity(spoilt(forged_identity(bytes))));
  return 0;
}
