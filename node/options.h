// One table of options drives the parser, the help text and the environment names.
//
// A flag may be written with one dash or two, with `=` or a space, anywhere among the words; `--`
// ends the flags. What a flag does not say, the environment may (CAPSTAN_X, then ETCD_X), then the
// file (capstan.toml), then the default: the first that speaks wins.
//
// CLI11 is not used: its environment yields to its file, a single dash means a bundle of letters
// there, and a typing error gets neither a suggestion nor exit 2.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace capstan::node {

enum class OptionKind { kSwitch, kText, kNumber, kBytes, kDuration };

struct Option {
  std::string_view name;  // without dashes
  OptionKind kind = OptionKind::kText;
  std::string_view value;     // what stands for the value in help: "HOST[:PORT]"
  std::string_view fallback;  // the default as text; empty: none
  std::string_view unit;      // of a bare number: "ms"; empty: none
  std::string_view help;
  std::string_view commands;  // who takes it, by spaces: "serve", "put get del"
  bool etcd = false;          // etcd has it under the same name, so ETCD_X speaks as well
};

// Every option of every command that node/ owns.
std::span<const Option> option_table();

enum class Source { kDefault, kFile, kEtcdEnvironment, kEnvironment, kFlag };

struct Setting {
  std::string value;
  Source source = Source::kDefault;
};

class Parsed {
 public:
  std::vector<std::string> words;  // what is not a flag, in order

  bool has(std::string_view name) const;  // set by more than its default
  bool on(std::string_view name) const;   // a switch
  std::string text(std::string_view name) const;
  std::int64_t number(std::string_view name) const;  // checked by parse()
  std::int64_t micros(std::string_view name) const;  // "60s", "250ms", "1m"; a bare number: unit
  Source source(std::string_view name) const;

  std::map<std::string, Setting, std::less<>> settings;
  std::map<std::string, std::int64_t, std::less<>> numbers;
};

// What was wrong, as a sentence for people: `no flag --nmae; did you mean --name?`. Exit 2.
struct UsageError {
  std::string sentence;
};
template <class T>
using Checked = std::expected<T, UsageError>;
inline std::unexpected<UsageError> wrong(std::string sentence) {
  return std::unexpected(UsageError{std::move(sentence)});
}

using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// What a configuration file says: flags without dashes, and their values as text.
struct FileSettings {
  std::string path;
  std::map<std::string, std::string, std::less<>> values;
};
// Reads TOML: top-level keys only; an array is a list joined by commas. Keys that are no flag of
// any command are errors with a suggestion.
std::expected<FileSettings, UsageError> parse_config(std::span<const Option> table,
                                                     const std::string& path,
                                                     std::string_view text);
// The file of this run: --config among `args`, else the first of ./capstan.toml,
// $XDG_CONFIG_HOME/capstan/capstan.toml and /etc/capstan/capstan.toml that exists, else nothing.
std::expected<FileSettings, UsageError> find_config(std::span<const Option> table,
                                                    std::span<const std::string> args,
                                                    const Environment& environment);

// `args` without program and command. `table`: the whole one, or the lab's own.
std::expected<Parsed, UsageError> parse(std::span<const Option> table, std::string_view command,
                                        std::span<const std::string> args,
                                        const Environment& environment,
                                        const FileSettings& file = {});
// The same with the whole table, this process's environment and its configuration file.
std::expected<Parsed, UsageError> parse_command(std::string_view command,
                                                std::span<const std::string> args);

// The rows of one command, wrapped at 80 columns.
std::string options_help(std::span<const Option> table, std::string_view command);

// The nearest of `known` to a mistyped word, if it is near enough to be meant.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string_view> known);

// "1536", "64KiB", "4 MiB", "1g" -> bytes.
std::optional<std::int64_t> parse_bytes(std::string_view text);
// "60s", "250ms", "1.5m", "2h"; a bare number counts `unit_micros`. -> microseconds.
std::optional<std::int64_t> parse_duration(std::string_view text, std::int64_t unit_micros);

}  // namespace capstan::node
