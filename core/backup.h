// The bytes of a backup, as they come: what a node's state was at one place of its log.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "core/request.h"

namespace capstan {

// Pulled like a watch (core/watch.h). Destroyed before its end it costs nothing more.
class BackupStream {
 public:
  virtual ~BackupStream() = default;
  struct Piece {
    ReplyHeader header;
    std::string bytes;  // at most kBackupPieceBytes
    bool last = false;
  };
  // Nullopt: nothing now; `ready` will be called when that may have changed. After the last piece
  // or a refusal it must not be called any more.
  virtual std::optional<std::expected<Piece, Refusal>> next() = 0;
};

}  // namespace capstan
