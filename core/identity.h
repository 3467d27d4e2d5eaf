// Who a disk is: one small file in the data directory that binds it to a mode, a cluster, a member
// (its name and id) and a node id, and counts starts. docs/formats.md has its bytes.
//
// A disk that speaks with another's name could vote twice, or number two writes alike; so
// everything that does not match is refused with a sentence, before anything is written.
#pragma once

#include <string>

#include "core/file.h"
#include "core/result.h"
#include "core/types.h"

namespace capstan {

struct Identity {
  Mode mode = Mode::kCp;
  ClusterId cluster;
  std::string name;  // of the member, as people wrote it
  NodeId node;
  Incarnation incarnation = 0;   // of the last start; 0: never started
  MemberId member;               // 0: written by a build whose member ids followed from the names
  std::uint64_t token_hash = 0;  // of the cluster's token; with `member`
  friend bool operator==(const Identity&, const Identity&) = default;
};

// kNotFound; kCorrupt; kMismatch for a file of a newer format.
Result<Identity> load_identity(Directory& directory);
// Writes it atomically: a temporary file, sync, rename, sync of the directory.
Status store_identity(Directory& directory, const Identity& identity);

// What the configuration says this node is.
struct IdentityWanted {
  Mode mode = Mode::kCp;
  ClusterId cluster;
  std::string name;
  std::string cluster_text = {};  // the member list, for the sentence; may be empty
  MemberId member = {};
  std::uint64_t token_hash = 0;
};
// kMismatch with a sentence that names both sides and the way out. `path` is for the sentence. A CP
// cluster's members change, so its list is not compared here, but in what the disk knows of it.
Status check_identity(const Identity& have, const IdentityWanted& want, const std::string& path);

}  // namespace capstan
