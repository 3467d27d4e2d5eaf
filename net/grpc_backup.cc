#include "net/grpc_backup.h"

#include <utility>

#include "net/absent.h"
#include "net/grpc_messages.h"

namespace capstan::net {

void GrpcBackup::take(ByteView message) {
  if (call_) return end({GrpcCode::kInternal, "more than one message in a unary request"});
  if (Status ok = decode_snapshot_request(message); !ok) return end_malformed(ok.error().context);
  std::unique_ptr<BackupStream> stream = asker_.backup(ready_);
  if (stream != nullptr) {
    call_.emplace(std::move(stream));
    return;
  }
  const Absence absence = absence_of(grpc_path_of(GrpcMethod::kSnapshot), Mode::kAp);
  end({absence.code, std::string(absence.sentence), absence.reason, std::string(absence.sentence)});
}

void GrpcBackup::half_closed() {
  if (call_ || ended()) return;
  end({GrpcCode::kInternal, "the request holds no message"});
  ready_();
}

bool GrpcBackup::produce(std::string& out) {
  if (ended() || !call_) return false;
  auto piece = call_->next();
  if (!piece) return false;
  if (!*piece) {
    end(std::move(piece->error()));
    return false;
  }
  encode_snapshot_piece((*piece)->header, (*piece)->blob, out);
  return true;
}

}  // namespace capstan::net
