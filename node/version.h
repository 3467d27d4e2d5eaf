#pragma once

#include <string_view>

namespace capstan::node {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace capstan::node
