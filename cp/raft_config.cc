// Changes of the configuration: joint consensus. [Diss §4.3]
//
//   simple ──propose_config──► joint ──committed──► simple      where voters change
//   simple ──propose_config──► simple                           learners, names, addresses
//
// A configuration counts from the moment it is in the log, and goes with its entry if that is
// replaced. Whoever leads when a joint one is committed appends its end, also if it did not begin
// it. A member that is removed stays in reach until that end is committed, so that it hears of it;
// a leader that is not in it then leaves the office.
#include "core/check.h"
#include "cp/raft.h"

namespace capstan::cp {
namespace {

constexpr std::uint64_t kSeeOffTimeouts = 10;  // election timeouts

}  // namespace

const Config& Raft::config_at(Index index) const {
  CAPSTAN_ASSERT(configs_.front().first <= index);
  const auto after =
      std::ranges::upper_bound(configs_, index, {}, [](const auto& c) { return c.first; });
  return std::prev(after)->second;
}

bool Raft::may_change_config() const {
  return established() && !transferee_ && !config().joint() && configs_.back().first <= commit_;
}

const Member* Raft::record(MemberId member) const {
  for (auto at = configs_.rbegin(); at != configs_.rend(); ++at) {
    if (const Member* known = at->second.record(member)) return known;
  }
  return nullptr;
}

Result<Index> Raft::propose_config(Config config) {
  if (!may_change_config()) return fail(ErrorCode::kInvalid, "no change can begin now");
  append_config(config);
  return log_.last_index();
}

// Small, and one at a time: not held back by the bound on what is uncommitted.
void Raft::append_config(const Config& config) {
  const Entry entry{hard_.term, next(log_.last_index()), EntryKind::kConfig,
                    shared_bytes(encode_config(config))};
  uncommitted_bytes_ += entry.bytes();
  log_.append(entry);
  take_config(entry);
}

void Raft::take_config(const Entry& entry) {
  if (entry.kind != EntryKind::kConfig) return;
  std::optional<Config> config = decode_config(*entry.data);
  CAPSTAN_ASSERT(config.has_value());  // the codec has checked what peers send
  configs_.emplace_back(entry.index, *std::move(config));
  ++config_version_;
  if (is_leader()) follow_config();
}

// A voter of the committed configuration or of a later one. Whoever is left out of the newest may
// still be the only one that has the entries with which the others can go on; it does not count its
// own vote then. [Diss §4.2.2]
bool Raft::may_campaign() const {
  if (is_witness(options_.self)) return false;
  for (auto at = configs_.rbegin(); at != configs_.rend(); ++at) {
    if (at->second.is_voter(options_.self)) return true;
    if (at->first <= commit_) return false;
  }
  return false;
}

void Raft::drop_configs_from(Index index) {
  if (Mutants::on(Mutant::kConfigNotRolledBack)) return;
  while (configs_.back().first >= index) {
    configs_.pop_back();
    ++config_version_;
  }
}

// Leader: everyone in the newest configuration is replicated to.
void Raft::follow_config() {
  for (MemberId member : config().everyone()) {
    if (member == options_.self || progress_.contains(member)) continue;
    Progress& progress = progress_[member];
    progress.next = next(log_.last_index());
    progress.heard_tick = tick_;  // an election timeout of grace before check-quorum
    progress.witness = is_witness(member);
    progress.waited_for = !progress.witness && connected_.contains(member);
    progress.news_tick = progress.apart_tick = tick_;
    const auto hello = hellos_.find(member);
    if (hello != hellos_.end()) progress.counts = hello->second.standing == Standing::kNormal;
  }
}

// What is committed is not undone, so those it leaves out are needed no more. The leader sees them
// off: they are still sent to until they have the entry and a heartbeat that says it is committed.
void Raft::config_committed() {
  ++config_version_;
  if (config().joint() || config_index() > commit_) return;
  for (const auto& [member, progress] : progress_) {
    if (config().is_member(member) || leaving_.contains(member)) continue;
    Member known{.id = member, .name = {}};
    for (const auto& [index, earlier] : configs_) {
      if (const Member* record = earlier.record(member)) known = *record;
    }
    const auto patience = kSeeOffTimeouts * static_cast<std::uint64_t>(options_.election_ticks);
    leaving_[member] = {std::move(known), config_index(), tick_ + patience};
  }
  const auto gone = [this](const RollEntry& each) { return config().was_removed(each.member); };
  if (std::erase_if(hard_.roll, gone) > 0) hard_changed_ = true;
  std::erase_if(hellos_, [this](const auto& each) { return config().was_removed(each.first); });
}

// Leader, each tick.
void Raft::see_off() {
  for (auto at = leaving_.begin(); at != leaving_.end();) {
    auto& [member, leaving] = *at;
    const auto progress = progress_.find(member);
    if (leaving.told_tick == 0 && progress->second.match >= leaving.left) leaving.told_tick = tick_;
    const std::uint64_t beats = 2 * static_cast<std::uint64_t>(options_.heartbeat_ticks);
    const bool told = leaving.told_tick != 0 && tick_ >= leaving.told_tick + beats;
    if (!told && tick_ < leaving.until_tick) {
      ++at;
      continue;
    }
    progress_.erase(progress);
    at = leaving_.erase(at);
    ++config_version_;
  }
}

void Raft::advance_config() {
  if (!established() || configs_.back().first > commit_) return;
  if (config().joint()) {
    append_config(config().left());
  } else if (!config().is_member(options_.self)) {
    // The members that go on have the entry, a majority of them; one of them will lead.
    broadcast_heartbeat();
    become_follower(hard_.term, {}, "no longer a member");
  }
}

std::vector<Member> Raft::linked() const {
  // The newest that is committed, and all after it.
  auto from = std::prev(configs_.end());
  while (from != configs_.begin() && from->first > commit_) --from;
  std::map<MemberId, Member> known;
  for (; from != configs_.end(); ++from) {
    for (const Member& member : from->second.members) known[member.id] = member;
  }
  for (const auto& [id, leaving] : leaving_) known.try_emplace(id, leaving.member);
  std::vector<Member> out;
  for (auto& [id, member] : known) out.push_back(std::move(member));
  return out;
}

bool Raft::hears(MemberId member) const {
  if (member == options_.self) return counts();
  const auto at = progress_.find(member);
  return at != progress_.end() && at->second.heard && at->second.counts &&
         tick_ - at->second.heard_tick < static_cast<std::uint64_t>(options_.election_ticks);
}

}  // namespace capstan::cp
