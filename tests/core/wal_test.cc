#include "core/wal.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "core/wal_format.h"
#include "tests/support/fault_fs.h"

namespace capstan {
namespace {

using test::FaultFs;

constexpr WalOptions kOptions{
    .cluster = {7}, .node = {9}, .segment_bytes = 64 * 1024, .salt_seed = 1};
const std::string kFirst = "wal/0000000000000001.wal";
const std::string kSecond = "wal/0000000000000002.wal";

Record record(std::string text) {
  return {.type = RecordType::kEntry, .head = text, .body = shared_bytes("body of " + text)};
}

// Opened or failing the test.
Wal::Recovery reopened(Directory& directory, WalOptions options = kOptions) {
  Result<Wal::Recovery> log = Wal::open(directory, options);
  REQUIRE_MESSAGE(log.has_value(), (log ? "" : log.error().context));
  return *std::move(log);
}

std::vector<std::string> heads(const std::vector<RecoveredRecord>& records) {
  std::vector<std::string> heads;
  for (const RecoveredRecord& one : records) {
    CHECK(*one.body == "body of " + one.head);
    heads.push_back(one.head);
  }
  return heads;
}

std::uint64_t append(Wal& wal, std::string text, bool sync = true) {
  const Record one = record(std::move(text));
  const Result<std::uint64_t> position = wal.append(std::span(&one, 1));
  REQUIRE(position.has_value());
  if (sync) REQUIRE(wal.sync().has_value());
  return *position;
}

std::vector<std::string> numbered(int from, int to) {
  std::vector<std::string> out;
  for (int i = from; i < to; ++i) out.push_back("r" + std::to_string(i));
  return out;
}

// A disk with a log of groups r0 ... r(count-1), each synced, no seal.
FaultFs disk_with(int count) {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  Wal::Recovery log = reopened(*directory);
  for (int i = 0; i < count; ++i) append(*log.wal, "r" + std::to_string(i));
  return fs;
}

// Where the groups of a segment start, by the salt in its header.
std::vector<std::size_t> group_offsets(const std::string& image) {
  const std::uint64_t salt = wal::decode_segment_header(image)->salt;
  std::vector<std::size_t> offsets;
  for (std::size_t at = wal::kPage;;) {
    const wal::Found found = wal::group_at(image, at, salt);
    if (!found.whole) return offsets;
    offsets.push_back(at);
    at += found.header->sectors_bytes;
  }
}

TEST_CASE("wal: what was synced comes back in order, across many starts") {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  int count = 0;
  for (int start = 0; start < 5; ++start) {
    Wal::Recovery log = reopened(*directory);
    CHECK(log.fresh == (start == 0));
    CHECK(!log.impaired);
    CHECK(heads(log.records) == numbered(0, count));
    for (int i = 0; i < 7; ++i) append(*log.wal, "r" + std::to_string(count++));
  }
}

TEST_CASE("wal: records keep their type, head, body and the difference between empty and none") {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  {
    Wal::Recovery log = reopened(*directory);
    const Record records[] = {{RecordType::kHardState, "vote", nullptr},
                              {RecordType::kDelta, "", shared_bytes("")},
                              {RecordType::kMark, std::string("\0x", 2), shared_bytes("z")}};
    REQUIRE(log.wal->append(records).has_value());
    REQUIRE(log.wal->sync().has_value());
  }
  const Wal::Recovery log = reopened(*directory);
  REQUIRE(log.records.size() == 3);
  CHECK(log.records[0].type == RecordType::kHardState);
  CHECK(log.records[0].head == "vote");
  CHECK(log.records[0].body == nullptr);
  CHECK(log.records[1].type == RecordType::kDelta);
  CHECK(log.records[1].body->empty());
  CHECK(log.records[2].head == std::string("\0x", 2));
  CHECK(log.records[2].position == 1);
}

TEST_CASE("wal: a log cut after any byte gives exactly the whole groups before the cut") {
  const FaultFs whole = disk_with(6);
  const std::string image = whole.image(kFirst);
  const std::vector<std::size_t> offsets = group_offsets(image);
  REQUIRE(offsets.size() == 6);
  const std::size_t end = offsets.back() + 2 * wal::kSector;
  for (std::size_t size = wal::kSector; size <= end; ++size) {
    INFO("cut after ", size);
    FaultFs fs = whole;
    fs.set_image(kFirst, image.substr(0, size));
    int want = 0;
    while (want < 6) {
      const std::size_t at = offsets[static_cast<std::size_t>(want)];
      const wal::Found found =
          wal::group_at(image.substr(0, size), at, wal::decode_segment_header(image)->salt);
      if (!found.whole) break;
      ++want;
    }
    const auto directory = fs.directory("wal");
    Wal::Recovery log = reopened(*directory);
    CHECK(heads(log.records) == numbered(0, want));
    CHECK(!log.impaired);
    append(*log.wal, "after");  // and it can go on
    log = reopened(*directory);
    std::vector<std::string> expected = numbered(0, want);
    expected.push_back("after");
    CHECK(heads(log.records) == expected);
  }
}

TEST_CASE("wal: a log without its header is impaired, not empty") {
  FaultFs fs = disk_with(3);
  fs.set_image(kFirst, fs.image(kFirst).substr(0, wal::kSector - 1));
  const auto directory = fs.directory("wal");
  const Wal::Recovery log = reopened(*directory);
  REQUIRE(log.impaired.has_value());
  CHECK(log.impaired->position == 1);
  CHECK(log.records.empty());
}

TEST_CASE("wal: one bad copy of a segment's header is made good by the other") {
  for (const bool front : {true, false}) {
    FaultFs fs = disk_with(3);
    fs.flip(kFirst, front ? 40 : kOptions.segment_bytes - 30, 0x10);
    const auto directory = fs.directory("wal");
    const Wal::Recovery log = reopened(*directory);
    CHECK(!log.impaired);
    CHECK(heads(log.records) == numbered(0, 3));
  }
}

TEST_CASE("wal: a flipped bit in any group but the last is rot, and never a shorter log") {
  const FaultFs whole = disk_with(5);
  const std::string image = whole.image(kFirst);
  const std::vector<std::size_t> offsets = group_offsets(image);
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    for (std::size_t byte = 0; byte < wal::kGroupHeaderBytes + 10; ++byte) {
      INFO("group ", g + 1, " byte ", byte);
      FaultFs fs = whole;
      fs.flip(kFirst, offsets[g] + byte, static_cast<std::uint8_t>(1u << (byte % 8)));
      const auto directory = fs.directory("wal");
      const Wal::Recovery log = reopened(*directory);
      REQUIRE(log.impaired.has_value());
      CHECK(log.impaired->position == g + 1);
      CHECK(heads(log.records) == numbered(0, static_cast<int>(g)));
      CHECK(heads(log.salvaged) == numbered(static_cast<int>(g) + 1, 5));
    }
  }
}

TEST_CASE("wal: a bad last group is torn while nothing proves it, and rot once it is sealed") {
  for (const bool sealed : {false, true}) {
    FaultFs fs = disk_with(0);
    {
      const auto directory = fs.directory("wal");
      Wal::Recovery log = reopened(*directory);
      for (int i = 0; i < 3; ++i) append(*log.wal, "r" + std::to_string(i));
      if (sealed) REQUIRE(log.wal->seal().has_value());
    }
    const std::vector<std::size_t> offsets = group_offsets(fs.image(kFirst));
    fs.flip(kFirst, offsets[2] + wal::kGroupHeaderBytes, 1);
    const auto directory = fs.directory("wal");
    const Wal::Recovery log = reopened(*directory);
    CHECK(heads(log.records) == numbered(0, 2));
    CHECK(log.impaired.has_value() == sealed);
    CHECK(log.torn_tail_cut == !sealed);
  }
}

TEST_CASE("wal: what was found at a start counts as durable at the next") {
  FaultFs fs = disk_with(3);
  { reopened(*fs.directory("wal")); }  // found r0..r2, told its engine
  const std::vector<std::size_t> offsets = group_offsets(fs.image(kFirst));
  fs.flip(kFirst, offsets[2] + wal::kGroupHeaderBytes, 1);
  const auto directory = fs.directory("wal");
  const Wal::Recovery log = reopened(*directory);
  CHECK(log.impaired.has_value());
}

TEST_CASE("wal: an impaired log goes on behind the gap, and is whole once the gap is released") {
  FaultFs fs = disk_with(5);
  fs.flip(kFirst, group_offsets(fs.image(kFirst))[2], 1);
  const auto directory = fs.directory("wal");
  std::uint64_t refilled = 0;
  {
    Wal::Recovery log = reopened(*directory);
    REQUIRE(log.impaired.has_value());
    CHECK(log.impaired->position == 3);
    refilled = append(*log.wal, "refilled");
    CHECK(refilled > 5);
  }
  {
    Wal::Recovery log = reopened(*directory);
    REQUIRE(log.impaired.has_value());
    CHECK(log.impaired->position == 3);
    CHECK(heads(log.records) == std::vector<std::string>{"r0", "r1", "refilled"});
    CHECK(log.records[1].position < log.impaired->position);
    CHECK(log.records[2].position == refilled);
    CHECK(heads(log.salvaged) == std::vector<std::string>{"r3", "r4"});
    REQUIRE(log.wal->release(refilled).has_value());
    append(*log.wal, "later");
  }
  const Wal::Recovery log = reopened(*directory);
  CHECK(!log.impaired);
  CHECK(heads(log.records) == std::vector<std::string>{"refilled", "later"});
}

TEST_CASE("wal: a log that rots again behind a gap names the first gap and the last") {
  FaultFs fs = disk_with(5);
  fs.flip(kFirst, group_offsets(fs.image(kFirst))[2], 1);
  const auto directory = fs.directory("wal");
  std::uint64_t second = 0;
  {
    Wal::Recovery log = reopened(*directory);
    append(*log.wal, "refilled");
    second = append(*log.wal, "will rot");
    append(*log.wal, "lost too");
  }
  const std::vector<std::string> names = fs.names("wal");
  const std::string active = "wal/" + *std::ranges::find_if(names, [&](const std::string& name) {
                               return fs.image("wal/" + name).find("will rot") != std::string::npos;
                             });
  fs.flip(active, fs.image(active).find("will rot"), 1);
  for (int start = 0; start < 2; ++start) {  // and says the same again at the next start
    CAPTURE(start);
    const Wal::Recovery log = reopened(*directory);
    REQUIRE(log.impaired.has_value());
    CHECK(log.impaired->position == 3);
    CHECK(log.impaired->last_position == second);
    CHECK(heads(log.records) == std::vector<std::string>{"r0", "r1", "refilled"});
  }
}

TEST_CASE("wal: segments roll, are released, recycled, and their old records stay dead") {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  Wal::Recovery log = reopened(*directory);
  const std::string large(6000, 'x');
  std::vector<std::uint64_t> positions;
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(std::to_string(i) + large);
    positions.push_back(append(*log.wal, texts.back()));
    if (i % 10 == 9) {
      REQUIRE(log.wal->release(positions[static_cast<std::size_t>(i) - 5]).has_value());
      CHECK(log.wal->bytes() <= 5 * kOptions.segment_bytes);
    }
    if (i % 17 == 16) {
      log = reopened(*directory);  // a crash between: nothing old comes alive
      REQUIRE(!log.impaired);
      const std::vector<std::string> found = heads(log.records);
      REQUIRE(!found.empty());
      CHECK(std::vector(texts.end() - static_cast<std::ptrdiff_t>(found.size()), texts.end()) ==
            found);
      CHECK(log.records.back().position == positions.back());
    }
  }
  CHECK(fs.names("wal").size() <= 10);
}

TEST_CASE("wal: a segment that is missing in the middle is noticed") {
  FaultFs fs;
  {
    const auto directory = fs.directory("wal");
    Wal::Recovery log = reopened(*directory);
    for (int i = 0; i < 40; ++i) append(*log.wal, std::to_string(i) + std::string(6000, 'x'));
    REQUIRE(directory->remove("0000000000000002.wal").has_value());
    REQUIRE(directory->sync().has_value());
  }
  const auto directory = fs.directory("wal");
  const Wal::Recovery log = reopened(*directory);
  REQUIRE(log.impaired.has_value());
  CHECK(log.records.back().position + 1 == log.impaired->position);
  CHECK(!log.salvaged.empty());
}

TEST_CASE("wal: a group larger than a segment gets one of its own") {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  std::vector<std::string> texts = {"small", std::string(300'000, 'L'), "small again"};
  {
    Wal::Recovery log = reopened(*directory);
    for (const std::string& text : texts) append(*log.wal, text);
    const Record huge = record(std::string(kWalGroupBytesMax, 'H'));
    const auto refused = log.wal->append(std::span(&huge, 1));
    REQUIRE(!refused.has_value());
    CHECK(refused.error().code == ErrorCode::kTooLarge);
  }
  Wal::Recovery log = reopened(*directory);
  CHECK(heads(log.records) == texts);
  REQUIRE(log.wal->release(log.wal->position()).has_value());
  log = reopened(*directory);
  CHECK(!log.impaired);
}

TEST_CASE("wal: another cluster's or node's log is refused, and so is a newer format") {
  FaultFs fs = disk_with(2);
  const auto directory = fs.directory("wal");
  for (const bool cluster : {true, false}) {
    WalOptions other = kOptions;
    (cluster ? other.cluster.value : other.node.value) = 1234;
    const auto refused = Wal::open(*directory, other);
    REQUIRE(!refused.has_value());
    CHECK(refused.error().code == ErrorCode::kMismatch);
  }
  CHECK(heads(reopened(*directory).records) == numbered(0, 2));  // nothing was touched
}

TEST_CASE("wal: a full disk refuses a group that needs a new segment, and takes it later") {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  Wal::Recovery log = reopened(*directory);
  fs.set_capacity(kOptions.segment_bytes + 1000);
  CHECK(*log.wal->prepare_spares(1) == Wal::Spares::kNoSpace);
  std::vector<std::string> texts;
  const auto text = [&](std::size_t i) { return std::to_string(i) + std::string(3000, 'f'); };
  for (;;) {
    const Record one = record(text(texts.size()));
    const auto position = log.wal->append(std::span(&one, 1));
    if (!position) {
      CHECK(position.error().code == ErrorCode::kNoSpace);
      break;
    }
    REQUIRE(log.wal->sync().has_value());
    texts.push_back(text(texts.size()));
  }
  REQUIRE(texts.size() > 5);
  CHECK(fs.names("wal").size() == 1);  // nothing half-made is left
  fs.set_capacity(4 * kOptions.segment_bytes);
  texts.push_back(text(texts.size()));
  append(*log.wal, texts.back());
  log = reopened(*directory);
  CHECK(heads(log.records) == texts);
}

TEST_CASE("wal: on a disk without room for a copy it goes on in the segment it has") {
  FaultFs fs = disk_with(4);
  fs.set_capacity(kOptions.segment_bytes);
  for (int i = 4; i < 8; ++i) {
    const auto directory = fs.directory("wal");
    Wal::Recovery log = reopened(*directory);
    CHECK(heads(log.records) == numbered(0, i));
    append(*log.wal, "r" + std::to_string(i));
    CHECK(fs.names("wal").size() == 1);
  }
}

TEST_CASE("wal: spares are whole before they count, and a roll takes one instead of making one") {
  FaultFs fs;
  const auto directory = fs.directory("wal");
  Wal::Recovery log = reopened(*directory);
  while (*log.wal->prepare_spares(2) == Wal::Spares::kFilling) {
  }
  CHECK(log.wal->spares() == 2);
  for (int i = 0; i < 15; ++i) append(*log.wal, std::to_string(i) + std::string(3000, 's'));
  CHECK(log.wal->spares() == 1);
  CHECK(fs.names("wal").size() == 3);
}

TEST_CASE("wal: unsynced groups may be lost in any order without being taken for rot") {
  Rng rng{11};
  const auto text = [](int i) { return "r" + std::to_string(i) + std::string(9000, 'u'); };
  for (int round = 0; round < 300; ++round) {
    INFO("round ", round);
    FaultFs fs;
    std::size_t synced = 0;
    std::vector<std::string> texts;
    {
      const auto directory = fs.directory("wal");
      Wal::Recovery log = reopened(*directory);
      for (int i = 0; i < 8; ++i) {  // about three a segment
        texts.push_back(text(i));
        append(*log.wal, texts.back(), false);
        if (rng.chance(0.15)) {
          REQUIRE(log.wal->sync().has_value());
          synced = texts.size();
        }
      }
    }
    fs.crash(rng);
    const auto directory = fs.directory("wal");
    const Wal::Recovery log = reopened(*directory);
    CHECK(!log.impaired);
    const std::vector<std::string> found = heads(log.records);
    CHECK(found.size() >= synced);
    CHECK(std::equal(found.begin(), found.end(), texts.begin()));
  }
}

// A whole group as the log would write it.
std::string forged_group(std::uint64_t number, Hash128 previous, std::uint64_t salt,
                         const std::string& text) {
  std::string group(wal::kGroupHeaderBytes, '\0');
  wal::append_record(group, record(text));
  wal::finish_group(
      group, {.number = number, .durable = number - 1, .records = 1, .previous = previous}, salt);
  return group;
}

TEST_CASE("wal: what a client writes cannot pass for a group, even if it knows an older salt") {
  FaultFs fs;
  std::vector<std::string> texts;
  {
    const auto directory = fs.directory("wal");
    Wal::Recovery log = reopened(*directory);
    while (!fs.has(kSecond)) {
      texts.push_back(std::to_string(texts.size()) + std::string(6000, 'x'));
      append(*log.wal, texts.back());
    }
    const std::uint64_t salt = wal::decode_segment_header(fs.image(kSecond))->salt;
    while (!fs.has("wal/0000000000000003.wal")) {
      texts.push_back(std::to_string(texts.size()) + std::string(6000, 'x'));
      append(*log.wal, texts.back());
    }
    // Padded so that the forgery starts on a sector, where the log looks for groups.
    const std::string forged = forged_group(1'000'000, {}, salt, "forged");
    Record one{RecordType::kEntry, "torn", shared_bytes(std::string(wal::kSector, 'f') + forged)};
    std::string group(wal::kGroupHeaderBytes, '\0');
    wal::append_record(group, one);
    const std::size_t pad = wal::kSector - group.find(forged) % wal::kSector;
    one.body = shared_bytes(std::string(pad, 'f') + *one.body);
    REQUIRE(log.wal->append(std::span(&one, 1)).has_value());
  }
  fs.crash([](std::size_t sector) { return sector > 1; }, 0);  // its header is lost
  const auto directory = fs.directory("wal");
  const Wal::Recovery log = reopened(*directory);
  CHECK(!log.impaired);
  CHECK(heads(log.records) == texts);
}

TEST_CASE("wal: a whole group of another history does not fit into the chain") {
  FaultFs fs = disk_with(6);
  std::string image = fs.image(kFirst);
  const std::uint64_t salt = wal::decode_segment_header(image)->salt;
  const std::vector<std::size_t> offsets = group_offsets(image);
  const Hash128 first = wal::group_at(image, offsets[0], salt).header->digest;
  const std::string other = forged_group(2, first, salt, "other");
  REQUIRE(other.size() == offsets[2] - offsets[1]);
  image.replace(offsets[1], other.size(), other);
  fs.set_image(kFirst, image);
  const auto directory = fs.directory("wal");
  const Wal::Recovery log = reopened(*directory);
  REQUIRE(log.impaired.has_value());
  CHECK(log.impaired->position == 3);
}

}  // namespace
}  // namespace capstan
