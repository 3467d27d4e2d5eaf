// Maintenance.Snapshot on one HTTP/2 stream.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "net/asker.h"
#include "net/backup_call.h"
#include "net/grpc_stream.h"

namespace capstan::net {

class GrpcBackup final : public GrpcStream {
 public:
  // `ready`: produce() may have something to say; it takes a note only.
  GrpcBackup(Asker asker, std::function<void()> ready)
      : asker_(std::move(asker)), ready_(std::move(ready)) {}

  void half_closed() override;
  bool produce(std::string& out) override;

 private:
  void take(ByteView message) override;
  void close() override { call_.reset(); }

  const Asker asker_;
  std::function<void()> ready_;
  std::optional<BackupCall> call_;
};

}  // namespace capstan::net
