#include "lab/sides.h"

#include <algorithm>

#include "core/check.h"
#include "net/faults.h"

namespace capstan::lab {
namespace {

std::size_t nodes_in(const Sides& sides) {
  std::size_t count = 0;
  for (const Side& side : sides) count += side.size();
  return count;
}

}  // namespace

std::string node_name(std::uint32_t node) { return "n" + std::to_string(node + 1); }

Result<Sides> parse_sides(std::string_view text, std::uint32_t nodes) {
  std::vector<std::string> names;
  for (std::uint32_t node = 0; node < nodes; ++node) names.push_back(node_name(node));
  const Result<net::Cut> cut = net::parse_cut(text, names);
  if (!cut) return std::unexpected(cut.error());
  Sides sides;
  for (const std::vector<std::string>& named : cut->sides) {
    Side& side = sides.emplace_back();
    for (const std::string& name : named) {
      side.push_back(static_cast<std::uint32_t>(std::ranges::find(names, name) - names.begin()));
    }
    std::ranges::sort(side);
  }
  if (nodes_in(sides) != nodes) {
    return fail(ErrorCode::kInvalid, "every node is on one side, and there are " +
                                         std::to_string(nodes) +
                                         "; like this: " + cut_text(first_alone(nodes)));
  }
  return sides;
}

Sides first_alone(std::uint32_t nodes) {
  Sides sides{{0}, {}};
  for (std::uint32_t node = 1; node < nodes; ++node) sides[1].push_back(node);
  return sides;
}

std::size_t side_of(const Sides& sides, std::uint32_t node) {
  const auto found = std::ranges::find_if(
      sides, [&](const Side& side) { return std::ranges::find(side, node) != side.end(); });
  CAPSTAN_ASSERT(found != sides.end());
  return static_cast<std::size_t>(found - sides.begin());
}

std::optional<std::size_t> majority_side(const Sides& sides) {
  const std::size_t nodes = nodes_in(sides);
  for (std::size_t i = 0; i < sides.size(); ++i) {
    if (2 * sides[i].size() > nodes) return i;
  }
  return std::nullopt;
}

Side cut_off(const Sides& sides) {
  const std::optional<std::size_t> majority = majority_side(sides);
  Side nodes;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    if (i != majority) nodes.insert(nodes.end(), sides[i].begin(), sides[i].end());
  }
  return nodes;
}

std::string names_of(const Side& side, std::string_view between) {
  std::string text;
  for (std::uint32_t node : side) {
    if (!text.empty()) text += between;
    text += node_name(node);
  }
  return text;
}

std::string to_text(const Sides& sides) {
  std::string text;
  for (const Side& side : sides) text += (text.empty() ? "" : " | ") + names_of(side);
  return text;
}

std::string cut_text(const Sides& sides, std::string_view between) {
  std::string text;
  for (const Side& side : sides) {
    if (!text.empty()) text += between;
    text += names_of(side, ",");
  }
  return text;
}

}  // namespace capstan::lab
