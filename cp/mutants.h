// Planted bugs: each makes one rule of the protocol false, so that the simulator can show that it
// would notice (docs/testing.md). Compiled in only under CAPSTAN_MUTANTS; otherwise every switch is
// a constant false and costs nothing. Numbers are those of the list of planted bugs, from 41 on our
// own; 31, rot cut as a torn tail, is the log's (core/mutants.h).
#pragma once

namespace capstan::cp {

enum class Mutant {
  kVoteNotSynced = 1,                 // a vote leaves before it is durable, and is never written
  kNoEmptyEntry = 5,                  // a new leader does not append in its own term
  kTruncateOnEveryAppend = 8,         // an old duplicate erases what came after it
  kFollowerAcksEarly = 9,             // an acknowledgement leaves before its entries are durable
  kLeaderCountsItselfEarly = 10,      // the leader's copy counts before it is durable
  kRoundReused = 16,                  // late acknowledgements confirm later reads
  kReadBeforeFirstCommit = 17,        // a new leader answers before it knows what is committed
  kQuorumIsHalf = 7,                  // n / 2 instead of n / 2 + 1
  kCheckpointAheadOfLog = 29,         // a checkpoint holds entries our own log may still lose
  kExpiryUnstamped = 22,              // an old leader's word that a lease is over still counts
  kExpiryByApplyClock = 23,           // each member decides by its own clock whether one is over
  kCompactionDropsNewestDelete = 36,  // a delete a watch may still begin at is swept away
  kWatchSplitsRevision = 37,          // two events of one transaction come in two messages
  kProgressEarly = 38,                // a progress message names what was not sent yet
  kSweepAheadOfBase = 41,             // a sweep for a compaction that a restart may not know of
};

struct Mutants {
#ifdef CAPSTAN_MUTANTS
  static inline int active = 0;
  static bool on(Mutant mutant) { return active == static_cast<int>(mutant); }
  static void set(int number) { active = number; }
#else
  static constexpr bool on(Mutant) { return false; }
  static void set(int) {}
#endif
};

}  // namespace capstan::cp
