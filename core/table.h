// The table: what the WAL holds and the base does not yet, in memory and in order. State machines
// read and write here and nowhere else; reads fall through to the base.
//
//     put/erase ─► active ─freeze()─► frozen ─checkpoint on the keeper─► base
//     get/scan  ◄─ active, then frozen, then base: the newest answer wins, an erase is an answer
//
// One thread uses it. The frozen part is immutable and shared with the keeper until thaw_done().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/base.h"
#include "core/memtable.h"

namespace capstan {

class Table {
 public:
  using Frozen = std::shared_ptr<const ChangeSource>;  // Base::commit takes it

  // An I/O or checksum error of the base is not an answer: it goes to `base_failed`, which stops
  // the process (node: exit 74; simulator: fault). Without one it is an assertion.
  explicit Table(const Base& base, std::function<void(const Error&)> base_failed = {})
      : base_(base), base_failed_(std::move(base_failed)) {}

  void put(Space space, ByteView key, ByteView value);
  void erase(Space space, ByteView key);

  std::optional<std::string> get(Space space, ByteView key) const;
  // [from, to) ascending; `to` empty: to the end of the space. The table must not be changed by the
  // visitor.
  void scan(Space space, ByteView from, ByteView to, const Visitor& visit) const;
  void scan_back(Space space, ByteView from, ByteView to, const Visitor& visit) const;

  // Hands out the active part and starts a new one; constant time. Not while one is out.
  Frozen freeze();
  bool freezing() const { return frozen_ != nullptr; }
  // The base now holds the frozen part.
  void thaw_done();
  // Everything in memory is void: a snapshot was installed under us.
  void reset();

  std::size_t bytes() const { return active_->bytes(); }  // that the active part takes

 private:
  void failed(const Error& error) const;

  const Base& base_;
  std::shared_ptr<Memtable> active_ = std::make_shared<Memtable>();
  std::shared_ptr<const Memtable> frozen_;
  std::function<void(const Error&)> base_failed_;
};

}  // namespace capstan
