// capstan status, lab.
#include <algorithm>
#include <set>
#include <string>

#include "net/faults.h"
#include "net/json_api.h"
#include "node/cli.h"
#include "node/commands.h"
#include "node/status_table.h"

namespace capstan::node {
namespace {

std::string short_failure(const ApiAnswer& answer) {
  switch (answer.failure) {
    case ApiAnswer::Failure::kNobody:
      return "nobody there";
    case ApiAnswer::Failure::kForeign:
      return "not Capstan";
    case ApiAnswer::Failure::kTls:
      return "no TLS";
    default:
      return "no answer";
  }
}

// Every member of the cluster, each asked at its own address.
struct Asked {
  PeerStatus member;
  std::optional<Endpoint> at;
  ApiAnswer answer;
};

std::vector<Asked> ask_everyone(Cli& cli, const std::vector<PeerStatus>& members,
                                const std::string& method, const std::string& path,
                                const std::vector<std::string>& bodies) {
  std::vector<Asked> out;
  std::vector<ApiCall> calls;
  std::vector<std::size_t> whose;
  for (std::size_t i = 0; i < members.size(); ++i) {
    out.push_back({members[i], Cli::client_address(members[i]), {}});
    out.back().answer.failure = ApiAnswer::Failure::kNobody;
    if (!out.back().at) continue;
    calls.push_back({*out.back().at, method, path, bodies.empty() ? "" : bodies[i]});
    whose.push_back(i);
  }
  std::vector<ApiAnswer> answers = cli.client().ask_all(calls);
  for (std::size_t i = 0; i < answers.size(); ++i) out[whose[i]].answer = std::move(answers[i]);
  return out;
}

}  // namespace

int status_command(Args args) {
  auto cli = Cli::open("status", args);
  if (!cli) return cli.error();
  if (!cli->words().empty()) return cli->usage("takes no words; --node=NAME asks one node only.");
  int exit = kExitDone;
  if (cli->flags().has("node")) {
    const auto answer = cli->ask("GET", "/api/v1/status", "", &exit);
    if (!answer) return exit;
    if (cli->json()) {
      cli->print(answer->json);
      return kExitDone;
    }
    NodeView view{cli->flags().text("node"), to_text(answer->at), {}, ""};
    if (const auto* status = std::get_if<StatusResult>(&answer->reply.body)) view.status = *status;
    cli->print(cli->plain() ? status_plain({view}) : status_table({view}));
    return kExitDone;
  }
  const auto members = cli->members(&exit);
  if (!members) return exit;
  const std::vector<Asked> asked = ask_everyone(*cli, *members, "GET", "/api/v1/status", {});
  std::vector<NodeView> views;
  std::string json;
  for (const Asked& one : asked) {
    NodeView view{one.member.name, one.at ? to_text(*one.at) : "", {}, ""};
    const auto* status = std::get_if<StatusResult>(&one.answer.reply.body);
    if (one.answer.failure == ApiAnswer::Failure::kNone && status != nullptr) {
      view.status = *status;
      json += (json.empty() ? "" : ",") + one.answer.json;
    } else {
      view.why = one.at ? short_failure(one.answer) : "address unknown";
    }
    views.push_back(std::move(view));
  }
  if (cli->json()) {
    cli->print(R"({"v":1,"outcome":"ok","nodes":[)" + json + "]}");
  } else {
    cli->print(cli->plain() ? status_plain(views) : status_table(views));
  }
  return kExitDone;
}

// ---- lab ----------------------------------------------------------------------------------------

namespace {

struct Plan {
  std::vector<net::LabCommand> commands;  // one a member
  std::vector<std::string> notes;
};

std::expected<Plan, std::string> plan_cut(const Cli& cli, const std::string& verb,
                                          const std::vector<PeerStatus>& members) {
  std::vector<std::string> names;
  for (const PeerStatus& member : members) names.push_back(member.name);
  std::string text;
  for (std::size_t i = 1; i < cli.words().size(); ++i) text += cli.words()[i] + " ";
  const Result<net::Cut> cut =
      verb == "cut" ? net::parse_cut(text, names) : net::parse_oneway(text, names);
  if (!cut) return std::unexpected(cut.error().context);
  Plan plan{.commands = {}, .notes = cut->notes};
  for (const std::string& name : names) {
    net::LabCommand command;
    command.kind = net::LabCommand::Kind::kDrop;
    command.for_micros = cli.flags().micros("for");
    for (const net::NamedFault& fault : net::faults_of(*cut, name)) {
      command.drops.push_back({fault.peer, fault.drop_in, fault.drop_out});
    }
    plan.commands.push_back(std::move(command));
  }
  return plan;
}

std::string describe_faults(const std::string& name, const std::vector<net::LabFault>& faults) {
  if (faults.empty()) return name + "  drops nothing\n";
  std::string out;
  for (const net::LabFault& fault : faults) {
    out += name + "  drops frames " +
           (fault.in && fault.out ? "from and to "
            : fault.in            ? "from "
                                  : "to ") +
           fault.peer + ", " + duration_text(fault.remaining) + " left\n";
  }
  return out;
}

}  // namespace

int lab_command(Args args) {
  auto cli = Cli::open("lab", args);
  if (!cli) return cli.error();
  const std::string verb = cli->words().empty() ? "" : cli->words()[0];
  static constexpr std::string_view kVerbs[] = {"cut", "oneway", "heal", "show"};
  if (std::ranges::find(kVerbs, verb) == std::end(kVerbs)) {
    const auto near = nearest(verb, kVerbs);
    return cli->usage(
        (verb.empty() ? "wants a verb" : "no verb \"" + verb + "\"") +
        (near ? "; did you mean " + *near + "?" : ": cut n1 / n2,n3; oneway n1 n2; heal; show."));
  }
  int exit = kExitDone;
  const auto members = cli->members(&exit);
  if (!members) return exit;

  Plan plan;
  if (verb == "cut" || verb == "oneway") {
    if (cli->flags().micros("for") <= 0) return cli->usage("--for must be more than nothing.");
    auto made = plan_cut(*cli, verb, *members);
    if (!made) return cli->usage(made.error());
    plan = std::move(*made);
  } else {
    net::LabCommand command;
    command.kind = verb == "heal" ? net::LabCommand::Kind::kHeal : net::LabCommand::Kind::kShow;
    plan.commands.assign(members->size(), command);
  }
  std::vector<std::string> bodies;
  for (const net::LabCommand& command : plan.commands) {
    bodies.push_back(net::encode_api_lab_command(command));
  }
  const std::vector<Asked> asked = ask_everyone(*cli, *members, "POST", "/api/v1/lab", bodies);

  std::string shown, json;
  int missing = 0;
  for (const Asked& one : asked) {
    if (one.answer.failure != ApiAnswer::Failure::kNone) {
      ++missing;
      cli->complain("note: " + one.member.name + " was not told: " +
                    (one.at ? short_failure(one.answer) : "its client address is unknown") + ".");
      continue;
    }
    if (one.answer.reply.outcome == Outcome::kFailed) return cli->refuse(one.answer, false);
    json += (json.empty() ? "" : ",") + one.answer.json;
    shown += describe_faults(one.member.name, one.answer.lab.faults);
  }
  if (missing == static_cast<int>(asked.size())) return cli->unreachable(asked[0].answer, false);
  for (const std::string& note : plan.notes) cli->complain("note: " + note);
  if (cli->json()) {
    cli->print(R"({"v":1,"outcome":"ok","nodes":[)" + json + "]}");
  } else if (verb == "show") {
    cli->print(shown);
  } else if (verb == "heal") {
    cli->talk("healed: no frames are dropped any more");
  } else {
    cli->talk("cut for " + duration_text(cli->flags().micros("for")) +
              ", then it heals by itself; sooner: capstan lab heal");
  }
  return kExitDone;
}

}  // namespace capstan::node
