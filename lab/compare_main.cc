#include <sys/utsname.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "lab/commands.h"
#include "lab/comparison.h"
#include "lab/report.h"
#include "lab/scorecard.h"
#include "node/exit_codes.h"
#include "node/options.h"

namespace capstan::lab {
namespace {

using node::Option;
using node::OptionKind;

constexpr Option kOptions[] = {
    {"seed", OptionKind::kNumber, "N", "7", "", "decides the load: keys, moments, everything drawn",
     "compare"},
    {"quick", OptionKind::kSwitch, "", "", "", "about 6 s instead of about 20", "compare"},
    {"rate", OptionKind::kNumber, "N", "200", "",
     "writes per second through every node, and twice as many reads", "compare"},
    {"nodes", OptionKind::kNumber, "N", "3", "", "how many nodes of each mode, 3 to 7", "compare"},
    {"cut", OptionKind::kText, "SIDES", "", "",
     "who hears whom: n1,n2/n3,n4/n5; without it n1 is cut off alone", "compare"},
    {"keys", OptionKind::kNumber, "N", "500", "", "how many keys are written and read", "compare"},
    {"zipf", OptionKind::kSwitch, "", "", "", "some keys far hotter than others", "compare"},
    {"durability", OptionKind::kText, "sync|interval|none", "sync", "",
     "what stands behind an acknowledged write, in both modes alike", "compare"},
    {"out", OptionKind::kText, "DIR", "out", "", "where compare-SEED.json and .html go", "compare"},
    {"history", OptionKind::kSwitch, "", "", "",
     "also write every recorded operation, one JSON object a line", "compare"},
    {"json", OptionKind::kSwitch, "", "", "", "print the JSON, and the story on stderr", "compare"},
};

struct Settings {
  PlanOptions plan;
  std::string durability;
  std::string out;
  bool json = false;
  bool history = false;
};

std::expected<Settings, node::UsageError> settings_of(std::span<const std::string> args) {
  const auto parsed = node::parse(kOptions, "compare", args, node::process_environment());
  if (!parsed) return std::unexpected(parsed.error());
  const auto wrong = [](std::string sentence) {
    return std::unexpected(node::UsageError{std::move(sentence)});
  };
  if (!parsed->words.empty()) return wrong("compare takes no words: " + parsed->words.front());
  const auto between = [&](const char* name, std::int64_t low, std::int64_t high) {
    return parsed->number(name) >= low && parsed->number(name) <= high;
  };
  if (!between("seed", 0, INT64_MAX)) return wrong("--seed counts from 0.");
  if (!between("rate", 1, 20'000)) return wrong("--rate is from 1 to 20000 writes a second.");
  if (!between("keys", 1, 10'000)) return wrong("--keys is from 1 to 10000.");
  if (!between("nodes", 3, 7)) return wrong("--nodes is from 3 to 7.");
  Settings settings;
  settings.durability = parsed->text("durability");
  if (settings.durability != "sync" && settings.durability != "interval" &&
      settings.durability != "none") {
    return wrong("--durability is sync, interval or none.");
  }
  settings.plan.seed = static_cast<std::uint64_t>(parsed->number("seed"));
  settings.plan.writes_per_second = static_cast<std::uint32_t>(parsed->number("rate"));
  settings.plan.nodes = static_cast<std::uint32_t>(parsed->number("nodes"));
  settings.plan.sides = first_alone(settings.plan.nodes);
  if (parsed->has("cut")) {
    auto sides = parse_sides(parsed->text("cut"), settings.plan.nodes);
    if (!sides) return wrong("--cut: " + sides.error().context);
    settings.plan.sides = std::move(*sides);
  }
  settings.plan.keys = static_cast<std::uint32_t>(parsed->number("keys"));
  settings.plan.zipf = parsed->on("zipf");
  if (parsed->on("quick")) settings.plan = quick(settings.plan);
  settings.out = parsed->text("out");
  settings.json = parsed->on("json");
  settings.history = parsed->on("history");
  return settings;
}

void print(std::FILE* stream, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

// Empty when it worked, else a sentence.
std::string write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file ? "" : "cannot write " + path;
}

// The page's plots and its diagram tell the story of n1 against n2 and n3 and of no other cut.
bool has_page(const PlanOptions& plan) { return plan.sides == PlanOptions{}.sides; }

std::string write_reports(const Settings& settings, const RunRecord& record,
                          const Figures& figures) {
  std::error_code error;
  std::filesystem::create_directories(settings.out, error);
  if (error) return "cannot make " + settings.out + ": " + error.message();
  const std::string stem = settings.out + "/compare-" + std::to_string(settings.plan.seed);
  std::string failure = write_file(stem + ".json", report_json(record, figures));
  if (!has_page(settings.plan)) {
    std::filesystem::remove(stem + ".html", error);  // of an earlier run with this seed
  } else if (failure.empty()) {
    failure = write_file(stem + ".html", report_html(record, figures));
  }
  if (settings.history && failure.empty()) {
    failure = write_file(stem + ".cp.jsonl", to_jsonl(record.cp.history));
    if (failure.empty()) failure = write_file(stem + ".ap.jsonl", to_jsonl(record.ap.history));
  }
  return failure;
}

// "2 cores, Linux 6.1.0"
std::string machine_text() {
  utsname name;
  if (uname(&name) != 0) return "";
  return std::to_string(std::thread::hardware_concurrency()) + " cores, " + name.sysname + ' ' +
         name.release;
}

std::string where_to_look(const Settings& settings) {
  const std::string stem = settings.out + "/compare-" + std::to_string(settings.plan.seed);
  std::string text;
  if (has_page(settings.plan)) text = "report   " + stem + ".html\n";
  return text + "numbers  " + stem + ".json\nagain    " + repeat_command(settings.plan) + '\n';
}

}  // namespace

std::string compare_help() {
  return "capstan compare [FLAGS]\n\n"
         "Starts three CP and three AP nodes, six processes on this machine, drives the\n"
         "same load through all of them, cuts n1 from n2 and n3, heals, checks what\n"
         "clients were told and prints what each choice cost. Ends by itself; leaves a\n"
         "report in out/ and nothing else. Other clusters and cuts by --nodes and --cut;\n"
         "the page is drawn for the usual cut only, the numbers are written for all.\n\n"
         "  capstan compare                 about 20 s\n"
         "  capstan compare --quick         about 6 s\n"
         "  capstan compare --seed 8 --json\n"
         "  capstan compare --nodes 5 --cut n1,n2/n3,n4/n5\n\n"
         "Exit code: 0 all checks hold, 1 one broke, 5 one could not be decided.\n\n" +
         node::options_help(kOptions, "compare");
}

int compare_main(std::span<const std::string> args) {
  const auto settings = settings_of(args);
  if (!settings) {
    print(stderr, "capstan compare: " + settings.error().sentence + '\n');
    return node::kExitUsage;
  }
  std::FILE* story = settings->json ? stderr : stdout;
  const std::string nodes = std::to_string(settings->plan.nodes);
  print(story, "compare    " + nodes + " CP + " + nodes + " AP nodes, " +
                   std::to_string(2 * settings->plan.nodes) + " processes, seed " +
                   std::to_string(settings->plan.seed) + ", about " +
                   (settings->plan.load_end > 10 * kSecond ? "20 s" : "6 s") + "\n\n");
  std::error_code error;
  ComparisonOptions options;
  options.plan = settings->plan;
  options.executable = std::filesystem::read_symlink("/proc/self/exe", error).string();
  options.on_event = [story](const Event& event) { print(story, event_line(event)); };
  options.serve_flags = {"--durability=" + settings->durability};
  ComparisonResult result = run_comparison(options);
  result.record.machine = machine_text();
  if (result.end == ComparisonEnd::kInterrupted) {
    print(stderr, "interrupted; nothing is left running\n");
    return node::kExitInterrupted;
  }
  if (result.end == ComparisonEnd::kFailed) {
    print(stderr, "capstan compare: could not run: " + result.failure + '\n');
    return node::kExitUnknown;
  }
  const Figures figures = figures_of(result.record);
  const std::string failure = write_reports(*settings, result.record, figures);
  if (settings->json) {
    print(stdout, report_json(result.record, figures));
  } else {
    print(stdout, '\n' + scorecard(result.record, figures) + '\n');
    if (failure.empty()) print(stdout, where_to_look(*settings));
  }
  if (!failure.empty()) print(stderr, failure + '\n');
  return exit_code(figures.verdict);
}

}  // namespace capstan::lab
