// The data directory: lock, identity, log and base, opened in the one safe order.
//
//   PATH/lock        held while the process lives
//   PATH/identity    core/identity.h
//   PATH/wal/        core/wal.h
//   PATH/base.lmdb   core/base.h
//   PATH/restoring   there while a restore fills the others
//
// A first start leaves the mark "creating", makes the log and the base, then the identity, and
// takes identity: a crash between leaves nothing that was ever acknowledged, and the next start
// begins anew. Afterwards an identity without a log, or a log without an identity, is refused: a
// disk that lost its memory must not speak under its old name.
#pragma once

#include <memory>
#include <string>

#include "core/base.h"
#include "core/file.h"
#include "core/identity.h"
#include "core/wal.h"

namespace capstan {

struct DataDirOptions {
  std::string path;
  IdentityWanted want;
  std::size_t segment_bytes = kWalSegmentBytes;
  std::uint64_t map_bytes = kLmdbMapBytes;
  bool restores = false;      // a restore fills it; until end_restore() no node starts on it
  std::uint64_t entropy = 0;  // draws the node id and the salts; must differ at every start
};

struct DataDir {
  std::unique_ptr<FileLock> lock;
  std::unique_ptr<Directory> root;
  std::unique_ptr<Directory> wal_directory;  // outlives the log
  Identity identity;                         // incarnation already counted up, on disk
  Wal::Recovery log;
  std::unique_ptr<Base> base;
  bool fresh = false;  // this disk's first start
};

// True if a node has been made there before: it is who its identity says.
Result<bool> has_identity(const std::string& path);

// kBusy: another process has it. kMismatch, kCorrupt: as the parts say. kNotFound: an identity
// without a log or the other way round. Nothing is written before the identity has been checked.
Result<DataDir> open_data_dir(const DataDirOptions& options);
// All is in it: from now on a node may start there.
Status end_restore(DataDir& data);

}  // namespace capstan
