#include "node/status_table.h"

#include <algorithm>
#include <set>

#include "node/terminal.h"

namespace capstan::node {
namespace {

const PeerStatus* peer_in(const NodeView& node, const std::string& name) {
  if (!node.status) return nullptr;
  const auto it = std::ranges::find(node.status->peers, name, &PeerStatus::name);
  return it == node.status->peers.end() ? nullptr : &*it;
}

bool reaches(const NodeView& from, const NodeView& to) {
  const PeerStatus* peer = peer_in(from, to.name);
  return peer != nullptr && (peer->self || peer->reachable);
}

std::string side_letter(int side) {
  return side < 0 ? "?" : std::string(1, static_cast<char>('A' + side % 26));
}

std::vector<std::string> reached_names(const NodeView& node) {
  std::vector<std::string> out;
  for (const PeerStatus& peer : node.status->peers) {
    if (!peer.self && peer.reachable) out.push_back(peer.name);
  }
  return out;
}

std::string joined(const std::vector<std::string>& names, const std::string& none) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
  return out.empty() ? none : out;
}

int side_count(const std::vector<int>& sides) {
  return sides.empty() ? 0 : *std::ranges::max_element(sides) + 1;
}

struct Row {
  std::vector<std::string> cells;
};

std::string aligned(const std::vector<Row>& rows, const std::set<std::size_t>& right) {
  std::vector<std::size_t> widths(rows.front().cells.size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      widths[i] = std::max(widths[i], row.cells[i].size());
    }
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const std::string pad(widths[i] - row.cells[i].size(), ' ');
      if (i > 0) line += "  ";
      line += right.contains(i) ? pad + row.cells[i] : row.cells[i] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

Mode mode_of(const std::vector<NodeView>& nodes) {
  for (const NodeView& node : nodes) {
    if (node.status) return node.status->mode;
  }
  return Mode::kCp;
}

Row row_of(const NodeView& node, int side, bool split) {
  if (!node.status) {
    return {{node.name, node.address.empty() ? "-" : node.address,
             node.why.empty() ? "no answer" : node.why, "-", "-", "-", "?"}};
  }
  const StatusResult& s = *node.status;
  const bool ap = s.mode == Mode::kAp;
  return {{node.name, node.address, s.role, joined(reached_names(node), "nobody"),
           std::to_string(ap ? s.conflicts : s.term),
           std::to_string(ap ? s.revision.value : s.applied), split ? side_letter(side) : "-"}};
}

// "n1 has reached nobody for 4.1 s", for nodes that miss someone.
std::string lonely_lines(const std::vector<NodeView>& nodes) {
  std::string out;
  for (const NodeView& node : nodes) {
    if (!node.status || node.status->alone_for < 0) continue;
    std::vector<std::string> missing;
    for (const PeerStatus& peer : node.status->peers) {
      if (!peer.self && !peer.reachable) missing.push_back(peer.name);
    }
    if (missing.empty()) continue;
    const bool nobody = missing.size() + 1 == node.status->peers.size();
    out += node.name + " has " + (nobody ? "reached nobody" : "not reached " + listed(missing)) +
           " for " + duration_text(node.status->alone_for) + "\n";
  }
  return out;
}

// "n1 and n2 do not hear each other, n3 hears both: not a partition", for a cut that a third
// bridges.
std::string bridge_lines(const std::vector<NodeView>& nodes) {
  const auto cut_off = [](const NodeView& from, const NodeView& to) {
    return from.status && !reaches(from, to);
  };
  std::string out;
  for (std::size_t a = 0; a < nodes.size(); ++a) {
    for (std::size_t b = a + 1; b < nodes.size(); ++b) {
      if (!cut_off(nodes[a], nodes[b]) && !cut_off(nodes[b], nodes[a])) continue;
      std::vector<std::string> bridges;
      for (const NodeView& third : nodes) {
        if (&third == &nodes[a] || &third == &nodes[b] || !third.status) continue;
        if (reaches(third, nodes[a]) && reaches(third, nodes[b])) bridges.push_back(third.name);
      }
      if (bridges.empty()) continue;
      out += nodes[a].name + " and " + nodes[b].name + " do not hear each other, but " +
             listed(bridges) + (bridges.size() == 1 ? " hears" : " hear") +
             " both: not a partition\n";
    }
  }
  return out;
}

bool all_equal(const std::vector<NodeView>& nodes) {
  const StatusResult* first = nullptr;
  for (const NodeView& node : nodes) {
    if (!node.status) return false;
    const StatusResult& s = *node.status;
    if (s.role == "witness") continue;
    if (first == nullptr) first = &s;
    const bool same =
        s.mode == Mode::kAp
            ? s.vector_text == first->vector_text && s.digest_text == first->digest_text
            : s.revision == first->revision && s.applied == first->applied;
    if (!same) return false;
  }
  return first != nullptr;
}

std::string verdict(const std::vector<NodeView>& nodes, const std::vector<int>& sides) {
  int answered = 0;
  const StatusResult* best = nullptr;
  for (const NodeView& node : nodes) {
    if (!node.status) continue;
    ++answered;
    if (best == nullptr || node.status->reachable > best->reachable) best = &*node.status;
  }
  if (best == nullptr) return "nobody answered\n";
  const int all = static_cast<int>(nodes.size());
  std::string out{to_text(best->mode)};
  if (best->mode == Mode::kCp) {
    out +=
        "  " + std::to_string(best->reachable) + " of " + std::to_string(best->voters) + " voters";
    const int spare = best->reachable - best->quorum;
    if (spare < 0) {
      out += ", no quorum: nothing can be written";
    } else {
      out += ", tolerates " + std::to_string(spare) + (spare == 1 ? " failure" : " failures");
    }
  } else {
    out += "  " + std::to_string(answered) + " of " + std::to_string(all) + " replicas answer";
  }
  if (side_count(sides) > 1) {
    out += "   PARTITION:";
    for (int side = 0; side < side_count(sides); ++side) {
      out += side == 0 ? " " : " | ";
      std::string names;
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (sides[i] == side) names += (names.empty() ? "" : " ") + nodes[i].name;
      }
      out += names;
    }
  }
  const bool same = all_equal(nodes) && (best->mode == Mode::kAp || side_count(sides) == 1);
  out += same ? "   all equal" : best->mode == Mode::kAp && answered == all ? "   they differ" : "";
  return out + "\n";
}

}  // namespace

std::vector<int> sides_of(const std::vector<NodeView>& nodes) {
  std::vector<int> sides(nodes.size(), -1);
  int next = 0;
  for (std::size_t first = 0; first < nodes.size(); ++first) {
    if (!nodes[first].status || sides[first] >= 0) continue;
    std::vector<std::size_t> waiting{first};
    sides[first] = next;
    while (!waiting.empty()) {
      const std::size_t at = waiting.back();
      waiting.pop_back();
      for (std::size_t other = 0; other < nodes.size(); ++other) {
        if (sides[other] >= 0 || !nodes[other].status) continue;
        if (!reaches(nodes[at], nodes[other]) || !reaches(nodes[other], nodes[at])) continue;
        sides[other] = next;
        waiting.push_back(other);
      }
    }
    ++next;
  }
  return sides;
}

std::string status_table(const std::vector<NodeView>& nodes) {
  const std::vector<int> sides = sides_of(nodes);
  const bool ap = mode_of(nodes) == Mode::kAp;
  std::vector<Row> rows{{{"NODE", "ADDRESS", "STATE", "REACHES", ap ? "CONFLICTS" : "TERM",
                          ap ? "UPDATES" : "APPLIED", "SIDE"}}};
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    rows.push_back(row_of(nodes[i], sides[i], side_count(sides) > 1));
  }
  std::string out =
      aligned(rows, {4, 5}) + verdict(nodes, sides) + lonely_lines(nodes) + bridge_lines(nodes);
  std::set<std::string> told;
  for (const NodeView& node : nodes) {
    if (!node.status) continue;
    for (const std::string& error : node.status->errors) {
      if (error == "no leader") continue;  // STATE and the sentence about the quorum say it
      const bool names_itself = error.starts_with("lab: ") || error.starts_with(node.name + " ");
      const std::string line = names_itself ? error : node.name + ": " + error;
      if (told.insert(line).second) out += line + "\n";
    }
  }
  return out;
}

std::string status_plain(const std::vector<NodeView>& nodes) {
  const std::vector<int> sides = sides_of(nodes);
  std::string out;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Row row = row_of(nodes[i], sides[i], side_count(sides) > 1);
    for (std::size_t c = 0; c < row.cells.size(); ++c) out += (c == 0 ? "" : "\t") + row.cells[c];
    out += "\n";
  }
  return out;
}

}  // namespace capstan::node
