// capstan members list, add, remove, promote, update, move-leader.
#include <algorithm>
#include <iostream>
#include <string>

#include "node/cli.h"
#include "node/commands.h"

namespace capstan::node {
namespace {

using Action = MemberChangeRequest::Action;

std::string called(const PeerStatus& member) {
  return member.name.empty() ? id_text(member.id) : member.name;
}

int list(Cli& cli) {
  int exit = kExitDone;
  if (cli.json()) {
    const auto answer = cli.ask("GET", "/api/v1/members", "", &exit);
    if (answer) cli.print(answer->json);
    return exit;
  }
  const auto members = cli.members(&exit);
  if (!members) return exit;
  std::size_t width = 4;
  for (const PeerStatus& member : *members) width = std::max(width, called(member).size());
  std::string out;
  if (!cli.plain()) {
    out = "NAME" + std::string(width - 2, ' ') + "PEERS                   CLIENTS\n";
  }
  for (const PeerStatus& member : *members) {
    std::string clients;
    for (const std::string& url : member.client_urls) clients += (clients.empty() ? "" : ",") + url;
    const std::string name = called(member);
    if (cli.plain()) {
      out += name + "\t" + member.peer_address + "\t" + clients + "\n";
      continue;
    }
    std::string peer = member.peer_address;
    peer.resize(std::max<std::size_t>(peer.size(), 22), ' ');
    out += name + std::string(width + 2 - name.size(), ' ') + peer + "  " +
           (clients.empty() ? "not heard of yet" : clients) +
           (member.learner   ? "  (does not vote)"
            : member.witness ? "  (witness: votes, holds no data)"
                             : "") +
           "\n";
  }
  cli.print(out);
  return kExitDone;
}

// HOST:PORT, or a URL as etcd's tools write it.
std::string peer_of(std::string text) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (text.starts_with(scheme)) text.erase(0, scheme.size());
  }
  return text;
}

// By its name or its id.
std::optional<PeerStatus> find(Cli& cli, const std::string& word, int* exit) {
  const auto members = cli.members(exit);
  if (!members) return std::nullopt;
  const std::optional<std::int64_t> id = id_of_text(word);
  std::string known;
  for (const PeerStatus& member : *members) {
    if (member.name == word) return member;
    if (id && member.id.value == static_cast<std::uint64_t>(*id)) return member;
    known += (known.empty() ? "" : ", ") + called(member);
  }
  cli.complain("no member is called " + word + "; there are " + known + ".");
  *exit = kExitNotFound;
  return std::nullopt;
}

int carry_out(Cli& cli, RequestBody body, const std::string& done) {
  int exit = kExitDone;
  const auto answer = cli.ask(std::move(body), &exit);
  if (!answer) return exit;
  if (answer->reply.outcome != Outcome::kOk) return cli.refuse(*answer, false);
  if (cli.json()) {
    cli.print(answer->json);
  } else {
    cli.print(outcome_sign(answer->reply.outcome, cli.out_ink()) + done);
  }
  return kExitDone;
}

int add(Cli& cli, const std::string& address) {
  const bool learner = cli.flags().on("learner"), witness = cli.flags().on("as-witness");
  MemberChangeRequest request{.action = Action::kAdd, .member = {}, .peer = peer_of(address)};
  request.learner = learner;
  request.witness = witness;
  return carry_out(
      cli, request,
      "added: the " + std::string(witness ? "witness" : "member") + " at " + request.peer +
          (learner ? " learns; promote it when it is there" : " votes once it is in step") +
          ". Start it: capstan serve --name=NAME " + (witness ? "--witness=NAME " : "") +
          "--initial-cluster-state=existing ...");
}

// What is removed does not come back: its id is not used again.
bool confirmed(const Cli& cli, const PeerStatus& member) {
  const std::string name = called(member);
  if (cli.flags().has("confirm")) return cli.flags().text("confirm") == name;
  if (!cli.out_ink().terminal || cli.json()) return false;
  cli.talk("This removes " + name + " for good. Type its name to go on:");
  std::string typed;
  return std::getline(std::cin, typed) && typed == name;
}

int remove(Cli& cli, const PeerStatus& member) {
  if (!confirmed(cli, member)) {
    return cli.usage("remove is for good: say --confirm=" + called(member) + ". Nothing changed.");
  }
  return carry_out(cli, MemberChangeRequest{.action = Action::kRemove, .member = member.id},
                   "removed " + called(member) + "; stop it, if it still runs");
}

}  // namespace

int members_command(Args args) {
  auto cli = Cli::open("members", args);
  if (!cli) return cli.error();
  const std::vector<std::string>& words = cli->words();
  const std::string verb = words.empty() ? "list" : words[0];
  if (verb == "list" && words.size() <= 1) return list(*cli);
  if (verb == "add" && words.size() == 2) return add(*cli, words[1]);
  const std::size_t wanted = verb == "update" ? 3 : 2;
  const bool knows = verb == "remove" || verb == "promote" || verb == "update" || verb == "lead";
  if (!knows || words.size() != wanted) {
    return cli->usage(
        "knows: list, add HOST:PORT, remove NAME, promote NAME, update NAME HOST:PORT, lead NAME.");
  }
  int exit = kExitDone;
  const auto member = find(*cli, words[1], &exit);
  if (!member) return exit;
  if (verb == "remove") return remove(*cli, *member);
  if (verb == "lead") {
    return carry_out(*cli, MoveLeaderRequest{member->id}, called(*member) + " leads");
  }
  MemberChangeRequest request{.action = Action::kPromote, .member = member->id};
  if (verb == "promote") return carry_out(*cli, request, called(*member) + " votes");
  request.action = Action::kUpdate;
  request.peer = peer_of(words[2]);
  return carry_out(*cli, request, called(*member) + " is at " + request.peer);
}

}  // namespace capstan::node
