// What the AP engine needs from outside, besides core/disk.h.
#pragma once

#include "ap/message.h"
#include "core/types.h"

namespace capstan::ap {

class Sender {
 public:
  virtual ~Sender() = default;
  // Best effort, in order while one connection lasts; never blocks, never reports loss.
  virtual void send(MemberId to, Message message) = 0;
};

}  // namespace capstan::ap
