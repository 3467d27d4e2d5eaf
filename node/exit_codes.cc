#include "node/exit_codes.h"

namespace capstan::node {

ExitCode exit_code(Outcome outcome, Reason reason) {
  if (outcome == Outcome::kOk || outcome == Outcome::kOkLocal) return kExitDone;
  if (outcome == Outcome::kUnknown) return kExitUnknown;
  switch (reason) {
    case Reason::kUnreachable:
      return kExitUnreachable;
    case Reason::kNotLab:
    case Reason::kUserEmpty:
    case Reason::kAuthFailed:
    case Reason::kInvalidToken:
    case Reason::kPermissionDenied:
      return kExitNotAllowed;
    case Reason::kKeyNotFound:
    case Reason::kLeaseNotFound:
    case Reason::kMemberNotFound:
    case Reason::kUserNotFound:
    case Reason::kRoleNotFound:
      return kExitNotFound;
    case Reason::kInvalid:
    case Reason::kTooLarge:
    case Reason::kKeyMissing:
    case Reason::kValueProvided:
    case Reason::kLeaseProvided:
    case Reason::kLeaseExists:
    case Reason::kLeaseTtlTooLarge:
    case Reason::kBadTransferee:
    case Reason::kMemberExists:
    case Reason::kPeerUrlExists:
    case Reason::kBadPeerUrl:
    case Reason::kNotLearner:
    case Reason::kTooManyLearners:
    case Reason::kRoleEmpty:
    case Reason::kAuthNotEnabled:
    case Reason::kInvalidAuth:
    case Reason::kRootUserMissing:
    case Reason::kRootRoleMissing:
    case Reason::kUserExists:
    case Reason::kRoleExists:
    case Reason::kRoleNotGranted:
    case Reason::kPermissionNotGranted:
    case Reason::kTooManyOps:
    case Reason::kDuplicateKey:
    case Reason::kCompacted:
    case Reason::kFutureRevision:
    case Reason::kNotInAp:
    case Reason::kNotSupported:
    case Reason::kWrongEpoch:
      return kExitUsage;
    default:
      return kExitRefused;
  }
}

}  // namespace capstan::node
