// What the CP engine needs from outside besides core/disk.h and core/base.h.
#pragma once

#include "cp/message.h"

namespace capstan::cp {

class Sender {
 public:
  virtual ~Sender() = default;
  // Queues a message for a peer. It may be lost, late or repeated; it is never an error.
  virtual void send(MemberId to, Message message) = 0;
};

}  // namespace capstan::cp
