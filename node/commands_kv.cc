// capstan put, get, del, compact.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "net/json_text.h"
#include "node/cli.h"
#include "node/commands.h"

namespace capstan::node {
namespace {

KeyRange range_of(const Cli& cli) {
  const std::string key = cli.words().empty() ? std::string{} : cli.words()[0];
  return cli.range_of(key);
}

std::string read_stdin() {
  std::string out;
  char buffer[65536];
  for (ssize_t n; (n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0;) {
    out.append(buffer, static_cast<std::size_t>(n));
  }
  return out;
}

// "ok n1:1:17, revision 1205, on 2 of 3 voters"; the engine's own sentence where it has one.
std::string success(const ApiAnswer& answer, const std::string& what) {
  const Reply& reply = answer.reply;
  std::string text = reply.outcome == Outcome::kOkLocal ? "ok (local)" : "ok";
  if (!answer.write_id.empty()) text += " " + answer.write_id;
  if (!what.empty()) text += ", " + what;
  text += ", revision " + std::to_string(reply.header.revision.value);
  if (reply.replicas_all > 0) {
    text +=
        ", on " + std::to_string(reply.replicas_have) + " of " + std::to_string(reply.replicas_all);
    text += reply.outcome == Outcome::kOkLocal ? " replicas" : " nodes";
  }
  if (reply.durability != Durability::kSync) {
    text += ", durability " + std::string(to_text(reply.durability));
  }
  return text;
}

int say_written(Cli& cli, const ApiAnswer& answer, const std::string& what) {
  const Reply& reply = answer.reply;
  if (reply.outcome == Outcome::kFailed || reply.outcome == Outcome::kUnknown) {
    return cli.refuse(answer, false);
  }
  if (cli.json()) {
    cli.print(answer.json);
  } else if (!cli.quiet()) {
    const bool told = reply.outcome == Outcome::kOkLocal && reply.detail.starts_with("ok");
    cli.print(outcome_sign(reply.outcome, cli.out_ink()) +
              (told ? reply.detail : success(answer, what)));
    if (cli.verbose()) {
      cli.talk("answered by " + to_text(answer.at) + " in " + duration_text(answer.took));
    }
  }
  return kExitDone;
}

// What a person should know about where and how old the answer is; empty: nothing.
std::string view_note(const ApiAnswer& answer, bool found, const std::string& alone) {
  const Reply& reply = answer.reply;
  const std::string revision = std::to_string(reply.header.revision.value);
  const std::string age = reply.age_at_least > 0
                              ? ", at least " + duration_text(reply.age_at_least) + " old"
                              : std::string{};
  if (!found) return "(not here as of revision " + revision + age + alone + ")";
  if (!age.empty()) return "(as of revision " + revision + age + ")";
  if (!alone.empty()) return "(" + alone.substr(2) + ")";
  return {};
}

// In AP mode an answer is one node's view: "; n1's view, n2 and n3 not heard for 4.1 s" during a
// cut.
std::string alone_note(Cli& cli, const ApiAnswer& answer) {
  const ApiAnswer asked = cli.client().ask({answer.at, "GET", "/api/v1/status", ""});
  const auto* status = std::get_if<StatusResult>(&asked.reply.body);
  if (status == nullptr || status->mode != Mode::kAp || status->alone_for < 0) return {};
  std::vector<std::string> missing;
  for (const PeerStatus& peer : status->peers) {
    if (!peer.self && !peer.reachable) missing.push_back(peer.name);
  }
  if (missing.empty()) return {};
  return "; " + status->name + "'s view, " + listed(missing) + " not heard for " +
         duration_text(status->alone_for);
}

std::string shown(const Cli& cli, const KeyValue& kv, bool with_key) {
  const bool raw = !cli.out_ink().terminal;
  const auto text = [&](const std::string& bytes) { return raw ? bytes : printable(bytes); };
  if (cli.flags().on("keys-only")) return text(kv.key);
  if (!with_key && !cli.plain()) return text(kv.value);
  return text(kv.key) + "\t" + text(kv.value);
}

// Keys asked for at a time where many may come.
constexpr std::int64_t kPageKeys = 1000;

void say_details(Cli& cli, const ApiAnswer& answer, const std::vector<KeyValue>& kvs) {
  for (const KeyValue& kv : kvs) {
    cli.talk(printable(kv.key) + ": created at " + std::to_string(kv.create_revision.value) +
             ", changed at " + std::to_string(kv.mod_revision.value) + ", version " +
             std::to_string(kv.version));
  }
  cli.talk("answered by " + to_text(answer.at) + " in " + duration_text(answer.took));
}

}  // namespace

int put_command(Args args) {
  auto cli = Cli::open("put", args);
  if (!cli) return cli.error();
  if (cli->words().size() != 2) {
    return cli->usage(
        "wants a key and a value: capstan put KEY VALUE (a value of - is read from "
        "standard input).");
  }
  const std::string lease = cli->flags().text("lease");
  const auto id = lease.empty() ? std::optional<std::int64_t>(0) : id_of_text(lease);
  if (!id) return cli->usage("--lease=" + lease + " is no id of a lease; capstan lease list.");
  int exit = kExitDone;
  const auto answer =
      cli->ask(PutRequest{.key = cli->words()[0],
                          .value = cli->words()[1] == "-" ? read_stdin() : cli->words()[1],
                          .lease = *id},
               &exit);
  return answer ? say_written(*cli, *answer, "") : exit;
}

int del_command(Args args) {
  auto cli = Cli::open("del", args);
  if (!cli) return cli.error();
  if (cli->words().size() != 1) return cli->usage("wants one key: capstan del KEY [--prefix]");
  int exit = kExitDone;
  const auto answer = cli->ask(DeleteRangeRequest{.range = range_of(*cli)}, &exit);
  if (!answer) return exit;
  const auto* result = std::get_if<DeleteRangeResult>(&answer->reply.body);
  const std::int64_t deleted = result == nullptr ? 0 : result->deleted;
  const int code =
      say_written(*cli, *answer, std::to_string(deleted) + (deleted == 1 ? " key" : " keys"));
  return code == kExitDone && deleted == 0 ? int{kExitNotFound} : code;
}

int compact_command(Args args) {
  auto cli = Cli::open("compact", args);
  if (!cli) return cli.error();
  std::int64_t revision = 0;
  const std::string word = cli->words().size() == 1 ? cli->words()[0] : "";
  const auto read = std::from_chars(word.data(), word.data() + word.size(), revision);
  if (word.empty() || read.ec != std::errc{} || read.ptr != word.data() + word.size()) {
    return cli->usage(
        "wants a revision: capstan compact REVISION (capstan status --json says where the store "
        "is).");
  }
  int exit = kExitDone;
  const auto answer = cli->ask(CompactRequest{revision, cli->flags().on("physical")}, &exit);
  return answer ? say_written(*cli, *answer, "history begins at " + word) : exit;
}

int get_command(Args args) {
  auto cli = Cli::open("get", args);
  if (!cli) return cli.error();
  const bool prefix = cli->flags().on("prefix");
  if (cli->words().size() != 1 && !(prefix && cli->words().empty())) {
    return cli->usage("wants one key: capstan get KEY [--prefix] [--stale]");
  }
  RangeRequest range;
  range.range = range_of(*cli);
  range.revision = cli->flags().number("rev");
  range.serializable = cli->flags().on("stale");
  range.keys_only = cli->flags().on("keys-only");
  // JSON is one document; lines come page by page, all of the first one's revision.
  const std::int64_t limit = cli->flags().number("limit");
  const bool paged = prefix && !cli->json();
  std::int64_t left = limit > 0 ? limit : INT64_MAX;
  bool found = false, more = true;
  for (bool first = true; more && left > 0; first = false) {
    range.limit = paged ? std::min(left, kPageKeys) : limit;
    int exit = kExitDone;
    const auto answer = cli->ask(range, &exit);
    if (!answer) return exit;
    const Reply& reply = answer->reply;
    if (reply.outcome == Outcome::kFailed || reply.outcome == Outcome::kUnknown) {
      return cli->refuse(*answer, true);
    }
    const auto* result = std::get_if<RangeResult>(&reply.body);
    const std::vector<KeyValue> none;
    const std::vector<KeyValue>& kvs = result != nullptr ? result->kvs : none;
    found = found || !kvs.empty();
    more = paged && result != nullptr && result->more && !kvs.empty();
    left -= static_cast<std::int64_t>(kvs.size());
    if (cli->json()) {
      cli->print(answer->json);
      break;
    }
    std::string out;
    for (const KeyValue& kv : kvs) out += shown(*cli, kv, prefix) + "\n";
    if (!out.empty()) cli->print(out);
    if (result != nullptr && result->more && (!more || left == 0)) {
      cli->talk("(more keys follow; raise --limit)");
    }
    if (first && !cli->quiet() && !cli->plain()) {
      const std::string note = view_note(*answer, found, alone_note(*cli, *answer));
      if (!note.empty()) cli->talk(note);
    }
    if (cli->verbose() && !kvs.empty()) say_details(*cli, *answer, kvs);
    if (!more) break;
    range.range.key = kvs.back().key + '\0';
    const bool has_history = reply.header.term.value > 0;  // CP
    if (has_history && range.revision == 0) {
      range.revision = static_cast<std::int64_t>(reply.header.revision.value);
    }
  }
  return found ? kExitDone : kExitNotFound;
}

}  // namespace capstan::node
