#include "lab/accounts.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace capstan::lab {
namespace {

// "n1:3:17" as the actor "n1:3" and 17.
struct IdParts {
  std::string_view actor;
  std::uint64_t sequence = 0;
};
std::optional<IdParts> parts_of(std::string_view id) {
  const std::size_t colon = id.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  IdParts parts{.actor = id.substr(0, colon)};
  for (char c : id.substr(colon + 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    parts.sequence = parts.sequence * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return parts;
}

// All writes of one key and what is known of each other's fate.
class KeyBooks {
 public:
  KeyBooks(Mode mode, std::span<const FinalState> nodes, const Evidence& evidence)
      : mode_(mode), nodes_(nodes), evidence_(evidence) {}

  void add(const Operation& op) {
    if (!op.is_write()) {
      if (op.acknowledged() && op.read) observed_.insert(*op.read);
      return;
    }
    if (op.outcome == Outcome::kFailed) {
      if (op.kind == OpKind::kPut) failed_values_.insert(op.value);
      return;
    }
    writes_.push_back(&op);
    if (op.kind == OpKind::kPut) writers_.emplace(op.value, &op);
    if (!op.acknowledged()) {
      any_unknown_ = true;
      return;
    }
    highest_revision_ = std::max(highest_revision_, op.revision);
    if (op.saw_previous && op.previous)
      observed_.insert(*op.previous), replaced_.insert(*op.previous);
    if (op.saw_previous) return;
    blind_write_ = true;
    if (const auto parts = parts_of(op.write_id)) {
      std::uint64_t& highest = blind_sequence_[std::string(parts->actor)];
      highest = std::max(highest, parts->sequence);
    }
  }

  void settle(const std::string& key, Accounts& accounts) {
    if (!nodes_.empty()) {
      const auto at = nodes_.front().dump.find(key);
      if (at != nodes_.front().dump.end()) final_ = &at->second;
    }
    check_final_value(key, accounts);
    for (const Operation* op : writes_) {
      if (op->acknowledged()) {
        settle_acknowledged(*op, accounts);
      } else {
        settle_unknown(*op, accounts);
      }
    }
  }

 private:
  void check_final_value(const std::string& key, Accounts& accounts);
  void settle_acknowledged(const Operation& op, Accounts& accounts);
  void settle_unknown(const Operation& op, Accounts& accounts);

  bool visible(const Operation& op) const;
  bool superseded(const Operation& op) const;
  bool superseded_in_the_same_life(const Operation& op) const;
  bool superseded_cp(const Operation& op) const;
  bool in_a_conflict_log(const Operation& op) const {
    return !op.write_id.empty() && std::ranges::any_of(nodes_, [&](const FinalState& node) {
      return node.lost_ids.contains(op.write_id);
    });
  }
  // A log that was read with bodies must hold what was written.
  bool body_kept(const Operation& op) const {
    bool any_bodies = false;
    for (const FinalState& node : nodes_) {
      any_bodies = any_bodies || !node.lost_bodies.empty();
      const auto at = node.lost_bodies.find(op.write_id);
      if (at != node.lost_bodies.end() && at->second == op.value) return true;
    }
    return !any_bodies;
  }
  bool books_kept() const {
    return std::ranges::any_of(nodes_, [](const auto& n) { return !n.survived_ids.empty(); });
  }
  static void no(Accounts& accounts, std::string detail) {
    accounts.verdict = Verdict::kNo;
    if (std::ranges::count(accounts.detail, '\n') < 5) accounts.detail += detail + '\n';
  }

  Mode mode_;
  std::span<const FinalState> nodes_;
  const Evidence& evidence_;
  const Stored* final_ = nullptr;
  std::vector<const Operation*> writes_;  // acknowledged and unknown
  std::unordered_map<std::string, const Operation*> writers_;
  std::unordered_set<std::string> failed_values_;
  std::unordered_set<std::string> observed_;  // values somebody read or replaced
  std::unordered_set<std::string> replaced_;  // values an acknowledged write replaced
  std::unordered_map<std::string, std::uint64_t> blind_sequence_;  // by actor, the highest
  std::uint64_t highest_revision_ = 0;
  bool any_unknown_ = false;
  bool blind_write_ = false;  // an acknowledged write did not say what it replaced
};

void KeyBooks::check_final_value(const std::string& key, Accounts& accounts) {
  if (final_ == nullptr || writers_.contains(final_->value)) return;
  const bool refused = failed_values_.contains(final_->value);
  no(accounts, "key " + key + " holds " + final_->value +
                   (refused ? ", whose write was answered failed (certainly not applied)"
                            : ", which no recorded write put there"));
}

bool KeyBooks::visible(const Operation& op) const {
  if (op.kind == OpKind::kPut) return final_ != nullptr && final_->value == op.value;
  if (mode_ == Mode::kCp) return final_ == nullptr && op.revision >= highest_revision_;
  return std::ranges::any_of(
      nodes_, [&](const FinalState& node) { return node.survived_ids.contains(op.write_id); });
}

bool KeyBooks::superseded_cp(const Operation& op) const {
  if (op.revision == 0) return false;
  if (highest_revision_ > op.revision) return true;
  if (final_ != nullptr) return final_->mod_revision > op.revision;
  // Gone, and nothing acknowledged came later: then only a delete of unknown outcome explains it.
  return std::ranges::any_of(writes_, [](const Operation* other) {
    return other->kind == OpKind::kDelete && !other->acknowledged();
  });
}

bool KeyBooks::superseded(const Operation& op) const {
  if (op.kind == OpKind::kPut && replaced_.contains(op.value)) return true;
  if (evidence_.seen.contains(op.write_id)) return true;
  return mode_ == Mode::kCp && superseded_cp(op);
}

bool KeyBooks::superseded_in_the_same_life(const Operation& op) const {
  const auto parts = parts_of(op.write_id);
  if (!parts) return false;
  const auto highest = blind_sequence_.find(std::string(parts->actor));
  return highest != blind_sequence_.end() && highest->second > parts->sequence;
}

void KeyBooks::settle_acknowledged(const Operation& op, Accounts& accounts) {
  // A delete that found nothing writes nothing; AP gives it no id.
  if (mode_ == Mode::kAp && op.kind == OpKind::kDelete && op.write_id.empty()) return;
  ++accounts.acknowledged;
  if (visible(op)) {
    ++accounts.survived;
    if (mode_ == Mode::kCp && op.kind == OpKind::kPut && op.revision != 0 &&
        final_->mod_revision != op.revision) {
      no(accounts, describe(op) + " was acknowledged at revision " + std::to_string(op.revision) +
                       " and stands at " + std::to_string(final_->mod_revision));
    }
    if (mode_ != Mode::kAp || !books_kept()) return;
    for (const FinalState& node : nodes_) {
      if (!node.survived_ids.contains(op.write_id)) {
        no(accounts, describe(op) + " is visible, yet the books of " + node.name +
                         " do not count it as survived");
      }
      if (node.lost_ids.contains(op.write_id)) {
        no(accounts, describe(op) + " is visible, yet " + node.name + " recorded it as lost");
      }
    }
  } else if (superseded(op)) {
    ++accounts.superseded;
  } else if (mode_ == Mode::kAp && in_a_conflict_log(op)) {
    ++accounts.lost;
    accounts.lost_writes.push_back(op);
    if (!body_kept(op)) no(accounts, describe(op) + " was lost and its body is not in the log");
  } else if (mode_ == Mode::kAp && superseded_in_the_same_life(op)) {
    ++accounts.superseded;
  } else if (mode_ == Mode::kAp && any_unknown_) {
    ++accounts.undecided;
  } else {
    ++accounts.unaccounted;
    accounts.unaccounted_writes.push_back(op);
    no(accounts, describe(op) +
                     " was acknowledged and is neither visible, nor overwritten by a "
                     "write that had seen it, nor in a conflict log");
  }
}

void KeyBooks::settle_unknown(const Operation& op, Accounts& accounts) {
  ++accounts.unknown;
  const bool seen = op.kind == OpKind::kPut && (visible(op) || observed_.contains(op.value));
  const bool named = !op.write_id.empty() && std::ranges::any_of(nodes_, [&](const auto& node) {
    return node.survived_ids.contains(op.write_id) || node.lost_ids.contains(op.write_id);
  });
  if (seen || named) {
    ++accounts.unknown_applied;
    return;
  }
  // Unseen. It could still have been applied and replaced by a write that did not tell what it
  // replaced: one acknowledged without telling, or another unknown one that was applied.
  const bool may_hide = op.kind == OpKind::kDelete || blind_write_ ||
                        std::ranges::any_of(writes_, [&](const Operation* other) {
                          return other != &op && !other->acknowledged() &&
                                 (other->kind == OpKind::kDelete || visible(*other) ||
                                  observed_.contains(other->value));
                        });
  ++(may_hide ? accounts.unknown_undecided : accounts.unknown_not_applied);
}

}  // namespace

Accounts settle_accounts(Mode mode, const History& history, std::span<const FinalState> nodes,
                         const Evidence& evidence) {
  std::map<std::string, KeyBooks> books;
  for (const Operation& op : history) {
    books.try_emplace(op.key, mode, nodes, evidence).first->second.add(op);
  }
  if (!nodes.empty()) {
    for (const auto& [key, stored] : nodes.front().dump) {
      books.try_emplace(key, mode, nodes, evidence);
    }
  }
  Accounts accounts;
  for (auto& [key, key_books] : books) key_books.settle(key, accounts);
  if (accounts.verdict == Verdict::kYes && accounts.undecided > 0) {
    accounts.verdict = Verdict::kUnknown;
    accounts.detail =
        std::to_string(accounts.undecided) +
        " acknowledged writes may have been overwritten by writes of unknown outcome\n";
  }
  return accounts;
}

StaleReads count_stale_reads(const History& history, Micros from, Micros to) {
  struct Key {
    std::vector<const Operation*> acknowledged;  // writes, by end
    std::vector<Micros> latest_start;            // of acknowledged[0..i]
    std::unordered_map<std::string, Micros> written_until;
    Micros deleted_until = INT64_MIN;  // by the latest delete that may have taken effect
  };
  std::unordered_map<std::string, Key> keys;
  for (const Operation& op : history) {
    if (!op.is_write()) continue;
    Key& key = keys[op.key];
    if (op.acknowledged()) key.acknowledged.push_back(&op);
    const Micros until = op.acknowledged() ? op.end : Operation::kNever;
    if (op.kind == OpKind::kPut) key.written_until[op.value] = until;
    if (op.kind == OpKind::kDelete && op.outcome != Outcome::kFailed) {
      key.deleted_until = std::max(key.deleted_until, until);
    }
  }
  for (auto& [name, key] : keys) {
    std::ranges::sort(key.acknowledged, {}, [](const Operation* op) { return op->end; });
    Micros latest = INT64_MIN;
    for (const Operation* op : key.acknowledged) {
      key.latest_start.push_back(latest = std::max(latest, op->start));
    }
  }
  StaleReads result;
  for (const Operation& op : history) {
    if (op.kind != OpKind::kGet || !op.acknowledged() || op.start < from || op.start >= to)
      continue;
    ++result.reads;
    const auto at = keys.find(op.key);
    if (at == keys.end()) continue;
    const Key& key = at->second;
    Micros written_until = key.deleted_until;  // of what was read
    if (op.read) {
      const auto writer = key.written_until.find(*op.read);
      written_until = writer == key.written_until.end() ? Operation::kNever : writer->second;
    }
    const auto finished = static_cast<std::size_t>(
        std::ranges::lower_bound(key.acknowledged, op.start, {},
                                 [](const Operation* w) { return w->end; }) -
        key.acknowledged.begin());
    if (finished > 0 && key.latest_start[finished - 1] > written_until) ++result.stale;
  }
  return result;
}

}  // namespace capstan::lab
