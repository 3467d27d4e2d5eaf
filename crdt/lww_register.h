// Last-writer-wins register: one value or a tombstone, replaced by any write that is later.
//
//     A writes "x" at (7, A) ──┐
//                              ├─► both hold "y": equal time, and B > A
//     B deletes    at (6, B) ──┤
//     B writes "y" at (7, B) ──┘
//
// A delete is a write like any other. The loser of a concurrent pair is gone from here; who needs
// it must keep it before merging (ap/books.h).
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "crdt/kernel_lww.h"

namespace capstan {

class LwwRegister {
 public:
  // Replaces the content if `tag` is later than the present one; otherwise does nothing. nullopt
  // deletes.
  void assign(std::optional<std::string> value, const LwwTag& tag) {
    if (tag > tag_) {
      value_ = std::move(value);
      tag_ = tag;
    }
  }

  // Absorbs another replica's state. Commutative, associative, idempotent.
  void merge(const LwwRegister& other) { assign(other.value_, other.tag_); }

  const std::optional<std::string>& value() const { return value_; }
  const LwwTag& tag() const { return tag_; }
  friend bool operator==(const LwwRegister&, const LwwRegister&) = default;

 private:
  std::optional<std::string> value_;
  LwwTag tag_;
};

}  // namespace capstan
