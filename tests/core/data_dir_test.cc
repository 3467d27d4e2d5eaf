// The data directory on a real file system.
#include "core/data_dir.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "tests/support/temp_dir.h"

namespace capstan {
namespace {

DataDirOptions options(const std::string& path, std::uint64_t entropy = 1) {
  return {.path = path,
          .want = {.mode = Mode::kCp, .cluster = {4}, .name = "n1", .cluster_text = ""},
          .segment_bytes = 64 * 1024,
          .map_bytes = 1 << 26,
          .entropy = entropy};
}

ErrorCode refusal(const DataDirOptions& wanted) {
  const Result<DataDir> opened = open_data_dir(wanted);
  REQUIRE(!opened.has_value());
  return opened.error().code;
}

std::set<std::string> everything_in(const std::string& path) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    names.insert(entry.path().string());
  }
  return names;
}

TEST_CASE(
    "data directory: made once, then found again with its log, node id and a new incarnation") {
  const test::TempDir temp;
  const std::string path = temp / "a/b/data";
  NodeId node;
  {
    Result<DataDir> first = open_data_dir(options(path, 1));
    REQUIRE_MESSAGE(first.has_value(), (first ? "" : first.error().context));
    CHECK(first->fresh);
    CHECK(first->identity.incarnation == 1);
    node = first->identity.node;
    CHECK(node.value != 0);
    const Record record{RecordType::kEntry, "promised", nullptr};
    REQUIRE(first->log.wal->append(std::span(&record, 1)).has_value());
    REQUIRE(first->log.wal->sync().has_value());
    REQUIRE(first->base->commit({{Space::kMeta, "k", "v"}}).has_value());
  }
  const Result<DataDir> second = open_data_dir(options(path, 2));
  REQUIRE_MESSAGE(second.has_value(), (second ? "" : second.error().context));
  CHECK(!second->fresh);
  CHECK(second->identity.node == node);
  CHECK(second->identity.incarnation == 2);
  REQUIRE(second->log.records.size() == 1);
  CHECK(second->log.records[0].head == "promised");
  CHECK(*second->base->get(Space::kMeta, "k") == "v");
}

TEST_CASE("data directory: a second process is told that it is in use") {
  const test::TempDir temp;
  const Result<DataDir> first = open_data_dir(options(temp.path()));
  REQUIRE(first.has_value());
  CHECK(refusal(options(temp.path())) == ErrorCode::kBusy);
}

TEST_CASE("data directory: of another mode, name or cluster is refused and left as it was") {
  const test::TempDir temp;
  REQUIRE(open_data_dir(options(temp.path())).has_value());
  const std::set<std::string> before = everything_in(temp.path());
  DataDirOptions wanted = options(temp.path());
  wanted.want.mode = Mode::kAp;
  CHECK(refusal(wanted) == ErrorCode::kMismatch);
  wanted = options(temp.path());
  wanted.want.name = "n2";
  CHECK(refusal(wanted) == ErrorCode::kMismatch);
  wanted = options(temp.path());
  wanted.want.cluster = {99};
  CHECK(refusal(wanted) == ErrorCode::kMismatch);
  CHECK(everything_in(temp.path()) == before);
  CHECK(open_data_dir(options(temp.path()))->identity.incarnation == 2);
}

TEST_CASE(
    "data directory: an identity without its log, or a log without its identity, is refused") {
  for (const char* lost : {"wal", "identity"}) {
    const test::TempDir temp;
    REQUIRE(open_data_dir(options(temp.path())).has_value());
    std::filesystem::remove_all(temp / lost);
    const Result<DataDir> opened = open_data_dir(options(temp.path()));
    REQUIRE(!opened.has_value());
    CHECK(opened.error().code == ErrorCode::kMismatch);
    CHECK(opened.error().context.find(temp.path()) != std::string::npos);
  }
}

TEST_CASE(
    "data directory: a first start that was cut short does not stand in the way of the next") {
  const test::TempDir temp;
  REQUIRE(open_data_dir(options(temp.path(), 1)).has_value());
  std::filesystem::remove(temp / "identity");  // as if killed just before it was written
  std::ofstream(temp / "creating").put('x');
  const Result<DataDir> opened = open_data_dir(options(temp.path(), 2));
  REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().context));
  CHECK(opened->fresh);
  CHECK(opened->log.records.empty());
  CHECK(!std::filesystem::exists(temp / "creating"));
}

TEST_CASE("posix file: uncached reads give what was written, at any offset and up to the end") {
  const test::TempDir temp;
  const auto directory = *open_directory(temp.path(), false);
  const auto file = *directory->create("f");
  std::string bytes;
  for (int i = 0; i < 30'000; ++i) bytes += static_cast<char>(i * 7 / 3);
  const ByteView parts[] = {ByteView(bytes).substr(0, 1), "", ByteView(bytes).substr(1)};
  REQUIRE(file->write(0, parts).has_value());
  CHECK(*file->size() == bytes.size());
  for (const std::size_t offset : {0u, 1u, 4095u, 4096u, 29'999u, 30'000u, 90'000u}) {
    for (const std::size_t size : {1u, 512u, 4096u, 100'000u}) {
      const std::string want = offset < bytes.size() ? bytes.substr(offset, size) : "";
      CHECK((*file->read(offset, size) == want));
      CHECK((*file->read_uncached(offset, size) == want));
    }
  }
  CHECK(directory->create("f").error().code == ErrorCode::kExists);
  CHECK(directory->open("g").error().code == ErrorCode::kNotFound);
  REQUIRE(directory->rename("f", "g").has_value());
  CHECK(*directory->list() == std::vector<std::string>{"g"});
  CHECK(directory->space()->free_bytes > 0);
}

}  // namespace
}  // namespace capstan
