// Every bound on one page. Past a bound a client gets a clear error; nothing grows without one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/time.h"

namespace capstan {

// Requests
inline constexpr std::size_t kRequestBytesMax = 3 * 512 * 1024;  // 1.5 MiB, as etcd
inline constexpr std::size_t kKeyBytesMax = 64 * 1024;
inline constexpr std::size_t kRequestIdBytesMax = 256;  // that a client gave its request
inline constexpr std::size_t kTxnOpsMax = 128;
inline constexpr std::size_t kTxnDepthMax = 8;

// One loop turn shares one Raft entry up to here; a larger command goes alone.
inline constexpr std::size_t kEntryBytesMax = 256 * 1024;

// Between nodes
inline constexpr std::size_t kFrameBytesMax = 4 * 1024 * 1024;
inline constexpr std::size_t kPeerQueueBytesMax = 8 * 1024 * 1024;
inline constexpr std::size_t kBackupPieceBytes = 32 * 1024;  // etcd's, about
inline constexpr std::size_t kSnapshotChunkBytes = 256 * 1024;
inline constexpr std::size_t kSyncSliceBytes = 1024 * 1024;
inline constexpr std::size_t kSyncListKeys = 16 * 1024;            // of a full join, in one turn
inline constexpr std::size_t kInflightMessagesMax = 512;           // per follower
inline constexpr std::size_t kInflightBytesMax = 4 * 1024 * 1024;  // per follower
inline constexpr std::size_t kUncommittedBytesMax = 64 * 1024 * 1024;
inline constexpr std::size_t kMembersMax = 32;
inline constexpr std::size_t kPeerAddressMax = 300;  // bytes of host:port

// A long range: keys looked at and about how many bytes of keys and values read in one turn
inline constexpr std::size_t kRangeSliceKeys = 1024;
inline constexpr std::size_t kRangeSliceBytes = 64 * 1024;

// Client port
inline constexpr std::size_t kConnectionsMax = 10'000;
inline constexpr std::size_t kClientWriteQueueBytesMax = 64 * 1024 * 1024;  // per connection
inline constexpr std::size_t kPendingRequestsMax = 200'000;                 // per node

// TLS
inline constexpr std::size_t kTlsHandshakeBytesMax = 256 * 1024;    // from the other side
inline constexpr std::size_t kTlsCertificatesBytesMax = 64 * 1024;  // of the other side's chain
inline constexpr std::size_t kTlsFileBytesMax = 4 * 1024 * 1024;    // an authority may be a bundle
inline constexpr Micros kTlsHandshakeTimeout = 10 * kSecond;

// Auth
inline constexpr Micros kTokenTtl = 300 * kSecond;  // since it was last shown, as etcd's
inline constexpr std::size_t kAuthNameMax = 256;
inline constexpr std::size_t kPasswordBytesMax = 1024;

// Leases; times to live in seconds
inline constexpr std::size_t kKeepAlivesMax = 200'000;  // of one stream, not taken by its reader
inline constexpr std::int64_t kLeaseTtlMin = 2;
inline constexpr std::int64_t kLeaseTtlMax = 9'000'000'000;  // as etcd

// Watches
inline constexpr std::size_t kWatchBytesMax = 1024 * 1024 * 1024;  // per node, about; a million
inline constexpr std::size_t kWatchAnswersMax = 200'000;  // of one stream, not taken by its reader
inline constexpr Micros kWatchProgressInterval = 600 * kSecond;  // of quiet, if asked for

// Compaction: what the keeper looks at in one go, of changes and about of bytes; each may cost a
// page to be written
inline constexpr std::size_t kSweepChanges = 8 * 1024;
inline constexpr std::size_t kSweepBytes = 8 * 1024 * 1024;

// Disk
inline constexpr std::size_t kWalSegmentBytes = 64 * 1024 * 1024;
inline constexpr std::size_t kWalSegmentBytesLab = 4 * 1024 * 1024;
inline constexpr std::size_t kWalSegmentBytesMin = 1024 * 1024;
inline constexpr std::size_t kWalGroupBytesMax = 8 * 1024 * 1024;  // one sync writes at most this
inline constexpr std::size_t kCheckpointTableBytes = 64 * 1024 * 1024;
inline constexpr Micros kCheckpointInterval = 30 * kSecond;
inline constexpr std::size_t kLogWindowBytes = 64 * 1024 * 1024;
inline constexpr std::uint64_t kFreeBytesMin = 512ull * 1024 * 1024;  // below it, or 5 %: NOSPACE
inline constexpr std::uint64_t kLmdbMapBytes = 1ull << 40;

// Time (contract.md); a tick is 10 ms
inline constexpr Micros kHeartbeatInterval = 50 * kMillisecond;
inline constexpr Micros kElectionTimeout = 250 * kMillisecond;  // E; drawn from [E, 2E)
inline constexpr Micros kCompareInterval = 10 * kSecond;        // CP: of members' states
inline constexpr Micros kRedialInterval = 200 * kMillisecond;
inline constexpr Micros kLabCutMax = 60 * kSecond;  // default of --for

// AP
inline constexpr std::size_t kBuckets = 256;  // top byte of xxh3(key)
inline constexpr std::size_t kDirectPushMembersMax = 16;
inline constexpr std::size_t kConflictLogBytesMax = 64 * 1024 * 1024;

static_assert(kRequestBytesMax < kFrameBytesMax, "a request must fit into one frame");
static_assert(kEntryBytesMax <= kRequestBytesMax);
static_assert(kFrameBytesMax < kWalGroupBytesMax, "what a peer sends can be one record");
static_assert(kWalSegmentBytesMin >= 4096 + kEntryBytesMax);

}  // namespace capstan
