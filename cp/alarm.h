// Alarms: what members have said stands in the way of writes, part of the replicated state. Each is
// of one member and one type; a member that raised one by itself takes it back by itself.
//
//   NOSPACE  over the quota: puts, transactions that put and grants are refused; what frees space
//            goes on
//   CORRUPT  raised by hand only: every change a client asks for is refused
//
// Source etcd v3 API
#pragma once

#include <map>
#include <optional>

#include "core/table.h"
#include "cp/command.h"

namespace capstan::cp {

class Alarms {
 public:
  explicit Alarms(Table& table) : table_(table) {}

  // Takes them from the table, as at start.
  void load();
  // Raises or clears; what was asked for, if it changed anything or was so already.
  AlarmResult apply(const AlarmRequest& request);
  // Those of a member (0: all) and of a type (kNone: all).
  AlarmResult list(MemberId member, AlarmType type) const;

  bool any(AlarmType type) const;
  // Did this member raise it by itself? nullopt: it is not raised.
  std::optional<bool> raised_by_itself(MemberId member, AlarmType type) const;
  // Why a command may not be applied now.
  std::optional<Refusal> refusal(const Command& command) const;
  // One number of all of them.
  std::uint64_t digest() const { return digest_; }

 private:
  void store();

  Table& table_;
  std::map<MemberAlarm, bool> alarms_;  // raised by the member itself?
  std::uint64_t digest_ = 0;
};

}  // namespace capstan::cp
