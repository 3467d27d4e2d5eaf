#include "cp/outcomes.h"

#include <array>
#include <iterator>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr ByteView kKey = "cp/outcomes";
constexpr ByteView kLifePrefix = "cp/applied/", kSettledPrefix = "cp/settled/";

std::string life_key(const Actor& actor) {
  std::string key(kLifePrefix);
  put_u64_be(key, actor.node.value);
  put_u64_be(key, actor.incarnation);
  return key;
}
std::string settled_key(std::uint64_t number) {
  std::string key(kSettledPrefix);
  put_u64_be(key, number);
  return key;
}

}  // namespace

// ---- Rows ---------------------------------------------------------------------------------------

void Outcomes::load() {
  lives_.clear();
  settled_.clear();
  settled_in_order_.clear();
  digest_ = 0;
  if (const auto row = table_.get(Space::kMeta, kKey)) {
    Reader in(*row);
    const std::uint8_t format = in.u8();
    digest_ = in.u64();
    CAPSTAN_ASSERT(in.done() && format == kFormat);
  }
  table_.scan(Space::kMeta, kLifePrefix, {}, [this](ByteView key, ByteView row) {
    if (!key.starts_with(kLifePrefix)) return false;
    Reader name(key.substr(kLifePrefix.size()));
    Actor actor;
    actor.node = {name.u64_be()};
    actor.incarnation = static_cast<Incarnation>(name.u64_be());
    Life& life = lives_[actor];
    Reader in(row);
    const std::uint8_t format = in.u8();
    life.forgotten = in.varint();
    std::uint64_t at = life.forgotten;
    for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
      const std::uint64_t first = at += in.varint();
      life.runs[first] = at += in.varint();
    }
    CAPSTAN_ASSERT(in.done() && name.done() && format == kFormat);
    return true;
  });
  table_.scan(Space::kMeta, kSettledPrefix, {}, [this](ByteView key, ByteView row) {
    if (!key.starts_with(kSettledPrefix)) return false;
    Reader name(key.substr(kSettledPrefix.size()));
    Reader in(row);
    const std::uint8_t format = in.u8();
    WriteId id;
    id.actor.node = {in.u64()};
    id.actor.incarnation = static_cast<Incarnation>(in.varint());
    id.sequence = {in.varint()};
    settled_in_order_[name.u64_be()] = id;
    settled_.insert(id);
    CAPSTAN_ASSERT(in.done() && name.done() && format == kFormat);
    return true;
  });
}

void Outcomes::save() {
  bool any = false;
  for (auto& [actor, life] : lives_) {
    if (!std::exchange(life.changed, false)) continue;
    any = true;
    std::string row;
    put_u8(row, kFormat);
    put_varint(row, life.forgotten);
    put_varint(row, life.runs.size());
    std::uint64_t at = life.forgotten;
    for (const auto& [first, last] : life.runs) {
      put_varint(row, first - at);
      put_varint(row, last - first);
      at = last;
    }
    table_.put(Space::kMeta, life_key(actor), row);
  }
  if (!any && settled_.empty()) return;
  std::string row;
  put_u8(row, kFormat);
  put_u64(row, digest_);
  table_.put(Space::kMeta, kKey, row);
}

// ---- Writes -------------------------------------------------------------------------------------

void Outcomes::fold(std::uint8_t what, const WriteId& id) {
  const std::array<std::uint64_t, 3> parts{
      id.actor.node.value, std::uint64_t{id.actor.incarnation} << 8 | what, id.sequence.value};
  digest_ = xxh3({reinterpret_cast<const char*>(parts.data()), sizeof parts}, digest_);
}

void Outcomes::applied(const WriteId& id) {
  if (!id) return;  // of a leader's own
  fold(1, id);
  const auto [at, fresh] = lives_.try_emplace(id.actor);
  add(at->second, id.sequence.value);
  if (fresh) forget_old_lives(id.actor.node);
}

void Outcomes::add(Life& life, std::uint64_t number) {
  life.changed = true;
  if (number <= life.forgotten) return;
  auto after = life.runs.upper_bound(number);
  auto at = life.runs.end();
  if (after != life.runs.begin()) {
    at = std::prev(after);
    if (number <= at->second) return;
    if (at->second + 1 == number) {
      at->second = number;
    } else {
      at = life.runs.end();
    }
  }
  if (at == life.runs.end()) at = life.runs.emplace(number, number).first;
  if (after != life.runs.end() && after->first == number + 1) {
    at->second = after->second;
    life.runs.erase(after);
  }
  if (life.runs.size() <= kRunsMax) return;
  life.forgotten = life.runs.begin()->second;
  life.runs.erase(life.runs.begin());
}

void Outcomes::forget_old_lives(NodeId node) {
  const auto first = lives_.lower_bound({node, 0});
  auto end = first;
  std::size_t count = 0;
  while (end != lives_.end() && end->first.node == node) ++end, ++count;
  if (count <= kLivesKept) return;
  table_.erase(Space::kMeta, life_key(first->first));
  lives_.erase(first);
}

void Outcomes::settle(const WriteId& id) {
  if (!settled_.insert(id).second) return;
  fold(2, id);
  const std::uint64_t number =
      settled_in_order_.empty() ? 1 : settled_in_order_.rbegin()->first + 1;
  settled_in_order_[number] = id;
  std::string row;
  put_u8(row, kFormat);
  put_u64(row, id.actor.node.value);
  put_varint(row, id.actor.incarnation);
  put_varint(row, id.sequence.value);
  table_.put(Space::kMeta, settled_key(number), row);
  if (settled_in_order_.size() <= kSettledMax) return;
  const auto oldest = settled_in_order_.begin();
  table_.erase(Space::kMeta, settled_key(oldest->first));
  settled_.erase(oldest->second);
  settled_in_order_.erase(oldest);
}

Fate Outcomes::fate(const WriteId& id) const {
  if (settled(id)) return Fate::kNotApplied;
  const auto life = lives_.find(id.actor);
  if (life == lives_.end()) {
    std::size_t later = 0;
    for (auto at = lives_.lower_bound(id.actor);
         at != lives_.end() && at->first.node == id.actor.node; ++at) {
      ++later;
    }
    return later >= kLivesKept ? Fate::kForgotten : Fate::kOpen;
  }
  const std::uint64_t number = id.sequence.value;
  if (number <= life->second.forgotten) return Fate::kForgotten;
  const auto after = life->second.runs.upper_bound(number);
  const bool within = after != life->second.runs.begin() && number <= std::prev(after)->second;
  return within ? Fate::kApplied : Fate::kOpen;
}

}  // namespace capstan::cp
