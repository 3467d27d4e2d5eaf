#include "lab/sides.h"

#include <doctest/doctest.h>

namespace capstan::lab {
namespace {

TEST_CASE("sides: what is written is read, in the order written, and written the same again") {
  const auto sides = parse_sides("n2,n1 / n3,n4/ n5", 5);
  REQUIRE(sides.has_value());
  CHECK(*sides == Sides{{0, 1}, {2, 3}, {4}});
  CHECK(cut_text(*sides) == "n1,n2 / n3,n4 / n5");
  CHECK(cut_text(*sides, "/") == "n1,n2/n3,n4/n5");
  CHECK(to_text(*sides) == "n1 n2 | n3 n4 | n5");
  CHECK(parse_sides(cut_text(*sides, "/"), 5) == *sides);
  CHECK(parse_sides("n1 / n2,n3", 3) == first_alone(3));
}

TEST_CASE("sides: a node left out, named twice or unknown is an error, and so is a single side") {
  for (const char* text : {"n1 / n2", "n1 / n2,n3,n2", "n1 / n2,n3,n4", "n1,n2,n3", "n1 / ", ""}) {
    CAPTURE(text);
    const auto sides = parse_sides(text, 3);
    REQUIRE(!sides.has_value());
    CHECK(sides.error().code == ErrorCode::kInvalid);
  }
}

TEST_CASE("sides: a majority is more than half of all nodes; everyone else is cut off") {
  struct Row {
    Sides sides;
    std::optional<std::size_t> majority;
    Side off;
  };
  const Row rows[] = {
      {{{0}, {1, 2}}, 1, {0}},
      {{{0, 1, 2}, {3, 4}}, 0, {3, 4}},
      {{{0, 1}, {2, 3}}, std::nullopt, {0, 1, 2, 3}},  // half is not enough
      {{{0, 1}, {2, 3}, {4}}, std::nullopt, {0, 1, 2, 3, 4}},
      {{{0}, {1}, {2, 3, 4}}, 2, {0, 1}},
  };
  for (const Row& row : rows) {
    CAPTURE(to_text(row.sides));
    CHECK(majority_side(row.sides) == row.majority);
    CHECK(cut_off(row.sides) == row.off);
    for (std::size_t i = 0; i < row.sides.size(); ++i) {
      for (const std::uint32_t node : row.sides[i]) CHECK(side_of(row.sides, node) == i);
    }
  }
}

}  // namespace
}  // namespace capstan::lab
