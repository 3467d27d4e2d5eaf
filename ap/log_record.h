// What this path writes to the log (docs/formats-ap.md): a small head that says what the
// record is, then for a delta or slice its packed bytes, the same that went over the wire.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/disk.h"
#include "core/hlc.h"
#include "core/result.h"
#include "crdt/version_vector.h"

namespace capstan::ap {

enum class RecordKind : std::uint8_t {
  kLocal = 1,   // kDelta: a batch written here; the dots it replaced
  kRemote = 2,  // kDelta: a batch of another origin
  kSlice = 3,   // kDelta: a slice of a sync and what it meant here
  kClean = 4,   // kMark: a clean stop: the actor's last dot; means something only at the very end
  kInUse = 5,   // kMark: the actor of a clean stop goes on
  kSound = 6,   // kMark: what the actor writes from here on is not exposed
  kAllHeeded = 7,  // kMark: nothing written before is, either
};

struct LogRecord {
  RecordKind kind = RecordKind::kRemote;
  VersionVector vector, cover, trimmed;            // kSlice, see Replica::SliceContext
  Stamp forgotten;                                 // kSlice, the same
  std::vector<std::pair<std::string, Dot>> drops;  // kSlice
  Incarnation start = 0;                           // kClean
  Dot dot;                                         // kClean: may have sequence 0; other marks: 0
  SharedBytes packed;                              // kDelta records
};

std::string head_of(RecordKind kind);  // kLocal, kRemote
std::string head_of_slice(const VersionVector& vector, const VersionVector& cover,
                          const VersionVector& trimmed, Stamp forgotten,
                          const std::vector<std::pair<std::string, Dot>>& drops);
// `start`: the incarnation of the start that ends here; the next one is one higher.
std::string mark_clean(const Dot& last, Incarnation start);
// kInUse, kSound, kAllHeeded.
std::string mark_of(RecordKind kind, const Actor& actor);

// Takes head and body as the log gave them back. kMalformed.
Result<LogRecord> read_record(const RecoveredRecord& record);

}  // namespace capstan::ap
