#include "net/reasons.h"

#include <array>

#include "core/check.h"

namespace capstan::net {

namespace {

struct Row {
  Reason reason;
  GrpcCode code;
  std::string_view text;      // etcd's
  std::string_view sentence;  // ours, when a reply brings none
};

constexpr std::string_view kTimedOut = "etcdserver: request timed out";

// In the order of the enum; row() relies on it.
constexpr std::array kRows{
    Row{Reason::kNone, GrpcCode::kUnknown, "", "The request failed without a reason."},
    Row{Reason::kNoQuorum, GrpcCode::kUnavailable, "etcdserver: no leader",
        "This side reaches too few voters."},
    Row{Reason::kNoLeader, GrpcCode::kUnavailable, "etcdserver: no leader",
        "No leader is known: an election is on."},
    Row{Reason::kNotLeader, GrpcCode::kUnavailable, "etcdserver: leader changed",
        "This node does not lead."},
    Row{Reason::kLeaderLost, GrpcCode::kUnavailable,
        "etcdserver: request timed out, possibly due to previous leader failure",
        "The leader was lost while the write was in flight."},
    Row{Reason::kTimeout, GrpcCode::kUnavailable, kTimedOut, "No answer came in time."},
    Row{Reason::kOverloaded, GrpcCode::kResourceExhausted, "etcdserver: too many requests",
        "Too many requests are waiting."},
    Row{Reason::kNoSpace, GrpcCode::kResourceExhausted, "etcdserver: mvcc: database space exceeded",
        "The disk has too little free space for writes."},
    Row{Reason::kShuttingDown, GrpcCode::kUnavailable, "etcdserver: server stopped",
        "The node is shutting down."},
    Row{Reason::kRecovering, GrpcCode::kUnavailable, "",
        "The node is still recovering and does not serve yet."},
    Row{Reason::kUnreachable, GrpcCode::kUnavailable, "", "Nobody answered at the address."},
    Row{Reason::kInvalid, GrpcCode::kInvalidArgument, "", "The request is malformed."},
    Row{Reason::kTooLarge, GrpcCode::kInvalidArgument, "etcdserver: request is too large",
        "The request is larger than the limit."},
    Row{Reason::kKeyMissing, GrpcCode::kInvalidArgument, "etcdserver: key is not provided",
        "A key is needed."},
    Row{Reason::kKeyNotFound, GrpcCode::kInvalidArgument, "etcdserver: key not found",
        "The key does not exist."},
    Row{Reason::kValueProvided, GrpcCode::kInvalidArgument, "etcdserver: value is provided",
        "A value was given together with ignore_value."},
    Row{Reason::kLeaseProvided, GrpcCode::kInvalidArgument, "etcdserver: lease is provided",
        "A lease was given together with ignore_lease."},
    Row{Reason::kLeaseNotFound, GrpcCode::kNotFound, "etcdserver: requested lease not found",
        "The lease does not exist."},
    Row{Reason::kLeaseExists, GrpcCode::kFailedPrecondition, "etcdserver: lease already exists",
        "The lease exists already."},
    Row{Reason::kLeaseTtlTooLarge, GrpcCode::kOutOfRange, "etcdserver: too large lease TTL",
        "The time to live is larger than the limit."},
    Row{Reason::kLeaderOnly, GrpcCode::kFailedPrecondition, "etcdserver: not leader",
        "Only the leader does this."},
    Row{Reason::kBadTransferee, GrpcCode::kFailedPrecondition, "etcdserver: bad leader transferee",
        "Not a member that could lead."},
    Row{Reason::kRemoved, GrpcCode::kUnavailable,
        "etcdserver: the member has been permanently removed from the cluster",
        "This node is no member any more."},
    Row{Reason::kMemberNotFound, GrpcCode::kNotFound, "etcdserver: member not found",
        "There is no such member."},
    Row{Reason::kMemberExists, GrpcCode::kFailedPrecondition, "etcdserver: member ID already exist",
        "The id is taken."},
    Row{Reason::kPeerUrlExists, GrpcCode::kFailedPrecondition,
        "etcdserver: Peer URLs already exists", "Another member has that peer address."},
    Row{Reason::kBadPeerUrl, GrpcCode::kInvalidArgument,
        "etcdserver: given member URLs are invalid", "A peer address is a host and a port."},
    Row{Reason::kTooFewStarted, GrpcCode::kFailedPrecondition,
        "etcdserver: re-configuration failed due to not enough started members",
        "Too few of the members that would decide are there."},
    Row{Reason::kNotLearner, GrpcCode::kFailedPrecondition,
        "etcdserver: can only promote a learner member", "The member votes already."},
    Row{Reason::kLearnerNotReady, GrpcCode::kFailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
        "The learner is not in step with the leader yet."},
    Row{Reason::kTooManyLearners, GrpcCode::kFailedPrecondition,
        "etcdserver: too many learner members in cluster", "There is a learner already."},
    Row{Reason::kWitness, GrpcCode::kUnavailable, "", "The node votes, and holds no data."},
    Row{Reason::kCorrupt, GrpcCode::kDataLoss, "etcdserver: corrupt cluster",
        "The alarm CORRUPT is raised."},
    Row{Reason::kUserEmpty, GrpcCode::kInvalidArgument, "etcdserver: user name is empty",
        "Auth is on and no user was named: log in."},
    Row{Reason::kRoleEmpty, GrpcCode::kInvalidArgument, "etcdserver: role name is empty",
        "A role needs a name."},
    Row{Reason::kAuthFailed, GrpcCode::kInvalidArgument,
        "etcdserver: authentication failed, invalid user ID or password",
        "There is no such user, or it has another password."},
    Row{Reason::kAuthNotEnabled, GrpcCode::kFailedPrecondition,
        "etcdserver: authentication is not enabled", "Auth is off: nobody need log in."},
    Row{Reason::kInvalidToken, GrpcCode::kUnauthenticated, "etcdserver: invalid auth token",
        "The token is too old, or not of this cluster: log in again."},
    Row{Reason::kPermissionDenied, GrpcCode::kPermissionDenied, "etcdserver: permission denied",
        "The user may not do this."},
    Row{Reason::kInvalidAuth, GrpcCode::kInvalidArgument, "etcdserver: invalid auth management",
        "This would lock everybody out."},
    Row{Reason::kRootUserMissing, GrpcCode::kFailedPrecondition,
        "etcdserver: root user does not exist", "There is no user root."},
    Row{Reason::kRootRoleMissing, GrpcCode::kFailedPrecondition,
        "etcdserver: root user does not have root role",
        "The user root does not have the role root."},
    Row{Reason::kUserExists, GrpcCode::kFailedPrecondition, "etcdserver: user name already exists",
        "There is such a user already."},
    Row{Reason::kUserNotFound, GrpcCode::kFailedPrecondition, "etcdserver: user name not found",
        "There is no such user."},
    Row{Reason::kRoleExists, GrpcCode::kFailedPrecondition, "etcdserver: role name already exists",
        "There is such a role already."},
    Row{Reason::kRoleNotFound, GrpcCode::kFailedPrecondition, "etcdserver: role name not found",
        "There is no such role."},
    Row{Reason::kRoleNotGranted, GrpcCode::kFailedPrecondition,
        "etcdserver: role is not granted to the user", "The user does not have that role."},
    Row{Reason::kPermissionNotGranted, GrpcCode::kFailedPrecondition,
        "etcdserver: permission is not granted to the role",
        "The role has no permission of exactly this range."},
    Row{Reason::kSettled, GrpcCode::kFailedPrecondition, "",
        "Somebody asked for its outcome before it was applied; it never will be."},
    Row{Reason::kTooManyOps, GrpcCode::kInvalidArgument,
        "etcdserver: too many operations in txn request",
        "The transaction has too many operations."},
    Row{Reason::kDuplicateKey, GrpcCode::kInvalidArgument,
        "etcdserver: duplicate key given in txn request",
        "The transaction writes the same key twice."},
    Row{Reason::kCompacted, GrpcCode::kOutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
        "That revision has been compacted away."},
    Row{Reason::kFutureRevision, GrpcCode::kOutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
        "That revision does not exist yet."},
    Row{Reason::kNotInAp, GrpcCode::kFailedPrecondition, "",
        "This has no honest meaning in AP mode."},
    Row{Reason::kNotSupported, GrpcCode::kUnimplemented, "", "Not in this build."},
    Row{Reason::kWrongEpoch, GrpcCode::kFailedPrecondition, "",
        "The keyspace changed its mode since: the epoch in the request is not the current one."},
    Row{Reason::kNotLab, GrpcCode::kPermissionDenied, "",
        "Fault injection is off: start the node with --lab."},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].reason) != i) return false;
  }
  return kRows.back().reason == Reason::kNotLab;
}
static_assert(in_order(), "a row for every reason, in the order of the enum");

const Row& row(Reason reason) {
  const auto at = static_cast<std::size_t>(reason);
  CAPSTAN_ASSERT(at < kRows.size());
  return kRows[at];
}

}  // namespace

CallEnd end_of(const Refusal& why) {
  const GrpcStatus status = grpc_status_of(Outcome::kFailed, why.reason);
  return {status.code, status.text.empty() ? why.detail : std::string(status.text), why.reason,
          why.detail};
}

GrpcStatus grpc_status_of(Outcome outcome, Reason reason) {
  switch (outcome) {
    case Outcome::kOk:
    case Outcome::kOkLocal:
      return {};
    case Outcome::kUnknown:
      if (reason == Reason::kLeaderLost) return {row(reason).code, row(reason).text};
      return {GrpcCode::kUnavailable, kTimedOut};
    case Outcome::kFailed:
      break;
  }
  return {row(reason).code, row(reason).text};
}

std::string grpc_message_of(const Reply& reply) {
  const GrpcStatus status = grpc_status_of(reply.outcome, reply.reason);
  if (!status.text.empty()) return std::string(status.text);
  if (!reply.detail.empty()) return reply.detail;
  return std::string(default_sentence(reply.reason));
}

Reason reason_of_etcd_text(std::string_view text) {
  if (text.empty()) return Reason::kNone;
  // Two reasons of ours share "no leader"; a text cannot say which, and kNoLeader claims less.
  if (text == row(Reason::kNoLeader).text) return Reason::kNoLeader;
  for (const Row& each : kRows) {
    if (each.text == text) return each.reason;
  }
  return text.starts_with(kTimedOut) ? Reason::kTimeout : Reason::kNone;
}

Reason reason_of_word(std::string_view word) {
  for (const Row& each : kRows) {
    if (to_text(each.reason) == word) return each.reason;
  }
  return Reason::kNone;
}

bool certainly_not_applied(Reason reason) {
  switch (row(reason).code) {
    case GrpcCode::kInvalidArgument:
    case GrpcCode::kNotFound:
    case GrpcCode::kPermissionDenied:
    case GrpcCode::kUnauthenticated:
    case GrpcCode::kFailedPrecondition:
    case GrpcCode::kOutOfRange:
    case GrpcCode::kUnimplemented:
      return true;
    default:
      return reason == Reason::kNoSpace;
  }
}

int http_status_of(GrpcCode code) {
  switch (code) {
    case GrpcCode::kOk:
      return 200;
    case GrpcCode::kInvalidArgument:
    case GrpcCode::kOutOfRange:
      return 400;
    case GrpcCode::kUnauthenticated:
      return 401;
    case GrpcCode::kPermissionDenied:
      return 403;
    case GrpcCode::kNotFound:
      return 404;
    case GrpcCode::kCanceled:
      return 408;
    case GrpcCode::kAlreadyExists:
    case GrpcCode::kAborted:
      return 409;
    case GrpcCode::kFailedPrecondition:
      return 412;
    case GrpcCode::kResourceExhausted:
      return 429;
    case GrpcCode::kUnimplemented:
      return 501;
    case GrpcCode::kUnavailable:
      return 503;
    case GrpcCode::kDeadlineExceeded:
      return 504;
    case GrpcCode::kUnknown:
    case GrpcCode::kInternal:
    case GrpcCode::kDataLoss:
      break;
  }
  return 500;
}

int http_status_of(Outcome outcome, Reason reason) {
  if (outcome == Outcome::kUnknown) return 504;
  return http_status_of(grpc_status_of(outcome, reason).code);
}

std::string_view default_sentence(Reason reason) { return row(reason).sentence; }

}  // namespace capstan::net
