// Who belongs to the cluster, and who of them votes.
//
//   simple   `voters` decide
//   joint    `outgoing` is not empty: a majority of `voters` and one of `outgoing` decide, both
//
// A configuration travels whole in a log entry of its own kind and counts from the moment it is in
// the log. [Diss §4.3] Voters change through a joint configuration only; learners and what is known
// of a member (name, addresses) in one entry. It is the only truth about membership: what a node
// was started with counts until the log says otherwise, and no longer.
//
// A witness is a voter that keeps of each entry its term and index, no more: it decides who leads,
// and what is committed, with a small disk. Two members with data and a witness go on without any
// one of the three. Never leads. At most one; what a member is in this respect never changes.
// (raft.h, "Witness")
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/request.h"
#include "core/types.h"

namespace capstan::cp {

struct Config {
  std::vector<MemberId> voters;         // sorted
  std::vector<MemberId> outgoing = {};  // sorted; the voters before, while the change is under way
  std::vector<MemberId> learners = {};  // sorted; in neither of the two
  std::vector<MemberId> joining = {};   // sorted; the learners that become voters by themselves
  std::vector<MemberId> removed = {};   // the newest kRemovedMax, in order; never used again
  std::vector<Member> members = {};     // sorted by id; of everyone in the first three
  WriteId asked = {};                   // the request that wanted it; 0: nobody waits for it

  bool joint() const { return !outgoing.empty(); }
  bool is_voter(MemberId member) const;  // in either half
  bool is_learner(MemberId member) const;
  bool is_member(MemberId member) const { return is_voter(member) || is_learner(member); }
  bool is_witness(MemberId member) const;
  bool was_removed(MemberId member) const;
  // Every voter and learner, sorted.
  std::vector<MemberId> everyone() const;
  const Member* record(MemberId member) const;  // null: none

  // The configuration that ends a joint one; asserted to be joint.
  Config left() const;

  friend bool operator==(const Config&, const Config&) = default;
};

inline constexpr std::size_t kRemovedMax = 1000;
inline constexpr std::size_t kClientUrlsMax = 16;  // of a member

// What `now`, which is simple, becomes by a request: a joint configuration if voters change. The id
// of an added member is in the request.
//
//   errors  kMemberExists, kPeerUrlExists, kMemberNotFound, kNotLearner, kTooManyLearners, kInvalid
std::expected<Config, Refusal> changed(const Config& now, const MemberChangeRequest& request,
                                       const WriteId& asked);

std::string encode_config(const Config& config);
// nullopt: malformed, or of a newer format. That somebody votes is for the caller to ask.
std::optional<Config> decode_config(ByteView bytes);

}  // namespace capstan::cp
