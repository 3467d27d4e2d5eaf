// Planted bugs: each makes one rule of the protocol false, so that the simulator can show that it
// would notice (docs/testing.md). Compiled in only under CAPSTAN_MUTANTS; otherwise every switch is
// a constant false and costs nothing. Numbers are those of the list of planted bugs, from 41 on our
// own; 30, 31 and 33 are the log's (core/mutants.h).
#pragma once

namespace capstan::cp {

enum class Mutant {
  kVoteNotSynced = 1,             // a vote leaves before it is durable, and is never written
  kVoteForgotten = 2,             // a restart may vote again in the same term
  kTermNotPersisted = 3,          // a later term that was only heard of is not written
  kOlderTermCounted = 4,          // copies of an entry of an older term commit it
  kNoEmptyEntry = 5,              // a new leader does not append in its own term
  kFreshnessByLength = 6,         // the longer log wins a vote, whatever its last term
  kTruncateOnEveryAppend = 8,     // an old duplicate erases what came after it
  kFollowerAcksEarly = 9,         // an acknowledgement leaves before its entries are durable
  kLeaderCountsItselfEarly = 10,  // the leader's copy counts before it is durable
  kOldWriteCounts = 11,           // a write of entries that were replaced since counts for the new
  kHeartbeatCommitsAll = 12,      // a heartbeat commits what was never compared with its leader's
  kRoundReused = 16,              // late acknowledgements confirm later reads
  kReadBeforeFirstCommit = 17,    // a new leader answers before it knows what is committed
  kRoundIndexStale = 18,          // a read round has the index of an earlier one
  kQuorumIsHalf = 7,              // n / 2 instead of n / 2 + 1
  kPositionOutsideCheckpoint = 28,    // a checkpoint holds the data, the next one how far they go
  kCheckpointAheadOfLog = 29,         // a checkpoint holds entries our own log may still lose
  kExpiryUnstamped = 22,              // an old leader's word that a lease is over still counts
  kExpiryByApplyClock = 23,           // each member decides by its own clock whether one is over
  kLogDroppedEarly = 34,              // the log is released before the checkpoint is durable
  kInstallWhileApplying = 35,         // entries are applied while a snapshot is installed
  kCompactionDropsNewestDelete = 36,  // a delete a watch may still begin at is swept away
  kWatchSplitsRevision = 37,          // two events of one transaction come in two messages
  kProgressEarly = 38,                // a progress message names what was not sent yet
  kQuotaAtLeaderOnly = 40,            // a follower over its quota says nothing
  kSweepAheadOfBase = 41,             // a sweep for a compaction that a restart may not know of
  kJointBySingleMajority = 24,        // of a joint configuration the new half decides alone
  kUncommittedConfigSaved = 25,       // a checkpoint holds the newest configuration, not its own
  kLearnerCounted = 26,               // a learner's copy helps to commit
  kRemovedCounted = 27,               // a member that was removed is counted after the change
  kConfigNotRolledBack = 42,          // a configuration outlives the entry that brought it
  kSweepUnderRange = 39,              // what a long range still reads is swept away
  kLongRangeReadsNow = 45,            // the slices of a range are not of one revision
  kWitnessToldEarly = 46,             // a witness hears of what nobody else with data has
  kSettledStillApplied = 44,          // a write whose outcome was told as "not applied" still is
  kAccessCheckedWhenTaken = 43,       // a node's own idea of who may write counts, not the log's
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
