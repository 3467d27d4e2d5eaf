// The answer to a range that is too long to be held: read slice by slice as its client takes it,
// all of it at one revision, whatever is written meanwhile.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <vector>

#include "core/request.h"

namespace capstan {

// Pulled like a watch (core/watch.h). Destroyed before its end it costs nothing more.
class RangeStream {
 public:
  virtual ~RangeStream() = default;
  struct Slice {
    std::vector<KeyValue> kvs;  // ascending by key; may be none
    bool last = false;
    // Of the whole range, with the last slice.
    bool more = false;
    std::int64_t count = 0;
  };
  // Nullopt: nothing now; Request::more_ready will be called when that may have changed. After the
  // last slice or a refusal it must not be called any more, but for a rewind().
  virtual std::optional<std::expected<Slice, Refusal>> next() = 0;
  // From the first key again: the same keys and values. Not after a refusal.
  virtual void rewind() = 0;
};

}  // namespace capstan
