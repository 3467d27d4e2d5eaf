#include <nlohmann/json.hpp>

#include "lab/report.h"
#include "lab/scorecard.h"

namespace capstan::lab {
namespace {

using Json = nlohmann::ordered_json;

Json side_json(const SideFigures& side) {
  Json json{{"writes", side.writes},   {"accepted", side.accepted},
            {"refused", side.refused}, {"unknown", side.unknown},
            {"reads", side.reads},     {"reads_answered", side.reads_answered}};
  if (side.refusal_p99 >= 0) json["refusal_us_p99"] = side.refusal_p99;
  if (side.unknown_max >= 0) json["unknown_us_max"] = side.unknown_max;
  json["longest_silence_us"] = side.longest_silence;
  return json;
}

Json accounts_json(const Accounts& a) {
  return {{"acknowledged", a.acknowledged},
          {"survived", a.survived},
          {"superseded", a.superseded},
          {"merged", a.merged},
          {"lost", a.lost},
          {"expired", a.expired},
          {"unaccounted", a.unaccounted},
          {"undecided", a.undecided},
          {"unknown",
           {{"writes", a.unknown},
            {"applied", a.unknown_applied},
            {"not_applied", a.unknown_not_applied},
            {"undecided", a.unknown_undecided}}}};
}

Json check_json(Verdict verdict, const std::string& evidence, bool promised = true) {
  Json json{{"verdict", to_text(verdict)}, {"promised", promised}};
  if (!evidence.empty()) json["evidence"] = evidence;
  return json;
}

// Each lost write with the body that won, where a conflict log names it.
Json lost_json(const ModeRun& run, const Accounts& accounts) {
  Json list = Json::array();
  for (const Operation& op : accounts.lost_writes) {
    Json entry{{"id", op.write_id}, {"key", op.key}, {"value", op.value}, {"at_us", op.start}};
    for (const Conflict& conflict : run.conflicts) {
      if (conflict.loser_id != op.write_id) continue;
      entry["winner_id"] = conflict.winner_id;
      entry["winner_value"] = conflict.winner_value;
      entry["rule"] = conflict.rule;
      break;
    }
    list.push_back(std::move(entry));
  }
  return list;
}

// A side's figures stand under its nodes' names: "n1", "n2_n3".
Json mode_json(const ModeRun& run, const ModeFigures& f, const Sides& sides) {
  Json json{{"cut_at_us", run.cut_at},
            {"heal_at_us", run.heal_at},
            {"load_end_us", run.load_end},
            {"durability", run.durability},
            {"operations", run.history.size()}};
  for (const SideFigures& side : f.sides) json[names_of(side.nodes, "_")] = side_json(side);
  json["reads_during_cut"] = f.stale.reads;
  json["stale_reads_during_cut"] = f.stale.stale;
  json["keys_with_two_values"] = f.keys_with_two_values;
  json["write_us_p50"] = f.write_p50;
  json["write_us_p99"] = f.write_p99;
  json["read_us_p50"] = f.read_p50;
  json["read_us_p99"] = f.read_p99;
  if (!run.leader_at_cut.empty()) json["leader_at_cut"] = run.leader_at_cut;
  if (f.correct_after >= 0) {
    json[names_of(cut_off(sides), "_") + "_writes_again_after_us"] = f.correct_after;
  }
  if (f.equal_after >= 0) json["equal_again_after_us"] = f.equal_after;
  if (f.heal_stall >= 0) json["others_longest_silence_after_heal_us"] = f.heal_stall;
  if (f.reconcile_bytes >= 0) json["reconcile_bytes"] = f.reconcile_bytes;
  json["accounts"] = accounts_json(f.accounts);
  json["checks"] = {
      {"linearizable",
       check_json(f.linearizable.verdict, f.linearizable.counterexample, run.mode == Mode::kCp)},
      {"all_nodes_equal", check_json(f.convergence.verdict, f.convergence.detail)},
      {"every_acknowledged_write_accounted_for",
       check_json(f.accounts.verdict, f.accounts.detail)}};
  json["problems"] = run.problems;
  json["lost_writes"] = lost_json(run, f.accounts);
  Json samples = Json::array();
  for (const DivergenceSample& sample : run.divergence) {
    samples.push_back({sample.at, sample.keys});
  }
  json["differing_keys_by_us"] = std::move(samples);
  return json;
}

}  // namespace

std::string report_json(const RunRecord& record, const Figures& figures) {
  const PlanOptions& plan = record.plan;
  Json events = Json::array();
  for (const Event& event : record.events) {
    events.push_back({{"at_us", event.at}, {"who", event.who}, {"text", event.text}});
  }
  const Json json{{"v", 1},
                  {"kind", "compare"},
                  {"version", record.version},
                  {"verdict", to_text(figures.verdict)},
                  {"exit_code", exit_code(figures.verdict)},
                  {"repeat", repeat_command(plan)},
                  {"plan",
                   {{"seed", plan.seed},
                    {"nodes", plan.nodes},
                    {"keys", plan.keys},
                    {"keys_drawn", plan.zipf ? "zipf" : "uniform"},
                    {"writes_per_second_per_node", plan.writes_per_second},
                    {"reads_per_second_per_node", 2 * plan.writes_per_second},
                    {"cut_at_us", plan.cut_at},
                    {"heal_at_us", plan.heal_at},
                    {"load_end_us", plan.load_end},
                    {"cut", cut_text(plan.sides)}}},
                  {"cut_was_real", to_text(figures.cut_was_real)},
                  {"cp", mode_json(record.cp, figures.cp, plan.sides)},
                  {"ap", mode_json(record.ap, figures.ap, plan.sides)},
                  {"events", std::move(events)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace capstan::lab
