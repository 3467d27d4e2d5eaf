// A state machine with its table and base, fed by hand.
#pragma once

#include <string_view>

#include "cp/state_machine.h"
#include "tests/support/memory_base.h"

namespace capstan::test {

struct MachineStore {
  MemoryBase base;
  Table table{base};
  cp::StateMachine machine{table};
  std::uint64_t sequence = 0;

  cp::Applied run(const RequestBody& body, std::string_view request_id = "",
                  const std::optional<cp::Principal>& who = {}) {
    return machine.apply(cp::encode_command({{NodeId{1}, 1}, {++sequence}}, request_id, body, who),
                         {1});
  }
};

}  // namespace capstan::test
