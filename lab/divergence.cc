#include "lab/divergence.h"

#include <set>

namespace capstan::lab {

std::uint64_t settled_differences(const std::vector<std::unique_ptr<Dump>>& dumps, Micros settled,
                                  const std::function<Micros(const std::string& value)>& begun) {
  std::set<std::string> keys;
  for (const auto& dump : dumps) {
    if (!dump) continue;
    for (const auto& [key, stored] : *dump) keys.insert(keys.end(), key);
  }
  std::uint64_t count = 0;
  for (const std::string& key : keys) {
    const std::string* first = nullptr;  // of the first node; null: absent there
    bool any = false, differ = false, young = false;
    for (const auto& dump : dumps) {
      if (!dump) continue;
      const auto at = dump->find(key);
      const std::string* value = at == dump->end() ? nullptr : &at->second.value;
      if (value != nullptr && begun(*value) >= settled) young = true;
      if (!any) {
        first = value;
        any = true;
      } else if ((first == nullptr) != (value == nullptr) ||
                 (value != nullptr && *first != *value)) {
        differ = true;
      }
    }
    count += differ && !young ? 1 : 0;
  }
  return count;
}

}  // namespace capstan::lab
