@0xd7c1a3f0b2e94c61;
# Messages between CP members. net/codec_cp.cc alone reads and writes them; what they mean is in
# cp/message.h, which has the same names. Fields are only ever added.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("capstan::schema");

struct CpMessage {
  term @0 :UInt64;
  union {
    hello @1 :CpHello;
    voteRequest @2 :CpVoteRequest;
    voteReply @3 :CpVoteReply;
    append @4 :CpAppend;
    appendReply @5 :CpAppendReply;
    heartbeat @6 :CpHeartbeat;
    heartbeatReply @7 :CpHeartbeatReply;
    timeoutNow @8 :Void;
    restored @9 :CpLife;
    forward @10 :CpForward;
    forwardRefused @11 :CpForwardRefused;
    readRequest @12 :CpReadRequest;
    readReply @13 :CpReadReply;
    snapshotChunk @14 :CpSnapshotChunk;
    snapshotReply @15 :CpSnapshotReply;
    stateDigest @16 :CpStateDigest;
  }
}

struct CpLife {
  node @0 :UInt64;
  incarnation @1 :UInt32;
}

struct CpRollEntry {
  member @0 :UInt64;
  life @1 :CpLife;
}

struct CpEntryId {
  term @0 :UInt64;
  index @1 :UInt64;
}

struct CpHello {
  standing @0 :UInt8;
  life @1 :CpLife;
  roll @2 :List(CpRollEntry);
}

struct CpVoteRequest {
  pre @0 :Bool;
  transfer @1 :Bool;
  last @2 :CpEntryId;
}

struct CpVoteReply {
  pre @0 :Bool;
  granted @1 :Bool;
  life @2 :CpLife;
  roll @3 :List(CpRollEntry);
}

struct CpEntry {
  term @0 :UInt64;
  kind @1 :UInt8;
  data @2 :Data;  # the index follows from the place in the list
}

struct CpAppend {
  prev @0 :CpEntryId;
  commit @1 :UInt64;
  entries @2 :List(CpEntry);
}

struct CpAppendReply {
  rejected @0 :Bool;
  counts @1 :Bool;
  index @2 :UInt64;
  hint @3 :CpEntryId;
  life @4 :CpLife;
}

struct CpHeartbeat {
  commit @0 :UInt64;
  round @1 :UInt64;
  tip @2 :UInt64;
  restoring @3 :UInt64;
  life @4 :CpLife;
}

struct CpHeartbeatReply {
  round @0 :UInt64;
  tip @1 :UInt64;
  received @2 :UInt64;
  counts @3 :Bool;
  learned @4 :Bool;
}

struct CpForward {
  origin @0 :CpLife;
  number @1 :UInt64;
  commands @2 :List(Data);
}

struct CpForwardRefused {
  origin @0 :CpLife;
  number @1 :UInt64;
  reason @2 :UInt8;
  detail @3 :Text;
}

struct CpReadRequest {
  origin @0 :CpLife;
  number @1 :UInt64;
}

struct CpReadReply {
  origin @0 :CpLife;
  number @1 :UInt64;
  refused @2 :Bool;
  index @3 :UInt64;
}

struct CpChange {
  space @0 :UInt8;
  key @1 :Data;
  value @2 :Data;
  erased @3 :Bool;
}

struct CpSnapshotChunk {
  last @0 :CpEntryId;
  obsolete @1 :List(UInt64);
  number @2 :UInt64;
  sequence @3 :UInt32;
  final @4 :Bool;
  changes @5 :List(CpChange);
}

struct CpSnapshotReply {
  last @0 :CpEntryId;
  number @1 :UInt64;
  expected @2 :UInt32;
  installed @3 :Bool;
  life @4 :CpLife;
}

struct CpStateDigest {
  index @0 :UInt64;
  fingerprint @1 :UInt64;
}
