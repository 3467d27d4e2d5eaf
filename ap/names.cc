#include "ap/names.h"

#include "core/coding.h"

namespace capstan::ap {
namespace {

constexpr ByteView kName = "ap.n";  // in Space::kMeta: pairs of node and member

}  // namespace

void Names::load() {
  const auto stored = table_.get(Space::kMeta, kName);
  if (!stored) return;
  for (Reader in(*stored); in.ok() && in.left() > 0;) {
    const NodeId node{in.u64()};
    members_[node] = MemberId{in.u64()};
  }
}

void Names::save() {
  if (!unsaved_) return;
  std::string out;
  for (const auto& [node, member] : members_) {
    put_u64(out, node.value);
    put_u64(out, member.value);
  }
  table_.put(Space::kMeta, kName, std::move(out));
  unsaved_ = false;
}

void Names::learn(NodeId node, MemberId member) {
  const auto [at, fresh] = members_.try_emplace(node, member);
  if (fresh) unsaved_ = true;
}

std::string Names::member(MemberId id) const {
  for (const Member& member : config_.members) {
    if (member.id == id) return member.name;
  }
  return hex(id.value);
}

std::string Names::node(NodeId id) const {
  const auto at = members_.find(id);
  return at == members_.end() ? hex(id.value) : member(at->second);
}

std::string Names::id(const Dot& dot) const { return to_text(dot, node(dot.actor.node)); }

std::string Names::text(const VersionVector& vector) const {
  std::string out;
  for (const auto& [actor, sequence] : vector.entries()) {
    if (!out.empty()) out += ' ';
    out += node(actor.node) + ':' + std::to_string(actor.incarnation) + '=' +
           std::to_string(sequence.value);
  }
  return out;
}

std::string Names::hex(std::uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[value >> shift & 15];
  return out;
}

}  // namespace capstan::ap
