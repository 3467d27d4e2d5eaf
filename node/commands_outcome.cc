// capstan outcome: what became of a write that was answered `unknown`.
#include <string>

#include "node/cli.h"
#include "node/commands.h"

namespace capstan::node {

int outcome_command(Args args) {
  auto cli = Cli::open("outcome", args);
  if (!cli) return cli.error();
  OutcomeRequest request;
  request.of_request = cli->flags().text("of-request");
  if (cli->words().size() == 1) request.write = cli->words()[0];
  if (cli->words().size() > 1 || request.write.empty() == request.of_request.empty()) {
    return cli->usage(
        "wants the id of one write, as its answer said it: capstan outcome n1:3:1204, or "
        "--of-request=ID.");
  }
  int exit = kExitDone;
  const auto answer = cli->ask(request, &exit);
  if (!answer) return exit;
  const auto* result = std::get_if<OutcomeResult>(&answer->reply.body);
  if (result == nullptr) return cli->refuse(*answer, false);
  if (cli->json()) cli->print(answer->json);
  const bool applied = result->fate == Fate::kApplied;
  if (!cli->json()) {
    cli->print(
        applied
            ? outcome_sign(Outcome::kOk, cli->out_ink()) + "applied" +
                  (result->revision ? ", revision " + std::to_string(result->revision.value) : "")
        : result->fate == Fate::kNotApplied
            ? outcome_sign(Outcome::kFailed, cli->out_ink()) +
                  "not applied, and never will be; safe to write again"
            : outcome_sign(Outcome::kUnknown, cli->out_ink()) +
                  "too long ago to be known; look at the key");
  }
  return applied ? kExitDone : result->fate == Fate::kNotApplied ? kExitRefused : kExitUnknown;
}

}  // namespace capstan::node
