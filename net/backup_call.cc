#include "net/backup_call.h"

#include <utility>

namespace capstan::net {

std::optional<std::expected<BackupPiece, CallEnd>> BackupCall::next() {
  if (hashed_) return std::unexpected(CallEnd{GrpcCode::kOk, "", Reason::kNone});
  auto piece = stream_->next();
  if (!piece) return std::nullopt;
  if (!*piece) return std::unexpected(end_of(piece->error()));
  BackupPiece out{(*piece)->header, std::move((*piece)->bytes)};
  hash_.add(out.blob);
  if ((*piece)->last) {
    hashed_ = true;
    stream_.reset();
    if (out.blob.empty()) out.blob = hash_.take();
  }
  return out;
}

}  // namespace capstan::net
