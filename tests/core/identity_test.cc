#include "core/identity.h"

#include <doctest/doctest.h>

#include "core/coding.h"
#include "core/hash.h"
#include "tests/support/fault_fs.h"

namespace capstan {
namespace {

using test::FaultFs;

const Identity kN1{.mode = Mode::kAp,
                   .cluster = {5},
                   .name = "n1",
                   .node = {77},
                   .incarnation = 3,
                   .member = {9},
                   .token_hash = 12};

TEST_CASE("identity: what was stored is loaded; where nothing was, nothing is found") {
  FaultFs fs;
  const auto directory = fs.directory("data");
  const Result<Identity> none = load_identity(*directory);
  REQUIRE(!none.has_value());
  CHECK(none.error().code == ErrorCode::kNotFound);
  REQUIRE(store_identity(*directory, kN1).has_value());
  CHECK(*load_identity(*directory) == kN1);
}

TEST_CASE("identity: a crash while it is replaced leaves the old one or the new one, whole") {
  Identity newer = kN1;
  newer.incarnation = 4;
  Rng rng{8};
  int old_ones = 0, new_ones = 0;
  for (int round = 0; round < 400; ++round) {
    FaultFs fs;
    REQUIRE(store_identity(*fs.directory("data"), kN1).has_value());
    std::uint64_t left = rng.below(8);
    fs.set_hook([&](const FaultFs::Call&) -> std::optional<Error> {
      if (left == 0) return Error{ErrorCode::kIo, "the power is gone"};
      --left;
      return std::nullopt;
    });
    const bool stored = store_identity(*fs.directory("data"), newer).has_value();
    fs.set_hook(nullptr);
    fs.crash(rng);
    const Result<Identity> found = load_identity(*fs.directory("data"));
    REQUIRE(found.has_value());
    CHECK((*found == newer || (!stored && *found == kN1)));
    ++(*found == newer ? new_ones : old_ones);
  }
  CHECK(old_ones > 20);
  CHECK(new_ones > 20);
}

TEST_CASE("identity: every flipped bit and every truncation is noticed") {
  FaultFs fs;
  REQUIRE(store_identity(*fs.directory("data"), kN1).has_value());
  const std::string image = fs.image("data/identity");
  for (std::size_t byte = 0; byte < image.size(); ++byte) {
    FaultFs flipped = fs;
    flipped.flip("data/identity", byte, 4);
    CHECK(load_identity(*flipped.directory("data")).error().code == ErrorCode::kCorrupt);
    flipped.set_image("data/identity", image.substr(0, byte));
    CHECK(load_identity(*flipped.directory("data")).error().code == ErrorCode::kCorrupt);
  }
}

TEST_CASE("identity: a mode that does not exist is refused, and said not to be rot") {
  FaultFs fs;
  const auto directory = fs.directory("data");
  Identity newer = kN1;
  newer.mode = static_cast<Mode>(7);
  REQUIRE(store_identity(*directory, newer).has_value());
  const Result<Identity> found = load_identity(*directory);
  REQUIRE(!found.has_value());
  CHECK(found.error().code == ErrorCode::kMismatch);
  CHECK(found.error().context.starts_with("identity: mode 7"));
}

TEST_CASE("identity: a mismatch names both sides and the way out") {
  const auto sentence = [](IdentityWanted want) {
    const Status same = check_identity(kN1, want, "/data/one");
    return same ? std::string("same") : same.error().context;
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(sentence({Mode::kAp, {5}, "n1", "", {9}, 12}) == "same");
  const std::string mode = sentence({Mode::kCp, {5}, "n1", "", {9}, 12});
  CHECK(has(mode, "--mode=ap"));
  CHECK(has(mode, "--mode=cp"));
  const std::string name = sentence({Mode::kAp, {5}, "n2", "", {9}, 12});
  CHECK(has(name, "n1"));
  CHECK(has(name, "n2"));
  const std::string cluster = sentence({Mode::kAp, {6}, "n1", "n1=10.0.0.1:2380", {9}, 12});
  CHECK(has(cluster, "another cluster"));
  CHECK(has(cluster, "n1=10.0.0.1:2380"));
  const std::string token = sentence({Mode::kAp, {5}, "n1", "", {9}, 13});
  CHECK(has(token, "token"));
  for (const std::string& one : {mode, name, cluster, token}) {
    CHECK(has(one, "/data/one"));
    CHECK(has(one, "--data-dir"));
  }
}

TEST_CASE("identity: of a CP cluster, whose members change, the list is not compared") {
  Identity cp = kN1;
  cp.mode = Mode::kCp;
  const IdentityWanted other_list{Mode::kCp, {6}, "n1", "", {}, 12};
  CHECK(check_identity(cp, other_list, "/data/one").has_value());
  cp.member = {};  // of a build that could not change them
  CHECK(!check_identity(cp, other_list, "/data/one").has_value());
}

TEST_CASE("identity: a file of the first version is read") {
  FaultFs fs;
  const auto directory = fs.directory("data");
  REQUIRE(store_identity(*directory, kN1).has_value());
  std::string image = fs.image("data/identity");
  image.resize(image.size() - 24);  // member, token and checksum
  image[8] = 1;
  put_u64(image, xxh3(image));
  fs.set_image("data/identity", image);
  Identity expected = kN1;
  expected.member = {};
  expected.token_hash = 0;
  CHECK(*load_identity(*directory) == expected);
}

}  // namespace
}  // namespace capstan
