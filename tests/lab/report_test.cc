#include "lab/report.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

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
  record.version = evil;
  for (ModeRun* run : {&record.cp, &record.ap}) run->durability = evil;
  const std::string html = report_html(record, figures_of(record));
  CHECK(html.find("<script") == std::string::npos);
  CHECK(html.find("<img") == std::string::npos);
  CHECK(html.find("&lt;script&gt;") != std::string::npos);
  CHECK(html.find('\x01') == std::string::npos);
  const auto json = nlohmann::json::parse(report_json(record, figures_of(record)));
  CHECK(json["cp"]["problems"][0] == evil);
}

// What is heard instead of a picture: its aria-label.
std::vector<std::string> pictures(const std::string& html) {
  const std::string mark = "role=\"img\" aria-label=\"";
  std::vector<std::string> labels;
  for (std::size_t at = html.find(mark); at != std::string::npos; at = html.find(mark, at + 1)) {
    const std::size_t from = at + mark.size();
    labels.push_back(html.substr(from, html.find('"', from) - from));
  }
  return labels;
}

// From `from` to the next `to` after it; empty if either is missing.
std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const std::size_t begin = text.find(from);
  const std::size_t end = begin == std::string::npos ? begin : text.find(to, begin);
  return end == std::string::npos ? "" : text.substr(begin, end - begin);
}

TEST_CASE(
    "report: the verdict comes first, then what it cost, when, what was lost, how to repeat") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  std::size_t last = 0;
  for (const char* part :
       {"<h1>", "class=\"verdict\">CP gave up n1", "What each choice cost",
        "What each node answered to writes", "Writes accepted per second", "Latency of writes",
        "Keys that differ between nodes", "Writes lost", "exercise&#39;s diagram", "What happened",
        "What clients saw", "Checks", "capstan compare --seed 7"}) {
    CAPTURE(part);
    const std::size_t at = html.find(part);
    REQUIRE(at != std::string::npos);
    CHECK(at > last);
    last = at;
  }
}

TEST_CASE("report: every plot is there for CP and then AP, the cut shaded and its sides named") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  const auto labels = pictures(html);
  const char* plots[] = {"answers to writes", "writes accepted per second", "write latency",
                         "keys that differ"};
  REQUIRE(labels.size() == 9);  // and the diagram
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(plots[i]);
    CHECK(labels[2 * i].starts_with("CP: " + std::string(plots[i])));
    CHECK(labels[2 * i + 1].starts_with("AP: " + std::string(plots[i])));
  }
  CHECK(labels[0].ends_with(
      "During the cut n1 accepted 0 of 2 writes, refused 1 and left 1 unknown; n2 and n3 accepted "
      "1 of 1."));
  CHECK(count_of(html, "<rect class=\"cut\"") == 8);
  CHECK(count_of(html, ">cut: n1 | n2 n3</text>") == 8);
  CHECK(count_of(html, ">ms</text>") == 2);
  CHECK(count_of(html, ">writes/s</text>") == 2);
  CHECK(count_of(html, ">keys</text>") == 2);
  CHECK(count_of(html, ">14 s</text>") == 8);
}

TEST_CASE("report: an answer has its own sign and colour, and a node its lane") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  const std::string cp = between(html, "aria-label=\"CP: answers", "</svg>");
  const std::string ap = between(html, "aria-label=\"AP: answers", "</svg>");
  for (const char* lane : {">n1</text>", ">n2</text>", ">n3</text>"}) {
    CHECK(cp.find(lane) != std::string::npos);
    CHECK(ap.find(lane) != std::string::npos);
  }
  // In the lane and in the legend; what did not occur in neither.
  CHECK(count_of(cp, "class=\"full ok\"") == 2);
  CHECK(count_of(cp, "class=\"refused\"") == 2);
  CHECK(count_of(cp, "class=\"sign unknown\"") == 2);
  CHECK(count_of(cp, "ok-local") == 0);
  CHECK(count_of(ap, "class=\"full ok-local\"") == 2);
  CHECK(count_of(ap, "refused\"") == 0);
  CHECK(count_of(html, "class=\"sign lost\"") == 1);  // the one in the table
}

TEST_CASE(
    "report: the line of n1's latency does not run through a cut in which it accepted nothing") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  const std::string cp = between(html, "aria-label=\"CP: write latency", "</svg>");
  CHECK(count_of(between(cp, "<path class=\"n1\"", "/>"), "M") == 2);  // before it and after it
}

TEST_CASE("report: CP and AP are drawn on one scale, that of the larger") {
  RunRecord record = small_record();
  record.ap.divergence = {{3 * kSecond, 0}, {9 * kSecond, 700}};
  const std::string html = report_html(record, figures_of(record));
  CHECK(between(html, "aria-label=\"CP: keys", "</svg>").find(">800</text>") != std::string::npos);
  CHECK(between(html, "aria-label=\"AP: keys", "</svg>").find(">800</text>") != std::string::npos);
}

TEST_CASE("report: every check says yes, no or undecided, and on what evidence") {
  RunRecord record = small_record();
  const auto checks = [&record] {
    return between(report_html(record, figures_of(record)), "<h2>Checks", "</section>");
  };
  const std::string good = checks();
  CHECK(count_of(good, "<li>") == 7);
  CHECK(count_of(good, "class=\"yes\">yes") == 6);
  CHECK(good.find("AP: is the history linearizable? <span class=\"yes\">no</span>") !=
        std::string::npos);
  CHECK(good.find("class=\"bad\"") == std::string::npos);
  CHECK(good.find("3 of 3: 1 survived, 1 superseded, 1 lost with a record") != std::string::npos);
  CHECK(good.find("3 full dumps compared, 0 keys differ") != std::string::npos);

  record.cp.history.push_back(read_at(2, "a", "v1", 8 * kSecond));
  record.ap.finals.clear();
  const std::string bad = checks();
  CHECK(bad.find("CP: is the history linearizable? <span class=\"bad\">no</span>") !=
        std::string::npos);
  CHECK(bad.find("<pre>key a: no order") != std::string::npos);
  CHECK(bad.find("AP: are all nodes equal at the end? <span class=\"bad\">undecided</span>") !=
        std::string::npos);
  CHECK(bad.find("final states are missing") != std::string::npos);
}

TEST_CASE("report: most lost writes are folded away, and the JSON is named for the rest") {
  const RunRecord record = small_record();
  Figures figures = figures_of(record);
  figures.ap.accounts.lost_writes.assign(250, record.ap.history[1]);
  const std::string html = report_html(record, figures);
  const std::string in_sight = between(html, "<h2>Writes lost", "<details>");
  CHECK(count_of(in_sight, "<code>v3</code>") == 8);
  CHECK(count_of(between(html, "<h2>Writes lost", "</section>"), "<code>v3</code>") == 200);
  CHECK(html.find("<summary>192 more</summary>") != std::string::npos);
  CHECK(html.find("50 more are in the JSON") != std::string::npos);
  CHECK(html.find("CP: no acknowledged write was lost") != std::string::npos);
}

TEST_CASE("report: the diagram's boxes carry this run's counts") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  const std::string diagram = between(html, "<svg class=\"diagram\"", "</svg>");
  for (const char* count :
       {">n1 | n2 n3 for 8.0 s<", "refused\" text-anchor=\"middle\" x=\"103\"", ">1 refused<",
        ">1 unknown<", ">1 accepted<", ">0 refused<", ">lost: CP 0, AP 1<"}) {
    CAPTURE(count);
    CHECK(diagram.find(count) != std::string::npos);
  }
}

TEST_CASE("report: the page stands alone and needs no script") {
  const RunRecord record = small_record();
  const std::string html = report_html(record, figures_of(record));
  CHECK(html.starts_with("<!doctype html>"));
  for (const char* elsewhere :
       {"src=", "href=", "url(h", "@import", "<script", "http:", "https:"}) {
    CAPTURE(elsewhere);
    CHECK(html.find(elsewhere) == std::string::npos);
  }
  CHECK(html.find("prefers-color-scheme: dark") != std::string::npos);
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
  chart.series = {{"a", "n1", {}, {{0, 0}, {1, 7}, {2, 1000}}}};
  const std::string text = svg(chart);
  CHECK(text.find("M46.0 192.0") != std::string::npos);  // the foot
  CHECK(text.find("L404.0 42.0") != std::string::npos);  // 1000 is a power of ten: the top
  CHECK(text.find(">1000<") != std::string::npos);
}

TEST_CASE("chart: a line ends at a gap and begins anew behind it") {
  Chart chart{.title = "t", .summary = "s", .unit = "ms", .seconds = 10, .gap = 1};
  chart.series = {{"a", "n1", {}, {{0, 0}, {1, 0}, {5, 0}}}};
  const std::string text = svg(chart);
  CHECK(text.find("d=\"M46.0 192.0h0L81.8 192.0M225.0 192.0h0\"") != std::string::npos);
}

TEST_CASE("chart: on the same scale, equal values stand at equal heights") {
  Chart small{.title = "s", .summary = "", .unit = "keys", .seconds = 1};
  small.series = {{"a", "n1", {}, {{0, 20}}}};
  Chart large = small;
  large.series[0].points.emplace_back(1, 800);
  const auto height = [](const Chart& chart) { return between(svg(chart), "d=\"M46.0", "h0"); };
  CHECK(height(small) != height(large));
  same_scale(small, large);
  CHECK(height(small) == height(large));
  CHECK(!height(small).empty());
}

TEST_CASE("chart: names and units of any kind are text") {
  Chart chart{.title = "<b>", .summary = "\"'", .unit = "<b>", .seconds = 1, .cut_text = "<b>"};
  chart.series = {{"<b>", "n1", {}, {{0, 1}}}};
  chart.lanes = {"<b>"};
  CHECK(count_of(svg(chart), "<b>") == 0);
  CHECK(count_of(svg(chart), "&lt;b&gt;") == 6);
  CHECK(svg(chart).find("aria-label=\"&lt;b&gt;. &quot;&#39;\"") != std::string::npos);
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
