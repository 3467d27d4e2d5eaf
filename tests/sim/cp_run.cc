// One schedule of the consistent path: faults strike while clients work; then everything heals and
// must go on within 5 simulated seconds; then what the clients saw and what the nodes hold is
// judged.
#include <algorithm>
#include <set>

#include "lab/linearizable.h"
#include "tests/sim/backups.h"
#include "tests/sim/cluster.h"
#include "tests/sim/guarded_keys.h"
#include "tests/sim/history_check.h"
#include "tests/sim/inquirer.h"
#include "tests/sim/lease_holders.h"
#include "tests/sim/raft_oracle.h"
#include "tests/sim/truth_keeper.h"
#include "tests/sim/watchers.h"

namespace capstan::sim {

namespace {

constexpr Micros kProgressWithin = 5 * kSecond;
constexpr Micros kChangesEndWithin = 3 * kSecond;
constexpr Micros kSweptWithin = 20 * kSecond;  // a few changes at a time
constexpr Micros kLeaseEndsWithin = 6 * kSecond;
constexpr Micros kRestoredWithin = 20 * kSecond;  // over a bad network
constexpr Micros kCompareLogsEvery = 200 * kMillisecond;
constexpr std::uint32_t kProber = 100;
constexpr std::uint32_t kLastWriter = 99;

class CpRun {
 public:
  CpRun(std::uint64_t seed, Options options, Counters& counters)
      : cluster_(seed, options, counters, hooks()),
        oracle_(cluster_.world, counters, cluster_.nodes),
        watchers_(cluster_),
        lease_holders_(cluster_),
        backups_(cluster_, truth_),
        guarded_keys_(cluster_),
        inquirer_(cluster_) {}

  World& world() { return cluster_.world; }
  std::uint64_t struck() const { return cluster_.faults->struck(); }

  void run() {
    cluster_.start_all();
    compare_logs_for_ever();
    cluster_.clients.start();
    watchers_.start();
    lease_holders_.start();
    backups_.start();
    guarded_keys_.start();
    inquirer_.start();
    world().after(world().rng.faults.between(0, kSecond), [this] { cluster_.faults->start(); });
    world().run_until(cluster_.options.chaos);
    if (world().failed()) return;
    cluster_.faults->heal();
    cluster_.net->calm();
    settle_members();
    part_witness();
    check_progress();
    finish_clients();
    finish_watchers();
    check_histories();
    check_swept();
    check_compared();
    check_survives();
  }

 private:
  Cluster::Hooks hooks() {
    Cluster::Hooks hooks;
    hooks.started = [this](int node) { oracle_.started(node); };
    hooks.turned = [this](int node) {
      oracle_.turned(node);
      if (node::Machine* machine = cluster_.node(node).machine()) {
        truth_.turned(*machine->cp_engine());
        lease_holders_.node_turned(node, *machine->cp_engine());
      }
    };
    hooks.whole = [this](int node) {
      const cp::Engine* engine = cluster_.node(node).machine()->cp_engine();
      // Also by its disk's word: a crash must not bring the damage back.
      return engine->raft().standing() == cp::Standing::kNormal &&
             cluster_.node(node).disk()->in_flight() == 0;
    };
    return hooks;
  }

  void compare_logs_for_ever() {
    world().after(kCompareLogsEvery, [this] {
      oracle_.compare_logs();
      compare_logs_for_ever();
    });
  }

  // Changes that are under way end, and then it is clear who must go on. What was asked of a leader
  // may still be on its way when whoever asked has given up.
  void settle_members() {
    for (int node = 0; node < cluster_.size(); ++node) members_.push_back(node);
    if (!cluster_.options.members) return;
    MemberChanges& changes = cluster_.faults->members();
    const Micros limit = world().now() + 2 * kChangesEndWithin;
    const bool ended =
        cluster_.run_while_waiting(limit, [&] { return changes.open() == 0; }, 10 * kMillisecond);
    world().run_until(world().now() + kChangesEndWithin);
    const auto settled = [&] { return !(members_ = changes.settle()).empty(); };
    if (world().failed()) return;
    if (!ended || !cluster_.run_while_waiting(world().now() + kProgressWithin, settled)) {
      world().fail("members", "the configuration does not settle:" + where_all_stand());
    }
    if (std::ranges::any_of(members_, [this](int n) { return n >= cluster_.options.nodes; })) {
      cluster_.counters.add("newcomers at the end");
    }
  }

  // From here on `members_` are those with data.
  void part_witness() {
    if (world().failed()) return;
    const auto is_witness = [this](int node) {
      return cluster_.node(node).running() && engine(node).is_witness();
    };
    const auto found = std::ranges::find_if(members_, is_witness);
    if (found == members_.end()) return;
    witness_ = *found;
    members_.erase(found);
  }

  // A put through every node, repeated until it is acknowledged.
  void probe(int node) {
    Request request;
    request.body =
        PutRequest{.key = "p" + std::to_string(node), .value = "p" + std::to_string(++probes_)};
    const auto client = kProber + static_cast<std::uint32_t>(node);
    cluster_.clients.ask(client, node, std::move(request), kSecond,
                         [this, node](const Asked& asked) {
                           if (asked.op.acknowledged()) {
                             ++reached_;
                           } else {
                             world().after(20 * kMillisecond, [this, node] { probe(node); });
                           }
                         });
  }

  void check_progress() {
    const Micros healed = world().now();
    for (int node : members_) probe(node);
    const bool all = cluster_.run_while_waiting(healed + kProgressWithin,
                                                [this] { return reached_ == members_.size(); });
    if (!all) {
      world().fail("progress", "a node did not acknowledge a write within 5 s of the heal:" +
                                   where_all_stand());
    }
  }

  std::string where_all_stand() {
    std::string text;
    for (int node = 0; node < cluster_.size(); ++node) {
      text += "  " + cluster_.node(node).name();
      const node::Machine* machine = cluster_.node(node).machine();
      if (machine == nullptr) {
        text += " down";
        continue;
      }
      const cp::Raft& raft = cluster_.node(node).machine()->cp_engine()->raft();
      text += " " + std::string(to_text(raft.role())) + " t" + std::to_string(raft.term().value) +
              (raft.standing() == cp::Standing::kFresh      ? " fresh"
               : raft.standing() == cp::Standing::kImpaired ? " impaired"
                                                            : " normal") +
              ", log to " + std::to_string(raft.log().last_index().value) + ", committed " +
              std::to_string(raft.commit().value) + ", " +
              std::to_string(raft.config().voters.size()) +
              (raft.config().joint() ? " voters, joint" : " voters") + " since " +
              std::to_string(raft.config_index().value);
    }
    return text;
  }

  void finish_clients() {
    if (world().failed()) return;
    cluster_.clients.stop();
    lease_holders_.stop();
    backups_.stop();
    guarded_keys_.stop();
    inquirer_.stop();
    const Micros limit = world().now() + 10 * kSecond;
    if (!cluster_.run_while_waiting(
            limit, [this] { return cluster_.clients.open() == 0; }, 10 * kMillisecond)) {
      world().fail("answers", "a request was never answered");
    }
    // With the longest time to live, the longest wait for a leader's word on time, and a little.
    if (!cluster_.run_while_waiting(world().now() + kLeaseEndsWithin,
                                    [this] { return no_lease_is_left(); })) {
      world().fail("leases", "a lease that nobody keeps alive did not end");
    }
    // A follower learns of the last commits by what is sent next, and may still be catching up.
    if (!cluster_.run_while_waiting(world().now() + kProgressWithin,
                                    [this] { return all_applied_alike(); })) {
      world().fail("progress", "a node did not catch up within 5 s of the last write");
    }
  }

  void finish_watchers() {
    if (world().failed()) return;
    watchers_.finish(engine(members_[0]).revision().value);
    const Micros limit = world().now() + kProgressWithin + cluster_.options.watch_pause_max;
    if (!cluster_.run_while_waiting(limit, [this] { return watchers_.finished(); })) {
      world().fail("watch", watchers_.unfinished());
    }
  }

  bool no_lease_is_left() {
    for (int node : members_) {
      if (engine(node).leases().size() > 0) return false;
    }
    return true;
  }

  bool all_applied_alike() {
    const auto alike = [this](int node) {
      return engine(node).applied() == engine(members_[0]).applied();
    };
    return std::ranges::all_of(members_, alike) && (!witness_ || alike(*witness_));
  }

  const cp::Engine& engine(int node) { return *cluster_.node(node).machine()->cp_engine(); }

  // Reads a node revision by revision, as a client would: below what is compacted it refuses, and
  // from there on it holds the truth.
  void check_reads(int node) {
    const std::uint64_t now = engine(node).revision().value;
    const std::uint64_t compacted = engine(node).mvcc().facts().compacted.value;
    auto answered = std::make_shared<std::uint64_t>(0);
    for (std::uint64_t revision = 1; revision <= now; ++revision) {
      Request request;
      request.body = RangeRequest{.range = {"a", "z"},
                                  .revision = static_cast<std::int64_t>(revision),
                                  .serializable = true};
      cluster_.node(node).submit(
          std::move(request), [this, node, revision, compacted, answered](const Reply& reply) {
            ++*answered;
            if (reply.reason == Reason::kCompacted) {  // perhaps by rule, a moment ago
              if (revision >= engine(node).mvcc().facts().compacted.value) differs(node, revision);
              return;
            }
            if (revision < compacted) return differs(node, revision);
            const auto* range = std::get_if<RangeResult>(&reply.body);
            const Snapshot& want = truth_.truth()[revision];
            const auto same = [](const KeyValue& kv, const auto& row) { return kv == row.second; };
            if (!range || !std::ranges::equal(range->kvs, want, same)) differs(node, revision);
          });
    }
    if (!cluster_.run_while_waiting(world().now() + kSecond, [&] { return *answered == now; })) {
      world().fail("reads", "historical reads were not answered");
    }
  }
  void differs(int node, std::uint64_t revision) {
    world().fail("all nodes hold the same",
                 cluster_.node(node).name() + " does not hold what was applied first at revision " +
                     std::to_string(revision));
  }

  void judge(const char* oracle, const std::string& wrong) {
    if (!wrong.empty()) world().fail(oracle, wrong);
  }

  void check_histories() {
    for (int node : members_) {
      if (!world().failed()) check_reads(node);
    }
    if (world().failed()) return;
    const Truth& truth = truth_.truth();
    const AskedList& all = cluster_.clients.all();
    judge("real time", check_real_time(all));
    judge("content", check_content(all, truth));
    judge("once", check_once(all, truth));
    judge("compaction", check_compaction(all, compacts_by_rule()));
    judge("watch", watchers_.check(truth));
    judge("outcomes", inquirer_.check(truth));
    judge("auth", guarded_keys_.check());
    judge("leases", lease_holders_.check(all, truth));
    const lab::LinearizableResult result =
        lab::check_linearizable(single_key_history(all), {.steps_max = 200'000});
    if (result.verdict == lab::Verdict::kNo) {
      world().fail("linearizable per key", result.key + "\n" + result.counterexample);
    }
    cluster_.counters.add(result.verdict == lab::Verdict::kUnknown ? "linearizability undecided"
                                                                   : "linearizability decided");
  }

  bool compacts_by_rule() const {
    const CompactionRule& rule = cluster_.options.auto_compaction;
    return rule.keep_for > 0 || rule.keep_revisions > 0;
  }

  // What a compaction frees goes by itself, everywhere, and nothing else does.
  void check_swept() {
    if (world().failed()) return;
    const bool all = cluster_.run_while_waiting(world().now() + kSweptWithin, [this] {
      for (int node : members_) {
        const cp::Mvcc& mvcc = engine(node).mvcc();
        if (mvcc.sweep_state().swept != mvcc.facts().compacted) return false;
      }
      return true;
    });
    if (!all) return world().fail("sweep", "a node did not remove what is compacted");
    for (int node : members_) {
      const cp::Mvcc& mvcc = engine(node).mvcc();
      const std::uint64_t compacted = mvcc.facts().compacted.value;
      if (compacted > 0) cluster_.counters.add("nodes swept");
      const bool asked = cluster_.options.compactions > 0;
      if (compacted > 0 && !asked) {
        cluster_.counters.add("compacted by rule");
        const std::uint64_t keep = cluster_.options.auto_compaction.keep_revisions;
        if (!compacts_by_rule() || compacted + keep > mvcc.facts().revision.value) {
          world().fail("compaction", cluster_.node(node).name() + " compacted more than it may");
        }
      }
      std::set<std::uint64_t> want, kept;
      if (compacted > 0) {
        for (const auto& [key, kv] : truth_.truth()[compacted]) want.insert(kv.mod_revision.value);
      }
      for (std::uint64_t revision = std::max<std::uint64_t>(compacted, 2);
           revision <= mvcc.facts().revision.value; ++revision) {
        want.insert(revision);
      }
      mvcc.changes({1}, mvcc.facts().revision, [&](cp::Place place, const cp::ChangeView&) {
        kept.insert(place.revision);
        return true;
      });
      if (want != kept) {
        world().fail("sweep", cluster_.node(node).name() + " keeps " + std::to_string(kept.size()) +
                                  " revisions where it should keep " + std::to_string(want.size()));
      }
    }
  }

  // Every member has compared its state with every other's, and found it equal.
  void check_compared() {
    if (world().failed()) return;
    const auto word = [this](int node, MemberId of) {
      StatusResult status;
      status.peers.emplace_back().id = of;
      engine(node).describe(status);
      return status.peers.front().state;
    };
    const auto everywhere = [&](const auto& holds) {
      for (int node : members_) {
        for (int other : members_) {
          if (node != other && !holds(word(node, cluster_.node(other).id()))) return false;
        }
      }
      return true;
    };
    const Micros limit = world().now() + 2 * cluster_.options.compare_interval + kSecond;
    const bool all = cluster_.run_while_waiting(limit, [&] {
      return everywhere([](const std::string& state) { return state == "equal"; });
    });
    if (!all) world().fail("states compared", "not all equal within two rounds");
  }

  // With a witness, too, the loss of one member is none of the cluster: whatever it was told in the
  // middle of a row of writes, another leads without the one that is gone.
  void check_survives() {
    if (world().failed() || !witness_ || members_.size() < 2) return;
    int leader = -1;
    const bool whole = cluster_.run_while_waiting(world().now() + kRestoredWithin, [&] {
      const auto normal = [this](int node) {
        return engine(node).raft().standing() == cp::Standing::kNormal;
      };
      const auto leads = [this](int node) { return engine(node).raft().established(); };
      const auto found = std::ranges::find_if(members_, leads);
      leader = found == members_.end() ? -1 : *found;
      return leader >= 0 && std::ranges::all_of(members_, normal) && normal(*witness_);
    });
    if (!whole) return world().fail("survives", "not all are normal:" + where_all_stand());
    for (Micros at = 0; at < 100 * kMillisecond; at += world().rng.workload.between(1, 5'000)) {
      world().after(at, [this, leader] {
        Request request;
        request.body = PutRequest{.key = "w", .value = std::to_string(++probes_)};
        if (!cluster_.node(leader).running()) return;
        cluster_.clients.ask(kLastWriter, leader, std::move(request), kSecond);
      });
    }
    world().run_until(world().now() + world().rng.workload.between(1, 100'000));
    if (world().failed() || !cluster_.node(leader).running()) return;
    cluster_.node(leader).crash(true);
    cluster_.counters.add("leader lost beside a witness");
    std::erase(members_, leader);
    reached_ = 0;
    const Micros lost = world().now();
    for (int node : members_) probe(node);
    const bool all = cluster_.run_while_waiting(lost + kProgressWithin,
                                                [this] { return reached_ == members_.size(); });
    if (!all) world().fail("survives", "the loss of the leader stops all:" + where_all_stand());
  }

  Cluster cluster_;
  RaftOracle oracle_;
  TruthKeeper truth_;
  Watchers watchers_;
  LeaseHolders lease_holders_;
  Backups backups_;
  GuardedKeys guarded_keys_;
  Inquirer inquirer_;
  std::vector<int> members_;    // who must go on after the heal
  std::optional<int> witness_;  // and beside them
  std::size_t reached_ = 0;
  std::uint64_t probes_ = 0;
};

}  // namespace

Verdict run_cp(std::uint64_t seed, Counters& counters, bool print_notes) {
  return run_schedule<CpRun>(Mode::kCp, seed, counters, print_notes);
}

}  // namespace capstan::sim
