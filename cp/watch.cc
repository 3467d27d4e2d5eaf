#include "cp/watch.h"

#include <algorithm>
#include <deque>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/check.h"
#include "core/limits.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

// etcd's words, as they arrive at its clients.
constexpr std::string_view kDenied =
    "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

}  // namespace

struct Watches::Watch {
  Watch(Stream& of, const WatchRequest& asked, KeyBounds range)
      : stream(of), request(asked), bounds(std::move(range)) {}

  Stream& stream;
  WatchRequest request;
  KeyBounds bounds;
  std::size_t place = 0;   // in the index
  std::uint64_t from = 0;  // nothing before it matters
  Micros quiet_since = 0;
  Micros listed = 0;  // as quiet since then, in its stream
  // While due: everything it has not seen lies in `hits`, or, if those overflowed or it starts in
  // the past, at `next` and behind it.
  bool due = false;
  bool scans = false;
  std::uint64_t next = 0;
  std::vector<std::uint64_t> hits;

  std::uint64_t unseen() const { return scans ? next : hits.front(); }  // while due
};

class Watches::Stream final : public WatchStream {
 public:
  Stream(Watches& all, WatchOptions options, MayWatch may_watch)
      : all_(&all), options_(std::move(options)), may_watch_(std::move(may_watch)) {
    all.streams_.push_back(this);
  }
  ~Stream() override {
    if (all_ == nullptr) return;
    for (auto& [id, watch] : watches_) all_->remove(*watch);
    std::erase(all_->streams_, this);
  }

  void create(WatchRequest request) override;
  void cancel(std::int64_t id) override { cancel(id, {}); }
  void cancel(std::int64_t id, std::string why);
  void ask_progress() override {
    ++progress_wanted_;
    wake();
  }
  std::optional<WatchMessage> next() override;

  bool require_leader() const { return options_.require_leader; }
  void end(Refusal why);
  void detach() { all_ = nullptr; }
  void due(std::int64_t id) {
    due_.push_back(id);
    wake();
  }
  void turn() {
    if (std::exchange(has_more_, false)) wake();
  }
  void tick();
  void recheck();
  void replaced(std::uint64_t unseen, std::uint64_t now);
  bool any_behind(std::uint64_t target) const {
    return std::ranges::any_of(due_, [&](std::int64_t id) {
      const auto at = watches_.find(id);
      return at != watches_.end() && at->second->due && at->second->unseen() < target;
    });
  }

 private:
  WatchMessage message(std::int64_t id) const;
  WatchMessage compacted_away(std::int64_t id) const;
  void say(WatchMessage message);
  using Place = std::unordered_map<std::int64_t, std::unique_ptr<Watch>>::iterator;
  void forget(Place at) {
    quiet_.erase({at->second->listed, at->first});
    all_->remove(*at->second);
    watches_.erase(at);
  }
  void refuse(std::string why);
  void wake() { options_.ready(); }
  bool may_watch(const KeyRange& range) { return !may_watch_ || may_watch_(range); }

  Watches* all_;  // nullptr: the node's side is gone
  WatchOptions options_;
  MayWatch may_watch_;
  std::unordered_map<std::int64_t, std::unique_ptr<Watch>> watches_;
  std::int64_t next_id_ = 0;
  std::deque<WatchMessage> said_;  // all but events
  // Of those that want to hear of silence, by when there was none for the last time, or before.
  std::set<std::pair<Micros, std::int64_t>> quiet_;
  std::deque<std::int64_t> due_;  // in turns; some may have been canceled since
  int progress_wanted_ = 0;
  bool has_more_ = false;  // next() stopped early: ask again in a later turn
  bool ended_ = false;
};

// ---- One stream ---------------------------------------------------------------------------------

WatchMessage Watches::Stream::message(std::int64_t id) const {
  WatchMessage out;
  out.header = all_->header_now();
  out.id = id;
  return out;
}

WatchMessage Watches::Stream::compacted_away(std::int64_t id) const {
  WatchMessage out = message(id);
  out.canceled = true;
  out.compacted = all_->mvcc_.facts().compacted;
  return out;
}

void Watches::Stream::say(WatchMessage message) {
  said_.push_back(std::move(message));
  wake();
  if (said_.size() <= kWatchAnswersMax || ended_) return;
  end({Reason::kOverloaded, "refused: " + std::to_string(kWatchAnswersMax) +
                                " answers wait on this stream. Read them, then watch again."});
}

void Watches::Stream::refuse(std::string why) {
  WatchMessage out = message(-1);
  out.created = out.canceled = true;
  out.cancel_reason = std::move(why);
  say(std::move(out));
}

void Watches::Stream::create(WatchRequest request) {
  if (all_ == nullptr || ended_) return;
  all_->advance();  // "from now on" begins where this stands
  if (request.range.key.empty()) request.range.key.assign(1, '\0');
  KeyBounds bounds(request.range);
  if (!may_watch(request.range)) return refuse(std::string(kDenied));
  if (bounds.empty()) return refuse("mvcc: watcher range is empty");
  if (request.id != 0 && watches_.contains(request.id)) {
    return refuse("mvcc: duplicate watch ID provided on the WatchStream");
  }
  if (request.range.key.size() > kKeyBytesMax || request.range.end.size() > kKeyBytesMax) {
    return refuse("refused: a key of a range has at most " + std::to_string(kKeyBytesMax) +
                  " bytes");
  }
  if (all_->bytes_ > kWatchBytesMax) {
    return refuse("refused: the " + std::to_string(all_->count()) +
                  " watches of this node take all the memory they may; watch at another");
  }
  if (request.id == 0) {
    while (watches_.contains(next_id_)) ++next_id_;
    request.id = next_id_++;
  }
  const std::int64_t id = request.id;
  WatchMessage created = message(id);
  created.created = true;
  const Revision compacted = all_->mvcc_.facts().compacted;
  if (request.start_revision > 0 &&
      static_cast<std::uint64_t>(request.start_revision) < compacted.value) {
    say(std::move(created));
    return say(compacted_away(id));
  }
  const std::uint64_t seen = all_->seen_.value;
  auto made = std::make_unique<Watch>(*this, request, std::move(bounds));
  Watch& watch = *made;
  watch.from =
      request.start_revision > 0 ? static_cast<std::uint64_t>(request.start_revision) : seen + 1;
  watch.quiet_since = watch.listed = all_->now_;
  if (request.progress_notify) quiet_.insert({watch.listed, id});
  all_->add(watch);
  watches_.emplace(id, std::move(made));
  say(std::move(created));
  if (ended_ || watch.from > seen) return;
  watch.scans = true;
  watch.next = watch.from;
  all_->make_due(watch);
}

void Watches::Stream::cancel(std::int64_t id, std::string why) {
  if (all_ == nullptr || ended_) return;
  const auto at = watches_.find(id);
  if (at == watches_.end()) return;
  forget(at);
  WatchMessage out = message(id);
  out.canceled = true;
  out.cancel_reason = std::move(why);
  say(std::move(out));
}

void Watches::Stream::end(Refusal why) {
  if (ended_) return;
  WatchMessage last = message(-1);
  last.end = std::move(why);
  said_.clear();
  due_.clear();
  for (auto& [id, watch] : watches_) all_->remove(*watch);
  watches_.clear();
  quiet_.clear();
  ended_ = true;
  say(std::move(last));
}

std::optional<WatchMessage> Watches::Stream::next() {
  if (!said_.empty()) {
    WatchMessage out = std::move(said_.front());
    said_.pop_front();
    return out;
  }
  if (all_ == nullptr || ended_) return std::nullopt;
  if ((has_more_ = all_->held_)) return std::nullopt;
  if (progress_wanted_ > 0 && Mutants::on(Mutant::kProgressEarly)) {
    --progress_wanted_;
    return message(-1);
  }
  std::size_t budget = all_->bounds_.scan_changes;
  while (!due_.empty()) {
    const std::int64_t id = due_.front();
    const auto at = watches_.find(id);
    if (at == watches_.end() || !at->second->due) {
      due_.pop_front();
      continue;
    }
    Watch& watch = *at->second;
    if (watch.unseen() < all_->mvcc_.sweep_state().target.value) {
      due_.pop_front();
      forget(at);
      return compacted_away(id);
    }
    if ((has_more_ = budget == 0)) return std::nullopt;
    WatchMessage out = message(id);
    out.may_split = watch.request.fragment;
    due_.pop_front();
    if (all_->collect(watch, out.events, budget)) {
      watch.due = watch.scans = false;
    } else {
      due_.push_back(id);
    }
    if (out.events.empty()) continue;
    watch.quiet_since = all_->now_;
    if (Mutants::on(Mutant::kWatchSplitsRevision) && out.events.size() > 1) {
      WatchMessage rest = message(id);
      rest.events.push_back(std::move(out.events.back()));
      out.events.pop_back();
      said_.push_back(std::move(rest));
    }
    return out;
  }
  if (progress_wanted_ > 0) {
    --progress_wanted_;
    return message(-1);
  }
  return std::nullopt;
}

void Watches::Stream::tick() {
  const Micros now = all_->now_;
  while (!quiet_.empty() && now - quiet_.begin()->first >= kWatchProgressInterval) {
    const std::int64_t id = quiet_.begin()->second;
    Watch& watch = *watches_.at(id);
    if (watch.due || now - watch.quiet_since >= kWatchProgressInterval) {
      watch.quiet_since = now;
      if (!watch.due) say(message(id));
    }
    quiet_.erase(quiet_.begin());
    quiet_.insert({watch.listed = watch.quiet_since, id});
  }
}

void Watches::Stream::recheck() {
  std::vector<std::int64_t> denied;
  for (const auto& [id, watch] : watches_) {
    if (!may_watch(watch->request.range)) denied.push_back(id);
  }
  for (std::int64_t id : denied) cancel(id, std::string(kDenied));
}

void Watches::Stream::replaced(std::uint64_t unseen, std::uint64_t now) {
  for (auto& [id, watch] : watches_) {
    if (watch->due && watch->scans) continue;
    const std::uint64_t from = watch->due ? watch->unseen() : std::max(unseen, watch->from);
    if (from > now) continue;
    watch->scans = true;
    watch->next = from;
    watch->hits.clear();
    if (!watch->due) all_->make_due(*watch);
  }
}

// ---- All of them --------------------------------------------------------------------------------

Watches::Watches(const Mvcc& mvcc, WatchBounds bounds, std::function<ReplyHeader()> header)
    : mvcc_(mvcc), bounds_(bounds), header_(std::move(header)), seen_(mvcc.facts().revision) {}

Watches::~Watches() {
  for (Stream* stream : streams_) stream->detach();
}

std::unique_ptr<WatchStream> Watches::open(WatchOptions options, MayWatch may_watch) {
  return std::make_unique<Stream>(*this, std::move(options), std::move(may_watch));
}

std::unique_ptr<WatchStream> Watches::open_ended(WatchOptions options, Refusal why) {
  auto stream = std::make_unique<Stream>(*this, std::move(options), nullptr);
  stream->end(std::move(why));
  return stream;
}

void Watches::add(Watch& watch) {
  index_.insert(watch.bounds, &watch);
  bytes_ += bytes_of(watch);
}

void Watches::remove(Watch& watch) {
  index_.erase(watch.bounds, &watch);
  bytes_ -= bytes_of(watch);
}

// What it takes: itself, its range here and in the index, its place in two tables.
std::size_t Watches::bytes_of(const Watch& watch) {
  return 768 + 4 * (watch.request.range.key.size() + watch.request.range.end.size());
}

ReplyHeader Watches::header_now() const {
  ReplyHeader header = header_();
  header.revision = seen_;
  return header;
}

void Watches::advance() {
  if (held_) return;
  const Revision now = mvcc_.facts().revision;
  if (index_.size() > 0) {
    mvcc_.changes({seen_.value + 1}, now, [this](Place place, const ChangeView& change) {
      index_.each(change.key,
                  [&](Watch& watch) { hit(watch, place.revision, !change.head.has_value()); });
      return true;
    });
  }
  seen_ = now;
  for (Stream* stream : streams_) stream->turn();
}

void Watches::hit(Watch& watch, std::uint64_t revision, bool deleted) {
  if (revision < watch.from || watch.scans) return;
  if (deleted ? watch.request.no_delete : watch.request.no_put) return;
  if (!watch.hits.empty() && watch.hits.back() == revision) return;
  if (watch.hits.size() < bounds_.hits) {
    watch.hits.push_back(revision);
  } else {
    watch.scans = true;
    watch.next = watch.hits.front();
    watch.hits.clear();
  }
  if (!watch.due) make_due(watch);
}

void Watches::make_due(Watch& watch) {
  watch.due = true;
  watch.stream.due(watch.request.id);
}

bool Watches::collect(Watch& watch, std::vector<WatchEvent>& events, std::size_t& budget) {
  std::size_t bytes = 0;
  const auto take = [&](Place place, const ChangeView& change) {
    if (!watch.bounds.contains(change.key)) return;
    const bool deleted = !change.head.has_value();
    if (deleted ? watch.request.no_delete : watch.request.no_put) return;
    WatchEvent event;
    event.deleted = deleted;
    event.kv = Mvcc::key_value_of(place, change);
    if (watch.request.prev_kv) event.prev = mvcc_.before(place, change);
    bytes += 64 + event.kv.key.size() + event.kv.value.size();
    if (event.prev) bytes += event.prev->key.size() + event.prev->value.size();
    events.push_back(std::move(event));
  };
  if (!watch.scans) {
    std::size_t done = 0;
    while (done < watch.hits.size() && bytes < bounds_.message_bytes) {
      const Revision revision{watch.hits[done++]};
      mvcc_.changes(revision, revision, [&](Place place, const ChangeView& change) {
        take(place, change);
        return true;
      });
    }
    budget -= std::min(budget, done);
    watch.hits.erase(watch.hits.begin(), watch.hits.begin() + static_cast<std::ptrdiff_t>(done));
    return watch.hits.empty();
  }
  bool all = true;
  std::uint64_t open = 0;  // the revision being read
  mvcc_.changes({watch.next}, seen_, [&](Place place, const ChangeView& change) {
    if (place.revision != open) {
      if (bytes >= bounds_.message_bytes || budget == 0) {
        watch.next = place.revision;
        return all = false;
      }
      open = place.revision;
    }
    budget -= std::min<std::size_t>(budget, 1);
    take(place, change);
    return true;
  });
  return all;
}

// The new state continues the history that was applied here. Where its own begins may lie behind
// what a watch has seen; next() finds that out.
void Watches::hold(bool on) {
  held_ = on;
  if (on) return;
  const std::uint64_t unseen = seen_.value + 1;
  seen_ = mvcc_.facts().revision;
  for (Stream* stream : streams_) stream->replaced(unseen, seen_.value);
  advance();
}

void Watches::tick(Micros now) {
  const bool new_second = now / kSecond != now_ / kSecond;
  now_ = now;
  if (!new_second) return;
  for (Stream* stream : streams_) stream->tick();
}

bool Watches::any_behind(Revision target) const {
  return std::ranges::any_of(
      streams_, [&](const Stream* stream) { return stream->any_behind(target.value); });
}

void Watches::recheck() {
  for (Stream* stream : streams_) stream->recheck();
}

void Watches::end_all(const Refusal& why) {
  for (Stream* stream : streams_) stream->end(why);
}

void Watches::end_leaderless(const Refusal& why) {
  for (Stream* stream : streams_) {
    if (stream->require_leader()) stream->end(why);
  }
}

}  // namespace capstan::cp
