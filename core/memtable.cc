#include "core/memtable.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "core/hash.h"

namespace capstan {

namespace {

constexpr std::size_t kBlockBytes = 256 * 1024;
constexpr std::size_t kAlign = alignof(Memtable::Row);

std::uint64_t hash_of(Space space, ByteView key) {
  return xxh3(key, static_cast<std::uint64_t>(space) + 1);
}

// The first eight bytes as a number that orders like the bytes.
std::uint64_t head_of(ByteView key) {
  std::uint64_t head = 0;
  std::memcpy(&head, key.data(), std::min(key.size(), sizeof head));
  return __builtin_bswap64(head);
}

}  // namespace

// Aligned for a Row. A value beyond a quarter of a block gets a block of its own.
char* Memtable::allocate(std::size_t bytes) {
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  bytes_ += bytes;
  if (bytes > kBlockBytes / 4) {
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(bytes));
    return blocks_.back().get();
  }
  if (bytes > room_) {
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(kBlockBytes));
    next_ = blocks_.back().get();
    room_ = kBlockBytes;
  }
  char* const at = next_;
  next_ += bytes;
  room_ -= bytes;
  return at;
}

void Memtable::store(Row& row, std::optional<ByteView> value) {
  row.erased = !value;
  if (!value) return;
  if (value->size() > row.capacity) {
    // A row that grew once grows again: counters and ladders do so by a byte or two.
    const std::size_t spare = row.data == nullptr ? 0 : value->size() / 4;
    row.capacity = static_cast<std::uint32_t>(value->size() + spare);
    row.data = allocate(row.capacity);
  }
  row.size = static_cast<std::uint32_t>(value->size());
  if (!value->empty()) std::memcpy(row.data, value->data(), value->size());
}

// Where it is, or where it would go.
std::size_t Memtable::slot_of(std::uint64_t hash, Space space, ByteView key) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.row == nullptr) return at;
    if (slot.hash == hash && slot.row->space == space && slot.row->key == key) return at;
  }
}

void Memtable::grow() {
  std::vector<Slot> old = std::exchange(slots_, {});
  slots_.resize(std::max<std::size_t>(64, old.size() * 2));
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.row == nullptr) continue;
    std::size_t at = slot.hash & mask;
    while (slots_[at].row != nullptr) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

void Memtable::set(Space space, ByteView key, std::optional<ByteView> value) {
  if (rows_.size() * 3 >= slots_.size() * 2) grow();
  const std::uint64_t hash = hash_of(space, key);
  Slot& slot = slots_[slot_of(hash, space, key)];
  if (slot.row != nullptr) return store(*slot.row, value);
  char* const memory = allocate(sizeof(Row) + key.size());
  std::memcpy(memory + sizeof(Row), key.data(), key.size());
  Row* const row = new (memory) Row{.space = space,
                                    .erased = false,
                                    .key = {memory + sizeof(Row), key.size()},
                                    .data = nullptr,
                                    .size = 0,
                                    .capacity = 0};
  store(*row, value);
  slot = {hash, row};
  rows_.push_back(row);
}

const Memtable::Row* Memtable::find(Space space, ByteView key) const {
  if (slots_.empty()) return nullptr;
  return slots_[slot_of(hash_of(space, key), space, key)].row;
}

const Memtable::Index& Memtable::index(Space space) const {
  for (; indexed_ < rows_.size(); ++indexed_) {
    const Row* row = rows_[indexed_];
    Index& index = index_[static_cast<std::size_t>(row->space)];
    index.emplace_hint(index.end(), row->key, row);  // logs and loads come in order
  }
  return index_[static_cast<std::size_t>(space)];
}

void Memtable::each(const std::function<bool(const ChangeRef&)>& visit) const {
  struct Place {
    std::uint64_t head;
    const Row* row;
  };
  std::vector<Place> order;
  order.reserve(rows_.size());
  for (const Row* row : rows_) order.push_back({head_of(row->key), row});
  std::ranges::sort(order, [](const Place& a, const Place& b) {
    if (a.row->space != b.row->space) return a.row->space < b.row->space;
    if (a.head != b.head) return a.head < b.head;
    return a.row->key < b.row->key;
  });
  for (const Place& place : order) {
    const Row& row = *place.row;
    const auto value = row.erased ? std::nullopt : std::optional(row.value());
    if (!visit({row.space, row.key, value})) return;
  }
}

}  // namespace capstan
