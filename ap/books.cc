#include "ap/books.h"

#include <algorithm>
#include <utility>

#include "ap/packed.h"
#include "core/check.h"
#include "core/coding.h"
#include "core/limits.h"

namespace capstan::ap {
namespace {

constexpr std::size_t kLosersMax = 1'000'000;
constexpr std::size_t kCollectedMax = 65'536;

// Space::kMeta names of this file: "ap.s" + actor + chunk number, bits of superseded dots.
constexpr ByteView kChunkPrefix = "ap.s";
// "ap.c" + key: the dot of the tombstone that was collected there. Written together with the
// erasure of the cell, so that a crash keeps both or neither.
constexpr ByteView kCollectedPrefix = "ap.c";

std::string collected_key(ByteView key) { return std::string(kCollectedPrefix).append(key); }

std::string number_key(std::uint64_t number) {
  std::string key;
  put_u64_be(key, number);
  return key;
}

std::string encode_loss(const Loss& loss) {
  std::string out;
  put_u8(out, loss.bodies_kept ? 1 : 0);
  put_bytes(out, loss.key);
  put_bytes(out, encode_cell(loss.loser));
  put_bytes(out, encode_cell(loss.winner));
  return out;
}

Loss decode_loss(ByteView bytes) {
  Reader in(bytes);
  Loss loss;
  loss.bodies_kept = in.u8() == 1;
  loss.key = in.bytes();
  loss.loser = decode_cell(in.bytes());
  loss.winner = decode_cell(in.bytes());
  CAPSTAN_ASSERT(in.done());
  return loss;
}

std::size_t body_bytes(const Loss& loss) {
  return loss.bodies_kept ? loss.key.size() + loss.loser.value.size() + loss.winner.value.size()
                          : 0;
}

}  // namespace

void DotSet::insert(const Dot& dot) {
  Chunk& chunk = chunks_[{dot.actor, dot.sequence.value / kChunkDots}];
  if (chunk.empty()) {
    chunk.resize(kChunkDots / 8);
    if (chunks_.size() > kChunksMax) {
      // The first chunk of the actor that has most: its oldest writes.
      std::map<Actor, std::size_t> sizes;
      for (const auto& [id, unused] : chunks_) ++sizes[id.first];
      const Actor largest =
          std::ranges::max_element(sizes, {}, [](const auto& e) { return e.second; })->first;
      chunks_.erase(chunks_.lower_bound({largest, 0}));
      if (!chunks_.contains({dot.actor, dot.sequence.value / kChunkDots})) return;
    }
  }
  const std::uint64_t bit = dot.sequence.value % kChunkDots;
  chunk[bit / 8] = static_cast<std::uint8_t>(chunk[bit / 8] | 1u << (bit % 8));
}

bool DotSet::contains(const Dot& dot) const {
  const auto at = chunks_.find({dot.actor, dot.sequence.value / kChunkDots});
  const std::uint64_t bit = dot.sequence.value % kChunkDots;
  return at != chunks_.end() && (at->second[bit / 8] >> (bit % 8) & 1) != 0;
}

void DotSet::for_each(const std::function<void(const Dot&)>& visit) const {
  for (const auto& [id, chunk] : chunks_) {
    for (std::uint64_t bit = 0; bit < kChunkDots; ++bit) {
      if ((chunk[bit / 8] >> (bit % 8) & 1) != 0) {
        visit({id.first, {id.second * kChunkDots + bit}});
      }
    }
  }
}

void Books::load() {
  table_.scan(Space::kConflict, {}, {}, [&](ByteView key, ByteView value) {
    const std::uint64_t number = Reader(key).u64_be();
    const Loss loss = decode_loss(value);
    losers_.insert(loss.loser.tag.dot);
    body_bytes_ += body_bytes(loss);
    next_ = number + 1;
    if (!loss.bodies_kept) {
      first_body_ = number + 1;
      ++dropped_;
    }
    return true;
  });
  const std::string end = std::string("ap.t");
  table_.scan(Space::kMeta, kChunkPrefix, end, [&](ByteView key, ByteView value) {
    Reader in(key.substr(kChunkPrefix.size()));
    const Actor actor = read_actor(in);
    const std::uint64_t chunk = in.u64_be();
    CAPSTAN_ASSERT(in.done());
    CAPSTAN_ASSERT(value.size() == DotSet::kChunkDots / 8);
    superseded_.chunks_[{actor, chunk}].assign(value.begin(), value.end());
    return true;
  });
  table_.scan(Space::kMeta, kCollectedPrefix, "ap.d", [&](ByteView key, ByteView value) {
    Reader in(value);
    const Actor actor = read_actor(in);
    const Sequence sequence{in.u64_be()};
    CAPSTAN_ASSERT(in.done());
    const std::string of(key.substr(kCollectedPrefix.size()));
    collected_[of] = {actor, sequence};
    collected_order_.push_back(of);
    return true;
  });
}

void Books::save() {
  for (const auto& id : unsaved_) {
    std::string key(kChunkPrefix);
    put_actor(key, id.first);
    put_u64_be(key, id.second);
    const auto at = superseded_.chunks_.find(id);
    if (at == superseded_.chunks_.end()) {
      table_.erase(Space::kMeta, key);
    } else {
      table_.put(Space::kMeta, key, std::string(at->second.begin(), at->second.end()));
    }
  }
  unsaved_.clear();
}

void Books::lost(const std::string& key, const Cell& loser, const Cell& winner) {
  if (!losers_.insert(loser.tag.dot).second) return;
  const Loss loss{key, loser, winner};
  body_bytes_ += body_bytes(loss);
  table_.put(Space::kConflict, number_key(next_++), encode_loss(loss));
  keep_within_budget();
}

void Books::keep_within_budget() {
  while (body_bytes_ > kConflictLogBytesMax && first_body_ < next_) {
    const std::string key = number_key(first_body_++);
    const auto stored = table_.get(Space::kConflict, key);
    if (!stored) continue;
    Loss loss = decode_loss(*stored);
    body_bytes_ -= body_bytes(loss);
    loss.bodies_kept = false;
    loss.loser.value.clear();
    loss.winner.value.clear();
    ++dropped_;
    table_.put(Space::kConflict, key, encode_loss(loss));
  }
  while (losers_.size() > kLosersMax) {
    const std::string key = number_key(next_ - losers_.size());
    const auto stored = table_.get(Space::kConflict, key);
    CAPSTAN_ASSERT(stored);
    losers_.erase(decode_loss(*stored).loser.tag.dot);
    table_.erase(Space::kConflict, key);
  }
}

void Books::superseded(const Dot& dot) {
  superseded_.insert(dot);
  unsaved_.insert({dot.actor, dot.sequence.value / DotSet::kChunkDots});
}

void Books::collected(const std::string& key, const Dot& dot) {
  if (collected_.insert_or_assign(key, dot).second) collected_order_.push_back(key);
  std::string bytes;
  put_actor(bytes, dot.actor);
  put_u64_be(bytes, dot.sequence.value);
  table_.put(Space::kMeta, collected_key(key), std::move(bytes));
  if (collected_order_.size() > kCollectedMax) {
    if (collected_.erase(collected_order_.front()) > 0) {
      table_.erase(Space::kMeta, collected_key(collected_order_.front()));
    }
    collected_order_.pop_front();
  }
}

std::optional<Dot> Books::revived(const std::string& key) {
  const auto at = collected_.find(key);
  if (at == collected_.end()) return std::nullopt;
  const Dot dot = at->second;
  collected_.erase(at);
  table_.erase(Space::kMeta, collected_key(key));
  return dot;
}

std::vector<std::pair<std::uint64_t, Loss>> Books::losses(std::uint64_t after,
                                                          std::size_t limit) const {
  std::vector<std::pair<std::uint64_t, Loss>> out;
  table_.scan(Space::kConflict, number_key(after + 1), {}, [&](ByteView key, ByteView value) {
    if (out.size() >= limit) return false;
    out.emplace_back(Reader(key).u64_be(), decode_loss(value));
    return true;
  });
  return out;
}

void Books::for_each_lost(const std::function<void(const Dot&)>& visit) const {
  for (const Dot& dot : losers_) visit(dot);
}
void Books::for_each_superseded(const std::function<void(const Dot&)>& visit) const {
  superseded_.for_each(visit);
}
void Books::for_each_collected(const std::function<void(const Dot&)>& visit) const {
  for (const auto& [key, dot] : collected_) visit(dot);
}

}  // namespace capstan::ap
