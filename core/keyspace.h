// Keyspace rules: which mode holds a key, and since which epoch. The first release has one rule,
// the default from --mode; a mode per prefix and a live switch add rules, not fields.
#pragma once

#include <string>
#include <vector>

#include "core/types.h"

namespace capstan {

enum class MergeRule : std::uint8_t { kNone = 0, kLww = 1 };  // kNone: CP, nothing to merge

struct KeyspaceRule {
  std::string prefix;  // empty: every key
  Mode mode = Mode::kCp;
  MergeRule merge = MergeRule::kNone;
  Epoch epoch{1};
};

class KeyspaceRules {
 public:
  KeyspaceRules(Mode mode, Epoch epoch)
      : rules_{{"", mode, mode == Mode::kAp ? MergeRule::kLww : MergeRule::kNone, epoch}} {}

  // The rule with the longest prefix that starts `key`; the default rule matches every key.
  const KeyspaceRule& of(ByteView key) const {
    const KeyspaceRule* best = &rules_.front();
    for (const KeyspaceRule& rule : rules_) {
      if (key.starts_with(rule.prefix) && rule.prefix.size() >= best->prefix.size()) best = &rule;
    }
    return *best;
  }

 private:
  std::vector<KeyspaceRule> rules_;
};

}  // namespace capstan
