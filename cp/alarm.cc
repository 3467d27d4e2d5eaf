#include "cp/alarm.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "core/hash.h"

namespace capstan::cp {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr ByteView kKey = "cp/alarms";  // in Space::kMeta

// Of what a client asks for.
bool changes_something(const Command& command) {
  return takes_space(command.body) || std::holds_alternative<TxnRequest>(command.body) ||
         std::holds_alternative<DeleteRangeRequest>(command.body) ||
         std::holds_alternative<CompactRequest>(command.body) ||
         std::holds_alternative<LeaseRevokeRequest>(command.body);
}

}  // namespace

void Alarms::load() {
  alarms_.clear();
  digest_ = 0;
  const auto row = table_.get(Space::kMeta, kKey);
  if (!row) return;
  Reader in(*row);
  const std::uint8_t format = in.u8();
  CAPSTAN_ASSERT(format == kFormat);
  for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
    MemberAlarm alarm;
    alarm.member = {in.u64()};
    alarm.type = static_cast<AlarmType>(in.u8());
    alarms_[alarm] = in.u8() != 0;
  }
  CAPSTAN_ASSERT(in.done());
  digest_ = xxh3(*row, 0);
}

void Alarms::store() {
  std::string row;
  put_u8(row, kFormat);
  put_varint(row, alarms_.size());
  for (const auto& [alarm, by_itself] : alarms_) {
    put_u64(row, alarm.member.value);
    put_u8(row, static_cast<std::uint8_t>(alarm.type));
    put_u8(row, by_itself);
  }
  digest_ = xxh3(row, 0);
  table_.put(Space::kMeta, kKey, std::move(row));
}

AlarmResult Alarms::apply(const AlarmRequest& request) {
  const MemberAlarm alarm{request.member, request.type};
  if (request.type == AlarmType::kNone) return {};
  if (request.action == AlarmRequest::Action::kRaise) {
    if (alarms_.emplace(alarm, request.by_itself).second) store();
    return {{alarm}};
  }
  if (alarms_.erase(alarm) == 0) return {};
  store();
  return {{alarm}};
}

AlarmResult Alarms::list(MemberId member, AlarmType type) const {
  AlarmResult out;
  for (const auto& [alarm, by_itself] : alarms_) {
    const bool wanted =
        (!member || member == alarm.member) && (type == AlarmType::kNone || type == alarm.type);
    if (wanted) out.alarms.push_back(alarm);
  }
  return out;
}

bool Alarms::any(AlarmType type) const {
  return std::ranges::any_of(alarms_, [type](const auto& row) { return row.first.type == type; });
}

std::optional<bool> Alarms::raised_by_itself(MemberId member, AlarmType type) const {
  const auto at = alarms_.find({member, type});
  return at != alarms_.end() ? std::optional(at->second) : std::nullopt;
}

std::optional<Refusal> Alarms::refusal(const Command& command) const {
  if (alarms_.empty()) return std::nullopt;
  if (any(AlarmType::kCorrupt) && changes_something(command)) {
    return Refusal{Reason::kCorrupt, "the alarm CORRUPT is raised"};
  }
  if (any(AlarmType::kNoSpace) && takes_space(command.body)) {
    return Refusal{Reason::kNoSpace, "the alarm NOSPACE is raised"};
  }
  return std::nullopt;
}

}  // namespace capstan::cp
