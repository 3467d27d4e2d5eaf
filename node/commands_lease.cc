// capstan lease grant, revoke, keep-alive, show, list.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <thread>

#include "node/cli.h"
#include "node/commands.h"

namespace capstan::node {
namespace {

bool is_ok(const ApiAnswer& answer) { return answer.reply.outcome == Outcome::kOk; }

// What went well is said on stdout, as the answer itself with --json.
int say(Cli& cli, const ApiAnswer& answer, const std::string& result, const std::string& talk) {
  if (!is_ok(answer)) return cli.refuse(answer, false);
  cli.print(cli.json() ? answer.json : result);
  if (!talk.empty()) cli.talk(talk);
  return kExitDone;
}

int gone(Cli& cli, const ApiAnswer& answer, std::int64_t id) {
  if (cli.json()) cli.print(answer.json);
  cli.talk("lease " + id_text(id) + " is not there: it ended, or never was");
  return kExitNotFound;
}

int grant(Cli& cli) {
  const std::string word = cli.words().size() == 2 ? cli.words()[1] : "";
  LeaseGrantRequest request;
  const auto read = std::from_chars(word.data(), word.data() + word.size(), request.ttl);
  if (word.empty() || read.ec != std::errc{} || read.ptr != word.data() + word.size() ||
      request.ttl <= 0) {
    return cli.usage("grant wants a time to live in seconds: capstan lease grant 60");
  }
  int exit = kExitDone;
  const auto answer = cli.ask(request, &exit);
  if (!answer) return exit;
  const auto* result = std::get_if<LeaseGrantResult>(&answer->reply.body);
  if (result == nullptr) return cli.refuse(*answer, false);
  const std::string id = id_text(result->id);
  return say(cli, *answer, id,
             "granted for " + std::to_string(result->ttl) +
                 " s. Put keys under it: capstan put KEY VALUE --lease=" + id +
                 ". It lives on: capstan lease keep-alive " + id);
}

int revoke(Cli& cli, std::int64_t id) {
  int exit = kExitDone;
  const auto answer = cli.ask(LeaseRevokeRequest{id}, &exit);
  if (!answer) return exit;
  return say(cli, *answer,
             outcome_sign(answer->reply.outcome, cli.out_ink()) +
                 "revoked, and its keys deleted, revision " +
                 std::to_string(answer->reply.header.revision.value),
             "");
}

int show(Cli& cli, std::int64_t id) {
  int exit = kExitDone;
  const auto answer = cli.ask(LeaseTimeToLiveRequest{id, cli.flags().on("keys")}, &exit);
  if (!answer) return exit;
  if (!is_ok(*answer)) return cli.refuse(*answer, true);
  const auto* result = std::get_if<LeaseTimeToLiveResult>(&answer->reply.body);
  if (result == nullptr || result->ttl < 0) return gone(cli, *answer, id);
  std::string text = id_text(id) + "\t" + std::to_string(result->ttl) + " s of " +
                     std::to_string(result->granted_ttl) + " s";
  const bool raw = !cli.out_ink().terminal;
  for (const std::string& key : result->keys) text += "\n" + (raw ? key : printable(key));
  return say(cli, *answer, text, "");
}

int list(Cli& cli) {
  int exit = kExitDone;
  const auto answer = cli.ask(LeasesRequest{}, &exit);
  if (!answer) return exit;
  if (!is_ok(*answer)) return cli.refuse(*answer, true);
  std::string text;
  if (const auto* result = std::get_if<LeasesResult>(&answer->reply.body)) {
    for (const std::int64_t id : result->ids) text += id_text(id) + "\n";
  }
  return say(cli, *answer, text, "");
}

// Says so three times in each time to live; what fails is tried again until the lease must be
// gone, as nobody can be sure before.
int keep_alive(Cli& cli, std::int64_t id) {
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> lives_until;  // as far as we were told
  std::int64_t ttl = kLeaseTtlMin;
  for (;;) {
    const Clock::time_point sent = Clock::now();
    int exit = kExitDone;
    const auto answer = cli.ask(LeaseKeepAliveRequest{id}, &exit);
    if (answer && is_ok(*answer)) {
      const auto* kept = std::get_if<LeaseKeepAliveResult>(&answer->reply.body);
      if (kept == nullptr || kept->ttl == 0) return gone(cli, *answer, id);
      ttl = kept->ttl;
      lives_until = sent + std::chrono::seconds(ttl);
      say(cli, *answer, id_text(id) + "\t" + std::to_string(ttl) + " s", "");
      if (cli.flags().on("once")) return kExitDone;
    } else {
      const int code = answer ? cli.refuse(*answer, false) : exit;
      if (cli.flags().on("once") || !lives_until || Clock::now() >= *lives_until) return code;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(ttl * 1000 / 3));
  }
}

}  // namespace

int lease_command(Args args) {
  auto cli = Cli::open("lease", args);
  if (!cli) return cli.error();
  const std::string verb = cli->words().empty() ? "" : cli->words()[0];
  static constexpr std::string_view kVerbs[] = {"grant", "revoke", "keep-alive", "show", "list"};
  if (std::ranges::find(kVerbs, verb) == std::end(kVerbs)) {
    const auto near = nearest(verb, kVerbs);
    return cli->usage((verb.empty() ? "wants a verb" : "no verb \"" + verb + "\"") +
                      (near ? "; did you mean " + *near + "?"
                            : ": grant TTL; revoke ID; keep-alive ID; show ID; list."));
  }
  if (verb == "grant") return grant(*cli);
  if (verb == "list") return list(*cli);
  const auto id = cli->words().size() == 2 ? id_of_text(cli->words()[1]) : std::nullopt;
  if (!id) {
    return cli->usage(verb + " wants the id of a lease, as `capstan lease list` shows them.");
  }
  if (verb == "revoke") return revoke(*cli, *id);
  return verb == "show" ? show(*cli, *id) : keep_alive(*cli, *id);
}

}  // namespace capstan::node
