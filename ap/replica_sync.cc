// Level 1: a node that lacks something asks one peer that has it, says what it has, and is sent the
// present state of the cells that lack, bucket by bucket, in slices of about 1 MiB. Full joins (a
// peer below the horizon) go the same way with whole buckets.
//
//   notice   a beat shows dots we lack. On a link that just came back, or when their origin cannot
//            be heard, at once; otherwise a push is probably on its way: only after 100 ms
//   slice    one read at the sender; applied whole, with its coverage, one record on disk
//   bucket   goes with the next slice if this one has no room; one larger than a slice is parted,
//            and its parts are held until the last has come
//   end      every bucket covers what the sender had at the first slice: so does the node
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "ap/log_record.h"
#include "ap/mutants.h"
#include "ap/packed.h"
#include "ap/replica.h"
#include "core/check.h"
#include "core/coding.h"
#include "core/limits.h"

namespace capstan::ap {
namespace {

constexpr std::uint64_t kPatienceTicks = 10;  // lag that pushes may still mend
constexpr std::uint64_t kRelayTicks = 2;      // lag of writes whose origin cannot push to us
constexpr std::uint64_t kAheadTicks = 50;     // single buckets that stay ahead at a peer
constexpr std::uint64_t kPenTicks = 3;        // a delta that waits longer lacks something
// A session without progress is begun anew: what was covered stays so. Slow disks are no reason to
// go round in circles, so the wait doubles until something comes.
constexpr std::uint64_t kSilentTicksMin = 30;
constexpr std::uint64_t kSilentTicksMax = 240;
constexpr std::uint64_t kServeTicks = 1000;
constexpr int kCredit = 2;  // slices on their way or on the way to disk
constexpr std::size_t kCellBytesAbout = 16;

std::size_t vector_bytes(const VersionVector& vector) {
  std::string out;
  put_vector(out, vector);
  return out.size();
}
std::size_t ahead_bytes(const AheadVectors& ahead) {
  std::string out;
  put_ahead(out, ahead);
  return out.size();
}

}  // namespace

// ---- Asking -------------------------------------------------------------------------------------

void Replica::notice_lag(Peer& peer) {
  if (peer.lacking && vector_.covers(*peer.lacking)) peer.lacking.reset();
  if (!peer.lacking && !vector_.covers(peer.vector)) {
    peer.lacking = peer.vector;
    peer.lacking_since = ticks_;
  }
  if (vector_.covers(peer.vector)) peer.returned = false;
  // In the middle of a sync that is normal. But a source that loses its disk then leaves us with
  // buckets that no vector will ever cover; in the end all must have them.
  const bool ahead_only =
      peer.ahead_hash != 0 && peer.vector == vector_ && peer.ahead_hash != ahead_hash();
  if (!ahead_only) {
    peer.ahead_since = 0;
  } else if (peer.ahead_since == 0) {
    peer.ahead_since = ticks_;
  }
}

// Whether `peer` has something we lack of an actor that is not there to push it.
bool Replica::lacks_relayed(const Peer& peer) const {
  return std::ranges::any_of(peer.vector.entries(), [&](const VersionVector::Entry& entry) {
    return !vector_.covers({entry.first, entry.second}) &&
           std::ranges::none_of(peers_, [&](const auto& other) {
             return other.second.direct && other.second.actor == entry.first;
           });
  });
}

void Replica::consider_pull() {
  if (pull_) {
    const std::uint64_t patience = std::max(pull_patience_, kSilentTicksMin);
    if (ticks_ - pull_->progress <= patience) return;
    pull_patience_ = std::min(2 * patience, kSilentTicksMax);
    pull_.reset();
  }
  if (ticks_ < next_pull_tick_) return;
  // A delta has waited too long: its sender has all that it depends on.
  for (const auto& [origin, held] : pen_) {
    const Held& first = held.begin()->second;
    const auto from = peers_.find(first.from);
    if (ticks_ - first.tick > kPenTicks && from != peers_.end() && from->second.direct) {
      start_pull(first.from, false);
      return;
    }
  }
  MemberId best;
  std::uint64_t most = 0;
  for (const auto& [id, peer] : peers_) {
    if (!peer.direct || !peer.lacking) continue;
    const std::uint64_t patience = peer.returned         ? 0
                                   : lacks_relayed(peer) ? kRelayTicks
                                                         : kPatienceTicks;
    if (ticks_ - peer.lacking_since < patience) continue;
    const std::uint64_t lacks = vector_.lacks(peer.vector);
    if (lacks > most) {
      most = lacks;
      best = id;
    }
  }
  if (most > 0) return start_pull(best, false);
  for (auto& [id, peer] : peers_) {
    if (!peer.direct || peer.ahead_since == 0 || ticks_ - peer.ahead_since < kAheadTicks) continue;
    peer.ahead_since = ticks_;  // not again at once
    return start_pull(id, false);
  }
}

void Replica::start_pull(MemberId id, bool full) {
  close_batch();
  pull_ = Pull();
  pull_->session = rng_.next();
  pull_->peer = id;
  pull_->full = full;
  pull_->progress = ticks_;
  ask();
}

// Sends the request; first, for a full join, lists what we hold, over several ticks if it is much.
void Replica::ask() {
  pull_->progress = ticks_;
  if (pull_->full && !pull_->ours.done) {
    list_some(pull_->ours);
    if (!pull_->ours.done) return;
  }
  pull_->asked = true;
  SyncRequest request;
  request.session = pull_->session;
  request.vector = vector_;
  request.ahead.assign(ahead_.begin(), ahead_.end());
  request.full = pull_->full;
  if (request.full) {
    for (const Digest& digest : bucket_digests_) request.digests.push_back(digest.sum());
  }
  Body body = std::move(request);
  sync_bytes_.ident += pack(body).size() + kEnvelopeBytes;
  send_sync(pull_->peer, std::move(body));
}

void Replica::list_some(Listing& listing) {
  std::size_t left = options_.list_keys_max;
  listing.done = true;
  table_.scan(Space::kCell, listing.from, {}, [&](ByteView key, ByteView) {
    if (left-- == 0) {
      listing.from = key;
      listing.done = false;
      return false;
    }
    listing.keys[bucket_of(key)].emplace_back(key);
    return true;
  });
}

// A bucket that is sent whole must list all it holds at that moment. What came after the listing
// may be known to the requester already, and would not be sent for its own sake; but what is not
// listed is dropped there.
void Replica::note_new(Bucket bucket, const std::string& key) {
  if (pull_ && pull_->full && !pull_->asked) pull_->ours.keys[bucket].push_back(key);
  for (auto& [id, session] : serves_) {
    if (session.request.full) session.all.keys[bucket].push_back(key);
  }
}

void Replica::go_on_listing() {
  close_batch();
  if (pull_ && !pull_->asked) ask();
  std::vector<MemberId> listed;
  for (auto& [id, session] : serves_) {
    if (!session.request.full || session.all.done) continue;
    session.progress = ticks_;
    list_some(session.all);
    if (session.all.done) listed.push_back(id);
  }
  for (const MemberId id : listed) serve(id, serves_.at(id));
}

void Replica::end_pull() {
  Peer& peer = peers_.at(pull_->peer);
  // What it has now, not what it once said: it may have lost the end of its log since.
  peer.vector = pull_->vector;
  pull_.reset();
  peer.lacking.reset();
  notice_lag(peer);
  consider_pull();
}

void Replica::receive(MemberId from, SyncSlice slice) {
  sync_bytes_.in += (slice.packed ? slice.packed->size() : 0) + kEnvelopeBytes;
  if (!pull_ || pull_->peer != from || pull_->session != slice.session ||
      pull_->next_number != slice.number || pull_->next_bucket != slice.first_bucket ||
      pull_->full != slice.full || (pull_->begun && pull_->run != slice.run)) {
    return;
  }
  if (!slice.packed) slice.packed = shared_bytes(pack_slice(slice));
  check_usurped(slice.vector);
  pull_->progress = ticks_;
  pull_patience_ = 0;
  if (!slice.vector.empty()) pull_->vector = slice.vector;
  if (!pull_->begun) {
    pull_->first_vector = pull_->vector;
    pull_->run = slice.run;
  }
  pull_->begun = true;
  pull_->next_bucket = slice.end_bucket;
  ++pull_->next_number;
  const bool unfinished = slice.unfinished;
  const bool last = slice.last;
  slice.vector = pull_->vector;
  pull_->unfinished.push_back(std::move(slice));
  if (!unfinished) take_slices(std::exchange(pull_->unfinished, {}));
  if (mutants::early_cover) vector_.join(pull_->first_vector);
  if (last) {
    end_pull();
  } else {
    // Where nothing went to disk there is nothing to wait for.
    ++pull_->owed;
    ask_more(!unfinished);
  }
}

// The disk sets the pace twice: a slice is durable before the next is asked for, and what comes
// faster than checkpoints take it away waits at the peer, not in memory.
void Replica::ask_more(bool after_durable) {
  pull_->progress = ticks_;
  if (table_.bytes() > options_.table_bytes_max) return;
  for (; pull_->owed > 0; --pull_->owed) {
    send_sync(pull_->peer, SyncMore{pull_->session}, after_durable);
  }
}

// One read of the sender, in one or more parts: applied whole or, after a crash, not at all; replay
// drops parts whose last did not reach the disk.
void Replica::take_slices(std::vector<SyncSlice> slices) {
  close_batch();
  for (std::size_t i = 0; i < slices.size(); ++i) {
    SliceContext context;
    context.vector = slices[i].vector;
    context.trimmed = slices[i].trimmed;
    context.forgotten = slices[i].forgotten;
    if (i + 1 == slices.size()) {
      context.drops = gone(slices);
      if (slices[i].last) context.cover = pull_->first_vector;
    }
    log_record(RecordType::kDelta,
               head_of_slice(context.vector, context.cover, context.trimmed, context.forgotten,
                             context.drops),
               slices[i].packed);
    apply(slices[i], context);
  }
  drain_pen();
}

// Full join: what we hold in a bucket listed whole, the sender does not, and it has seen. It was
// deleted there so long ago that the tombstone is gone.
std::vector<std::pair<std::string, Dot>> Replica::gone(const std::vector<SyncSlice>& slices) const {
  std::vector<std::pair<std::string, Dot>> out;
  std::set<Bucket> whole;
  for (const SyncSlice& slice : slices) {
    whole.insert(slice.whole_buckets.begin(), slice.whole_buckets.end());
  }
  if (whole.empty()) return out;
  std::set<ByteView> listed;
  for (const SyncSlice& slice : slices) {
    for (const CellState& cell : slice.cells) listed.insert(cell.key);
  }
  const SyncSlice& end = slices.back();
  for (const Bucket bucket : whole) {
    const VersionVector* ahead = find_ahead(end.ahead, bucket);
    for (const std::string& key : pull_->ours.keys[bucket]) {
      if (listed.contains(key)) continue;
      const std::optional<Cell> cell = load(key);
      if (!cell) continue;
      if (end.vector.covers(cell->tag.dot) || (ahead != nullptr && ahead->covers(cell->tag.dot))) {
        out.emplace_back(key, cell->tag.dot);
      }
    }
  }
  return out;
}

void Replica::apply(const SyncSlice& slice, const SliceContext& context) {
  for (const CellState& state : slice.cells) {
    const Bucket bucket = bucket_of(state.key);
    if (bucket < slice.first_bucket || bucket > slice.end_bucket) continue;
    if (known(bucket).covers(state.dot)) continue;
    const VersionVector* ahead = find_ahead(slice.ahead, bucket);
    Cell cell;
    cell.tag = {state.stamp, state.dot};
    cell.deletes = state.deletes;
    cell.value = state.value;
    merge(Source::kSlice, bucket, state.key, std::move(cell), [&](const Dot& present) {
      return context.vector.covers(present) || (ahead != nullptr && ahead->covers(present));
    });
  }
  for (const auto& [key, dot] : context.drops) {
    const std::optional<Cell> cell = load(key);
    if (cell && cell->tag.dot == dot) erase(bucket_of(key), key, *cell);
  }
  // Coverage comes with the last cell of a bucket, never before.
  if (!mutants::forget_ahead) {
    for (std::size_t b = slice.first_bucket; b < slice.end_bucket; ++b) {
      const auto bucket = static_cast<Bucket>(b);
      const VersionVector* ahead = find_ahead(slice.ahead, bucket);
      if (vector_.covers(context.vector) && ahead == nullptr) continue;
      VersionVector& own = ahead_[bucket];
      own.join(context.vector);
      if (ahead != nullptr) own.join(*ahead);
    }
  }
  vector_.join(context.cover);
  trimmed_.join(context.trimmed);
  forgotten_ = std::max(forgotten_, context.forgotten);
  strip_ahead();
}

void Replica::receive(MemberId from, const SyncRefused& refused) {
  if (!pull_ || pull_->peer != from || pull_->session != refused.session) return;
  if (refused.why == SyncRefused::Why::kNeedFull && !pull_->full) {
    start_pull(from, true);
    return;
  }
  pull_.reset();
  next_pull_tick_ = ticks_ + kPatienceTicks;
}

void Replica::expire_sessions() {
  std::erase_if(serves_,
                [&](const auto& entry) { return ticks_ - entry.second.progress > kServeTicks; });
}

// ---- Answering ----------------------------------------------------------------------------------

void Replica::receive(MemberId from, const SyncRequest& request) {
  if (!peers_.contains(from)) return;
  check_usurped(request.vector);
  sync_bytes_.in += pack(request).size() + kEnvelopeBytes;
  if (held_back(peers_.at(from))) {
    send_sync(from, SyncRefused{request.session, SyncRefused::Why::kUnknownSession});
    return;
  }
  if (!request.full && !request.vector.covers(trimmed_) && !mutants::no_horizon) {
    send_sync(from, SyncRefused{request.session, SyncRefused::Why::kNeedFull});
    return;
  }
  Serve& session = serves_[from];
  // A peer that has lost patience is given the same list: what is new since it was begun is in it,
  // and nothing has left the index meanwhile.
  Listing all = std::move(session.all);
  session = Serve{};
  session.session = request.session;
  session.run = static_cast<std::uint32_t>(rng_.next());
  session.request = request;
  session.credit = kCredit;
  session.progress = ticks_;
  if (request.full) {
    session.all = std::move(all);
    if (!session.all.done) list_some(session.all);
    if (!session.all.done) return;
  }
  serve(from, session);
}

void Replica::receive(MemberId from, const SyncMore& more) {
  sync_bytes_.in += pack(more).size() + kEnvelopeBytes;
  const auto at = serves_.find(from);
  if (at == serves_.end() || at->second.session != more.session) {
    // The last slice may have left on the request before this one; a refusal would overtake it.
    if (const auto peer = peers_.find(from);
        peer != peers_.end() && peer->second.served != more.session) {
      send_sync(from, SyncRefused{more.session, SyncRefused::Why::kUnknownSession});
    }
    return;
  }
  at->second.credit = std::min(at->second.credit + 1, kCredit);
  at->second.progress = ticks_;
  serve(from, at->second);
}

void Replica::serve(MemberId to, Serve& session) {
  close_batch();
  bool last = false;
  while (session.credit > 0 && !last) {
    --session.credit;
    SyncSlice slice = next_slice(session);
    last = slice.last;
    sync_bytes_.ident +=
        vector_bytes(slice.vector) + ahead_bytes(slice.ahead) + vector_bytes(slice.trimmed);
    for (const CellState& cell : slice.cells) {
      sync_bytes_.payload += cell.key.size() + cell.value.size();
    }
    slice.packed = shared_bytes(pack_slice(slice));
    slice.cells.clear();
    send_sync(to, std::move(slice), true);
  }
  if (last) {
    peers_.at(to).served = session.session;
    serves_.erase(to);
  }
}

// Whole buckets while they fit, so that the receiver can apply each slice as it comes. Only a
// bucket that would fill a slice by itself is parted.
SyncSlice Replica::next_slice(Serve& session) {
  SyncSlice slice;
  slice.session = session.session;
  slice.run = session.run;
  slice.number = session.next_number++;
  slice.full = session.request.full;
  slice.first_bucket = session.next_bucket;
  if (!session.sent_vector || *session.sent_vector != vector_) {
    slice.vector = vector_;
    session.sent_vector = vector_;
  }
  // With the first coverage, not after the last: who has part of a full join must not serve as if
  // it had seen all those deletes.
  if (session.sent_trimmed != trimmed_) {
    slice.trimmed = trimmed_;
    session.sent_trimmed = trimmed_;
  }
  std::size_t bytes = 0;
  while (session.next_bucket < kBuckets && bytes < options_.slice_bytes) {
    const auto bucket = static_cast<Bucket>(session.next_bucket);
    const bool begun = session.in_bucket;
    const std::size_t cells_before = slice.cells.size();
    bool more = begun || gather(session, bucket);
    while (more && bytes < options_.slice_bytes) {
      while (!session.keys.empty() && bytes < options_.slice_bytes) {
        const std::string key = std::move(session.keys.front());
        session.keys.pop_front();
        const std::optional<Cell> cell = load(key);
        if (!cell) continue;  // collected since
        bytes += key.size() + cell->value.size() + kCellBytesAbout;
        slice.cells.push_back({key, cell->value, cell->deletes, cell->tag.stamp, cell->tag.dot});
      }
      // What changed while earlier parts of the bucket were under way must come too.
      if (session.keys.empty()) more = gather(session, bucket);
    }
    if (more && !begun && cells_before > 0) {
      // As if never looked at: it is gathered anew, by what is true then.
      slice.cells.resize(cells_before);
      session.keys.clear();
      session.in_bucket = false;
      break;
    }
    if (const auto own = ahead_.find(bucket); own != ahead_.end()) {
      slice.ahead.emplace_back(bucket, own->second);
    }
    if (more) break;
    if (session.whole) slice.whole_buckets.push_back(bucket);
    session.in_bucket = false;
    ++session.next_bucket;
  }
  slice.unfinished = session.in_bucket;
  slice.end_bucket = session.next_bucket;
  slice.last = session.next_bucket == kBuckets;
  if (slice.last) slice.forgotten = forgotten_;
  return slice;
}

// Fills session.keys with what is still to be sent of `bucket`; false when that is nothing.
bool Replica::gather(Serve& session, Bucket bucket) {
  std::vector<std::string> missing;
  if (session.in_bucket) {
    index_.missing(bucket, session.gathered_at, missing);
  } else {
    const VersionVector* ahead = find_ahead(session.request.ahead, bucket);
    index_.missing(
        bucket, ahead == nullptr ? session.request.vector : joined(session.request.vector, *ahead),
        missing);
    // The same live cells on both sides: only what changed need travel.
    session.whole =
        session.request.full && session.request.digests[bucket] != bucket_digests_[bucket].sum();
    if (session.whole) {
      const std::set<ByteView> changed(missing.begin(), missing.end());
      for (const std::string& key : session.all.keys[bucket]) {
        if (!changed.contains(key)) session.keys.push_back(key);
      }
    }
  }
  for (std::string& key : missing) session.keys.push_back(std::move(key));
  session.gathered_at = known_vector(bucket);
  session.in_bucket = !session.keys.empty();
  return session.in_bucket;
}

void Replica::send_sync(MemberId to, Body body, bool after_durable) {
  sync_bytes_.out += pack(body).size() + kEnvelopeBytes;
  auto& queue = after_durable ? ready_.send_after_durable : ready_.send_now;
  queue.emplace_back(to, std::move(body));
}

}  // namespace capstan::ap
