#include "core/request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "core/check.h"

namespace capstan {

namespace {

bool writes(const std::vector<RequestOp>& ops) {
  return std::ranges::any_of(ops, [](const RequestOp& op) {
    if (const auto* txn = std::get_if<TxnRequest>(&op.op)) {
      return writes(txn->success) || writes(txn->failure);
    }
    return std::holds_alternative<PutRequest>(op.op) ||
           std::holds_alternative<DeleteRangeRequest>(op.op);
  });
}

}  // namespace

std::string_view to_text(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kOkLocal:
      return "ok-local";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kUnknown:
      return "unknown";
  }
  CAPSTAN_ASSERT(false && "an outcome without a word");
  return {};
}

std::string_view to_text(Reason reason) {
  switch (reason) {
    case Reason::kNone:
      return "none";
    case Reason::kNoQuorum:
      return "no_quorum";
    case Reason::kNoLeader:
      return "no_leader";
    case Reason::kNotLeader:
      return "not_leader";
    case Reason::kLeaderLost:
      return "leader_lost";
    case Reason::kTimeout:
      return "timeout";
    case Reason::kOverloaded:
      return "overloaded";
    case Reason::kNoSpace:
      return "no_space";
    case Reason::kShuttingDown:
      return "shutting_down";
    case Reason::kRecovering:
      return "recovering";
    case Reason::kUnreachable:
      return "unreachable";
    case Reason::kInvalid:
      return "invalid";
    case Reason::kTooLarge:
      return "too_large";
    case Reason::kKeyMissing:
      return "key_missing";
    case Reason::kKeyNotFound:
      return "key_not_found";
    case Reason::kValueProvided:
      return "value_provided";
    case Reason::kLeaseProvided:
      return "lease_provided";
    case Reason::kLeaseNotFound:
      return "lease_not_found";
    case Reason::kLeaseExists:
      return "lease_exists";
    case Reason::kLeaseTtlTooLarge:
      return "lease_ttl_too_large";
    case Reason::kLeaderOnly:
      return "leader_only";
    case Reason::kBadTransferee:
      return "bad_transferee";
    case Reason::kRemoved:
      return "removed";
    case Reason::kMemberNotFound:
      return "member_not_found";
    case Reason::kMemberExists:
      return "member_exists";
    case Reason::kPeerUrlExists:
      return "peer_url_exists";
    case Reason::kBadPeerUrl:
      return "bad_peer_url";
    case Reason::kTooFewStarted:
      return "too_few_started";
    case Reason::kNotLearner:
      return "not_learner";
    case Reason::kLearnerNotReady:
      return "learner_not_ready";
    case Reason::kTooManyLearners:
      return "too_many_learners";
    case Reason::kWitness:
      return "witness";
    case Reason::kCorrupt:
      return "corrupt";
    case Reason::kUserEmpty:
      return "user_empty";
    case Reason::kRoleEmpty:
      return "role_empty";
    case Reason::kAuthFailed:
      return "auth_failed";
    case Reason::kAuthNotEnabled:
      return "auth_not_enabled";
    case Reason::kInvalidToken:
      return "invalid_token";
    case Reason::kPermissionDenied:
      return "permission_denied";
    case Reason::kInvalidAuth:
      return "invalid_auth";
    case Reason::kRootUserMissing:
      return "root_user_missing";
    case Reason::kRootRoleMissing:
      return "root_role_missing";
    case Reason::kUserExists:
      return "user_exists";
    case Reason::kUserNotFound:
      return "user_not_found";
    case Reason::kRoleExists:
      return "role_exists";
    case Reason::kRoleNotFound:
      return "role_not_found";
    case Reason::kRoleNotGranted:
      return "role_not_granted";
    case Reason::kPermissionNotGranted:
      return "permission_not_granted";
    case Reason::kSettled:
      return "settled";
    case Reason::kTooManyOps:
      return "too_many_ops";
    case Reason::kDuplicateKey:
      return "duplicate_key";
    case Reason::kCompacted:
      return "compacted";
    case Reason::kFutureRevision:
      return "future_revision";
    case Reason::kNotInAp:
      return "not_in_ap";
    case Reason::kNotSupported:
      return "not_supported";
    case Reason::kWrongEpoch:
      return "wrong_epoch";
    case Reason::kNotLab:
      return "not_lab";
  }
  CAPSTAN_ASSERT(false && "a reason without a word");
  return {};
}

std::string_view to_text(Fate fate) {
  switch (fate) {
    case Fate::kApplied:
      return "applied";
    case Fate::kNotApplied:
      return "not_applied";
    case Fate::kForgotten:
      return "forgotten";
    case Fate::kOpen:
      return "open";
  }
  CAPSTAN_ASSERT(false && "a fate without a word");
  return {};
}

bool is_write(const RequestBody& body) {
  if (const auto* alarm = std::get_if<AlarmRequest>(&body)) {
    return alarm->action != AlarmRequest::Action::kList;
  }
  if (const auto* txn = std::get_if<TxnRequest>(&body)) {
    return writes(txn->success) || writes(txn->failure);
  }
  if (const auto* auth = std::get_if<AuthRequest>(&body)) {
    return auth->action < AuthRequest::Action::kStatus;
  }
  return std::holds_alternative<PutRequest>(body) ||
         std::holds_alternative<DeleteRangeRequest>(body) ||
         std::holds_alternative<CompactRequest>(body) ||
         std::holds_alternative<LeaseGrantRequest>(body) ||
         std::holds_alternative<LeaseRevokeRequest>(body) ||
         std::holds_alternative<LeaseKeepAliveRequest>(body) ||
         std::holds_alternative<MoveLeaderRequest>(body) ||
         std::holds_alternative<OutcomeRequest>(body) ||
         std::holds_alternative<MemberChangeRequest>(body);
}

std::string id_text(std::int64_t id) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(id));
  return text.data();
}

std::optional<std::int64_t> id_of_text(std::string_view text) {
  std::uint64_t id = 0;
  const auto got = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (got.ec != std::errc{} || got.ptr != text.data() + text.size()) return std::nullopt;
  return static_cast<std::int64_t>(id);
}

Reply refused(Reason reason, std::string detail) {
  Reply reply;
  reply.outcome = Outcome::kFailed;
  reply.reason = reason;
  reply.detail = std::move(detail);
  return reply;
}

}  // namespace capstan
