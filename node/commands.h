// The subcommands of the program. Each takes what followed its name and returns the exit code;
// results go to stdout, talk to stderr.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace capstan::node {

using Args = std::span<const std::string>;

int serve_command(Args args);
int put_command(Args args);
int get_command(Args args);
int del_command(Args args);
int compact_command(Args args);
int lease_command(Args args);
int status_command(Args args);
int members_command(Args args);
int outcome_command(Args args);
int auth_command(Args args);
int user_command(Args args);
int role_command(Args args);
int restore_command(Args args);
int lab_command(Args args);

// `capstan` alone.
std::string first_page();
// All commands, one line each.
std::string all_commands();
// `capstan help TOPIC`; empty when there is none. The lab's own pages are main.cc's.
std::string help_page(std::string_view topic);
// Every word `capstan help` and `capstan` know, for suggestions.
std::span<const std::string_view> command_names();

}  // namespace capstan::node
