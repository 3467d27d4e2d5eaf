// The write-ahead log: one per node, for both engines. docs/formats.md has every byte.
//
//   segment   fixed size, zero-filled before use, recycled after; named by sequence
//   group     what one append() wrote: one pwritev and one sync. Its checksum is salted with the
//             segment's salt and chained to the group before, and group g is only written after
//             g-1 is durable: finding g proves that g-1 was once durable.
//
// open() tells a torn tail (a last group that was never acknowledged: cut) from rot (a bad group
// that something behind it proves to have been durable: not cut; the log is impaired from there).
// After a rot the log goes on in a new segment behind a gap, and stays impaired at every open until
// release() has passed the gap: the engine refills what is missing, then checkpoints.
// The sketch: one group costs its bytes once through memcpy and XXH3, and one pwrite + fdatasync,
// about 100 us for up to 64 KiB on the machine in docs/results. No allocation a group.
//
// Blocking; owned by the disk thread or the simulator.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/disk.h"
#include "core/file.h"
#include "core/limits.h"
#include "core/result.h"

namespace capstan {

struct WalOptions {
  ClusterId cluster;
  NodeId node;
  std::size_t segment_bytes = kWalSegmentBytes;  // a multiple of 4 KiB, at least 16 KiB
  std::uint64_t salt_seed = 0;  // segments' salts are drawn from it; the caller's entropy or seed
};

class Wal {
 public:
  struct Impaired {
    std::uint64_t position =
        0;  // of the first bad group; records from here to the gap's end are lost
    // The same of the last gap, where there are several: a log may rot again behind a gap that is
    // not released yet. Only what lies behind this one was written by somebody who knew of it all.
    std::uint64_t last_position = 0;
    std::string why;
  };
  struct Recovery;
  struct State;  // core/wal_state.h; nobody else's business
  enum class Spares { kReady, kFilling, kNoSpace };

  // Opens or creates the log in `directory` and replays it; what it returns is durable. Errors:
  // kMismatch (another cluster, node or a newer format), kIo, kNoSpace.
  static Result<Recovery> open(Directory& directory, WalOptions options);
  // True if `directory` holds a log.
  static Result<bool> exists(Directory& directory);

  // Writes one group, not yet durable. Returns its position. kTooLarge (above kWalGroupBytesMax)
  // and kNoSpace (no spare, and the disk is full) leave the log as it was; kIo is final.
  Result<std::uint64_t> append(std::span<const Record> records);
  // What a record adds to its group; for filling groups up to kWalGroupBytesMax.
  static std::size_t record_bytes(const Record& record);
  // Makes all groups so far durable. An error is final.
  Status sync();
  // After a pause: an empty group, synced, so that the last real one is provably durable. Nothing
  // if the last one is empty.
  Status seal();
  // Recycles segments that lie wholly below `position`; the last one always stays.
  Status release(std::uint64_t position);
  // Keeps `count` spare zero-filled segments. One call does one slice of at most 1 MiB; call again,
  // when idle, while it says kFilling.
  Result<Spares> prepare_spares(std::size_t count);
  std::size_t spares() const;
  std::uint64_t bytes() const;     // of live segments
  std::uint64_t position() const;  // of the last group

  ~Wal();

 private:
  explicit Wal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct Wal::Recovery {
  std::unique_ptr<Wal> wal;
  // Oldest first; if impaired, without what lies from the first bad group to the end of the gap.
  std::vector<RecoveredRecord> records;
  std::optional<Impaired> impaired;
  // Whole records found inside the gap. They may not be applied, since something before them is
  // missing; but facts that must not be forgotten (term, vote, incarnation) can be read off them.
  std::vector<RecoveredRecord> salvaged;
  bool torn_tail_cut = false;
  bool fresh = false;  // there was no log; an empty one was created
};

}  // namespace capstan
