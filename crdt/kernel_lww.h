// The last-writer-wins kernel: which of two writes to one place stays.
//
// "Later" is (stamp, actor, sequence), in that order. Stamps are hybrid clocks, so a write that saw
// another is always later than it; actor and sequence settle ties between writes that did not see
// each other, and settle nothing else. Because the order is total and the same everywhere, taking
// the maximum is commutative, associative and idempotent, and all copies end alike.
//
// Source  LWW-Register in Shapiro et al., INRIA RR-7506, 2011.
#pragma once

#include "core/hlc.h"
#include "crdt/dot.h"

namespace capstan {

struct LwwTag {
  Stamp stamp;
  Dot dot;
  friend auto operator<=>(const LwwTag&, const LwwTag&) = default;
};

}  // namespace capstan
