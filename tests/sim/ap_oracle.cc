#include "tests/sim/ap_oracle.h"

#include <cstdio>

#include "core/hash.h"

namespace capstan::sim {

namespace {

std::uint64_t hash_of(const ap::Engine::Fingerprint& at) {
  std::string bytes(reinterpret_cast<const char*>(&at.ahead_hash), sizeof at.ahead_hash);
  for (const auto& [actor, sequence] : at.vector.entries()) {
    for (const std::uint64_t word :
         {actor.node.value, std::uint64_t{actor.incarnation}, sequence.value}) {
      bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
  }
  return xxh3(bytes);
}

std::string text_of(const VersionVector& vector) {
  std::string text = "{";
  for (const auto& [actor, sequence] : vector.entries()) {
    text += " " + std::to_string(actor.node.value % 10'000) + ":" +
            std::to_string(actor.incarnation) + ":" + std::to_string(sequence.value);
  }
  return text + " }";
}

std::string about(const Asked& asked) { return "[" + lab::describe(asked.op) + "]"; }

}  // namespace

void ApOracle::turned(int node) {
  const node::Machine* machine = nodes_[static_cast<std::size_t>(node)]->machine();
  if (machine == nullptr || world_.failed()) return;
  ap::Engine::Fingerprint now =
      nodes_[static_cast<std::size_t>(node)]->machine()->ap_engine()->fingerprint();
  std::optional<ap::Engine::Fingerprint>& last = last_[static_cast<std::size_t>(node)];
  if (last && last->vector == now.vector && last->digest == now.digest &&
      last->ahead_hash == now.ahead_hash) {
    return;
  }
  world_.note(Kind::kVector, static_cast<std::uint64_t>(node), now.digest.low, now.ahead_hash == 0);
  const auto [known, first] = digests_.emplace(hash_of(now), now.digest);
  counters_.add("digests compared", first ? 0 : 1);
  if (!first && known->second != now.digest) {
    world_.fail("equal vector, equal digest", nodes_[static_cast<std::size_t>(node)]->name() +
                                                  " at " + text_of(now.vector) + beside(node, now));
  }
  last = std::move(now);
}

// What is there and on nodes of the same vector is not, and the other way round.
std::string ApOracle::beside(int node, const ap::Engine::Fingerprint& now) {
  const auto visible = [](node::Machine& machine) {
    auto found = std::make_shared<std::map<std::string, std::string>>();
    Request all;
    all.body =
        RangeRequest{.range = {std::string(1, '\0'), std::string(1, '\0')}, .serializable = true};
    machine.submit(std::move(all), [found](Reply reply) {
      const auto* range = std::get_if<RangeResult>(&reply.body);
      if (range == nullptr) return;
      for (const KeyValue& kv : range->kvs) found->emplace(kv.key, kv.value);
    });
    return *found;
  };
  std::string text;
  const auto here = visible(*nodes_[static_cast<std::size_t>(node)]->machine());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    node::Machine* machine = nodes_[i]->machine();
    if (static_cast<int>(i) == node || machine == nullptr) continue;
    if (machine->ap_engine()->fingerprint().vector != now.vector) continue;
    const auto there = visible(*machine);
    text += "; beside " + nodes_[i]->name() + ":";
    for (const auto& [key, value] : here) {
      const auto other = there.find(key);
      if (other == there.end()) text += " only here " + key + "=" + value;
      if (other != there.end() && other->second != value) {
        text += " here " + key + "=" + value + ", there " + other->second;
      }
    }
    for (const auto& [key, value] : there) {
      if (!here.contains(key)) text += " only there " + key + "=" + value;
    }
  }
  return text;
}

void ApOracle::witness(std::size_t operation, const Asked& asked, node::Machine& machine) {
  if (!is_write(asked.request.body)) return;
  Before before;
  const ap::Engine::Fingerprint now = machine.ap_engine()->fingerprint();
  before.vector = now.vector;
  before.whole = now.ahead_hash == 0;
  Request look;
  look.body = RangeRequest{.range = {asked.op.key, ""}, .serializable = true};
  auto read = std::make_shared<std::optional<std::string>>();
  machine.submit(std::move(look), [read](Reply reply) {
    const auto* range = std::get_if<RangeResult>(&reply.body);
    if (range != nullptr && !range->kvs.empty()) *read = range->kvs.front().value;
  });
  before.value = *read;
  before_[operation] = std::move(before);
}

bool ApOracle::converged(bool whole) const {
  const auto& first = last_.front();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i]->running() || nodes_[i]->stopping() || !last_[i]) return false;
    if (whole && last_[i]->ahead_hash != 0) return false;
    if (last_[i]->vector != first->vector || last_[i]->ahead_hash != first->ahead_hash ||
        last_[i]->digest != first->digest)
      return false;
  }
  return true;
}

std::string ApOracle::differences() const {
  std::string text;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    text += nodes_[i]->name() + (nodes_[i]->running() ? "" : " is down");
    if (last_[i])
      text += (last_[i]->ahead_hash == 0 ? " " : " not whole ") + text_of(last_[i]->vector);
    text += "\n";
  }
  return text;
}

bool ApOracle::had_seen(std::size_t later, const Asked& later_asked, const Asked& earlier) const {
  const auto found = before_.find(later);
  if (found == before_.end() || later_asked.op.key != earlier.op.key) return false;
  if (later_asked.op.outcome == Outcome::kFailed) return false;
  const Before& before = found->second;
  if (before.vector.covers(Dot{earlier.reply.write_id.actor, earlier.reply.write_id.sequence}))
    return true;
  if (earlier.op.kind == lab::OpKind::kPut) return before.value == earlier.op.value;
  // A bucket ahead of the vector may have held the delete; the cell was empty then.
  return !before.whole && !before.value;
}

std::string ApOracle::readable(const std::string& id) const {
  for (const auto& node : nodes_) {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx",
                  static_cast<unsigned long long>(node->machine()->config().engine.node.value));
    if (id.starts_with(hex)) return node->name() + id.substr(16);
  }
  return id;
}

void ApOracle::settle(const std::vector<std::unique_ptr<Asked>>& all,
                      const std::vector<BooksResult>& books,
                      const std::map<std::string, std::string>& visible) {
  std::set<std::string> survived, superseded, lost;
  for (const BooksResult& book : books) {
    for (const std::string& id : book.survived) survived.insert(readable(id));
    for (const std::string& id : book.superseded) superseded.insert(readable(id));
    for (const std::string& id : book.lost) lost.insert(readable(id));
  }
  const VersionVector& known = last_.front()->vector;
  for (std::size_t x = 0; x < all.size() && !world_.failed(); ++x) {
    const Asked& asked = *all[x];
    if (!asked.op.acknowledged() || !asked.single_key || asked.op.write_id.empty()) continue;
    const bool put = asked.op.kind == lab::OpKind::kPut;
    if (!known.covers(Dot{asked.reply.write_id.actor, asked.reply.write_id.sequence})) {
      world_.fail("known to all", about(asked) + " is not in the final vector");
    } else if (survived.contains(asked.op.write_id)) {
      counters_.add("writes survived");
      const auto now = visible.find(asked.op.key);
      const bool shown = now != visible.end() && now->second == asked.op.value;
      if (put && !shown) world_.fail("accounting", about(asked) + " survived and is not visible");
    } else if (superseded.contains(asked.op.write_id)) {
      counters_.add("writes superseded");
      bool seen = false;
      for (std::size_t y = 0; y < all.size() && !seen; ++y) {
        seen = y != x && had_seen(y, *all[y], asked);
      }
      if (!seen) world_.fail("accounting", about(asked) + " was superseded by nobody who saw it");
    } else if (lost.contains(asked.op.write_id)) {
      counters_.add("writes lost, body kept");
    } else {
      world_.fail("accounting", about(asked) + " is gone without a trace");
    }
  }
}

void ApOracle::check_promise(const std::vector<std::unique_ptr<Asked>>& all) {
  for (const auto& asked : all) {
    const bool excused =
        asked->op.reason == Reason::kUnreachable || asked->op.reason == Reason::kShuttingDown ||
        asked->op.reason == Reason::kNoSpace || asked->op.reason == Reason::kTimeout;
    if (asked->op.outcome == Outcome::kFailed && !excused) {
      world_.fail("always available", about(*asked) + " was refused: " + asked->reply.detail);
    }
  }
}

}  // namespace capstan::sim
