// Golden pages: what a person sees first. A change here is read in review like prose.
#include "node/commands.h"

#include <doctest/doctest.h>

#include "node/exit_codes.h"
#include "node/terminal.h"

namespace capstan::node {
namespace {

std::size_t widest(const std::string& text) {
  std::size_t most = 0, begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    most = std::max(most, end - begin);
  }
  return most;
}

}  // namespace

TEST_CASE("help: the first page is short and names only commands that exist") {
  CHECK(first_page() ==
        R"(capstan - a key-value store that is consistent (--mode=cp) or available
(--mode=ap) when the network splits, with a lab to split it.

  capstan compare               both modes under one partition: table and report
  capstan serve --mode=ap --join=HOST1,HOST2,HOST3
                                run a node (give every node the same --join)
  capstan put greeting hello && capstan get greeting
  capstan status                who is there, who reaches whom
  capstan lab cut n1 / n2,n3    split nodes that were started with --lab

All commands: capstan help     One command: capstan help put
)");
  CHECK(widest(first_page()) <= 80);
}

TEST_CASE("help: every command of this floor has a page with its flags, other words have none") {
  for (const char* topic : {"serve", "put", "get", "del", "compact", "lease", "status", "members",
                            "auth", "user", "role", "outcome", "lab"}) {
    CAPTURE(topic);
    const std::string page = help_page(topic);
    CHECK(page.starts_with("capstan " + std::string(topic)));
    CHECK(page.find("\nFlags\n") != std::string::npos);
    CHECK(widest(page) <= 80);
    CHECK(all_commands().find(topic) != std::string::npos);
  }
  CHECK(help_page("exit").find("unknown: may or may not be applied") != std::string::npos);
  CHECK(help_page("srve").empty());
}

TEST_CASE("help: the page of get, word for word") {
  CHECK(help_page("get") == R"(capstan get KEY [flags]    read a key, or all with a prefix

    capstan get greeting
    capstan get user/ --prefix             keys and values, a tab between
    capstan get key1 --stale               what this node has, however old

A key that is not there: no output, exit 3.

Flags
  --prefix                    all keys that start with KEY
  --stale                     what this node has, without asking the others;
                              says how old it may be
  --keys-only                 keys without their values
  --limit=N                   at most N keys (0: all) (default: 0)
  --rev=REVISION              as of an earlier revision (cp) (default: 0)
  --endpoints=HOST:PORT,...   addresses of nodes, https:// before those with
                              TLS; the first that answers is asked (default:
                              127.0.0.1:2379)
  --cacert=FILE               for https://: whose certificates nodes must show,
                              in PEM (default: the system's)
  --cert=FILE                 for https://: the certificate to show
  --key=FILE                  the key of --cert
  --insecure-skip-tls-verify  for https://: take any certificate; for tests only
  --user=NAME[:PASSWORD]      log in; without a password it is asked for (cp)
  --password=PASSWORD         of --user
  --node=NAME                 ask this member (looked up in the members list)
  --timeout=TIME              give up waiting for an answer; longer than the
                              server's own limit (default: 5s)
  --json                      one JSON object, its fields are stable
  --plain                     tab-separated, no header, for awk
  --quiet                     -q: nothing but errors
  --verbose                   -v: ids, revisions, times
  --no-color                  no colour; NO_COLOR says the same
  --config=FILE               take this configuration file; see capstan help
                              config

The node asked is the first of --endpoints (CAPSTAN_ENDPOINTS) that answers.
)");
}

TEST_CASE("exit codes: refused, unknown, wrong and unreachable are told apart") {
  CHECK(exit_code(Outcome::kOk, Reason::kNone) == 0);
  CHECK(exit_code(Outcome::kOkLocal, Reason::kNone) == 0);
  CHECK(exit_code(Outcome::kFailed, Reason::kNoQuorum) == 4);
  CHECK(exit_code(Outcome::kFailed, Reason::kNoSpace) == 4);
  CHECK(exit_code(Outcome::kFailed, Reason::kShuttingDown) == 4);
  CHECK(exit_code(Outcome::kUnknown, Reason::kLeaderLost) == 5);
  CHECK(exit_code(Outcome::kFailed, Reason::kNotInAp) == 2);
  CHECK(exit_code(Outcome::kFailed, Reason::kTooLarge) == 2);
  CHECK(exit_code(Outcome::kFailed, Reason::kUnreachable) == 7);
  CHECK(exit_code(Outcome::kFailed, Reason::kNotLab) == 8);
  CHECK(exit_code(Outcome::kFailed, Reason::kPermissionDenied) == 8);
  CHECK(exit_code(Outcome::kFailed, Reason::kAuthFailed) == 8);
  CHECK(exit_code(Outcome::kFailed, Reason::kUserNotFound) == 3);
}

TEST_CASE("terminal: times have a unit, signs a shape, and bytes cannot move the cursor") {
  CHECK(duration_text(400) == "0.4 ms");
  CHECK(duration_text(99'940) == "99.9 ms");
  CHECK(duration_text(100'000) == "0.1 s");
  CHECK(duration_text(4'100'000) == "4.1 s");
  CHECK(duration_text(125 * kSecond) == "2 min 5 s");
  CHECK(outcome_sign(Outcome::kFailed, Ink{}).empty());
  CHECK(outcome_sign(Outcome::kFailed, Ink{.colour = false, .utf8 = false, .terminal = true}) ==
        "x ");
  CHECK(outcome_sign(Outcome::kOk, Ink{.colour = true, .utf8 = true, .terminal = true}) ==
        "\x1b[34m●\x1b[0m ");
  CHECK(printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\x0a");
  CHECK(listed({"n2"}) == "n2");
  CHECK(listed({"n2", "n3"}) == "n2 and n3");
  CHECK(listed({"n2", "n3", "n4"}) == "n2, n3 and n4");
}

}  // namespace capstan::node
