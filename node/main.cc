// The program: which subcommand, and nothing else.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "lab/commands.h"
#include "node/commands.h"
#include "node/exit_codes.h"
#include "node/options.h"
#include "node/version.h"

namespace {

using capstan::node::Args;

struct Command {
  const char* name;
  int (*run)(Args);
};
constexpr Command kCommands[] = {
    {"serve", capstan::node::serve_command},
    {"put", capstan::node::put_command},
    {"get", capstan::node::get_command},
    {"del", capstan::node::del_command},
    {"compact", capstan::node::compact_command},
    {"lease", capstan::node::lease_command},
    {"status", capstan::node::status_command},
    {"members", capstan::node::members_command},
    {"outcome", capstan::node::outcome_command},
    {"auth", capstan::node::auth_command},
    {"user", capstan::node::user_command},
    {"role", capstan::node::role_command},
    {"restore-backup", capstan::node::restore_command},
    {"lab", capstan::node::lab_command},
    {"compare", capstan::lab::compare_main},
    {"bench", capstan::lab::bench_main},
};

int print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

int unknown(const std::string& word, const char* what) {
  std::string text = "capstan: no " + std::string(what) + " \"" + word + "\"";
  if (const auto near = capstan::node::nearest(word, capstan::node::command_names())) {
    text += "; did you mean " + *near + "?\n";
  } else {
    text += "; see capstan help.\n";
  }
  std::fputs(text.c_str(), stderr);
  return capstan::node::kExitUsage;
}

int help(const std::string& topic) {
  if (topic.empty()) return print(capstan::node::all_commands());
  if (topic == "compare") return print(capstan::lab::compare_help());
  if (topic == "bench") return print(capstan::lab::bench_help());
  const std::string page = capstan::node::help_page(topic);
  return page.empty() ? unknown(topic, "page") : print(page);
}

bool asks_help(const std::string& word) {
  return word == "-h" || word == "--help" || word == "-help";
}

// A standard stream that was closed before we started would be the number of the next file or
// socket: what is printed would go there, and libuv refuses to close such a number.
void fill_standard_streams() {
  int fd = 0;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_streams();
  // a closed pipe ends a write, not the program
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return print(capstan::node::first_page());
  const std::string& first = words.front();
  if (asks_help(first)) return help("");
  if (first == "help") return help(words.size() > 1 ? words[1] : "");
  if (first == "version" || first == "--version" || first == "-version") {
    return print("capstan " + std::string(capstan::node::kVersion) + "\n");
  }
  const Args rest(words.begin() + 1, words.end());
  for (const Command& command : kCommands) {
    if (first != command.name) continue;
    for (const std::string& word : rest) {
      if (word == "--") break;
      if (asks_help(word)) return help(first);
    }
    return command.run(rest);
  }
  return unknown(first, "command");
}
