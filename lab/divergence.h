// How far apart several nodes' states are, without mistaking a write on its way for a difference.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "lab/convergence.h"

namespace capstan::lab {

// Keys whose values differ between the given dumps (null ones are left out), counting a key only if
// every one of its differing values was begun before `settled`: younger ones may still be on their
// way. `begun` tells when a value's write began. An absent key counts as old.
std::uint64_t settled_differences(const std::vector<std::unique_ptr<Dump>>& dumps, Micros settled,
                                  const std::function<Micros(const std::string& value)>& begun);

}  // namespace capstan::lab
