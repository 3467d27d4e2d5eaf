// Any bytes at the decoders of the log and the identity file. Whole starts on spoilt logs are in
// tests/core/wal_crash_test.cc; they are too slow for here.
#include <cstdint>

#include "core/check.h"
#include "core/identity.h"
#include "core/wal_format.h"
#include "tests/support/fault_fs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan;
  if (size == 0) return 0;
  const ByteView bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  (void)wal::decode_segment_header(bytes);
  (void)wal::group_at(bytes, 0, 5);
  wal::Group group;
  group.number = 1;
  group.records = data[0] % 8;
  group.body = bytes;
  const auto records = wal::records_of(group);
  CAPSTAN_ASSERT(!records || records->size() == group.records);
  test::FaultFs fs;
  fs.set_image("data/identity", std::string(bytes));
  (void)load_identity(*fs.directory("data"));
  return 0;
}
