// The log under every crash state of its disk: for each call that reached the disk, the power goes
// there; then every subset of unsynced sectors (all of them up to ten, drawn beyond), every prefix
// of unsynced names, and a second crash during recovery.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/wal.h"
#include "core/wal_format.h"
#include "tests/support/fault_fs.h"

namespace capstan {
namespace {

using test::FaultFs;

constexpr WalOptions kOptions{
    .cluster = {1}, .node = {2}, .segment_bytes = 16 * 1024, .salt_seed = 3};

// What was promised to whoever wrote to the log.
struct Promise {
  int offered = 0;       // r0 ... were given to append()
  int acknowledged = 0;  // r0 ... were synced
  int released = 0;      // r0 ... are no longer needed
};

std::string text(int i) {
  return "r" + std::to_string(i) + std::string(i % 3 == 0 ? 1500 : 20, 'c');
}

std::optional<int> number(const std::string& head) {
  const int i = std::stoi(head.substr(1));
  return head == text(i) ? std::optional(i) : std::nullopt;
}

// A start, appends, rolls, a seal, spares, releases, until `calls` calls have reached the disk;
// then nothing more does.
Promise work(FaultFs& fs, std::uint64_t calls, bool releases = true) {
  Promise promise;
  std::uint64_t count = 0;
  fs.set_hook([&, calls](const FaultFs::Call& call) -> std::optional<Error> {
    if (call.op == FaultFs::Op::kRead || call.op == FaultFs::Op::kOpen) return std::nullopt;
    if (count++ < calls) return std::nullopt;
    return Error{ErrorCode::kIo, "the power is gone"};
  });
  const auto directory = fs.directory("wal");
  Result<Wal::Recovery> log = Wal::open(*directory, kOptions);
  std::vector<std::uint64_t> positions;
  for (int i = 0; log && i < 24; ++i) {
    const Record record{RecordType::kEntry, text(i), nullptr};
    promise.offered = i + 1;
    const auto position = log->wal->append(std::span(&record, 1));
    if (!position || !log->wal->sync()) break;
    promise.acknowledged = i + 1;
    positions.push_back(*position);
    if (i % 5 == 4 && !log->wal->seal()) break;
    // Later rolls find recycled segments only.
    if (i % 4 == 3 && i < 8 && !log->wal->prepare_spares(1)) break;
    if (releases && i % 8 == 7) {
      promise.released = i - 3;
      if (!log->wal->release(positions[static_cast<std::size_t>(promise.released)])) break;
    }
  }
  fs.set_hook(nullptr);
  return promise;
}

// Opens the log and holds it to the promise. Returns how many records there are now.
void check(FaultFs& fs, const Promise& promise) {
  const auto directory = fs.directory("wal");
  Result<Wal::Recovery> log = Wal::open(*directory, kOptions);
  REQUIRE_MESSAGE(log.has_value(), (log ? "" : log.error().context));
  CHECK_MESSAGE(!log->impaired, (log->impaired ? log->impaired->why : ""));
  if (log->records.empty()) {
    CHECK(promise.acknowledged == 0);
    return;
  }
  const std::optional<int> first = number(log->records.front().head);
  REQUIRE(first.has_value());
  CHECK(*first <= promise.released);
  int next = *first;
  for (const RecoveredRecord& record : log->records) CHECK(number(record.head) == next++);
  CHECK(next >= promise.acknowledged);
  CHECK(next <= promise.offered);
}

// One crash state; then the same with another crash at some call of the recovery.
void check_state(const FaultFs& crashed, const Promise& promise, Rng& rng) {
  FaultFs fs = crashed;
  check(fs, promise);
  FaultFs again = crashed;
  std::uint64_t left = rng.below(8);
  again.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    if (call.op == FaultFs::Op::kRead || call.op == FaultFs::Op::kOpen) return std::nullopt;
    if (left-- > 0) return std::nullopt;
    left = 0;
    return Error{ErrorCode::kIo, "the power is gone again"};
  });
  {
    const auto directory = again.directory("wal");
    const auto cut_short = Wal::open(*directory, kOptions);
  }
  again.set_hook(nullptr);
  again.crash(rng);
  check(again, promise);
}

TEST_CASE(
    "wal: whatever a crash leaves, acknowledged is there, the rest a prefix, nothing is rot") {
  Rng rng{5};
  std::uint64_t states = 0;
  for (std::uint64_t cut = 0;; ++cut) {
    FaultFs fs;
    const Promise promise = work(fs, cut);
    const std::size_t sectors = fs.pending_sectors();
    const std::size_t names = fs.pending_names();
    for (std::size_t kept = 0; kept <= names; ++kept) {
      const bool all = sectors <= 8;
      const std::uint64_t masks = all ? 1ull << sectors : 48;
      for (std::uint64_t mask = 0; mask < masks; ++mask) {
        INFO("cut ", cut, " names ", kept, " mask ", mask, " of ", sectors, " sectors");
        FaultFs crashed = fs;
        if (all) {
          crashed.crash([&](std::size_t i) { return (mask >> i & 1) != 0; }, kept);
        } else {
          crashed.crash([&](std::size_t) { return rng.chance(0.5); }, kept);
        }
        check_state(crashed, promise, rng);
        ++states;
      }
    }
    if (promise.acknowledged == 24) break;
  }
  MESSAGE("crash states: ", states);
  CHECK(states > 1000);
}

TEST_CASE("wal: a durable group that rots after a crash is never cut as torn") {
  Rng rng{6};
  for (std::uint64_t cut = 20; cut < 90; cut += 3) {
    FaultFs fs;
    const Promise promise = work(fs, cut);
    if (promise.acknowledged < 3) continue;
    fs.crash(rng);
    {
      const auto opened = Wal::open(*fs.directory("wal"), kOptions);
    }  // all it shows is promised now
    for (int hit = 0; hit < 10; ++hit) {
      FaultFs rotten = fs;
      std::string name;
      for (const std::string& one : rotten.names("wal")) {
        if (one.ends_with(".wal") && (name.empty() || rng.chance(0.5))) name = one;
      }
      const std::string path = "wal/" + name;
      const std::string before = rotten.image(path);
      std::uint64_t at = 4096 + rng.below(6000);
      rotten.flip(path, at, static_cast<std::uint8_t>(1u << rng.below(8)));
      const auto directory = rotten.directory("wal");
      const auto intact = Wal::open(*fs.directory("wal"), kOptions);
      const auto log = Wal::open(*directory, kOptions);
      REQUIRE(log.has_value());
      // Either the bit was padding or beyond the end, and nothing is missing, or it was noticed.
      CHECK((log->impaired.has_value() || log->records.size() == intact->records.size()));
    }
  }
}

// Bytes of one file, somewhere: flipped, overwritten, moved, zeroed.
void spoil(std::string& image, Rng& rng) {
  const std::size_t size = 1 + static_cast<std::size_t>(rng.below(rng.chance(0.5) ? 8 : 3000));
  const auto place = [&] { return static_cast<std::size_t>(rng.below(image.size() - size)); };
  const std::size_t at = place();
  switch (rng.below(4)) {
    case 0:
      for (std::size_t i = 0; i < size; ++i) image[at + i] = static_cast<char>(rng.next());
      break;
    case 1:
      image[at] = static_cast<char>(image[at] ^ (1 << rng.below(8)));
      break;
    case 2:
      image.replace(at, size, image.substr(place() / 512 * 512, size));
      break;
    default:
      image.replace(at, size, size, '\0');
  }
}

// The last whole group of a segment.
std::size_t last_group_of(const std::string& image) {
  const std::uint64_t salt = wal::decode_segment_header(image)->salt;
  std::size_t last = 0;
  for (std::size_t at = wal::kPage;;) {
    const wal::Found found = wal::group_at(image, at, salt);
    if (!found.whole) return last;
    last = at;
    at += found.header->sectors_bytes;
  }
}

TEST_CASE("wal: spoilt in any way, a sealed log loses nothing unnoticed and makes nothing up") {
  Rng rng{9};
  FaultFs whole;
  const Promise promise = work(whole, ~0ull, false);
  {
    const auto directory = whole.directory("wal");
    const auto log = Wal::open(*directory, kOptions);
    REQUIRE(log->wal->seal().has_value());
  }
  std::vector<std::string> segments;
  for (const std::string& name : whole.names("wal")) {
    if (name.ends_with(".wal")) segments.push_back("wal/" + name);
  }
  REQUIRE(segments.size() >= 2);
  // The seal is the proof; nothing can be known if rot takes it too.
  const std::size_t seal_at = last_group_of(whole.image(segments.back()));
  const std::string seal = whole.image(segments.back()).substr(seal_at, wal::kGroupHeaderBytes);
  int noticed = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    INFO("round ", round);
    FaultFs fs = whole;
    for (std::uint64_t hits = 1 + rng.below(3); hits > 0; --hits) {
      const std::string& path = segments[rng.below(segments.size())];
      std::string image = fs.image(path);
      spoil(image, rng);
      if (path == segments.back()) image.replace(seal_at, seal.size(), seal);
      fs.set_image(path, image);
    }
    const auto directory = fs.directory("wal");
    const auto log = Wal::open(*directory, kOptions);
    if (!log) {
      CHECK(log.error().code == ErrorCode::kMismatch);
      ++refused;
      continue;
    }
    noticed += log->impaired.has_value();
    std::optional<int> before;
    for (const RecoveredRecord& record : log->records) {
      const std::optional<int> now = number(record.head);
      REQUIRE(now.has_value());
      if (before) CHECK(*now == *before + 1);
      before = now;
    }
    CHECK((log->impaired || before == promise.offered - 1));
    for (const RecoveredRecord& record : log->salvaged) CHECK(number(record.head).has_value());
  }
  CHECK(noticed > 1000);
  CHECK(refused == 0);
}

TEST_CASE("wal: after a failed sync the next start believes the disk, not the page cache") {
  FaultFs fs;
  bool fail_syncs = false;
  fs.set_hook([&](const FaultFs::Call& call) -> std::optional<Error> {
    if (fail_syncs && call.op == FaultFs::Op::kSync) return Error{ErrorCode::kIo, "EIO"};
    return std::nullopt;
  });
  {
    const auto directory = fs.directory("wal");
    auto log = Wal::open(*directory, kOptions);
    REQUIRE(log.has_value());
    const Record record{RecordType::kEntry, "lost", nullptr};
    REQUIRE(log->wal->append(std::span(&record, 1)).has_value());
    fail_syncs = true;
    CHECK(!log->wal->sync().has_value());
  }
  fail_syncs = false;
  fs.kill();
  const auto directory = fs.directory("wal");
  const auto log = Wal::open(*directory, kOptions);
  REQUIRE(log.has_value());
  CHECK(log->records.empty());
  CHECK(!log->impaired);
}

}  // namespace
}  // namespace capstan
