// capstan auth, user, role: who may do what, once auth is on.
#include <algorithm>
#include <iostream>
#include <span>
#include <string>

#include "net/json_text.h"
#include "node/cli.h"
#include "node/commands.h"

namespace capstan::node {
namespace {

using Action = AuthRequest::Action;

int say(Cli& cli, const ApiAnswer& answer, const std::string& result) {
  if (answer.reply.outcome != Outcome::kOk) return cli.refuse(answer, false);
  if (cli.json()) {
    cli.print(answer.json);
  } else if (!result.empty()) {
    cli.print(result);
  }
  return kExitDone;
}

int carry_out(Cli& cli, AuthRequest request, const std::string& done) {
  int exit = kExitDone;
  const auto answer = cli.ask(std::move(request), &exit);
  if (!answer) return exit;
  return say(cli, *answer, outcome_sign(answer->reply.outcome, cli.out_ink()) + done);
}

// A question; `text` makes its answer readable.
template <class Text>
int look(Cli& cli, AuthRequest request, Text text) {
  int exit = kExitDone;
  const auto answer = cli.ask(std::move(request), &exit);
  if (!answer) return exit;
  const auto* result = std::get_if<AuthResult>(&answer->reply.body);
  return result == nullptr ? cli.refuse(*answer, true) : say(cli, *answer, text(*result));
}

std::string lines_of(const AuthResult& result) {
  std::string text;
  for (const std::string& name : result.names) text += name + "\n";
  return text;
}

// The word is NAME or NAME:PASSWORD; else it is asked for, or a line of stdin.
AuthRequest with_password(Cli& cli, Action action, const std::string& word) {
  const std::size_t colon = word.find(':');
  AuthRequest request{.action = action, .user = word.substr(0, colon)};
  if (cli.flags().on("no-password")) return request;
  request.secret = colon != std::string::npos ? word.substr(colon + 1)
                                              : read_secret("password of " + request.user + ": ");
  return request;
}

int set_password(Cli& cli, Action action, const std::string& word, const std::string& done) {
  AuthRequest request = with_password(cli, action, word);
  if (request.secret.empty() && !cli.flags().on("no-password")) {
    return cli.usage("no password was given; --no-password makes a user who shows a certificate.");
  }
  const std::string name = request.user;
  return carry_out(cli, std::move(request), done + name);
}

// KEY [END], or a prefix.
KeyRange range_of(Cli& cli, std::span<const std::string> words) {
  return words.size() > 1 ? KeyRange{words[0], words[1]} : cli.range_of(words[0]);
}

std::string permissions_text(const AuthResult& result) {
  std::string text;
  for (const Permission& permission : result.permissions) {
    const KeyRange& range = permission.range;
    std::string access(kAccessWords[static_cast<std::size_t>(permission.kind)]);
    access.resize(11, ' ');
    text += access + printable(range.key);
    if (range.end == std::string(1, '\0')) {
      text += "  and all behind it";
    } else if (!range.end.empty() && range.end == net::end_of_prefix(range.key)) {
      text += "  and all that start so";
    } else if (!range.end.empty()) {
      text += "  up to " + printable(range.end);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

int auth_command(Args args) {
  auto cli = Cli::open("auth", args);
  if (!cli) return cli.error();
  const std::vector<std::string>& words = cli->words();
  const std::string verb = words.size() == 1 ? words[0] : "";
  if (verb == "enable") {
    return carry_out(*cli, {.action = Action::kEnable},
                     "auth is on: whoever asks must log in (--user=NAME)");
  }
  if (verb == "disable") {
    return carry_out(*cli, {.action = Action::kDisable}, "auth is off: anybody may do anything");
  }
  if (verb == "status") {
    return look(*cli, {.action = Action::kStatus}, [](const AuthResult& result) {
      return std::string(result.enabled ? "on" : "off") + "\trevision " +
             std::to_string(result.revision);
    });
  }
  return cli->usage("knows: enable, disable, status.");
}

int user_command(Args args) {
  auto cli = Cli::open("user", args);
  if (!cli) return cli.error();
  const std::vector<std::string>& words = cli->words();
  const std::string verb = words.empty() ? "list" : words[0];
  if (verb == "list" && words.size() <= 1) {
    return look(*cli, {.action = Action::kUsers}, lines_of);
  }
  if (words.size() == 2) {
    const std::string& name = words[1];
    if (verb == "add") return set_password(*cli, Action::kAddUser, name, "added ");
    if (verb == "password") {
      return set_password(*cli, Action::kSetPassword, name, "new password of ");
    }
    if (verb == "show") return look(*cli, {.action = Action::kUser, .user = name}, lines_of);
    if (verb == "delete") {
      return carry_out(*cli, {.action = Action::kDeleteUser, .user = name}, "deleted " + name);
    }
  }
  if (words.size() == 3 && (verb == "grant" || verb == "revoke")) {
    const bool grants = verb == "grant";
    return carry_out(*cli,
                     {.action = grants ? Action::kGrantRole : Action::kRevokeRole,
                      .user = words[1],
                      .role = words[2]},
                     words[1] + (grants ? " has" : " no longer has") + " the role " + words[2]);
  }
  return cli->usage(
      "knows: list, add NAME[:PASSWORD], delete NAME, password NAME, show NAME, grant NAME ROLE, "
      "revoke NAME ROLE.");
}

int role_command(Args args) {
  auto cli = Cli::open("role", args);
  if (!cli) return cli.error();
  const std::vector<std::string>& words = cli->words();
  const std::string verb = words.empty() ? "list" : words[0];
  if (verb == "list" && words.size() <= 1) {
    return look(*cli, {.action = Action::kRoles}, lines_of);
  }
  if (words.size() == 2) {
    AuthRequest request{.role = words[1]};
    if (verb == "show") {
      request.action = Action::kRole;
      return look(*cli, std::move(request), permissions_text);
    }
    if (verb == "add" || verb == "delete") {
      request.action = verb == "add" ? Action::kAddRole : Action::kDeleteRole;
      return carry_out(*cli, std::move(request),
                       (verb == "add" ? "added " : "deleted ") + words[1]);
    }
  }
  const auto access = std::ranges::find(kAccessWords, words.size() > 2 ? words[2] : "");
  if (verb == "grant" && words.size() >= 4 && words.size() <= 5 && access != kAccessWords.end()) {
    AuthRequest request{.action = Action::kGrantPermission, .role = words[1]};
    request.permission = {static_cast<Permission::Kind>(access - kAccessWords.begin()),
                          range_of(*cli, std::span(words).subspan(3))};
    return carry_out(*cli, std::move(request), words[1] + " may " + words[2] + " that");
  }
  if (verb == "revoke" && words.size() >= 3 && words.size() <= 4) {
    AuthRequest request{.action = Action::kRevokePermission, .role = words[1]};
    request.permission.range = range_of(*cli, std::span(words).subspan(2));
    return carry_out(*cli, std::move(request), words[1] + " may no longer do that");
  }
  return cli->usage(
      "knows: list, add NAME, delete NAME, show NAME, grant NAME read|write|readwrite KEY [END], "
      "revoke NAME KEY [END].");
}

}  // namespace capstan::node
