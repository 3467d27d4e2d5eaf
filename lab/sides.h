// The sides of a cut: groups of nodes, by number, that hear each other and nobody else while it
// lasts. Every node is on exactly one.
//
//     five nodes, "n1,n2 / n3,n4 / n5"    three sides, none of them a majority of five
//     three nodes, "n1 / n2,n3"           n1 is cut off; n2 and n3 are a majority
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace capstan::lab {

using Side = std::vector<std::uint32_t>;
using Sides = std::vector<Side>;

// "n1" for node 0.
std::string node_name(std::uint32_t node);

// "n1,n2 / n3,n4 / n5", blanks anywhere, for a cluster of that many nodes.
//   errors  kInvalid, with a sentence: as net::parse_cut has them, or a node is on no side
Result<Sides> parse_sides(std::string_view text, std::uint32_t nodes);

// Node 0 on one side, all others on the other.
Sides first_alone(std::uint32_t nodes);

// The node's side, as an index into `sides`; it is on one.
std::size_t side_of(const Sides& sides, std::uint32_t node);
// The one side that holds more than half of all nodes, if there is one.
std::optional<std::size_t> majority_side(const Sides& sides);
// All nodes that are not on it, side by side: those that CP has to give up.
Side cut_off(const Sides& sides);

// Names of one side's nodes, "n2 n3"; with another text between them, "n2,n3".
std::string names_of(const Side& side, std::string_view between = " ");
// All sides in a row: "n1 | n2 n3".
std::string to_text(const Sides& sides);
// As parse_sides reads them: "n1 / n2,n3", or without blanks for a command line.
std::string cut_text(const Sides& sides, std::string_view between = " / ");

}  // namespace capstan::lab
