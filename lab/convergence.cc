#include "lab/convergence.h"

namespace capstan::lab {
namespace {

bool same(Mode mode, const Stored& a, const Stored& b) {
  return a.value == b.value && (mode == Mode::kAp || a.mod_revision == b.mod_revision);
}

std::string shown(const Dump& dump, const std::string& key) {
  const auto at = dump.find(key);
  if (at == dump.end()) return "(absent)";
  std::string text = at->second.value;
  if (at->second.mod_revision != 0) text += " @" + std::to_string(at->second.mod_revision);
  return text;
}

}  // namespace

std::uint64_t differing_keys(const Dump& a, const Dump& b) {
  std::uint64_t count = 0;
  auto left = a.begin();
  auto right = b.begin();
  while (left != a.end() || right != b.end()) {
    if (right == b.end() || (left != a.end() && left->first < right->first)) {
      ++count, ++left;
    } else if (left == a.end() || right->first < left->first) {
      ++count, ++right;
    } else {
      count += left->second.value != right->second.value ? 1 : 0;
      ++left, ++right;
    }
  }
  return count;
}

ConvergenceResult check_convergence(Mode mode, std::span<const FinalState> nodes) {
  ConvergenceResult result;
  const auto differ = [&](std::string detail) {
    result.verdict = Verdict::kNo;
    if (result.detail.empty()) result.detail = std::move(detail);
  };
  std::set<std::string> keys;
  for (const FinalState& node : nodes) {
    for (const auto& [key, stored] : node.dump) keys.insert(key);
  }
  for (const std::string& key : keys) {
    const FinalState& first = nodes.front();
    for (const FinalState& node : nodes.subspan(1)) {
      const auto a = first.dump.find(key);
      const auto b = node.dump.find(key);
      const bool both = a != first.dump.end() && b != node.dump.end();
      if (both && same(mode, a->second, b->second)) continue;
      ++result.differing_keys;
      differ("key " + key + " is " + shown(first.dump, key) + " at " + first.name + " and " +
             shown(node.dump, key) + " at " + node.name);
      break;
    }
  }
  for (const FinalState& node : nodes) {
    const FinalState& first = nodes.front();
    if (node.vector_text != first.vector_text) {
      differ("version vectors differ: " + first.name + " has " + first.vector_text + ", " +
             node.name + " has " + node.vector_text);
    } else if (node.digest_text != first.digest_text) {
      differ("equal version vectors but unequal digests: " + first.name + " has " +
             first.digest_text + ", " + node.name + " has " + node.digest_text);
    }
  }
  return result;
}

}  // namespace capstan::lab
