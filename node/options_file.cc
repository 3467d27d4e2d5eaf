// The configuration file. toml++ is named here alone.
#include <toml++/toml.h>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "node/options.h"

namespace capstan::node {
namespace {

// A scalar as the text a flag would have; nullopt for what no flag can be.
std::optional<std::string> scalar_text(const toml::node& value) {
  if (const auto* text = value.as_string()) return text->get();
  if (const auto* number = value.as_integer()) return std::to_string(number->get());
  if (const auto* flag = value.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

std::optional<std::string> value_text(const toml::node& value) {
  const toml::array* list = value.as_array();
  if (list == nullptr) return scalar_text(value);
  std::string out;
  for (const toml::node& one : *list) {
    const std::optional<std::string> text = scalar_text(one);
    if (!text) return std::nullopt;
    out += (out.empty() ? "" : ",") + *text;
  }
  return out;
}

std::unexpected<UsageError> wrong(const std::string& path, const std::string& sentence) {
  return std::unexpected(UsageError{path + ": " + sentence});
}

// --config=FILE or --config FILE, with one dash or two.
std::optional<std::string> named_file(std::span<const std::string> args) {
  for (std::size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    std::string_view arg = args[i];
    if (arg.starts_with("--")) arg.remove_prefix(1);
    if (arg.starts_with("-config=")) return std::string(arg.substr(8));
    if (arg == "-config" && i + 1 < args.size()) return args[i + 1];
  }
  return std::nullopt;
}

std::optional<std::string> text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

std::expected<FileSettings, UsageError> parse_config(std::span<const Option> table,
                                                     const std::string& path,
                                                     std::string_view text) {
  toml::table root;
  try {
    root = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    return wrong(path, "line " + std::to_string(error.source().begin.line) + ": " +
                           std::string(error.description()) + ".");
  }
  FileSettings out{.path = path, .values = {}};
  for (const auto& [key, value] : root) {
    const std::string name{key.str()};
    const std::string line = "line " + std::to_string(value.source().begin.line) + ": ";
    if (std::ranges::find(table, name, &Option::name) == table.end()) {
      std::vector<std::string_view> known;
      for (const Option& option : table) known.push_back(option.name);
      const auto near = nearest(name, known);
      return wrong(path, line + "no setting \"" + name + "\"" +
                             (near ? "; did you mean " + *near + "?"
                                   : "; its settings are the flags of capstan help serve."));
    }
    const std::optional<std::string> as_text = value_text(value);
    if (!as_text)
      return wrong(
          path, line + name + " wants a text, a number, true or false, or a " + "list of these.");
    out.values[name] = *as_text;
  }
  return out;
}

std::expected<FileSettings, UsageError> find_config(std::span<const Option> table,
                                                    std::span<const std::string> args,
                                                    const Environment& environment) {
  std::optional<std::string> named = named_file(args);
  if (!named) named = environment("CAPSTAN_CONFIG");
  if (named && !named->empty()) {
    const std::optional<std::string> text = text_of(*named);
    if (!text) return wrong(*named, "this configuration file cannot be read.");
    return parse_config(table, *named, *text);
  }
  std::vector<std::string> places{"./capstan.toml"};
  if (const auto home = environment("XDG_CONFIG_HOME"); home && !home->empty()) {
    places.push_back(*home + "/capstan/capstan.toml");
  }
  places.push_back("/etc/capstan/capstan.toml");
  for (const std::string& place : places) {
    if (const std::optional<std::string> text = text_of(place)) {
      return parse_config(table, place, *text);
    }
  }
  return FileSettings{};
}

std::expected<Parsed, UsageError> parse_command(std::string_view command,
                                                std::span<const std::string> args) {
  const Environment environment = process_environment();
  const auto file = find_config(option_table(), args, environment);
  if (!file) return std::unexpected(file.error());
  return parse(option_table(), command, args, environment, *file);
}

}  // namespace capstan::node
