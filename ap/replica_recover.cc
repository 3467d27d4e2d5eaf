// Coming back: the base as the last checkpoint left it, then the log. Records that the base already
// covers are passed over dot by dot, so it does not matter how far the checkpoint was ahead.
#include <algorithm>
#include <utility>

#include "ap/log_record.h"
#include "ap/mutants.h"
#include "ap/packed.h"
#include "ap/replica.h"
#include "core/check.h"
#include "core/coding.h"

namespace capstan::ap {
namespace {

constexpr ByteView kStateName = "ap.m";  // in Space::kMeta
constexpr std::uint8_t kStateFormat = 2;

}  // namespace

void Replica::save() {
  close_batch();
  std::string out;
  put_u8(out, kStateFormat);
  put_vector(out, vector_);
  put_ahead(out, AheadVectors(ahead_.begin(), ahead_.end()));
  put_vector(out, trimmed_);
  put_u64(out, clock_.last().value);
  put_u64(out, forgotten_.value);
  put_vector(out, exposed_);
  put_u64(out, exposed_from_.value);
  put_u8(out, sound_.node ? 1 : 0);
  if (sound_.node) put_actor(out, sound_);
  put_varint(out, revision_.value);
  put_varint(out, keys_);
  put_varint(out, tombstones_);
  for (const Digest& digest : bucket_digests_) {
    put_u64(out, digest.sum().low);
    put_u64(out, digest.sum().high);
  }
  table_.put(Space::kMeta, kStateName, std::move(out));
  books_.save();
}

void Replica::recover(const Recovered& recovered) {
  if (const auto stored = table_.get(Space::kMeta, kStateName)) {
    Reader in(*stored);
    CAPSTAN_ASSERT(in.u8() == kStateFormat);
    vector_ = read_vector(in);
    for (auto& [bucket, vector] : read_ahead(in)) ahead_[bucket] = std::move(vector);
    trimmed_ = read_vector(in);
    clock_ = Hlc(Stamp{in.u64()});
    forgotten_ = {in.u64()};
    exposed_ = read_vector(in);
    exposed_from_ = {in.u64()};
    if (in.u8() == 1) sound_ = read_actor(in);
    revision_.value = in.varint();
    keys_ = in.varint();
    tombstones_ = in.varint();
    for (Digest& digest : bucket_digests_) {
      Hash128 sum;
      sum.low = in.u64();
      sum.high = in.u64();
      digest = Digest(sum);
      digest_.add(sum);
    }
    CAPSTAN_ASSERT(in.done());
  }
  books_.load();
  replaying_ = true;
  rebuild_index();
  for (const RecoveredRecord& record : recovered.records) {
    replay(record, !recovered.impaired.empty() && record.position >= recovered.impaired_position);
  }
  replaying_ = false;
  sound_ = {};  // whatever the life before had heard, this one has heard nobody yet
  replayed_parts_.clear();
  choose_actor(recovered);
  durable_ = snapshot();
}

// What is not known to be stable, from the cells themselves; a pass over the base only where there
// is something to find.
void Replica::rebuild_index() {
  if (tombstones_ == 0 && ahead_.empty() && trimmed_.covers(vector_)) return;
  table_.scan(Space::kCell, {}, {}, [&](ByteView key, ByteView bytes) {
    const Cell cell = decode_cell(bytes);
    if (cell.deletes || !trimmed_.covers(cell.tag.dot)) {
      index_.add(bucket_of(key), cell.tag.dot, std::string(key), cell.deletes);
    }
    return true;
  });
}

// Behind a gap in the log a record may build on what is missing. A delta says what it builds on, so
// the gate decides; a slice builds on everything we had, so it cannot be taken. Peers have it all.
//
// The parts of a bucket count together or not at all: the disk may have taken some of them when the
// crash came, and cells that no vector covers would be news to nobody and evidence against us.
void Replica::replay(const RecoveredRecord& record, bool behind_gap) {
  const Result<LogRecord> read = read_record(record);
  CAPSTAN_ASSERT(read);  // the log has checked its checksums
  clean_at_end_ = read->kind == RecordKind::kClean;
  if (read->kind != RecordKind::kSlice || behind_gap) replayed_parts_.clear();
  switch (read->kind) {
    case RecordKind::kLocal:
    case RecordKind::kRemote: {
      const Result<Delta> delta = unpack_delta(read->packed);
      CAPSTAN_ASSERT(delta);
      const Sequence have = vector_.of(delta->origin);
      if (have >= delta->last || delta->first > next(have)) break;
      if (behind_gap && !admits(*delta)) break;
      if (read->kind == RecordKind::kLocal) {
        note_exposed({delta->updates.front().stamp, {delta->origin, delta->last}});
      }
      apply(*delta);
      break;
    }
    case RecordKind::kSlice: {
      if (behind_gap) break;
      Result<SyncSlice> slice = unpack_slice(read->packed);
      CAPSTAN_ASSERT(slice);
      if (!replayed_parts_.empty()) {
        const SyncSlice& before = replayed_parts_.back().first;
        const bool follows = slice->session == before.session && slice->run == before.run &&
                             slice->number == before.number + 1;
        if (!follows) replayed_parts_.clear();
      }
      const bool unfinished = slice->unfinished;
      replayed_parts_.emplace_back(
          *std::move(slice),
          SliceContext{read->vector, read->drops, read->cover, read->trimmed, read->forgotten});
      if (unfinished) break;
      for (const auto& [part, context] : std::exchange(replayed_parts_, {})) apply(part, context);
      break;
    }
    case RecordKind::kClean:
      clean_mark_ = read->dot;
      clean_start_ = read->start;
      sound_ = {};
      break;
    case RecordKind::kInUse:
      break;
    case RecordKind::kSound:
      sound_ = read->dot.actor;
      break;
    case RecordKind::kAllHeeded:
      exposed_ = {};
      exposed_from_ = {};
      break;
  }
}

// The actor of the life before goes on only if that life ended with a clean mark, the mark is the
// very last thing on disk, it agrees with what was recovered, and it was written by the start just
// before this one (else the disk is an old backup, and what came after it is missing). Otherwise
// peers may hold dots of it that this disk has lost, and numbering on would name two writes alike.
// (I1)
void Replica::choose_actor(const Recovered& recovered) {
  const bool clean = clean_at_end_ && options_.keeps_actor && recovered.impaired.empty() &&
                     clean_mark_.actor.node == options_.node &&
                     clean_start_ + 1 == options_.incarnation &&
                     vector_.of(clean_mark_.actor) == clean_mark_.sequence;
  if (clean) {
    actor_ = clean_mark_.actor;
    may_push_ = false;
  } else {
    Incarnation incarnation = options_.incarnation;
    for (const auto& [actor, sequence] : vector_.entries()) {
      if (actor.node == options_.node) incarnation = std::max(incarnation, actor.incarnation + 1);
    }
    if (mutants::reuse_actor) incarnation = 1;
    actor_ = {options_.node, incarnation};
  }
  for (auto& [id, peer] : peers_) peer.next = next(vector_.of(actor_));
}

}  // namespace capstan::ap
