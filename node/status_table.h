// What every node said, as one picture: the table of `capstan status`, its sides and its verdict.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/request.h"

namespace capstan::node {

struct NodeView {
  std::string name;
  std::string address;  // of its client port; empty: not known
  std::optional<StatusResult> status;
  std::string why;  // without a status: the reason, short ("no answer")
};

// The sides of a split, by who reaches whom: nodes are on one side when each reaches the other,
// directly or through others. One side: no split. Nodes that did not answer are on none.
//   returns   the number of each node's side, from 0; -1 for no answer
std::vector<int> sides_of(const std::vector<NodeView>& nodes);

// NODE ADDRESS STATE REACHES ... and the sentences below it.
std::string status_table(const std::vector<NodeView>& nodes);
// Tab-separated, no header: name, address, state, reaches, term, applied, side.
std::string status_plain(const std::vector<NodeView>& nodes);

}  // namespace capstan::node
