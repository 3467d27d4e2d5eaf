#include "net/faults.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace capstan::net {
namespace {

const std::vector<std::string> kThree = {"n1", "n2", "n3"};
const std::vector<std::string> kFive = {"n1", "n2", "n3", "n4", "n5"};

std::string text_of(const Cut& cut) {
  std::string out;
  for (const DirectedDrop& drop : cut.drops) out += drop.from + '>' + drop.to + ' ';
  return out;
}

TEST_CASE("cut: sides are parted by slashes, names by commas, blanks mean nothing") {
  for (const char* text : {"n1 / n2,n3", "n1/n2,n3", " n1 /n3 , n2 ", "n1\t/ n2,n3"}) {
    CAPTURE(text);
    const Result<Cut> cut = parse_cut(text, kThree);
    REQUIRE(cut);
    CHECK(text_of(*cut) == "n1>n2 n1>n3 n2>n1 n3>n1 ");
    CHECK(cut->notes.empty());
  }
}

TEST_CASE("cut: three sides are cut from each other, both ways") {
  const Result<Cut> cut = parse_cut("n1,n2 / n3,n4 / n5", kFive);
  REQUIRE(cut);
  CHECK(cut->drops.size() == 2 * (4 + 2 + 2));
  CHECK(cut->sides.size() == 3);
  CHECK(cut->notes.empty());
}

TEST_CASE("cut: who is named on no side still reaches both, and that is said") {
  const Result<Cut> one = parse_cut("n1 / n2", kThree);
  REQUIRE(one);
  CHECK(text_of(*one) == "n1>n2 n2>n1 ");
  REQUIRE(one->notes.size() == 1);
  CHECK(one->notes[0] ==
        "not a partition: n3 still reaches n1 and n2. To isolate n1: capstan lab cut n1 / n2,n3");
  const Result<Cut> two = parse_cut("n1,n2 / n3", kFive);
  REQUIRE(two);
  CHECK(two->notes.at(0) ==
        "not a partition: n4 and n5 still reach n1, n2 and n3. To isolate n1 and n2: capstan lab "
        "cut n1,n2 / n3,n4,n5");
}

TEST_CASE("cut: what makes no sense is answered with a sentence that shows the way") {
  struct Row {
    const char* text;
    const char* says;
  };
  const Row rows[] = {
      {"n1", "a cut needs two sides, parted by a slash; like this: capstan lab cut n1 / n2,n3"},
      {"", "empty side or name"},
      {"n1 /", "empty side or name; like this: capstan lab cut n1 / n2,n3"},
      {"/ n1", "empty side or name"},
      {"n1 / n2,,n3", "empty side or name"},
      {"n1 / n4", "no node is called \"n4\"; there are n1, n2 and n3"},
      {"n1,n2 / n2,n3", "n2 is named twice; a node is on one side only"},
      {"n1 n2 / n3", "no node is called \"n1 n2\""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<Cut> cut = parse_cut(row.text, kThree);
    REQUIRE(!cut);
    CHECK(cut.error().code == ErrorCode::kInvalid);
    CHECK(cut.error().context.find(row.says) != std::string::npos);
  }
}

TEST_CASE("oneway: frames of the first to the second are dropped, nothing else") {
  for (const char* text : {"n1 n2", "n1 > n2", "n1>n2", "  n1   n2 "}) {
    CAPTURE(text);
    const Result<Cut> cut = parse_oneway(text, kThree);
    REQUIRE(cut);
    CHECK(text_of(*cut) == "n1>n2 ");
    CHECK(cut->notes.at(0) == "one direction of one link: n2 does not hear n1; n3 hears both");
  }
  CHECK(parse_oneway("n1 n1", kThree).error().context.find("itself") != std::string::npos);
  CHECK(!parse_oneway("n1", kThree));
  CHECK(!parse_oneway("n1 n2 n3", kThree));
  CHECK(!parse_oneway("n1 n9", kThree));
}

TEST_CASE("cut: each node's part names its own links and directions") {
  const Cut cut = parse_cut("n1 / n2,n3", kThree).value();
  const std::vector<NamedFault> first = faults_of(cut, "n1"), second = faults_of(cut, "n2");
  REQUIRE(first.size() == 2);
  CHECK(first[0].peer == "n2");
  CHECK((first[0].drop_in && first[0].drop_out));
  REQUIRE(second.size() == 1);
  CHECK(second[0].peer == "n1");
  const Cut oneway = parse_oneway("n1 n2", kThree).value();
  CHECK((!faults_of(oneway, "n1")[0].drop_in && faults_of(oneway, "n1")[0].drop_out));
  CHECK((faults_of(oneway, "n2")[0].drop_in && !faults_of(oneway, "n2")[0].drop_out));
  CHECK(faults_of(oneway, "n3").empty());
}

TEST_CASE("faults: each has a direction and an end, and a new set replaces the old") {
  Faults faults;
  CHECK(!faults.drops_in(MemberId{2}, 0));
  faults.replace({{MemberId{2}, true, false, 100}, {MemberId{3}, true, true, 200}});
  CHECK(faults.drops_in(MemberId{2}, 99));
  CHECK(!faults.drops_out(MemberId{2}, 99));
  CHECK(!faults.drops_in(MemberId{2}, 100));
  CHECK(faults.drops_out(MemberId{3}, 199));
  CHECK(faults.show(99).size() == 2);
  CHECK(faults.show(150).size() == 1);
  CHECK(faults.show(200).empty());
  faults.replace({{MemberId{1}, true, true, 300}});
  CHECK(!faults.drops_in(MemberId{3}, 150));
  faults.heal();
  CHECK(!faults.drops_in(MemberId{1}, 150));
}

}  // namespace
}  // namespace capstan::net
