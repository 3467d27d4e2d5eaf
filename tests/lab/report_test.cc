#include "lab/report.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "lab/plan.h"
#include "lab/svg_chart.h"
#include "lab_fixture.h"

namespace capstan::lab {
namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST_CASE("report: keys, values and sentences of a run cannot become markup") {
  const std::string evil = "</pre><script>alert('x')</script><img src=x onerror=\"y\">&\x01";
  RunRecord record = small_record();
  for (ModeRun* run : {&record.cp, &record.ap}) {
    for (Operation& op : run->history) op.key = evil;
    for (FinalState& node : run->finals) {
      node.dump[evil] = node.dump["a"];
      node.dump.erase("a");
    }
    run->history.push_back(read_at(1, evil, evil, 8 * kSecond));
    run->problems = {evil};
  }
  record.ap.conflicts[0].winner_value = evil;
  record.events.push_back({0, evil, evil});
  record.machine = evil;
  const std::string html = report_html(record, figures_of(record));
  CHECK(html.find("<script") == std::string::npos);
  CHECK(html.find("<img") == std::string::npos);
  CHECK(html.find("&lt;script&gt;") != std::string::npos);
  CHECK(html.find('\x01') == std::string::npos);
  const auto json = nlohmann::json::parse(report_json(record, figures_of(record)));
  CHECK(json["cp"]["problems"][0] == evil);
}

TEST_CASE(
    "report: the page stands alone, has every plot with a spoken summary, and says the figures") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  CHECK(html.starts_with("<!doctype html>"));
  CHECK(count_of(html, "<svg ") == 6);  // the diagram, two of writes, two of latency, one of keys
  CHECK(count_of(html, "role=\"img\" aria-label=\"") == 6);
  for (const char* elsewhere : {"src=", "href=", "url(h", "@import", "http:", "https:"}) {
    CAPTURE(elsewhere);
    CHECK(html.find(elsewhere) == std::string::npos);
  }
  CHECK(html.find("prefers-color-scheme: dark") != std::string::npos);
  CHECK(html.find("2 of n1&#39;s writes not accepted") != std::string::npos);
  CHECK(html.find("n2:1:1") != std::string::npos);  // the lost write by its id
}

TEST_CASE("report: the same record gives the same bytes") {
  const RunRecord record = small_record();
  CHECK(report_html(record, figures_of(record)) == report_html(record, figures_of(record)));
  CHECK(report_json(record, figures_of(record)) == report_json(record, figures_of(record)));
}

TEST_CASE("report: a run of the usual size stays below 400 KB") {
  RunRecord record = small_record();
  const auto plan = plan_load(record.plan);
  for (const PlannedOperation& planned : plan) {
    Operation op{.node = planned.node,
                 .kind = planned.kind,
                 .key = planned.key,
                 .value = planned.value,
                 .start = planned.at,
                 .end = planned.at + 1500,
                 .outcome = Outcome::kOk,
                 .write_id = "n1:1:" + planned.value};
    record.ap.history.push_back(op);
    record.cp.history.push_back(op);
  }
  for (Micros at = 0; at < record.ap.load_end; at += 20 * kMillisecond) {
    record.ap.divergence.push_back({at, 450});
  }
  Figures figures = figures_of(small_record());
  for (const Operation& op : record.ap.history) {
    if (figures.ap.accounts.lost_writes.size() < 1000)
      figures.ap.accounts.lost_writes.push_back(op);
  }
  CHECK(report_html(record, figures).size() < 400'000);
}

TEST_CASE("report: the JSON says verdicts, units and the evidence of what broke") {
  RunRecord record = small_record();
  record.cp.history.push_back(read_at(2, "a", "v1", 8 * kSecond));
  const auto json = nlohmann::json::parse(report_json(record, figures_of(record)));
  CHECK(json["v"] == 1);
  CHECK(json["verdict"] == "no");
  CHECK(json["exit_code"] == 1);
  CHECK(json["cp"]["checks"]["linearizable"]["verdict"] == "no");
  CHECK(json["cp"]["checks"]["linearizable"]["evidence"].get<std::string>().find("key a") !=
        std::string::npos);
  CHECK(json["ap"]["checks"]["linearizable"]["promised"] == false);
  CHECK(json["ap"]["accounts"]["lost"] == 1);
  CHECK(json["ap"]["lost_writes"][0]["winner_value"] == "v2");
  CHECK(json["cp"]["n1"]["unknown_us_max"] == 600'000);
}

TEST_CASE("report: the JSON has each side's figures under its nodes' names") {
  RunRecord record = small_record();
  record.plan.sides = {{0, 2}, {1}};
  const auto json = nlohmann::json::parse(report_json(record, figures_of(record)));
  CHECK(json["plan"]["cut"] == "n1,n3 / n2");
  REQUIRE(json["cp"].contains("n1_n3"));
  REQUIRE(json["cp"].contains("n2"));
  CHECK(json["cp"]["n1_n3"]["writes"] == 2);
  CHECK(json["cp"]["n2"]["writes"] == 1);
  CHECK(!json["cp"].contains("n1"));
  CHECK(!json["cp"].contains("n2_writes_again_after_us"));  // n2 accepted nothing after the heal
}

TEST_CASE("chart: a logarithmic axis draws zero at its foot and the largest value below its top") {
  Chart chart{.title = "t", .summary = "s", .unit = "ms", .seconds = 2, .logarithmic = true};
  chart.series = {{"a", "s1", false, {{0, 0}, {1, 7}, {2, 1000}}}};
  const std::string text = svg(chart);
  CHECK(text.find("M64.0 184.0") != std::string::npos);  // the foot
  CHECK(text.find("L708.0 26.0") != std::string::npos);  // 1000 is a power of ten: the top
  CHECK(text.find(">1000<") != std::string::npos);
}

TEST_CASE("plan: one seed gives one plan, its counts are exact and its values unique") {
  PlanOptions options;
  const auto plan = plan_load(options);
  CHECK(plan == plan_load(options));
  options.seed = 8;
  CHECK(plan != plan_load(options));
  std::map<std::pair<std::uint32_t, OpKind>, int> counts;
  std::set<std::string> values;
  Micros last = 0;
  for (const PlannedOperation& op : plan) {
    ++counts[{op.node, op.kind}];
    CHECK(op.at >= last);
    last = op.at;
    if (op.kind == OpKind::kPut) CHECK(values.insert(op.value).second);
  }
  for (std::uint32_t node = 0; node < 3; ++node) {
    CHECK(counts[{node, OpKind::kPut}] == 14 * 200);
    CHECK(counts[{node, OpKind::kGet}] == 14 * 400);
  }
}

TEST_CASE("plan: hot keys are hot only where that was asked for") {
  for (bool zipf : {false, true}) {
    PlanOptions options;
    options.zipf = zipf;
    int hottest = 0, all = 0;
    for (const PlannedOperation& op : plan_load(options)) {
      ++all;
      hottest += op.key == "k000" ? 1 : 0;
    }
    CHECK((hottest > all / 20) == zipf);
  }
}

}  // namespace
}  // namespace capstan::lab
