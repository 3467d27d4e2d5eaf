// Planted bugs: proof that the oracles can see. Only in builds with -DCAPSTAN_MUTANTS=ON.
#pragma once

#include <string>

#include "core/types.h"

namespace capstan::sim {

// Switches the bug on for the rest of the process. False: there is none of that name here.
bool plant(Mode mode, const std::string& name);

}  // namespace capstan::sim
