// What the commands that talk to nodes share: flags, where to ask, how to say the answer.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "node/api_client.h"
#include "node/exit_codes.h"
#include "node/options.h"
#include "node/terminal.h"

namespace capstan::node {

// One run of a command that asks nodes.
class Cli {
 public:
  // Parses; on a mistake prints the sentence and returns exit 2 through the error.
  static std::expected<Cli, int> open(std::string_view command, std::span<const std::string> args);

  const Parsed& flags() const { return flags_; }
  const std::vector<std::string>& words() const { return flags_.words; }
  bool json() const { return flags_.on("json"); }
  bool plain() const { return flags_.on("plain"); }
  bool quiet() const { return flags_.on("quiet"); }
  bool verbose() const { return flags_.on("verbose"); }
  ApiClient& client() { return *client_; }

  // Asks the member of --node, else the first of --endpoints that answers. Nullopt: nobody did, and
  // it has been said; leave with `*exit`.
  std::optional<ApiAnswer> ask(const std::string& method, const std::string& path,
                               const std::string& body, int* exit);
  // The same of /api/v1/kv, under --request-id where the command has it.
  std::optional<ApiAnswer> ask(RequestBody body, int* exit);
  // Every configured member as the first endpoint that answers knows them.
  std::optional<std::vector<PeerStatus>> members(int* exit);
  // Where a member takes clients; nullopt when it has not said.
  static std::optional<Endpoint> client_address(const PeerStatus& member);

  // The key, or with --prefix all that start with it.
  KeyRange range_of(const std::string& key) const;

  // stdout, and whether it is to be spoken at all.
  void print(const std::string& text) const;
  // stderr; not with --quiet or --json.
  void talk(const std::string& text) const;
  // stderr, always, unless --json (which says it on stdout).
  void complain(const std::string& text) const;

  // A reply that is not ok: says why and what to do. Returns the exit code.
  int refuse(const ApiAnswer& answer, bool is_read);
  // A request that nobody answered. Returns the exit code.
  int unreachable(const ApiAnswer& answer, bool is_write) const;
  int usage(const std::string& sentence) const;

  const Ink& out_ink() const { return out_; }

 private:
  Cli() = default;
  std::optional<std::vector<Endpoint>> endpoints(int* exit) const;
  // Logs in there, once, if --user says so. Nullopt: it did, or need not; else what came back.
  std::optional<ApiAnswer> log_in(const Endpoint& at);
  // The way out of a refusal for want of a quorum, as a sentence; empty: none is known.
  std::string elsewhere(const ApiAnswer& answer);

  bool logged_in_ = false;
  std::string command_;
  Parsed flags_;
  std::shared_ptr<net::TlsContext> tls_;
  std::unique_ptr<ApiClient> client_;
  Ink out_, err_;
};

}  // namespace capstan::node
