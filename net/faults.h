// Fault injection on the links between nodes, for the lab: which peers a node must not hear, or
// must not be heard by, and until when. Plain data; net/peer_transport applies it to frames.
//
// Each node knows only its own links. "cut n1 / n2,n3" is three orders, one a node: n1 drops n2 and
// n3 both ways, n2 and n3 drop n1 both ways. Every fault has an end, so that a forgotten lab heals.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/limits.h"
#include "core/result.h"
#include "core/time.h"
#include "core/types.h"

namespace capstan::net {

struct PeerFault {
  MemberId peer;
  bool drop_in = false;   // frames from it
  bool drop_out = false;  // frames to it
  Micros until = 0;       // Now::monotonic
};

// What one node drops now. Times are Now::monotonic.
class Faults {
 public:
  // In place of all there was.
  void replace(const std::vector<PeerFault>& faults);
  void heal() { faults_.clear(); }

  bool drops_in(MemberId peer, Micros now) const;
  bool drops_out(MemberId peer, Micros now) const;
  // In force now, by member id.
  std::vector<PeerFault> show(Micros now) const;

 private:
  std::map<MemberId, PeerFault> faults_;
};

// ---- The cut grammar ----------------------------------------------------------------------------

// A fault over a whole cluster, by names.
struct DirectedDrop {
  std::string from, to;  // frames from `from` to `to` are dropped
  friend auto operator<=>(const DirectedDrop&, const DirectedDrop&) = default;
};
struct Cut {
  std::vector<std::vector<std::string>> sides;  // as written
  std::vector<DirectedDrop> drops;              // sorted, none twice
  // A sentence when the cut leaves a way round, or names nobody's side: "not a partition: n3 still
  // reaches n1 and n2. To isolate n1: capstan lab cut n1 / n2,n3".
  std::vector<std::string> notes;
};

// Parses "n1 / n2,n3" (sides parted by `/`, names by `,`; blanks anywhere) against the members'
// names.
//   errors  kInvalid, with a sentence that shows the right form: fewer than two sides, an empty
//   one,
//           a name twice, an unknown name (with the known ones)
Result<Cut> parse_cut(std::string_view text, const std::vector<std::string>& names);

// "n1 n2" or "n1 > n2": frames from n1 to n2 are dropped. Errors as above.
Result<Cut> parse_oneway(std::string_view text, const std::vector<std::string>& names);

// The part of one node: who it must drop, by name.
struct NamedFault {
  std::string peer;
  bool drop_in = false;
  bool drop_out = false;
};
std::vector<NamedFault> faults_of(const Cut& cut, std::string_view name);

}  // namespace capstan::net
