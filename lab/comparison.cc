#include "lab/comparison.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <utility>

#include "lab/child_process.h"
#include "lab/cluster.h"
#include "lab/divergence.h"
#include "lab/recorded_clients.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"
#include "node/version.h"

namespace capstan::lab {
namespace {

constexpr Micros kStartPatience = 20 * kSecond;
constexpr Micros kSampleInterval = 250 * kMillisecond;
constexpr Micros kHealSampleInterval = 20 * kMillisecond;
constexpr Micros kProbeBeforeHeal = 150 * kMillisecond;
constexpr Micros kOnItsWay = 100 * kMillisecond;  // a younger value may still be travelling
constexpr Micros kSettlePatience = 8 * kSecond;   // after the last answer

bool is_on(const Side& side, const std::string& name) {
  return std::ranges::any_of(side, [&](std::uint32_t node) { return node_name(node) == name; });
}

// One cluster under load: everything that is done and watched on one side of the comparison.
class Arena {
 public:
  Arena(net::Loop& loop, ModeRun& run, Sides sides, ClusterOptions options,
        std::function<void(Event)> say)
      : loop_(loop),
        run_(run),
        sides_(std::move(sides)),
        majority_(majority_side(sides_)),
        said_refusal_(sides_.size()),
        cluster_(loop, std::move(options)),
        say_(std::move(say)) {}

  Status start() { return cluster_.start(); }
  Cluster& cluster() { return cluster_; }

  // Asks all nodes whether they are ready; is_ready() tells the latest news.
  void ask_ready();
  bool is_ready() const { return ready_ == cluster_.size(); }

  void begin_load(Micros origin);
  void begin(const PlannedOperation& op) { clients_->begin(op); }
  // Called every millisecond from the start of the load on.
  void watch(Micros now);
  void cut(Micros now, Micros for_micros);
  void probe_two_values(Micros now);
  void heal(Micros now);
  void end_load(Micros now) { load_ended_ = now; }
  bool finished() const { return finished_; }
  void close_books() { run_.history = clients_->take(); }

 private:
  void note(const Operation& op);
  void sample(Micros now);
  void sampled(Micros asked, const std::vector<std::unique_ptr<Dump>>& dumps);
  void ask_leader();
  void ask_bytes_across(std::function<void(std::int64_t)> done);
  void settle(Micros now);
  void ask_finals();
  void got_finals();
  void problem(std::string sentence) {
    if (run_.problems.size() < 10) run_.problems.push_back(std::move(sentence));
  }
  // One dump of each node; `done` once all have answered or failed.
  void dump_all(bool stale, std::function<void(std::vector<std::unique_ptr<Dump>>)> done);
  std::string name() const { return run_.mode == Mode::kCp ? "CP" : "AP"; }
  Micros time() const { return net::Loop::clock().monotonic - origin_; }

  net::Loop& loop_;
  ModeRun& run_;
  const Sides sides_;
  const std::optional<std::size_t> majority_;  // of the sides
  std::vector<bool> said_refusal_;             // by side
  Cluster cluster_;
  std::function<void(Event)> say_;
  std::unique_ptr<RecordedClients> clients_;
  Micros origin_ = 0;

  std::uint32_t ready_ = 0;
  bool asking_ready_ = false;
  bool sampling_ = false;
  Micros next_sample_ = 0, next_leader_ = 0;
  bool cut_done_ = false, healed_ = false;
  bool said_accepting_ = false;
  std::string leader_;
  std::uint64_t term_ = 0;
  std::uint64_t differed_ = 0;       // keys, when the heal was ordered
  std::int64_t bytes_at_heal_ = -1;  // as ask_bytes_across() tells them
  Micros load_ended_ = -1, settle_until_ = -1;
  bool asking_finals_ = false, finished_ = false;
  std::vector<FinalState> finals_;
  std::vector<std::vector<Conflict>> conflicts_;
  std::uint32_t finals_left_ = 0;
  bool finals_whole_ = true;
};

void Arena::ask_ready() {
  if (asking_ready_ || !cluster_.all_said_ready()) return;
  asking_ready_ = true;
  struct Count {
    std::uint32_t left, ready = 0;
  };
  auto count = std::make_shared<Count>(cluster_.size());
  for (std::uint32_t node = 0; node < cluster_.size(); ++node) {
    cluster_.ready(node, [this, count](bool ready) {
      count->ready += ready ? 1 : 0;
      if (--count->left > 0) return;
      ready_ = count->ready;
      asking_ready_ = false;
    });
  }
}

void Arena::begin_load(Micros origin) {
  origin_ = origin;
  std::vector<std::uint16_t> ports;
  for (std::uint32_t node = 0; node < cluster_.size(); ++node) ports.push_back(cluster_.port(node));
  clients_ = std::make_unique<RecordedClients>(loop_, std::move(ports), origin);
  clients_->on_answer = [this](const Operation& op) { note(op); };
}

// Tells the story of the CP side from what its clients are answered.
void Arena::note(const Operation& op) {
  if (run_.mode != Mode::kCp || !cut_done_ || !op.is_write()) return;
  if (healed_) return;
  const std::size_t at = side_of(sides_, op.node);
  const Side& side = sides_[at];
  if (at != majority_ && op.outcome == Outcome::kFailed && !said_refusal_[at]) {
    said_refusal_[at] = true;
    say_({time(), name(),
          names_of(side) + (side.size() == 1 ? " refuses (" : " refuse (") +
              std::string(capstan::to_text(op.reason)) + ")"});
  }
  if (at == majority_ && op.acknowledged() && op.start > run_.cut_at + kOnItsWay &&
      !said_accepting_ && is_on(side, leader_)) {
    said_accepting_ = true;
    say_({time(), name(),
          leader_ + " leads " + names_of(side) + ", term " + std::to_string(term_) +
              "; they accept"});
  }
}

void Arena::ask_leader() {
  // Of the side that has a leader while the cut lasts, if one has.
  cluster_.status(sides_[majority_.value_or(0)].front(), [this](Result<StatusResult> status) {
    if (!status) return;
    leader_ = status->leader_name;
    term_ = status->term;
    run_.durability = std::string(capstan::to_text(status->durability));
  });
}

// Bytes of frames between the first side and the other. A node counts its bytes to and from all
// peers alike, so this is told only where the first side is a single node.
void Arena::ask_bytes_across(std::function<void(std::int64_t)> done) {
  if (sides_.size() == 2 && sides_[0].size() == 1) {
    cluster_.peer_bytes(sides_[0].front(), std::move(done));
  } else {
    done(-1);
  }
}

void Arena::dump_all(bool stale, std::function<void(std::vector<std::unique_ptr<Dump>>)> done) {
  struct Round {
    std::vector<std::unique_ptr<Dump>> dumps;
    std::uint32_t left;
    std::function<void(std::vector<std::unique_ptr<Dump>>)> done;
  };
  auto round = std::make_shared<Round>();
  round->dumps.resize(cluster_.size());
  round->left = cluster_.size();
  round->done = std::move(done);
  for (std::uint32_t node = 0; node < cluster_.size(); ++node) {
    clients_->dump(node, stale, [round, node](std::unique_ptr<Dump> dump) {
      round->dumps[node] = std::move(dump);
      if (--round->left == 0) round->done(std::move(round->dumps));
    });
  }
}

void Arena::sample(Micros now) {
  sampling_ = true;
  dump_all(true, [this, now](std::vector<std::unique_ptr<Dump>> dumps) {
    sampling_ = false;
    if (std::ranges::all_of(dumps, [](const auto& dump) { return dump != nullptr; })) {
      sampled(now, dumps);
    }
  });
}

void Arena::sampled(Micros asked, const std::vector<std::unique_ptr<Dump>>& dumps) {
  const auto begun = [this](const std::string& value) { return clients_->begun(value); };
  const bool after_heal = healed_ && asked >= run_.heal_at;
  const Micros settled = after_heal ? run_.heal_at : asked - kOnItsWay;
  const std::uint64_t keys = settled_differences(dumps, settled, begun);
  run_.divergence.push_back({asked, keys});
  if (cut_done_ && !healed_) differed_ = keys;
  if (!after_heal || run_.equal_after >= 0 || keys > 0) return;
  run_.equal_after = time() - run_.heal_at;
  ask_bytes_across([this](std::int64_t bytes) {
    if (bytes >= 0 && bytes_at_heal_ >= 0) run_.reconcile_bytes = bytes - bytes_at_heal_;
  });
  const std::string differed = std::to_string(differed_) + " keys had differed";
  const std::string what = run_.mode == Mode::kCp && majority_
                               ? names_of(cut_off(sides_)) + " caught up: "
                               : "equal again: ";
  say_({time(), name(), what + differed});
}

void Arena::watch(Micros now) {
  const bool heal_watch = healed_ && run_.equal_after < 0;
  if (!sampling_ && now >= next_sample_ && (load_ended_ < 0 || heal_watch)) {
    next_sample_ = now + (heal_watch ? kHealSampleInterval : kSampleInterval);
    sample(now);
  }
  if (now >= next_leader_ && load_ended_ < 0) {
    next_leader_ = now + kSampleInterval / 2;
    ask_leader();
    if (std::string trouble = cluster_.trouble(); !trouble.empty()) problem(std::move(trouble));
  }
  if (load_ended_ >= 0) settle(now);
}

void Arena::cut(Micros now, Micros for_micros) {
  run_.leader_at_cut = leader_;
  leader_.clear();
  run_.cut_at = now;
  cluster_.cut(sides_, for_micros, [this](std::string failure) {
    if (!failure.empty()) problem(std::move(failure));
    run_.cut_at = time();
    cut_done_ = true;
    if (run_.mode == Mode::kAp) {
      say_({time(), name(), sides_.size() == 2 ? "both sides go on" : "all sides go on"});
    } else if (is_on(cut_off(sides_), run_.leader_at_cut)) {
      say_({time(), name(), run_.leader_at_cut + " was the leader"});
    }
  });
}

void Arena::probe_two_values(Micros now) {
  dump_all(false, [this, now](std::vector<std::unique_ptr<Dump>> dumps) {
    const auto begun = [this](const std::string& value) { return clients_->begun(value); };
    run_.keys_with_two_values = settled_differences(dumps, now - kOnItsWay, begun);
  });
  ask_bytes_across([this](std::int64_t bytes) { bytes_at_heal_ = bytes; });
}

void Arena::heal(Micros now) {
  run_.heal_at = now;
  healed_ = true;
  next_sample_ = now;
  cluster_.heal([this](std::string failure) {
    if (!failure.empty()) problem(std::move(failure));
  });
}

void Arena::settle(Micros now) {
  if (finished_ || asking_finals_ || clients_->open() > 0) return;
  if (settle_until_ < 0) settle_until_ = now + kSettlePatience;
  const bool sees_equal = run_.equal_after >= 0 || now > settle_until_;
  if (!sees_equal) return;
  run_.load_end = load_ended_;
  ask_finals();
}

// Dump, status and conflict log of every node; again until all are equal or patience ends.
void Arena::ask_finals() {
  asking_finals_ = true;
  finals_whole_ = true;
  finals_.assign(cluster_.size(), {});
  conflicts_.assign(cluster_.size(), {});
  const bool ap = run_.mode == Mode::kAp;
  finals_left_ = cluster_.size() * (ap ? 4 : 1);
  for (std::uint32_t node = 0; node < cluster_.size(); ++node) {
    finals_[node].name = cluster_.name(node);
    clients_->dump(node, true, [this, node](std::unique_ptr<Dump> dump) {
      dump ? void(finals_[node].dump = std::move(*dump)) : void(finals_whole_ = false);
      got_finals();
    });
    if (!ap) continue;
    cluster_.status(node, [this, node](Result<StatusResult> status) {
      finals_whole_ = finals_whole_ && status.has_value();
      if (status) {
        finals_[node].vector_text = status->vector_text;
        finals_[node].digest_text = status->digest_text;
      }
      got_finals();
    });
    cluster_.get(node, "/api/v1/books", [this, node](Result<net::ApiReply> reply) {
      const auto* books = reply ? std::get_if<BooksResult>(&reply->reply.body) : nullptr;
      if (books != nullptr) {
        finals_[node].survived_ids = {books->survived.begin(), books->survived.end()};
        finals_[node].lost_ids = {books->lost.begin(), books->lost.end()};
      } else {
        finals_whole_ = false;
      }
      got_finals();
    });
    cluster_.conflicts(node, [this, node](Result<std::vector<Conflict>> conflicts) {
      finals_whole_ = finals_whole_ && conflicts.has_value();
      if (conflicts) conflicts_[node] = std::move(*conflicts);
      got_finals();
    });
  }
}

void Arena::got_finals() {
  if (--finals_left_ > 0) return;
  asking_finals_ = false;
  for (std::uint32_t node = 0; node < cluster_.size(); ++node) {
    for (const Conflict& conflict : conflicts_[node]) {
      finals_[node].lost_bodies[conflict.loser_id] = conflict.loser_value;
    }
  }
  const bool equal =
      finals_whole_ && check_convergence(run_.mode, finals_).verdict == Verdict::kYes;
  if (!equal && time() < settle_until_) return;
  if (!finals_whole_) problem("a node did not tell its final state");
  run_.finals = std::move(finals_);
  for (std::vector<Conflict>& log : conflicts_) {
    for (Conflict& conflict : log) run_.conflicts.push_back(std::move(conflict));
  }
  finished_ = true;
}

// The whole run, on one loop.
class Comparison {
 public:
  explicit Comparison(const ComparisonOptions& options)
      : options_(options), plan_(plan_load(options.plan)), tick_(loop_) {}

  ComparisonResult run();

 private:
  void tick();
  void drive(Micros now);
  void say(Event event) {
    if (options_.on_event) options_.on_event(event);
    result_.record.events.push_back(std::move(event));
  }
  void stop(ComparisonEnd end, std::string failure = "") {
    if (stopped_) return;
    stopped_ = true;
    result_.end = end;
    result_.failure = std::move(failure);
    loop_.stop();
  }
  void on_signal() {
    if (signalled_) _exit(130);  // the kernel ends the nodes with us
    signalled_ = true;
    stop(ComparisonEnd::kInterrupted);
  }

  const ComparisonOptions& options_;
  std::vector<PlannedOperation> plan_;
  std::size_t next_ = 0;
  ComparisonResult result_;
  std::unique_ptr<ScratchDirectory> directory_;
  net::Loop loop_;
  net::Timer tick_;
  std::array<std::unique_ptr<Arena>, 2> arenas_;
  Micros started_ = 0, origin_ = -1;
  bool cut_ = false, probed_ = false, healed_ = false, load_ended_ = false;
  bool stopped_ = false, signalled_ = false;
};

void Comparison::tick() {
  const Micros clock = net::Loop::clock().monotonic;
  if (origin_ >= 0) return drive(clock - origin_);
  for (const auto& arena : arenas_) {
    if (std::string trouble = arena->cluster().trouble(); !trouble.empty()) {
      return stop(ComparisonEnd::kFailed,
                  std::string(capstan::to_text(arena->cluster().mode())) + " node " + trouble);
    }
    arena->ask_ready();
  }
  if (std::ranges::all_of(arenas_, [](const auto& arena) { return arena->is_ready(); })) {
    origin_ = clock;
    for (const auto& arena : arenas_) arena->begin_load(origin_);
    const PlanOptions& plan = options_.plan;
    say({0, "load:",
         std::to_string(plan.writes_per_second) + " writes/s and " +
             std::to_string(2 * plan.writes_per_second) + " reads/s through every node, " +
             std::to_string(plan.keys) + " keys"});
  } else if (clock - started_ > kStartPatience) {
    stop(ComparisonEnd::kFailed,
         "the nodes were not all ready within " + std::to_string(kStartPatience / kSecond) + " s");
  }
}

void Comparison::drive(Micros now) {
  const PlanOptions& plan = options_.plan;
  for (; next_ < plan_.size() && plan_[next_].at <= now; ++next_) {
    for (const auto& arena : arenas_) arena->begin(plan_[next_]);
  }
  if (!cut_ && now >= plan.cut_at) {
    cut_ = true;
    say({now, "CUT", to_text(plan.sides)});
    for (const auto& arena : arenas_) arena->cut(now, 2 * (plan.heal_at - plan.cut_at) + kSecond);
  }
  if (!probed_ && now >= plan.heal_at - kProbeBeforeHeal) {
    probed_ = true;
    for (const auto& arena : arenas_) arena->probe_two_values(now);
  }
  if (!healed_ && now >= plan.heal_at) {
    healed_ = true;
    say({now, "HEAL", ""});
    for (const auto& arena : arenas_) arena->heal(now);
  }
  if (!load_ended_ && next_ == plan_.size()) {
    load_ended_ = true;
    for (const auto& arena : arenas_) arena->end_load(now);
  }
  for (const auto& arena : arenas_) arena->watch(now);
  if (std::ranges::all_of(arenas_, [](const auto& arena) { return arena->finished(); })) {
    stop(ComparisonEnd::kDone);
  }
}

ComparisonResult Comparison::run() {
  RunRecord& record = result_.record;
  record.plan = options_.plan;
  record.version = std::string(node::kVersion);
  loop_.on_signal(SIGINT, [this] { on_signal(); });
  loop_.on_signal(SIGTERM, [this] { on_signal(); });
  Result<std::unique_ptr<ScratchDirectory>> directory =
      ScratchDirectory::create("capstan-compare-");
  if (!directory) return {ComparisonEnd::kFailed, directory.error().context, {}};
  directory_ = std::move(*directory);
  for (ModeRun* run : {&record.cp, &record.ap}) {
    const std::string own = directory_->path() + '/' + std::string(capstan::to_text(run->mode));
    if (Status made = make_directory(own); !made) {
      return {ComparisonEnd::kFailed, made.error().context, {}};
    }
    auto arena = std::make_unique<Arena>(loop_, *run, options_.plan.sides,
                                         ClusterOptions{.mode = run->mode,
                                                        .nodes = options_.plan.nodes,
                                                        .executable = options_.executable,
                                                        .directory = own,
                                                        .serve_flags = options_.serve_flags},
                                         [this](Event event) { say(std::move(event)); });
    if (Status started = arena->start(); !started) {
      return {ComparisonEnd::kFailed, started.error().context, {}};
    }
    arenas_[run == &record.cp ? 0 : 1] = std::move(arena);
  }
  started_ = net::Loop::clock().monotonic;
  tick_.every(kMillisecond, [this] { tick(); });
  loop_.run();
  tick_.cancel();
  if (origin_ >= 0 && result_.end == ComparisonEnd::kDone) {
    for (const auto& arena : arenas_) arena->close_books();
    // One window for both: from the moment the last node of either confirmed the cut.
    record.cp.cut_at = record.ap.cut_at = std::max(record.cp.cut_at, record.ap.cut_at);
  }
  for (const auto& arena : arenas_) arena->cluster().end();
  for (auto& arena : arenas_) arena.reset();
  directory_.reset();
  loop_.on_signal(SIGINT, nullptr);
  loop_.on_signal(SIGTERM, nullptr);
  return std::move(result_);
}

}  // namespace

ComparisonResult run_comparison(const ComparisonOptions& options) {
  return Comparison(options).run();
}

}  // namespace capstan::lab
