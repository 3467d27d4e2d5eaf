// A backup as a file: the state of one CP member at one place of its log, docs/formats-cp.md.
//
// What follows it is not part of it: etcd's clients expect the SHA-256 of all bytes before as the
// last 32, and the length without it to be a multiple of 512; whoever sends or keeps the file adds
// and checks the hash.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cp/state_walk.h"

namespace capstan::cp {

inline constexpr std::size_t kBackupBlock = 512;

struct BackupHead {
  ClusterId cluster;  // it was taken of
  EntryId last;       // the place in the log
  Revision revision;
  friend bool operator==(const BackupHead&, const BackupHead&) = default;
};

class BackupWriter {
 public:
  BackupWriter(ClusterId cluster, Revision revision, StateWalk walk);

  const BackupHead& head() const { return head_; }
  // The next bytes, about `bytes`; empty: all is written.
  Result<std::string> next(std::size_t bytes);

 private:
  BackupHead head_;
  StateWalk walk_;
  std::uint64_t written_ = 0;
  bool begun_ = false, over_ = false;
};

// Fed in any pieces.
class BackupReader {
 public:
  // Takes bytes of the file, without the hash; calls `row` for each whole one.
  //   errors  kMalformed  not a backup, or of a newer format
  Status feed(ByteView bytes, const std::function<void(Change)>& row);
  // Known after the first few bytes.
  const std::optional<BackupHead>& head() const { return head_; }
  // The end has been seen: a file that is cut has none.
  bool whole() const { return whole_; }

 private:
  std::string pending_;
  std::optional<BackupHead> head_;
  bool whole_ = false;
};

}  // namespace capstan::cp
