// The lab's subcommands, as node/main.cc starts them. `args` is what followed the subcommand's
// name; the result is the exit code (docs: capstan help exit).
#pragma once

#include <span>
#include <string>

namespace capstan::lab {

// `capstan compare`: three CP and three AP nodes, the same load, the same cut, one scorecard.
//   returns   0 all checks hold, 1 one broke, 5 one could not be decided, 2 wrong usage,
//             130 interrupted
int compare_main(std::span<const std::string> args);

// `capstan bench`: load on any etcd-v3 endpoints.
//   returns   0 measured, 2 wrong usage, 7 nobody answered, 130 interrupted
int bench_main(std::span<const std::string> args);

// Text of `capstan help compare` and `capstan help bench`.
std::string compare_help();
std::string bench_help();

}  // namespace capstan::lab
