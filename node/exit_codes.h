// What a script may conclude from the exit code (capstan help exit).
#pragma once

#include "core/request.h"

namespace capstan::node {

enum ExitCode : int {
  kExitDone = 0,
  kExitNo = 1,           // ran, and the answer is no
  kExitUsage = 2,        // the call or the configuration is wrong
  kExitNotFound = 3,     // no such key
  kExitRefused = 4,      // certainly not applied
  kExitUnknown = 5,      // may or may not be applied
  kExitUnreachable = 7,  // nobody answered at the address
  kExitNotAllowed = 8,
  kExitDisk = 74,  // a write or sync failed; nobody knows what the disk holds
  kExitInterrupted = 130,
};

ExitCode exit_code(Outcome outcome, Reason reason);

}  // namespace capstan::node
