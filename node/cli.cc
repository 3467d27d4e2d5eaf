#include "node/cli.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "net/json_api.h"
#include "net/json_text.h"
#include "node/tls_flags.h"

namespace capstan::node {
namespace {

constexpr Micros kAskAllPatience = 2 * kSecond;
constexpr Micros kElsewhereWait = 4 * kMillisecond;

void write_all(std::FILE* to, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fflush(to);
}

std::string with_newline(std::string text) {
  if (text.empty() || text.back() != '\n') text += '\n';
  return text;
}

// HOST[:PORT], with http://, https://, or neither: then `tls` decides.
std::optional<Endpoint> address_of(std::string text, bool tls = false) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!text.starts_with(scheme)) continue;
    text.erase(0, scheme.size());
    tls = scheme == "https://";
    break;
  }
  if (text.ends_with('/')) text.pop_back();
  Endpoint at{{text, 2379}, tls};
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    at.host = text.substr(0, colon);
    at.port = std::atoi(text.c_str() + colon + 1);
  }
  if (at.host.starts_with('[') && at.host.ends_with(']')) {
    at.host = at.host.substr(1, at.host.size() - 2);
  }
  if (at.host.empty() || at.port <= 0 || at.port > 65535) return std::nullopt;
  return at;
}

}  // namespace

std::expected<Cli, int> Cli::open(std::string_view command, std::span<const std::string> args) {
  Cli cli;
  cli.command_ = command;
  auto parsed = parse_command(command, args);
  if (!parsed) {
    write_all(stderr, "capstan " + cli.command_ + ": " + parsed.error().sentence + "\n");
    return std::unexpected(int{kExitUsage});
  }
  cli.flags_ = std::move(*parsed);
  cli.out_ = ink_of(STDOUT_FILENO, cli.flags_.on("no-color"));
  cli.err_ = ink_of(STDERR_FILENO, cli.flags_.on("no-color"));
  // A question about the cluster goes to everyone, and one who is frozen must not hold it up.
  const bool asks_all = command == "status" || command == "members" || command == "lab";
  const Micros patience =
      asks_all && !cli.flags_.has("timeout") ? kAskAllPatience : cli.flags_.micros("timeout");
  // The system's authorities are not read for nothing.
  if (asks_for_tls(cli.flags_) || cli.flags_.text("endpoints").contains("https://")) {
    auto tls = client_tls(cli.flags_);
    if (!tls) return std::unexpected(cli.usage(tls.error().sentence));
    cli.tls_ = std::move(*tls);
  }
  cli.client_ = std::make_unique<ApiClient>(patience, cli.tls_);
  return cli;
}

KeyRange Cli::range_of(const std::string& key) const {
  if (!flags_.on("prefix")) return {key, ""};
  // an empty prefix is every key; the first possible key stands for it
  if (key.empty()) return {std::string(1, '\0'), std::string(1, '\0')};
  return {key, net::end_of_prefix(key)};
}

void Cli::print(const std::string& text) const { write_all(stdout, with_newline(text)); }
void Cli::talk(const std::string& text) const {
  if (!quiet() && !json()) write_all(stderr, with_newline(text));
}
void Cli::complain(const std::string& text) const {
  if (!json()) write_all(stderr, with_newline(text));
}

int Cli::usage(const std::string& sentence) const {
  write_all(stderr, "capstan " + command_ + ": " + sentence + "\n");
  return kExitUsage;
}

std::optional<std::vector<Endpoint>> Cli::endpoints(int* exit) const {
  std::vector<Endpoint> out;
  std::string_view rest;
  const std::string text = flags_.text("endpoints");
  for (rest = text; !rest.empty();) {
    const std::string part{rest.substr(0, rest.find(','))};
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    const std::optional<Endpoint> at = address_of(part, asks_for_tls(flags_));
    if (!at) {
      *exit = usage("--endpoints: \"" + part + "\" is not HOST:PORT.");
      return std::nullopt;
    }
    out.push_back(*at);
  }
  if (out.empty()) {
    *exit = usage("--endpoints names no address.");
    return std::nullopt;
  }
  return out;
}

std::optional<Endpoint> Cli::client_address(const PeerStatus& member) {
  for (const std::string& url : member.client_urls) {
    if (std::optional<Endpoint> at = address_of(url)) {
      // a node that listens everywhere is found where its peers find it
      if (at->host == "0.0.0.0" || at->host == "::") {
        const std::optional<Endpoint> peer = address_of(member.peer_address);
        if (peer) at->host = peer->host;
      }
      return at;
    }
  }
  return std::nullopt;
}

std::optional<std::vector<PeerStatus>> Cli::members(int* exit) {
  const auto all = endpoints(exit);
  if (!all) return std::nullopt;
  ApiAnswer answer;
  for (const Endpoint& at : *all) {
    answer = client_->ask({at, "GET", "/api/v1/members", ""});
    if (answer.failure != ApiAnswer::Failure::kNone) continue;
    if (auto* result = std::get_if<MembersResult>(&answer.reply.body)) {
      return std::move(result->members);
    }
  }
  *exit = unreachable(answer, false);
  return std::nullopt;
}

std::optional<ApiAnswer> Cli::ask(const std::string& method, const std::string& path,
                                  const std::string& body, int* exit) {
  std::vector<Endpoint> targets;
  if (flags_.has("node")) {
    const std::string name = flags_.text("node");
    const auto list = members(exit);
    if (!list) return std::nullopt;
    const auto found = std::ranges::find(*list, name, &PeerStatus::name);
    if (found == list->end()) {
      std::vector<std::string> names;
      for (const PeerStatus& member : *list) names.push_back(member.name);
      *exit = usage("no member is called " + name + "; there are " + listed(names) + ".");
      return std::nullopt;
    }
    const std::optional<Endpoint> at = client_address(*found);
    if (!at) {
      *exit = usage("nobody has said yet where " + name + " takes clients; use --endpoints.");
      return std::nullopt;
    }
    targets = {*at};
  } else {
    const auto all = endpoints(exit);
    if (!all) return std::nullopt;
    targets = *all;
  }
  const bool is_write = method == "POST";
  ApiAnswer answer;
  for (const Endpoint& at : targets) {
    if (auto problem = log_in(at)) {
      answer = std::move(*problem);
    } else {
      answer = client_->ask({at, method, path, body});
    }
    // only where surely nothing was done may the next one be tried
    const bool nothing_sent =
        answer.failure == ApiAnswer::Failure::kNobody || answer.failure == ApiAnswer::Failure::kTls;
    if (!nothing_sent && answer.reply.reason != Reason::kWitness) break;
  }
  if (answer.failure == ApiAnswer::Failure::kNone) return answer;
  *exit = unreachable(answer, is_write);
  return std::nullopt;
}

std::optional<ApiAnswer> Cli::ask(RequestBody body, int* exit) {
  Request request;
  request.body = std::move(body);
  request.request_id = flags_.text("request-id");
  return ask("POST", "/api/v1/kv", net::encode_api_request(request), exit);
}

std::optional<ApiAnswer> Cli::log_in(const Endpoint& at) {
  if (logged_in_ || !flags_.has("user")) return std::nullopt;
  const std::string user = flags_.text("user");
  const std::size_t colon = user.find(':');
  Request request;
  request.body =
      AuthenticateRequest{user.substr(0, colon), flags_.has("password") ? flags_.text("password")
                                                 : colon != std::string::npos
                                                     ? user.substr(colon + 1)
                                                     : read_secret("password of " + user + ": ")};
  ApiAnswer answer = client_->ask({at, "POST", "/api/v1/kv", net::encode_api_request(request)});
  if (const auto* login = std::get_if<AuthenticateResult>(&answer.reply.body)) {
    client_->set_token(login->token);
    logged_in_ = true;
    return std::nullopt;
  }
  // Where nobody need log in, etcd's tools do without it, too.
  if (answer.reply.reason == Reason::kAuthNotEnabled) logged_in_ = true;
  return logged_in_ ? std::nullopt : std::optional(std::move(answer));
}

int Cli::unreachable(const ApiAnswer& answer, bool is_write) const {
  const std::string where = to_text(answer.at);
  Reply reply;
  ExitCode code = kExitUnreachable;
  reply.outcome = Outcome::kFailed;
  reply.reason = Reason::kUnreachable;
  switch (answer.failure) {
    case ApiAnswer::Failure::kNone:
    case ApiAnswer::Failure::kNobody:
      reply.detail = "nobody answers at " + where + " (" + answer.why +
                     "). Nothing was sent. Is a node running there? Try --endpoints=HOST:PORT.";
      break;
    case ApiAnswer::Failure::kTls:
      reply.detail = where + ": " + answer.why + ". Nothing was sent.";
      break;
    case ApiAnswer::Failure::kForeign:
      reply.detail = "what answers at " + where + " is not a Capstan node: " + answer.why + ".";
      break;
    case ApiAnswer::Failure::kSilent:
      reply.detail = "no answer from " + where + ": " + answer.why + ".";
      if (is_write) {
        reply.outcome = Outcome::kUnknown;
        reply.reason = Reason::kTimeout;
        reply.detail = "unknown: " + reply.detail +
                       " It was this command that gave up; the write may still be applied. Look "
                       "with capstan get before you repeat it, or ask by its --request-id: "
                       "capstan outcome --of-request.";
        code = kExitUnknown;
      }
      break;
  }
  if (json()) {
    const nlohmann::json object{{"v", 1},
                                {"outcome", to_text(reply.outcome)},
                                {"reason", to_text(reply.reason)},
                                {"detail", reply.detail}};
    print(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    complain(outcome_sign(reply.outcome, err_) + reply.detail);
  }
  return code;
}

// Whoever the refusing node does not reach is on another side. One that says it can serve is the
// way out; one that is silent may be; one that is down or alone as well is not. They have no more
// than a moment for it, since the refusal itself must not be late.
std::string Cli::elsewhere(const ApiAnswer& answer) {
  const ApiAnswer status = client_->ask({answer.at, "GET", "/api/v1/status", ""});
  const auto* result = std::get_if<StatusResult>(&status.reply.body);
  if (result == nullptr) return {};
  std::vector<ApiCall> calls;
  std::vector<std::string> names;
  for (const PeerStatus& peer : result->peers) {
    const std::optional<Endpoint> at = client_address(peer);
    if (peer.self || peer.reachable || peer.witness || !at) continue;
    calls.push_back({*at, "GET", "/api/v1/status", ""});
    names.push_back(peer.name);
  }
  const std::vector<ApiAnswer> theirs = ApiClient(kElsewhereWait, tls_).ask_all(calls);
  std::string silent;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    const auto* other = std::get_if<StatusResult>(&theirs[i].reply.body);
    if (other != nullptr && other->alone_for < 0)
      return "Elsewhere it works: --node " + names[i] + ". ";
    if (theirs[i].failure == ApiAnswer::Failure::kSilent && silent.empty()) silent = names[i];
  }
  return silent.empty() ? "" : "The other side may work: --node " + silent + ". ";
}

int Cli::refuse(const ApiAnswer& answer, bool is_read) {
  const Reply& reply = answer.reply;
  const ExitCode code = exit_code(reply.outcome, reply.reason);
  if (json()) {
    print(answer.json);
    return code;
  }
  std::string text = reply.detail;
  const std::string opening = reply.outcome == Outcome::kUnknown ? "unknown: " : "refused: ";
  if (text.empty()) text = std::string(to_text(reply.reason));
  if (!text.starts_with(opening)) text = opening + text;
  complain(outcome_sign(reply.outcome, err_) + text);
  if (verbose() && !answer.write_id.empty()) complain("write " + answer.write_id);
  // the way out, as far as the sentence has not said it
  const bool misses_others = reply.reason == Reason::kNoQuorum || reply.reason == Reason::kNoLeader;
  if (misses_others && text.find("--node") == std::string::npos) {
    complain(elsewhere(answer) +
             (is_read ? "What this node has: --stale." : "Old values here: capstan get --stale."));
  }
  return code;
}

}  // namespace capstan::node
