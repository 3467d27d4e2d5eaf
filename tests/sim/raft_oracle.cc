#include "tests/sim/raft_oracle.h"

#include <algorithm>

#include "core/hash.h"

namespace capstan::sim {

namespace {

std::uint64_t hash_of(const cp::Entry& entry) {
  return xxh3(entry.data ? ByteView(*entry.data) : ByteView(),
              static_cast<std::uint64_t>(entry.kind));
}

std::string text_of(Term term, Index index) {
  return "term " + std::to_string(term.value) + " index " + std::to_string(index.value);
}

}  // namespace

cp::Engine* RaftOracle::engine_of(int node) {
  node::Machine* machine = nodes_[static_cast<std::size_t>(node)]->machine();
  return machine ? machine->cp_engine() : nullptr;
}

void RaftOracle::fail(const char* oracle, int node, const std::string& what) {
  world_.fail(oracle, nodes_[static_cast<std::size_t>(node)]->name() + ": " + what);
}

bool RaftOracle::has_no_commands(int node, const cp::Entry& entry) {
  const bool witness = engine_of(node)->is_witness() && entry.kind == cp::EntryKind::kCommands;
  if (witness && entry.data) fail("a witness holds nothing", node, "was sent commands");
  return witness;
}

void RaftOracle::started(int node) {
  cp::Engine* engine = engine_of(node);
  Seen& seen = seen_[static_cast<std::size_t>(node)];
  seen = {};
  seen.life = nodes_[static_cast<std::size_t>(node)]->life();
  seen.commit = engine->raft().commit();
  seen.applied = engine->applied();
  engine->on_apply([this, node](const cp::Entry& entry) { take(node, entry, "applied"); });
}

// An entry that this node holds for committed: the first to say so fixes it for everybody.
void RaftOracle::take(int node, const cp::Entry& entry, const char* how) {
  const std::uint64_t index = entry.index.value;
  if (index > committed_.size()) {
    return fail("state machine safety", node,
                std::string(how) + " " + text_of(entry.term, entry.index) + " past a gap");
  }
  Fact fact{entry.term, hash_of(entry), engine_of(node)->raft().term()};
  if (index == committed_.size()) {
    committed_.push_back(fact);
    world_.note(Kind::kCommit, static_cast<std::uint64_t>(node), index, entry.term.value);
    return;
  }
  const Fact& known = committed_[index];
  if (has_no_commands(node, entry)) fact.bytes = known.bytes;
  if (known.term != fact.term || known.bytes != fact.bytes) {
    fail("committed never changes", node,
         std::string(how) + " " + text_of(entry.term, entry.index) + ", but committed was " +
             text_of(known.term, entry.index));
  }
}

void RaftOracle::check_leader(int node, const cp::Raft& raft, Seen& before) {
  const bool same_term = before.leader && before.term == raft.term();
  if (same_term && raft.log().last_index() < before.last) {
    fail("leader append-only", node, "lost entries of its own log as a leader");
  }
  if (same_term) return;
  const std::uint64_t life = nodes_[static_cast<std::size_t>(node)]->life();
  const auto [known, first] = leaders_.emplace(raft.term(), std::pair{node, life});
  if (!first && known->second != std::pair{node, life}) {
    return fail("one leader a term", node,
                "leads term " + std::to_string(raft.term().value) + ", as does " +
                    nodes_[static_cast<std::size_t>(known->second.first)]->name());
  }
  world_.note(Kind::kRole, static_cast<std::uint64_t>(node), raft.term().value, 0, "leader");
  counters_.add("elected");
  for (std::uint64_t i = raft.log().base().index.value; i < committed_.size(); ++i) {
    // A leader of an older term may still be elected, by votes that were long under way: only the
    // leaders of later terms must have it. [Raft §5.4.3]
    if (i == 0 || committed_[i].committed_by >= raft.term()) continue;
    if (raft.log().term_at({i}) != committed_[i].term) {
      return fail("leader completeness", node,
                  "leads term " + std::to_string(raft.term().value) + " without committed " +
                      text_of(committed_[i].term, {i}));
    }
  }
}

void RaftOracle::check_commit(int node, const cp::Raft& raft, const Seen& before) {
  if (raft.commit() < before.commit) return fail("commit never falls", node, "commit fell");
  if (raft.commit() > raft.log().last_index()) {
    return fail("commit within the log", node, "commit is past the last entry");
  }
  const Index from = std::max(before.commit, raft.log().base().index);
  for (Index i = next(from); i <= raft.commit(); i = next(i))
    take(node, raft.log().at(i), "committed");
}

// Counted anew here, from the disks. A member that is down may hold it; one that is not in normal
// standing has lost what it once held. Which of two configurations counted when it was committed,
// that of the turn's beginning or of its end, does not show any more.
void RaftOracle::check_majority(int node, const cp::Raft& raft, const Seen& before) {
  if (!raft.is_leader() || !before.leader || raft.commit() <= before.commit) return;
  const cp::EntryId last{*raft.log().term_at(raft.commit()), raft.commit()};
  const auto holds = [&](MemberId member) {
    for (const auto& other : nodes_) {
      if (other->id() != member) continue;
      if (!other->running()) return true;
      const cp::Raft& theirs = other->machine()->cp_engine()->raft();
      if (theirs.standing() != cp::Standing::kNormal || theirs.commit() >= last.index) return true;
      return theirs.log().stable() >= last.index && theirs.log().term_at(last.index) == last.term;
    }
    return true;  // its machine stands for somebody else now
  };
  const auto most = [&](const std::vector<MemberId>& voters) {
    return voters.empty() ||
           2 * static_cast<std::size_t>(std::ranges::count_if(voters, holds)) > voters.size();
  };
  for (const cp::Config& config : {before.config, raft.config()}) {
    if (most(config.voters) && most(config.outgoing)) return;
  }
  fail("committed by a majority", node,
       "committed " + text_of(last.term, last.index) + ", which no majority of each half holds");
}

// Whoever is in it: one that joins does not know who there was before it.
void RaftOracle::check_config(int node, const cp::Engine& engine) {
  const cp::Config& config = engine.raft().config_at(engine.applied());
  for (MemberId member : config.joint() ? config.learners : config.everyone()) {
    if (config.was_removed(member))
      return fail("who is removed is gone", node, "counts one that was");
  }
  if (!config.is_member(engine.raft().self())) return;
  const auto [known, first] = configs_.emplace(engine.applied(), config);
  if (!first && known->second != config) {
    fail("same index, same configuration", node,
         "differs from another at applied index " + std::to_string(engine.applied().value));
  }
}

void RaftOracle::check_state(int node, const cp::Engine& engine, const Seen& before) {
  if (engine.applied() > engine.raft().commit()) {
    return fail("applied within commit", node, "applied is past commit");
  }
  if (engine.checkpointed() > engine.raft().log().stable()) {
    return fail("checkpoint within the own log", node,
                "checkpoint at " + std::to_string(engine.checkpointed().value) +
                    ", log durable to " + std::to_string(engine.raft().log().stable().value));
  }
  if (engine.applied() == before.applied) return;
  if (engine.applied() < before.applied) return fail("applied never falls", node, "applied fell");
  if (engine.is_witness()) {
    if (engine.revision() != Revision{1}) fail("a witness holds nothing", node, "holds a key");
    return;
  }
  const auto [known, first] = digests_.emplace(engine.applied(), engine.state_digest());
  if (!first && known->second != engine.state_digest()) {
    fail("same index, same state", node,
         "differs from another at applied index " + std::to_string(engine.applied().value));
  }
}

void RaftOracle::turned(int node) {
  const cp::Engine* engine = engine_of(node);
  if (engine == nullptr || world_.failed()) return;
  Seen& before = seen_[static_cast<std::size_t>(node)];
  const cp::Raft& raft = engine->raft();
  if (raft.is_leader()) check_leader(node, raft, before);
  check_commit(node, raft, before);
  check_majority(node, raft, before);
  check_config(node, *engine);
  check_state(node, *engine, before);
  before.commit = raft.commit();
  before.last = raft.log().last_index();
  before.applied = engine->applied();
  before.term = raft.term();
  before.leader = raft.is_leader();
  before.config = raft.config();
}

void RaftOracle::compare_logs() {
  for (int a = 0; a < static_cast<int>(nodes_.size()); ++a) {
    for (int b = 0; b < a; ++b) {
      const cp::Engine* x = engine_of(a);
      const cp::Engine* y = engine_of(b);
      if (x == nullptr || y == nullptr) continue;
      const cp::RaftLog& left = x->raft().log();
      const cp::RaftLog& right = y->raft().log();
      bool matched = false;
      const std::uint64_t low = std::max(left.first(), right.first()).value;
      for (std::uint64_t i = std::min(left.last_index(), right.last_index()).value; i >= low; --i) {
        const bool same_term = left.at({i}).term == right.at({i}).term;
        matched = matched || same_term;
        const bool comparable =
            !has_no_commands(a, left.at({i})) && !has_no_commands(b, right.at({i}));
        const bool differ = comparable && hash_of(left.at({i})) != hash_of(right.at({i}));
        if (matched && (!same_term || differ)) {
          return fail("log matching", a,
                      "differs from " + nodes_[static_cast<std::size_t>(b)]->name() + " at index " +
                          std::to_string(i) + " below an entry that both hold");
        }
      }
    }
  }
}

}  // namespace capstan::sim
