#include "node/options.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

namespace capstan::node {
namespace {

using Variables = std::map<std::string, std::string>;

Environment environment(Variables variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    if (it == variables.end()) return std::nullopt;
    return it->second;
  };
}

std::expected<Parsed, UsageError> parsed(std::string_view command, std::vector<std::string> args,
                                         Variables variables = {}) {
  return parse(option_table(), command, args, environment(std::move(variables)));
}

std::string upper(std::string_view name) {
  std::string out;
  for (const char c : name) out += c == '-' ? '_' : static_cast<char>(c >= 'a' ? c - 32 : c);
  return out;
}

std::vector<std::string> commands_of(const Option& option) {
  std::vector<std::string> out;
  std::string_view rest = option.commands;
  while (!rest.empty()) {
    out.emplace_back(rest.substr(0, rest.find(' ')));
    rest.remove_prefix(std::min(out.back().size() + 1, rest.size()));
  }
  return out;
}

// A value that every kind but its own would refuse, as far as that goes.
std::string sample(OptionKind kind) {
  switch (kind) {
    case OptionKind::kSwitch:
      return "true";
    case OptionKind::kNumber:
      return "7";
    case OptionKind::kBytes:
      return "3MiB";
    case OptionKind::kDuration:
      return "70ms";
    case OptionKind::kText:
      return "text";
  }
  return {};
}

}  // namespace

TEST_CASE("options: every one is taken with one dash, two dashes, = and a space, in all commands") {
  for (const Option& option : option_table()) {
    CAPTURE(option.name);
    for (const std::string& command : commands_of(option)) {
      const std::string name{option.name}, value = sample(option.kind);
      std::vector<std::vector<std::string>> spellings{{"--" + name + "=" + value},
                                                      {"-" + name + "=" + value}};
      if (option.kind != OptionKind::kSwitch) {
        spellings.push_back({"--" + name, value});
        spellings.push_back({"-" + name, value});
      } else {
        spellings.push_back({"--" + name});
      }
      for (const std::vector<std::string>& args : spellings) {
        const auto result = parsed(command, args);
        REQUIRE(result);
        CHECK(result->text(name) == value);
        CHECK(result->source(name) == Source::kFlag);
        CHECK(result->words.empty());
      }
    }
  }
}

TEST_CASE("options: a flag beats CAPSTAN_X, which beats ETCD_X, which beats the default") {
  for (const Option& option : option_table()) {
    CAPTURE(option.name);
    const std::string command = commands_of(option).front();
    const std::string name{option.name}, value = sample(option.kind);
    const std::string own = "CAPSTAN_" + upper(name), etcd = "ETCD_" + upper(name);
    const bool is_text = option.kind == OptionKind::kText;

    const auto by_etcd = parsed(command, {}, {{etcd, value}});
    REQUIRE(by_etcd);
    CHECK((by_etcd->source(name) == Source::kEtcdEnvironment) == option.etcd);
    const auto by_own = parsed(command, {}, {{etcd, is_text ? "theirs" : value}, {own, value}});
    REQUIRE(by_own);
    CHECK(by_own->source(name) == Source::kEnvironment);
    CHECK(by_own->text(name) == value);
    const auto by_flag = parsed(command, {"--" + name + "=" + value}, {{own, "nonsense!"}});
    if (is_text) {
      REQUIRE(by_flag);
      CHECK(by_flag->text(name) == value);
    }
    const auto by_default = parsed(command, {});
    REQUIRE(by_default);
    CHECK(by_default->text(name) == option.fallback);
    CHECK(!by_default->has(name));
  }
}

TEST_CASE("options: no name stands twice for one command") {
  std::set<std::pair<std::string, std::string>> seen;
  for (const Option& option : option_table()) {
    CHECK(!option.help.empty());
    for (const std::string& command : commands_of(option)) {
      CHECK(seen.emplace(command, std::string(option.name)).second);
    }
  }
}

TEST_CASE("options: mistakes get a sentence that says what was meant") {
  struct Row {
    const char* command;
    std::vector<std::string> args;
    Variables variables;
    const char* sentence;
  };
  const Row rows[] = {
      {"serve", {"--nmae=n1"}, {}, "no flag --nmae; did you mean --name?"},
      {"serve", {"-nmae=n1"}, {}, "no flag -nmae; did you mean --name?"},
      {"serve",
       {"--initial-clutser", "x"},
       {},
       "no flag --initial-clutser; did you mean --initial-cluster?"},
      {"put", {"a", "b", "--xyzzy"}, {}, "no flag --xyzzy; see capstan help put."},
      {"put", {"a", "b", "--prefix"}, {}, "--prefix is a flag of get, del, role, not of put."},
      {"get", {"a", "--limit=many"}, {}, "--limit=many is not a number."},
      {"get", {"a", "--limit"}, {}, "--limit needs a value: --limit=N"},
      {"serve",
       {"--heartbeat-interval=soon"},
       {},
       "--heartbeat-interval=soon is not a time such as 250ms, 60s or 2m."},
      {"serve",
       {"--wal-segment-bytes=4 miles"},
       {},
       "--wal-segment-bytes=4 miles is not a size such as 65536, 64KiB or 4MiB."},
      {"serve", {"--lab=perhaps"}, {}, "--lab=perhaps is not true or false."},
      {"serve",
       {},
       {{"CAPSTAN_ELECTION_TIMEOUT", "x"}},
       "CAPSTAN_ELECTION_TIMEOUT=x is not a time such as 250ms, 60s or 2m."},
  };
  for (const Row& row : rows) {
    const auto result = parsed(row.command, row.args, row.variables);
    REQUIRE(!result);
    CHECK(result.error().sentence == row.sentence);
  }
}

TEST_CASE("options: the file speaks after flags and environment, before the default") {
  const auto file = parse_config(option_table(), "capstan.toml",
                                 "mode = \"ap\"\nname = \"n1\"\njoin = [\"h1\", \"h2:99\"]\n"
                                 "election-timeout = 500\nlab = true\nlimit = 3\n");
  REQUIRE(file);
  const auto run = [&](std::vector<std::string> args, Variables variables) {
    return parse(option_table(), "serve", args, environment(std::move(variables)), *file);
  };
  const auto result = run({"--name=n2"}, {{"ETCD_ELECTION_TIMEOUT", "700"}});
  REQUIRE(result);
  CHECK(result->text("name") == "n2");
  CHECK(result->text("mode") == "ap");
  CHECK(result->source("mode") == Source::kFile);
  CHECK(result->text("join") == "h1,h2:99");
  CHECK(result->micros("election-timeout") == 700'000);
  CHECK(result->on("lab"));
  CHECK(!result->has("limit"));  // another command's
  CHECK(run({}, {})->micros("election-timeout") == 500'000);
}

TEST_CASE("options: mistakes in the file name the file, the line and the way out") {
  const auto sentence = [](const char* text) {
    const auto file = parse_config(option_table(), "c.toml", text);
    REQUIRE(!file);
    return file.error().sentence;
  };
  CHECK(sentence("mode = \"cp\"\nnmae = \"n1\"") ==
        "c.toml: line 2: no setting \"nmae\"; did you mean name?");
  CHECK(sentence("[serve]\nname = \"n1\"").starts_with("c.toml: line 1: no setting \"serve\""));
  CHECK(sentence("name = 2020-01-01").starts_with("c.toml: line 1: name wants a text"));
  CHECK(sentence("name = ").starts_with("c.toml: line 1: "));
  const auto file = parse_config(option_table(), "c.toml", "heartbeat-interval = \"soon\"");
  REQUIRE(file);
  const auto result = parse(option_table(), "serve", {}, environment({}), *file);
  REQUIRE(!result);
  CHECK(result.error().sentence ==
        "c.toml: heartbeat-interval=soon is not a time such as 250ms, 60s or 2m.");
}

TEST_CASE("options: words, negative numbers, a lone dash and what follows -- are not flags") {
  const auto result = parsed("put", {"--json", "key", "-5", "-", "-q", "--", "--json", "-x"});
  REQUIRE(result);
  CHECK(result->words == std::vector<std::string>{"key", "-5", "-", "--json", "-x"});
  CHECK(result->on("json"));
  CHECK(result->on("quiet"));
  CHECK(!result->on("verbose"));
}

TEST_CASE("options: times and sizes are read with their units") {
  CHECK(parse_duration("50", 1'000) == 50'000);
  CHECK(parse_duration("60", 1'000'000) == 60'000'000);
  CHECK(parse_duration("1.5m", 1) == 90'000'000);
  CHECK(parse_duration("250 ms", 1) == 250'000);
  CHECK(parse_duration("2h", 1) == 7'200'000'000);
  CHECK(!parse_duration("-1s", 1));
  CHECK(!parse_duration("", 1));
  CHECK(!parse_duration("1e300", 1'000));
  CHECK(!parse_duration("5 parsecs", 1));
  CHECK(parse_bytes("65536") == 65536);
  CHECK(parse_bytes("4MiB") == 4 << 20);
  CHECK(parse_bytes("4 mb") == 4 << 20);
  CHECK(parse_bytes("1g") == 1 << 30);
  CHECK(!parse_bytes("nan"));
  CHECK(!parse_bytes("4 miles"));
}

TEST_CASE("options: a typing error finds its word, a different word finds none") {
  constexpr std::string_view known[] = {"serve", "status", "put", "get"};
  CHECK(nearest("srve", known) == "serve");
  CHECK(nearest("sevre", known) == "serve");
  CHECK(nearest("stats", known) == "status");
  CHECK(nearest("gte", known) == "get");
  CHECK(!nearest("banana", known));
  CHECK(!nearest("", known));
}

TEST_CASE("options: help fits 80 columns and names every flag of its command") {
  for (const char* command : {"serve", "put", "get", "del", "compact", "lease", "status", "members",
                              "auth", "user", "role", "outcome", "lab"}) {
    CAPTURE(command);
    const std::string text = options_help(option_table(), command);
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      CHECK(end - begin <= 80);
    }
    for (const Option& option : option_table()) {
      bool takes = false;
      for (const std::string& of : commands_of(option)) takes = takes || of == command;
      const std::string flag = "  --" + std::string(option.name);
      const bool named =
          text.find(flag + " ") != std::string::npos || text.find(flag + "=") != std::string::npos;
      CHECK(named == takes);
    }
  }
}

}  // namespace capstan::node
