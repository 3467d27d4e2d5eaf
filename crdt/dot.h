// A dot names one update: the actor that issued it and that actor's count. It is the write id that
// clients are given, so what a merge keeps or drops can be told to people by the same name.
#pragma once

#include "core/types.h"

namespace capstan {

using Dot = WriteId;

}  // namespace capstan
