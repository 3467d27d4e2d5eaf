// Loopback ports that were free a moment ago, from below what the system gives to outgoing
// connections: those of the test itself, or of another beside it, cannot take one in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace capstan::test {

// `count` ports, each with `run - 1` free ones above it; none is in two runs.
std::vector<std::uint16_t> free_ports(std::size_t count, std::size_t run = 1);

}  // namespace capstan::test
