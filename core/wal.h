// The write-ahead log: one per node, for both engines. docs/formats.md has every byte.
//
//   segment   fixed size, zero-filled before use, recycled after; named by sequence
//   group     what one append() wrote: one pwritev and one sync. Its checksum is salted with the
//             segment's salt and chained to the group before, and group g is only written after
//             g-1 is durable: finding g proves that g-1 was once durable.
//
// open() tells a torn tail (the last group, nothing valid behind it: cut, it was never acknowledged)
// from rot (a bad group with a valid one behind it: not cut; the log is impaired from there).
// The sketch: one group costs its bytes once through XXH3 and one pwritev + fdatasync, about 100 us
// for up to 64 KiB on the machine in docs/results. No allocation a group beyond the caller's records.
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
  std::size_t segment_bytes = kWalSegmentBytes;
  std::uint64_t salt_seed = 0;  // segments' salts are drawn from it; the caller's entropy or seed
};

class Wal {
 public:
  struct Impaired {
    std::uint64_t position = 0;  // of the first bad group
    std::string why;
  };
  struct Recovery;

  // Opens or creates the log in `directory` and replays it. Errors: kMismatch (another cluster, node
  // or a newer format), kIo.
  static Result<Recovery> open(Directory& directory, WalOptions options);

  // Writes one group, not yet durable. Returns its position. kTooLarge, kIo, kNoSpace.
  Result<std::uint64_t> append(std::span<const Record> records);
  // Makes all groups so far durable. An error is final.
  Status sync();
  // After a pause: an empty group, so that the last real one is provably durable.
  Status seal();
  // Recycles segments that lie wholly below `position`.
  Status release(std::uint64_t position);
  // Keeps spare zero-filled segments; call when idle. False: no space for them.
  Result<bool> prepare_spares(std::size_t count);
  std::size_t spares() const;
  std::uint64_t bytes() const;  // of live segments

  ~Wal();

 private:
  struct State;
  explicit Wal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct Wal::Recovery {
  std::unique_ptr<Wal> wal;
  std::vector<RecoveredRecord> records;  // oldest first, up to the cut or the first bad group
  std::optional<Impaired> impaired;
  bool torn_tail_cut = false;
};

}  // namespace capstan
