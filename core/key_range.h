// etcd's key ranges, and what a range request does with the keys it finds: filter, sort, limit.
// Both engines read through this, so a range means the same in both modes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "core/request.h"

namespace capstan {

// [from, to) in bytes; `to` empty: no end.
struct KeyBounds {
  std::string from;
  std::string to;
  bool single = false;  // exactly `from`

  explicit KeyBounds(const KeyRange& range);
  bool empty() const { return !to.empty() && from >= to; }
  bool contains(ByteView key) const { return key >= from && (to.empty() || key < to); }
};

// Is this key within the request's bounds on mod and create revision?
bool passes_filters(const RangeRequest& request, const KeyValue& kv);
// Are the rows wanted in another order than that of their keys?
bool wants_sort(const RangeRequest& request);
// How many of the rows found, in key order, can matter: one more than the limit shows that there
// are more.
std::size_t rows_to_keep(const RangeRequest& request);
// The request's order; equal rows stay in the order of their keys.
bool comes_before(const RangeRequest& request, const KeyValue& a, const KeyValue& b);

// Sorts and limits what passed the filters, in key order, as etcd does: filters, then sort, then
// limit. `kv` names the KeyValue of a row. Returns whether the limit left any out.
template <class Row, class Kv>
bool sort_and_limit(const RangeRequest& request, std::vector<Row>& rows, Kv kv) {
  if (wants_sort(request)) {
    std::ranges::stable_sort(
        rows, [&](const KeyValue& a, const KeyValue& b) { return comes_before(request, a, b); },
        kv);
  }
  if (request.limit <= 0 || rows.size() <= static_cast<std::size_t>(request.limit)) return false;
  rows.erase(rows.begin() + request.limit, rows.end());
  return true;
}

}  // namespace capstan
