#include "core/key_range.h"

#include <cstdint>

namespace capstan {
namespace {

bool within(Revision revision, std::int64_t min, std::int64_t max) {
  const auto value = static_cast<std::int64_t>(revision.value);
  return (min == 0 || value >= min) && (max == 0 || value <= max);
}

bool has_filters(const RangeRequest& request) {
  return request.min_mod_revision != 0 || request.max_mod_revision != 0 ||
         request.min_create_revision != 0 || request.max_create_revision != 0;
}

bool less(SortTarget target, const KeyValue& a, const KeyValue& b) {
  switch (target) {
    case SortTarget::kKey:
      return a.key < b.key;
    case SortTarget::kVersion:
      return a.version < b.version;
    case SortTarget::kCreate:
      return a.create_revision < b.create_revision;
    case SortTarget::kMod:
      return a.mod_revision < b.mod_revision;
    case SortTarget::kValue:
      return a.value < b.value;
  }
  return false;
}

}  // namespace

KeyBounds::KeyBounds(const KeyRange& range) : from(range.key), single(range.end.empty()) {
  if (single) {
    to = from + '\0';
  } else if (range.end.size() != 1 || range.end[0] != '\0') {
    to = range.end;
  }
}

bool passes_filters(const RangeRequest& request, const KeyValue& kv) {
  return within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision) &&
         within(kv.create_revision, request.min_create_revision, request.max_create_revision);
}

bool wants_sort(const RangeRequest& request) {
  return request.sort_order == SortOrder::kDescend || request.sort_target != SortTarget::kKey;
}

std::size_t rows_to_keep(const RangeRequest& request) {
  if (request.limit <= 0 || wants_sort(request) || has_filters(request)) return SIZE_MAX;
  return static_cast<std::size_t>(request.limit) + 1;
}

bool comes_before(const RangeRequest& request, const KeyValue& a, const KeyValue& b) {
  const bool descend = request.sort_order == SortOrder::kDescend;
  return descend ? less(request.sort_target, b, a) : less(request.sort_target, a, b);
}

}  // namespace capstan
