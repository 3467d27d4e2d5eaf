// The arena of one protobuf message; for net/grpc_messages.cc and net/grpc_replies.cc.
#pragma once

#include <google/protobuf/arena.h>

#include <array>

namespace capstan::net {

using google::protobuf::Arena;

// An arena whose first block is reused: a small request costs no allocation of its own but for long
// keys and values, and those are moved into the request.
class ScratchArena {
 public:
  ScratchArena() : arena_(options(block_)) {}
  Arena* get() { return &arena_; }

 private:
  static google::protobuf::ArenaOptions options(std::array<char, 4096>& block) {
    google::protobuf::ArenaOptions out;
    out.initial_block = block.data();
    out.initial_block_size = block.size();
    return out;
  }
  alignas(16) std::array<char, 4096> block_;
  Arena arena_;
};

}  // namespace capstan::net
