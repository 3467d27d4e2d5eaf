// The asynchronous disk the engines see: append to the node's one WAL, checkpoint the table into
// the base, install a snapshot. net/disk_thread.h does it on real threads, tests/sim on simulated
// time.
//
// Completions come back on the engine's thread, between begin_turn() and end_turn(), in order.
// There is no error path for append: a write or sync that fails ends the process (contract.md),
// since afterwards nobody knows what the disk holds. Space is different: writes_allowed() turns
// false while there is still room to finish what was begun.
#pragma once

#include <functional>
#include <vector>

#include "core/base.h"
#include "core/table.h"
#include "core/types.h"

namespace capstan {

enum class RecordType : std::uint8_t {
  kHardState = 1,  // CP: term, vote, ... (cp/raft_codec)
  kEntry = 2,      // CP: one log entry; a lower index than the last drops the old suffix
  kDelta = 3,      // AP: one batch of one origin
  kMark = 4,       // either engine's own small facts (clean stop, incarnation, install)
};

// What goes to the WAL: a small header the engine encodes, and bytes shared with the network.
struct Record {
  RecordType type;
  std::string head;
  SharedBytes body;  // may be null
};

// A recovered record; the bytes of head and body, joined as they were appended.
struct RecoveredRecord {
  RecordType type;
  std::string head;
  SharedBytes body;
  std::uint64_t position = 0;  // of its group, see Disk::append
};

class Disk {
 public:
  virtual ~Disk() = default;

  // Queues records behind all earlier ones. When they are durable (as --durability says), `done`
  // gets the position of their group: positions grow, and release() takes them. A record is there
  // whole or not at all; of several, a crash may leave the first few.
  virtual void append(std::vector<Record> records,
                      std::move_only_function<void(std::uint64_t position)> done) = 0;

  // Commits a frozen table to the base; one at a time. Then `done`. A full disk delays it.
  virtual void checkpoint(Table::Frozen frozen, std::move_only_function<void()> done) = 0;

  // Base::amend() on what all that was asked before has left there, on another thread; then `done`.
  virtual void amend(Amendment amendment, std::move_only_function<void()> done) = 0;

  // No record below `position` is needed any more: its segments may be reused.
  virtual void release(std::uint64_t position) = 0;

  // Snapshot install, in order, with checkpoints too: stage pieces, then switch. After install's
  // `done`, the engine calls Table::reset().
  virtual void stage(std::vector<Change> changes, std::move_only_function<void()> done) = 0;
  virtual void install(std::move_only_function<void()> done) = 0;
  virtual void drop_staged() = 0;

  virtual Durability durability() const = 0;
  // False when spare space runs out: refuse writes with kNoSpace, keep serving reads.
  virtual bool writes_allowed() const = 0;
  virtual std::uint64_t wal_bytes() const = 0;
};

}  // namespace capstan
