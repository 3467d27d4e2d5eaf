// One part of the table: what was written since some moment, found by hash and put in order only
// when someone asks for order. Nothing is ever taken out (an erase is a row too), so rows never
// move.
//
//   put ─► arena (rows, keys, values) ◄─ slots: open addressing, hash beside the pointer
//                  ▲
//   scan ─► a map a space, brought up to date first;   the keeper sorts a copy of the pointers
//
// Why not a tree alone: a put of the consistent path touches three rows and reads one; in a tree of
// 64 MiB each of these costs ten cache misses, here one or two. A write that no scan follows is
// sorted once, off the loop.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/base.h"

namespace capstan {

class Memtable final : public ChangeSource {
 public:
  struct Row {
    Space space;
    bool erased;
    ByteView key;
    char* data;  // of the value, in the arena
    std::uint32_t size, capacity;
    ByteView value() const { return {data, size}; }
  };
  using Index = std::map<ByteView, const Row*>;

  void set(Space space, ByteView key, std::optional<ByteView> value);
  const Row* find(Space space, ByteView key) const;
  // All rows of a space by key. On the thread that writes, or wrote, this part.
  const Index& index(Space space) const;
  // On any thread, once nobody writes any more.
  void each(const std::function<bool(const ChangeRef&)>& visit) const override;

  std::size_t bytes() const { return bytes_; }  // taken from the arena

 private:
  struct Slot {
    std::uint64_t hash = 0;
    Row* row = nullptr;
  };
  static constexpr std::size_t kSpaces = static_cast<std::size_t>(Space::kCount);

  char* allocate(std::size_t bytes);
  void store(Row& row, std::optional<ByteView> value);
  std::size_t slot_of(std::uint64_t hash, Space space, ByteView key) const;
  void grow();

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t room_ = 0;  // left in the last block
  char* next_ = nullptr;
  std::size_t bytes_ = 0;

  std::vector<Slot> slots_;
  std::vector<const Row*> rows_;  // in the order they came

  // The loop's own; the keeper never looks.
  mutable std::array<Index, kSpaces> index_;
  mutable std::size_t indexed_ = 0;  // rows_ below it are in index_
};

}  // namespace capstan
