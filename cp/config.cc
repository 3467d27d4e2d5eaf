#include "cp/config.h"

#include <algorithm>

#include "core/check.h"
#include "core/coding.h"
#include "core/limits.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::uint8_t kFormatWithWitness = 2;  // the same, and behind it who is one

bool has(const std::vector<MemberId>& sorted, MemberId member) {
  return std::ranges::binary_search(sorted, member);
}

void put_ids(std::string& out, const std::vector<MemberId>& ids) {
  put_varint(out, ids.size());
  for (MemberId id : ids) put_u64(out, id.value);
}

// Sorted and without repetition, as it is written.
bool take_ids(Reader& in, std::size_t max, std::vector<MemberId>& out) {
  const std::uint64_t size = in.varint();
  if (size > max || !in.plausible(size, 8)) return false;
  for (std::uint64_t i = 0; i < size; ++i) {
    const MemberId id{in.u64()};
    if (!id || (!out.empty() && out.back() >= id)) return false;
    out.push_back(id);
  }
  return true;
}

void insert(std::vector<MemberId>& sorted, MemberId member) {
  const auto at = std::ranges::lower_bound(sorted, member);
  if (at == sorted.end() || *at != member) sorted.insert(at, member);
}

}  // namespace

bool Config::is_voter(MemberId member) const {
  return has(voters, member) || has(outgoing, member);
}
bool Config::is_learner(MemberId member) const { return has(learners, member); }
bool Config::is_witness(MemberId member) const {
  const Member* known = record(member);
  return known != nullptr && known->witness;
}
bool Config::was_removed(MemberId member) const {
  return std::ranges::find(removed, member) != removed.end();
}

std::vector<MemberId> Config::everyone() const {
  std::vector<MemberId> out;
  for (const auto* part : {&voters, &outgoing, &learners}) {
    out.insert(out.end(), part->begin(), part->end());
  }
  std::ranges::sort(out);
  const auto repeated = std::ranges::unique(out);
  out.erase(repeated.begin(), repeated.end());
  return out;
}

const Member* Config::record(MemberId member) const {
  const auto at = std::ranges::lower_bound(members, member, {}, &Member::id);
  return at != members.end() && at->id == member ? &*at : nullptr;
}

Config Config::left() const {
  CAPSTAN_ASSERT(joint());
  Config out = *this;
  out.outgoing.clear();
  if (Mutants::on(Mutant::kRemovedCounted)) {
    for (MemberId id : outgoing) insert(out.voters, id);
  }
  std::erase_if(out.members, [&out](const Member& each) { return !out.is_member(each.id); });
  return out;
}

std::expected<Config, Refusal> changed(const Config& now, const MemberChangeRequest& request,
                                       const WriteId& asked) {
  using Action = MemberChangeRequest::Action;
  CAPSTAN_ASSERT(!now.joint());
  const auto no = [](Reason reason, std::string detail) {
    return std::unexpected(Refusal{reason, "refused: " + std::move(detail) + " Nothing changed."});
  };
  const MemberId id = request.member;
  Config out = now;
  out.asked = asked;
  const auto member = std::ranges::lower_bound(out.members, id, {}, &Member::id);
  if (request.action == Action::kAdd || request.action == Action::kUpdate) {
    for (const Member& other : now.members) {
      if (other.id == id || other.peer != request.peer) continue;
      return no(Reason::kPeerUrlExists, "the peer address " + request.peer + " is that of " +
                                            (other.name.empty() ? id_text(other.id) : other.name) +
                                            ".");
    }
  }
  if (request.action == Action::kAdd) {
    if (now.is_member(id) || now.was_removed(id)) {
      return no(Reason::kMemberExists, "the id " + id_text(id) + " is taken.");
    }
    if (now.everyone().size() >= kMembersMax) {
      return no(Reason::kInvalid,
                "a cluster has at most " + std::to_string(kMembersMax) + " members.");
    }
    // Those that are promoted by themselves will be no learners soon.
    if (request.learner && now.learners.size() > now.joining.size()) {
      return no(Reason::kTooManyLearners,
                "there is a learner already: promote it, or remove it, first.");
    }
    if (request.witness && std::ranges::any_of(now.members, &Member::witness)) {
      return no(Reason::kMemberExists, "there is a witness already: remove it first.");
    }
    if (request.witness && now.voters.size() < 2) {
      return no(Reason::kInvalid, "a witness needs two voters with data beside it.");
    }
    insert(out.learners, id);
    if (!request.learner) insert(out.joining, id);
    out.members.insert(
        member, Member{.id = id, .name = {}, .peer = request.peer, .witness = request.witness});
    return out;
  }
  if (!now.is_member(id)) {
    return no(Reason::kMemberNotFound,
              now.was_removed(id)
                  ? "the member " + id_text(id) + " has been removed before."
                  : "no member has the id " + id_text(id) + "; capstan members list has them.");
  }
  switch (request.action) {
    case Action::kAdd:
      break;
    case Action::kUpdate:
      member->peer = request.peer;
      break;
    case Action::kPromote:
      if (!now.is_learner(id)) {
        return no(Reason::kNotLearner, "the member " + id_text(id) + " votes already.");
      }
      std::erase(out.learners, id);
      std::erase(out.joining, id);
      out.outgoing = now.voters;
      insert(out.voters, id);
      break;
    case Action::kRemove:
      out.removed.push_back(id);
      if (out.removed.size() > kRemovedMax) out.removed.erase(out.removed.begin());
      if (now.is_learner(id)) {
        std::erase(out.learners, id);
        std::erase(out.joining, id);
        out.members.erase(member);
        break;
      }
      if (now.voters.size() == 1) {
        return no(Reason::kInvalid, "it is the only one that votes.");
      }
      if (std::ranges::none_of(now.voters,
                               [&](MemberId v) { return v != id && !now.is_witness(v); })) {
        return no(Reason::kInvalid, "it is the only voter that holds data.");
      }
      out.outgoing = now.voters;
      std::erase(out.voters, id);
      break;
  }
  return out;
}

std::string encode_config(const Config& config) {
  std::string out;
  std::vector<MemberId> witnesses;
  for (const Member& member : config.members) {
    if (member.witness) witnesses.push_back(member.id);
  }
  put_u8(out, witnesses.empty() ? kFormat : kFormatWithWitness);
  put_ids(out, config.voters);
  put_ids(out, config.outgoing);
  put_ids(out, config.learners);
  put_ids(out, config.joining);
  put_varint(out, config.removed.size());
  for (MemberId id : config.removed) put_u64(out, id.value);
  put_varint(out, config.members.size());
  for (const Member& member : config.members) {
    put_u64(out, member.id.value);
    put_bytes(out, member.name);
    put_bytes(out, member.peer);
    put_varint(out, member.client_urls.size());
    for (const std::string& url : member.client_urls) put_bytes(out, url);
  }
  put_u64(out, config.asked.actor.node.value);
  put_varint(out, config.asked.actor.incarnation);
  put_varint(out, config.asked.sequence.value);
  if (!witnesses.empty()) put_ids(out, witnesses);
  return out;
}

std::optional<Config> decode_config(ByteView bytes) {
  Reader in(bytes);
  const std::uint8_t format = in.u8();
  if (format != kFormat && format != kFormatWithWitness) return std::nullopt;
  Config out;
  if (!take_ids(in, kMembersMax, out.voters) || !take_ids(in, kMembersMax, out.outgoing) ||
      !take_ids(in, kMembersMax, out.learners) || !take_ids(in, kMembersMax, out.joining)) {
    return std::nullopt;
  }
  const std::uint64_t removed = in.varint();
  if (removed > kRemovedMax || !in.plausible(removed, 8)) return std::nullopt;
  for (std::uint64_t i = 0; i < removed; ++i) out.removed.push_back({in.u64()});
  const std::uint64_t size = in.varint();
  if (size > 3 * kMembersMax || !in.plausible(size, 11)) return std::nullopt;
  for (std::uint64_t i = 0; i < size; ++i) {
    Member member;
    member.id = {in.u64()};
    if (!out.members.empty() && out.members.back().id >= member.id) return std::nullopt;
    member.name = in.bytes();
    member.peer = in.bytes();
    const std::uint64_t urls = in.varint();
    if (urls > kClientUrlsMax || !in.plausible(urls, 1)) return std::nullopt;
    for (std::uint64_t url = 0; url < urls; ++url) member.client_urls.emplace_back(in.bytes());
    out.members.push_back(std::move(member));
  }
  out.asked.actor.node = {in.u64()};
  out.asked.actor.incarnation = static_cast<Incarnation>(in.varint());
  out.asked.sequence = {in.varint()};
  if (format == kFormatWithWitness) {
    std::vector<MemberId> witnesses;
    if (!take_ids(in, kMembersMax, witnesses) || witnesses.empty()) return std::nullopt;
    for (MemberId id : witnesses) {
      const auto at = std::ranges::lower_bound(out.members, id, {}, &Member::id);
      if (at == out.members.end() || at->id != id) return std::nullopt;
      at->witness = true;
    }
  }
  if (!in.done()) return std::nullopt;
  return out;
}

}  // namespace capstan::cp
