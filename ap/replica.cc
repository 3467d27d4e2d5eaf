#include "ap/replica.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ap/log_record.h"
#include "ap/mutants.h"
#include "ap/packed.h"
#include "core/check.h"
#include "core/hash.h"
#include "core/limits.h"

namespace capstan::ap {
namespace {

constexpr std::size_t kPenBytesMax = 16 * 1024 * 1024;
// A batch must fit a frame. Only a transaction that deletes a very long range can get here; it is
// parted, and peers may then see its parts one after the other.
constexpr std::size_t kBatchBytesMax = 2 * 1024 * 1024;

std::size_t bytes_of(const Delta& delta) { return delta.packed->size() + 64; }

}  // namespace

Replica::Replica(ReplicaOptions options, Table& table)
    : options_(std::move(options)), table_(table), rng_(options_.seed), books_(table) {
  for (const MemberId peer : options_.peers) peers_[peer];
}

Replica::Known Replica::known(Bucket bucket) const {
  const auto at = ahead_.find(bucket);
  return {vector_, at == ahead_.end() ? nullptr : &at->second};
}

VersionVector Replica::known_vector(Bucket bucket) const {
  const auto at = ahead_.find(bucket);
  return at == ahead_.end() ? vector_ : joined(vector_, at->second);
}

std::optional<Cell> Replica::load(ByteView key) const {
  const auto stored = table_.get(Space::kCell, key);
  if (!stored) return std::nullopt;
  return decode_cell(*stored);
}

Dot Replica::write(const std::string& key, std::optional<std::string> value) {
  if (open_bytes_ >= kBatchBytesMax) close_batch();
  const Bucket bucket = bucket_of(key);
  const Dot dot{actor_, next(vector_.of(actor_))};
  if (!open_) {
    open_.emplace();
    open_->origin = actor_;
    open_->first = dot.sequence;
    for (const auto& [actor, sequence] : vector_.entries()) {
      if (actor != actor_) open_->deps.raise(actor, sequence);
    }
  }
  if (const auto own = ahead_.find(bucket);
      own != ahead_.end() && find_ahead(open_->ahead, bucket) == nullptr) {
    open_->ahead.emplace_back(bucket, own->second);
    std::ranges::sort(open_->ahead, {}, &std::pair<Bucket, VersionVector>::first);
  }

  const std::optional<Cell> old = load(key);
  Cell cell;
  cell.tag = {clock_.draw(wall_), dot};
  note_exposed(cell.tag);
  cell.deletes = !value;
  if (value) cell.value = std::move(*value);
  if (old) CAPSTAN_ASSERT(cell.tag > old->tag);  // the clock has observed all that was applied
  if (old) {
    books_.superseded(old->tag.dot);
  } else if (const auto gone = books_.revived(key)) {
    books_.superseded(*gone);
  }

  Update update;
  update.key = key;
  update.value = cell.value;
  update.deletes = cell.deletes;
  update.stamp = cell.tag.stamp;
  update.sequence = dot.sequence;
  open_bytes_ += key.size() + cell.value.size() + 16;
  open_->last = dot.sequence;
  open_->updates.push_back(std::move(update));
  store(bucket, key, std::move(cell), old);
  vector_.raise(actor_, dot.sequence);
  return dot;
}

void Replica::cut_if_large() {
  if (open_bytes_ >= kEntryBytesMax) close_batch();
}

// Ends the batch: it becomes one record and one message. Called before anything remote is applied,
// so that one set of dependencies is true for all its writes.
void Replica::close_batch() {
  if (!open_) return;
  Delta delta = std::move(*open_);
  open_.reset();
  open_bytes_ = 0;
  delta.packed = shared_bytes(pack_delta(delta));
  log_record(RecordType::kDelta, head_of(RecordKind::kLocal), delta.packed);
  delta.updates.clear();  // from here on the packed form is all that is needed
  delta.updates.shrink_to_fit();
  recent_bytes_ += delta.packed->size();
  recent_.push_back(std::make_shared<const Delta>(std::move(delta)));
}

void Replica::receive(MemberId from, Delta delta) {
  if (delta.origin == actor_) {
    check_usurped({{delta.origin, delta.last}});
    return;
  }
  const Sequence have = vector_.of(delta.origin);
  if (have >= delta.last) return;  // repeated, or a sync was faster
  if (from_past_life(from, delta.origin)) return;
  if (delta.first <= next(have) && admits(delta)) {
    close_batch();
    apply(delta);
    drain_pen();
    return;
  }
  // Too early: what it waits for is most likely on its way from another peer.
  if (!delta.packed) delta.packed = shared_bytes(pack_delta(delta));
  if (pen_bytes_ + bytes_of(delta) > kPenBytesMax) return;  // a pull will bring it
  const auto [at, fresh] = pen_[delta.origin].try_emplace(delta.first);
  if (!fresh) return;
  pen_bytes_ += bytes_of(delta);
  at->second = Held{std::move(delta), from, ticks_};
}

// The causal gate: every bucket it touches must know what its writer knew. (I5)
bool Replica::admits(const Delta& delta) const {
  if (mutants::fifo_only) return true;
  if (ahead_.empty() && delta.ahead.empty()) return vector_.covers(delta.deps);
  return std::ranges::all_of(delta.updates, [&](const Update& update) {
    const Bucket bucket = bucket_of(update.key);
    const Known have = known(bucket);
    if (have.covers(Dot{delta.origin, update.sequence})) return true;
    const VersionVector* more = find_ahead(delta.ahead, bucket);
    return have.covers(delta.deps) && (more == nullptr || have.covers(*more));
  });
}

// Takes a delta of another origin, or of our own from the log. Dots already covered (a sync brought
// them, or the base had them) are passed over.
void Replica::apply(const Delta& delta) {
  for (const Update& update : delta.updates) {
    const Bucket bucket = bucket_of(update.key);
    const Dot dot{delta.origin, update.sequence};
    if (known(bucket).covers(dot)) continue;
    const VersionVector* more = find_ahead(delta.ahead, bucket);
    const auto saw = [&](const Dot& present) {
      if (present.actor == delta.origin) return present.sequence < dot.sequence;
      return delta.deps.covers(present) || (more != nullptr && more->covers(present));
    };
    Cell cell;
    cell.tag = {update.stamp, dot};
    cell.deletes = update.deletes;
    cell.value = update.value;
    merge(Source::kDelta, bucket, update.key, std::move(cell), saw);
  }
  vector_.raise(delta.origin, delta.last);
  strip_ahead();
  if (!replaying_) {
    log_record(RecordType::kDelta, head_of(RecordKind::kRemote),
               delta.packed ? delta.packed : shared_bytes(pack_delta(delta)));
  }
}

// Two contents of one key meet. `saw(dot)`: the incoming one's side had seen this dot of ours; the
// other way round was excluded by the caller. Neither saw the other: the earlier one is lost, and
// the books keep it.
//
// A delta whose writer had seen our present content replaced exactly that: the gate has made sure
// that we know all it knew, and what is latest among more is latest among less. A slice says less:
// its cell may be the successor's successor.
void Replica::merge(Source source, Bucket bucket, const std::string& key, Cell incoming,
                    const Saw& saw) {
  clock_.observe(incoming.tag.stamp);
  const std::optional<Cell> old = load(key);
  if (old && old->tag.dot == incoming.tag.dot) return;
  if (old && incoming.tag < old->tag) {
    books_.lost(key, incoming, *old);
    return;
  }
  if (old) {
    if (!saw(old->tag.dot)) {
      books_.lost(key, *old, incoming);
    } else if (source == Source::kDelta) {
      books_.superseded(old->tag.dot);
    }
  } else if (const auto gone = books_.revived(key);
             gone && source == Source::kDelta && saw(*gone)) {
    // A delete whose tombstone is collected already. Who had not seen it did not supersede it: it
    // is lost, and the origin of this write noted so when it met the delete.
    books_.superseded(*gone);
  }
  store(bucket, key, std::move(incoming), old);
}

// Puts `cell` in the place of `old` and keeps every derived thing in step.
void Replica::store(Bucket bucket, const std::string& key, Cell cell,
                    const std::optional<Cell>& old) {
  revision_ = next(revision_);
  cell.mod = revision_;
  const bool was_live = old && !old->deletes;
  if (cell.deletes) {
    cell.create = {};
    cell.version = 0;
  } else {
    cell.create = was_live ? old->create : revision_;
    cell.version = was_live ? old->version + 1 : 1;
  }
  if (was_live) {
    const Hash128 hash = hash_of(key, *old);
    digest_.remove(hash);
    bucket_digests_[bucket].remove(hash);
    --keys_;
  } else if (old) {
    --tombstones_;
  }
  if (!cell.deletes) {
    const Hash128 hash = hash_of(key, cell);
    digest_.add(hash);
    bucket_digests_[bucket].add(hash);
    ++keys_;
  } else {
    ++tombstones_;
  }
  if (!old) note_new(bucket, key);
  if (old) index_.remove(bucket, old->tag.dot);
  if (!(mutants::no_removal_index && cell.deletes)) {
    index_.add(bucket, cell.tag.dot, key, cell.deletes);
  }
  table_.put(Space::kCell, key, encode_cell(cell));
}

void Replica::erase(Bucket bucket, const std::string& key, const Cell& old) {
  if (old.deletes) {
    --tombstones_;
  } else {
    const Hash128 hash = hash_of(key, old);
    digest_.remove(hash);
    bucket_digests_[bucket].remove(hash);
    --keys_;
    revision_ = next(revision_);
  }
  index_.remove(bucket, old.tag.dot);
  table_.erase(Space::kCell, key);
}

// Takes from the pen whatever the vector now admits, until nothing more does.
void Replica::drain_pen() {
  for (bool moved = true; moved;) {
    moved = false;
    for (auto origin = pen_.begin(); origin != pen_.end();) {
      auto& held = origin->second;
      while (!held.empty()) {
        Delta& first = held.begin()->second.delta;
        const Sequence have = vector_.of(origin->first);
        if (have < first.last) {
          if (first.first > next(have) || !admits(first)) break;
          close_batch();
          apply(first);
          moved = true;
        }
        pen_bytes_ -= bytes_of(first);
        held.erase(held.begin());
      }
      origin = held.empty() ? pen_.erase(origin) : std::next(origin);
    }
  }
}

void Replica::strip_ahead() {
  std::erase_if(ahead_, [&](const auto& entry) { return vector_.covers(entry.second); });
}

// A peer has seen dots of our actor that we never issued in this life: the disk was copied or
// rolled back behind a clean mark. What was numbered twice cannot be mended here, but it ends now.
void Replica::check_usurped(const VersionVector& seen) {
  if (seen.of(actor_) <= vector_.of(actor_) || mutants::reuse_actor) return;
  close_batch();
  Incarnation highest = actor_.incarnation;
  for (const VersionVector* vector : {&seen, static_cast<const VersionVector*>(&vector_)}) {
    for (const auto& [actor, sequence] : vector->entries()) {
      if (actor.node == actor_.node) highest = std::max(highest, actor.incarnation);
    }
  }
  actor_.incarnation = highest + 1;
  for (auto& [id, peer] : peers_) peer.compared = false;
  recent_.clear();
  recent_bytes_ = 0;
  for (auto& [id, peer] : peers_) peer.next = {1};
  event(true, "actor_usurped",
        "peers have seen writes of this node that its disk does not hold: the disk is an old copy. "
        "It goes on under a new incarnation");
}

// A beat names the actor its member writes as. A new one means that the disk may have lost writes
// of the one before, and that the new life has agreed to things (to forgetting a tombstone) without
// knowing of them: what still comes of them directly must not be taken. Who did take one in time
// has it in its vector, and there it counts. False: the beat itself is from a past life.
bool Replica::begins_life(MemberId id, Peer& peer, const Actor& actor) {
  if (peer.actor == actor) return true;
  if (from_past_life(id, actor)) return false;
  if (peer.actor.node) peer.past.insert(peer.actor);
  peer.actor = actor;
  peer.settled = {};
  peer.candidate.reset();
  if (pull_ && pull_->peer == id) pull_.reset();
  for (auto origin = pen_.begin(); origin != pen_.end();) {
    if (!from_past_life(id, origin->first)) {
      ++origin;
      continue;
    }
    for (const auto& [first, held] : origin->second) pen_bytes_ -= bytes_of(held.delta);
    origin = pen_.erase(origin);
  }
  return true;
}

bool Replica::from_past_life(MemberId from, const Actor& origin) const {
  const auto at = peers_.find(from);
  if (at == peers_.end()) return false;
  const Peer& peer = at->second;
  return peer.past.contains(origin) ||
         (origin.node == peer.actor.node && origin.incarnation < peer.actor.incarnation);
}

void Replica::event(bool alarm, std::string name, std::string text) {
  if (replaying_) return;
  ready_.events.push_back({alarm, std::move(name), std::move(text)});
}

void Replica::log_record(RecordType type, std::string head, SharedBytes body) {
  if (replaying_) return;
  ready_.records.push_back({type, std::move(head), std::move(body)});
}

void Replica::tick() {
  ++ticks_;
  for (auto& [id, peer] : peers_) notice_lag(peer);
  go_on_listing();
  if (pull_ && pull_->owed > 0) ask_more(true);
  consider_pull();
  expire_sessions();
  constexpr std::uint64_t kCollectTicks = 5;
  if (ticks_ % kCollectTicks == 0) collect();
}

bool Replica::receive(MemberId from, const Beat& beat) {
  const auto at = peers_.find(from);
  if (at == peers_.end()) return false;
  Peer& peer = at->second;
  const Actor before = peer.actor;
  if (!begins_life(from, peer, beat.actor)) return false;
  check_usurped(beat.vector);
  // A write made here from now on is later than what any peer has; it matters where a peer has
  // already forgotten the tombstones that a slow clock here would lose to.
  clock_.observe(beat.clock);
  heed(peer, beat);
  peer.vector = beat.vector;
  acknowledged(peer);
  settle(peer);

  peer.ahead_hash = beat.ahead_hash;
  if (beat.vector == vector_ && beat.ahead_hash == ahead_hash()) {
    const bool differs = beat.digest != digest_.sum();
    if (differs && !diverged_.contains(from)) {
      event(true, "divergence", "equal version vectors, different contents: a copy is damaged");
      diverged_[from] = true;
    } else if (!differs) {
      diverged_.erase(from);
    }
  }
  notice_lag(peer);
  consider_pull();
  return peer.actor != before;
}

void Replica::peer_heard(MemberId id, bool direct) {
  const auto at = peers_.find(id);
  if (at == peers_.end() || at->second.direct == direct) return;
  Peer& peer = at->second;
  peer.direct = direct;
  if (direct) {
    peer.returned = true;
    peer.lacking.reset();
    // What it missed it will pull; pushing goes on from here.
    close_batch();
    peer.next = next(vector_.of(actor_));
    peer.in_flight.clear();
    peer.in_flight_bytes = 0;
  } else {
    if (pull_ && pull_->peer == id) pull_.reset();
    serves_.erase(id);
  }
}

std::uint64_t Replica::ahead_hash() const {
  if (ahead_.empty()) return 0;
  std::string bytes;
  put_ahead(bytes, AheadVectors(ahead_.begin(), ahead_.end()));
  return xxh3(bytes) | 1;
}

Beat Replica::beat(MemberId to) const {
  Beat out;
  out.actor = actor_;
  out.vector = durable_.vector;
  out.ahead_hash = durable_.ahead_hash;
  out.digest = durable_.digest;
  out.clock = clock_.last();
  out.forgotten = durable_.forgotten;
  if (const auto peer = peers_.find(to); peer != peers_.end()) out.you = peer->second.actor;
  out.exposed = sound_ != actor_;
  return out;
}

VersionVector Replica::held_by(MemberId peer) const {
  const auto at = peers_.find(peer);
  return at == peers_.end() ? VersionVector{} : at->second.vector;
}

Replica::Snapshot Replica::snapshot() const {
  return {vector_, digest_.sum(), ahead_hash(), forgotten_};
}

Ready Replica::take_ready() {
  close_batch();
  if (start_mark_ == 0 && !may_push_) {
    // The actor goes on: say so on disk before anyone can see a dot of this life.
    ready_.records.insert(ready_.records.begin(),
                          Record{RecordType::kMark, mark_of(RecordKind::kInUse, actor_), nullptr});
    start_mark_ = ready_number_ + 1;
  }
  push();
  if (!ready_.records.empty()) {
    ready_.number = ++ready_number_;
    pending_.emplace_back(ready_number_, snapshot());
  }
  return std::exchange(ready_, Ready{});
}

void Replica::persisted(std::uint64_t number) {
  while (!pending_.empty() && pending_.front().first <= number) {
    const Stamp forgotten = std::max(durable_.forgotten, pending_.front().second.forgotten);
    durable_ = std::move(pending_.front().second);
    durable_.forgotten = forgotten;
    pending_.pop_front();
  }
  if (!may_push_ && number >= start_mark_) may_push_ = true;
}

void Replica::mark_clean_stop() {
  close_batch();
  log_record(RecordType::kMark, mark_clean({actor_, vector_.of(actor_)}, options_.incarnation),
             nullptr);
}

bool Replica::handed_over() const {
  const Dot head{actor_, vector_.of(actor_)};
  return !head || std::ranges::all_of(peers_, [&](const auto& entry) {
    return !entry.second.direct || entry.second.vector.covers(head);
  });
}

}  // namespace capstan::ap
