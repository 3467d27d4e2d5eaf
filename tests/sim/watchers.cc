#include "tests/sim/watchers.h"

#include <utility>

#include "cp/engine.h"

namespace capstan::sim {

namespace {

constexpr Micros kLookAfter = 100 * kMillisecond;

std::string name_of(int number) { return "watcher " + std::to_string(number); }

bool inside(const KeyRange& range, const std::string& key) {
  if (range.end.empty()) return key == range.key;
  return key >= range.key && (range.end == std::string(1, '\0') || key < range.end);
}

std::string text_of(const WatchEvent& event) {
  return std::string(event.deleted ? "delete " : "put ") + event.kv.key + " at " +
         std::to_string(event.kv.mod_revision.value);
}

// What happened in one revision to the keys of a watch, by key.
std::map<std::string, WatchEvent> events_of(const Truth& truth, std::uint64_t revision,
                                            const WatchRequest& request) {
  const Snapshot& before = truth[revision - 1];
  const Snapshot& now = truth[revision];
  std::map<std::string, WatchEvent> out;
  const auto previous = [&](const std::string& key) {
    const auto found = before.find(key);
    return request.prev_kv && found != before.end() ? std::optional(found->second) : std::nullopt;
  };
  for (const auto& [key, kv] : now) {
    if (kv.mod_revision.value != revision || request.no_put || !inside(request.range, key))
      continue;
    out[key] = {.deleted = false, .kv = kv, .prev = previous(key)};
  }
  for (const auto& [key, kv] : before) {
    if (now.contains(key) || request.no_delete || !inside(request.range, key)) continue;
    WatchEvent event{.deleted = true, .kv = {}, .prev = previous(key)};
    event.kv.key = key;
    event.kv.mod_revision = {revision};
    out[key] = std::move(event);
  }
  return out;
}

bool same(const WatchEvent& a, const WatchEvent& b) {
  return a.deleted == b.deleted && a.kv == b.kv && a.prev == b.prev;
}

}  // namespace

Watchers::Watchers(Cluster& cluster) : cluster_(cluster), rng_(cluster.world.rng.watchers) {
  for (int number = 0; number < cluster.options.watchers; ++number) {
    auto watcher = std::make_unique<Watcher>();
    watcher->number = number;
    WatchRequest& request = watcher->request;
    const auto keys = static_cast<std::uint64_t>(cluster.options.keys);
    switch (rng_.below(3)) {
      case 0:
        request.range = {cluster.clients.key(rng_.below(keys + 1)), ""};
        break;
      case 1:
        request.range = {"k", "l"};
        break;
      default:
        request.range = {"", std::string(1, '\0')};
    }
    if (request.range.key.empty()) request.range.key.assign(1, '\0');
    request.prev_kv = rng_.chance(0.5);
    request.no_put = rng_.chance(0.1);
    request.no_delete = !request.no_put && rng_.chance(0.1);
    request.id = rng_.chance(0.5) ? 0 : rng_.between(1, 9);
    // From now on, from the beginning, or from a revision that may not be there yet.
    request.start_revision = rng_.chance(0.4) ? 0 : rng_.between(1, 40);
    watcher->require_leader = rng_.chance(0.3);
    all_.push_back(std::move(watcher));
  }
}

void Watchers::start() {
  for (auto& watcher : all_) {
    cluster_.world.after(rng_.between(0, 500) * kMillisecond,
                         [this, w = watcher.get()] { look_after(*w); });
  }
}

// Every so often: a connection that is gone with its node is made again elsewhere, and a watcher
// that sleeps has not been forgotten.
void Watchers::look_after(Watcher& watcher) {
  SimNode& node = cluster_.node(watcher.node);
  if (watcher.away || !node.running() || node.life() != watcher.life) {
    connect(watcher);
  } else {
    node.post([this, &watcher, connection = watcher.connection](node::Machine&) {
      if (connection == watcher.connection) check_woken(watcher);
    });
  }
  cluster_.world.after(kLookAfter, [this, &watcher] { look_after(watcher); });
}

void Watchers::leave(Watcher& watcher) {
  ++watcher.connection;
  watcher.away = true;
  watcher.stream.reset();
  watcher.open = watcher.pull_due = watcher.asked_progress = false;
}

void Watchers::connect(Watcher& watcher) {
  leave(watcher);
  watcher.node = static_cast<int>(rng_.below(cluster_.nodes.size()));
  SimNode& node = cluster_.node(watcher.node);
  if (!node.running()) return;  // looked after again soon
  watcher.life = node.life();
  watcher.away = false;
  node.post([this, &watcher, connection = watcher.connection](node::Machine& machine) {
    if (connection != watcher.connection) return;
    WatchOptions options;
    options.caller = kRootUser;
    options.require_leader = watcher.require_leader;
    options.ready = [this, &watcher, connection] {
      if (connection == watcher.connection) pull_soon(watcher);
    };
    watcher.stream = machine.watch(std::move(options));
    WatchRequest request = watcher.request;
    if (watcher.begin != 0) {
      request.start_revision = static_cast<std::int64_t>(watcher.covered + 1);
      cluster_.counters.add("watches resumed");
    }
    watcher.stream->create(std::move(request));
  });
}

void Watchers::pull_soon(Watcher& watcher) {
  if (watcher.pull_due) return;
  watcher.pull_due = true;
  cluster_.world.after(
      rng_.between(0, final_ != 0 ? kMillisecond : cluster_.options.watch_pause_max),
      [this, &watcher, connection = watcher.connection] {
        if (connection != watcher.connection) return;
        cluster_.node(watcher.node).post([this, &watcher, connection](node::Machine&) {
          if (connection != watcher.connection) return;
          watcher.pull_due = false;
          pull(watcher);
        });
      });
}

void Watchers::check_woken(Watcher& watcher) {
  // Of the turn in which it fell asleep the end may still come, and wake it.
  if (!watcher.open || watcher.pull_due || watcher.pulled_at == cluster_.world.now()) return;
  if (const auto message = watcher.stream->next()) {
    broken(watcher, "was not woken for what waits for it: " +
                        (message->events.empty() ? "no event" : text_of(message->events.front())));
  }
}

void Watchers::pull(Watcher& watcher) {
  const std::uint64_t connection = watcher.connection;
  watcher.pulled_at = cluster_.world.now();
  for (std::uint64_t left = final_ == 0 && rng_.chance(0.5) ? 1 : 1000; left > 0; --left) {
    std::optional<WatchMessage> message = watcher.stream->next();
    if (!message) {
      lose_patience(watcher);
      return;
    }
    take(watcher, *std::move(message));
    if (connection != watcher.connection) return;
  }
  pull_soon(watcher);  // there may be more, and nobody will say so again
}

void Watchers::lose_patience(Watcher& watcher) {
  if (!watcher.open) return;
  if (final_ == 0) {
    if (rng_.chance(0.03)) return connect(watcher);
    if (rng_.chance(0.03)) watcher.stream->cancel(watcher.id);
    if (!rng_.chance(0.2)) return;
  }
  if (watcher.asked_progress || (final_ != 0 && watcher.covered >= final_)) return;
  watcher.asked_progress = true;
  watcher.stream->ask_progress();
}

void Watchers::broken(const Watcher& watcher, const std::string& what) {
  cluster_.world.fail("watch", name_of(watcher.number) + " " + what);
}

void Watchers::take(Watcher& watcher, WatchMessage message) {
  const std::uint64_t revision = message.header.revision.value;
  if (message.end) {
    const bool at_witness = message.end->reason == Reason::kWitness;
    cluster_.counters.add(at_witness ? "watches asked of a witness" : "watches without a leader");
    return leave(watcher);
  }
  if (message.created) {
    if (message.canceled || watcher.open) return broken(watcher, "was not created once");
    if (watcher.request.id != 0 && message.id != watcher.request.id) {
      return broken(watcher, "was given another id than it asked for");
    }
    watcher.open = true;
    watcher.id = message.id;
    if (watcher.begin != 0) return;
    watcher.begin = watcher.request.start_revision > 0
                        ? static_cast<std::uint64_t>(watcher.request.start_revision)
                        : revision + 1;
    watcher.covered = watcher.begin - 1;
    return;
  }
  if (!watcher.open) return broken(watcher, "was sent something before it was created");
  if (message.canceled) {
    if (message.compacted) {
      take_compacted(watcher, message.compacted.value);
    } else {
      cluster_.counters.add("watches canceled");
    }
    return connect(watcher);
  }
  if (message.events.empty()) {
    if (message.id != -1) return broken(watcher, "was sent a message of nothing");
    watcher.asked_progress = false;
    if (revision > watcher.covered) cluster_.counters.add("watch bookmarks");
    watcher.covered = std::max(watcher.covered, revision);
    if (final_ != 0) lose_patience(watcher);
    return;
  }
  if (message.id != watcher.id) return broken(watcher, "was sent events of another watch");
  if (message.events.back().kv.mod_revision.value > revision) {
    return broken(watcher, "was sent an event ahead of its header");
  }
  cluster_.counters.add("watch events", message.events.size());
  take_events(watcher, std::move(message.events));
}

void Watchers::take_events(Watcher& watcher, std::vector<WatchEvent> events) {
  const std::uint64_t covered = watcher.covered;
  for (WatchEvent& event : events) {
    const std::uint64_t revision = event.kv.mod_revision.value;
    if (revision <= covered) {
      return broken(watcher, "was sent " + text_of(event) + ", and had all up to " +
                                 std::to_string(covered) + " before");
    }
    if (revision < watcher.covered) {
      return broken(watcher, "was sent " + text_of(event) + " behind a later one");
    }
    watcher.covered = revision;
    if (event.kv.mod_revision <= mvcc_of(watcher).sweep_state().target) {
      watcher.no_prevs.insert(revision);
    }
    watcher.got[revision].push_back(std::move(event));
  }
}

const cp::Mvcc& Watchers::mvcc_of(const Watcher& watcher) {
  return cluster_.node(watcher.node).machine()->cp_engine()->mvcc();
}

void Watchers::take_compacted(Watcher& watcher, std::uint64_t compacted) {
  if (compacted > mvcc_of(watcher).facts().compacted.value || compacted <= watcher.covered + 1) {
    return broken(watcher, "was canceled for a compaction to " + std::to_string(compacted) +
                               ", having had all up to " + std::to_string(watcher.covered));
  }
  cluster_.counters.add("watches compacted away");
  for (std::uint64_t gone = watcher.covered + 1; gone < compacted; ++gone) {
    watcher.skipped.insert(gone);
  }
  watcher.covered = compacted - 1;
}

void Watchers::finish(std::uint64_t final) {
  final_ = final;
  for (auto& watcher : all_) {
    if (watcher->open) pull_soon(*watcher);  // to ask for progress; events wake it by themselves
  }
}

bool Watchers::finished() const {
  return std::ranges::all_of(all_, [this](const auto& watcher) {
    return watcher->begin != 0 && watcher->covered >= final_;
  });
}

std::string Watchers::unfinished() const {
  std::string out;
  for (const auto& watcher : all_) {
    if (watcher->begin != 0 && watcher->covered >= final_) continue;
    out += (out.empty() ? "" : ", ") + name_of(watcher->number) + " at n" +
           std::to_string(watcher->node + 1) + " has come to " + std::to_string(watcher->covered) +
           " of " + std::to_string(final_);
  }
  return out;
}

std::string Watchers::check(const Truth& truth) const {
  for (const auto& watcher : all_) {
    const std::string name = name_of(watcher->number);
    for (std::uint64_t revision = watcher->begin; revision < truth.size(); ++revision) {
      if (revision > watcher->covered) break;  // made after it had finished
      if (watcher->skipped.contains(revision)) continue;
      std::map<std::string, WatchEvent> want = events_of(truth, revision, watcher->request);
      const auto got = watcher->got.find(revision);
      const std::vector<WatchEvent> nothing;
      for (const WatchEvent& event : got == watcher->got.end() ? nothing : got->second) {
        const auto found = want.find(event.kv.key);
        if (found == want.end()) {
          return name + " was sent " + text_of(event) + ", which did not happen or came twice";
        }
        if (!event.prev && watcher->no_prevs.contains(revision)) found->second.prev.reset();
        if (!same(event, found->second)) return name + " was sent a wrong " + text_of(event);
        want.erase(found);
      }
      if (!want.empty()) return name + " was not sent " + text_of(want.begin()->second);
    }
  }
  return {};
}

}  // namespace capstan::sim
