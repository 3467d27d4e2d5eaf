// etcd's Maintenance.Snapshot without a word of a protocol: the bytes of a backup in pieces, and as
// the last one their SHA-256.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/backup.h"
#include "net/reasons.h"
#include "net/sha256.h"

namespace capstan::net {

struct BackupPiece {
  ReplyHeader header;
  std::string blob;
};

class BackupCall {
 public:
  explicit BackupCall(std::unique_ptr<BackupStream> stream) : stream_(std::move(stream)) {}

  // What there is to say: a piece, or how it ended; nullopt: nothing now.
  std::optional<std::expected<BackupPiece, CallEnd>> next();

 private:
  std::unique_ptr<BackupStream> stream_;
  Sha256 hash_;
  bool hashed_ = false;
};

}  // namespace capstan::net
