// The quota on this node: raising NOSPACE when what the keys take is above it, and taking that back
// when there is room again.
#include <utility>

#include "core/trace.h"
#include "cp/engine_state.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

constexpr Micros kLookEvery = kSecond;
constexpr std::uint64_t kRoom = 20;  // below the quota by a part of so many, it is over

}  // namespace

std::uint64_t Engine::State::space_taken() const { return base.bytes_live() + table.bytes(); }

void Engine::State::watch_quota() {
  if (config.quota_bytes == 0 || now.monotonic < quota_looked_at + kLookEvery || stopping) return;
  quota_looked_at = now.monotonic;
  const std::optional<bool> ours =
      machine.alarms().raised_by_itself(config.self, AlarmType::kNoSpace);
  const bool raised = ours.has_value();
  const std::uint64_t taken = space_taken();
  const bool over = taken > config.quota_bytes;
  const bool room = taken < config.quota_bytes - config.quota_bytes / kRoom;
  if (raised ? !*ours || !room : !over) return;
  if (over && !raft->is_leader() && Mutants::on(Mutant::kQuotaAtLeaderOnly)) return;
  trace(Level::kWarn, raised ? "quota_room" : "quota_exceeded",
        config.name + ": the keys take " + std::to_string(taken) + " bytes, the quota is " +
            std::to_string(config.quota_bytes));
  Request request;
  request.caller.node_itself = true;
  request.body =
      AlarmRequest{.action = raised ? AlarmRequest::Action::kClear : AlarmRequest::Action::kRaise,
                   .member = config.self,
                   .type = AlarmType::kNoSpace,
                   .by_itself = true};
  submit(std::move(request), [](const Reply&) {});  // what comes to nothing is said again
}

std::string Engine::State::alarm_text(const MemberAlarm& alarm) const {
  const std::string& name = name_of(alarm.member);
  const std::string who = name.empty() ? "somebody" : name;
  if (alarm.type == AlarmType::kCorrupt) {
    return "the alarm CORRUPT of " + who +
           " is raised: every change is refused until it is disarmed (etcdctl alarm disarm).";
  }
  if (!machine.alarms().raised_by_itself(alarm.member, alarm.type).value_or(false)) {
    return "the alarm NOSPACE of " + who +
           " is raised by hand: puts are refused until it is disarmed (etcdctl alarm disarm).";
  }
  return who +
         " is over its quota (--quota-backend-bytes): puts are refused. Delete keys and compact, "
         "and it takes writes again by itself.";
}

std::string Engine::State::alarms_text(AlarmType type) const {
  std::string out;
  for (const MemberAlarm& alarm : machine.alarms().list({}, type).alarms) {
    out += (out.empty() ? "" : " ") + alarm_text(alarm);
  }
  return out;
}

}  // namespace capstan::cp
