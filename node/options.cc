#include "node/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "core/check.h"

namespace capstan::node {
namespace {

constexpr std::string_view kTalk =
    "put get del compact lease outcome status members auth user role lab";
constexpr std::string_view kLogIn = "put get del compact lease outcome members auth user role";

constexpr Option kOptions[] = {
    // serve
    {"mode", OptionKind::kText, "cp|ap", "", "",
     "cp: consistent, refuses what it cannot guarantee; ap: available, merges after a cut",
     "serve"},
    {"listen", OptionKind::kText, "HOST[:PORT]", "", "",
     "where clients connect (port 2379); members use the port above", "serve"},
    {"join", OptionKind::kText, "[NAME=]HOST[:PORT],...", "", "",
     "client addresses of every member, itself included, the same text on every node; or of "
     "members "
     "of a cluster that is there, to join it (cp)",
     "serve"},
    {"name", OptionKind::kText, "NAME", "", "", "this node's name in the list", "serve", true},
    {"data-dir", OptionKind::kText, "DIR", "", "", "where the data live (default: ./NAME.capstan)",
     "serve", true},
    {"durability", OptionKind::kText, "sync|interval|none", "sync", "",
     "what stands behind an acknowledged write on each node", "serve"},
    {"lab", OptionKind::kSwitch, "", "", "", "allow `capstan lab` to drop this node's frames",
     "serve"},
    {"listen-client-urls", OptionKind::kText, "URL,...", "http://127.0.0.1:2379", "",
     "as etcd's; --listen is the short form", "serve", true},
    {"advertise-client-urls", OptionKind::kText, "URL,...", "", "",
     "as etcd's (default: the listen URLs)", "serve", true},
    {"listen-peer-urls", OptionKind::kText, "URL,...", "http://127.0.0.1:2380", "", "as etcd's",
     "serve", true},
    {"initial-advertise-peer-urls", OptionKind::kText, "URL,...", "", "",
     "as etcd's (default: the listen URLs)", "serve", true},
    {"initial-cluster", OptionKind::kText, "NAME=URL,...", "", "",
     "as etcd's; --join is the short form", "serve", true},
    {"initial-cluster-token", OptionKind::kText, "TEXT", "capstan", "",
     "tells clusters with equal lists apart", "serve", true},
    {"initial-cluster-state", OptionKind::kText, "new|existing", "new", "",
     "existing: join the cluster that has added this node (cp)", "serve", true},
    {"witness", OptionKind::kText, "NAME", "", "",
     "the member of the list that votes and holds no data; the same on every node (cp)", "serve"},
    {"cert-file", OptionKind::kText, "FILE", "", "",
     "makes the client port TLS: its certificate, in PEM, the chain behind it", "serve", true},
    {"key-file", OptionKind::kText, "FILE", "", "", "the key of --cert-file", "serve", true},
    {"trusted-ca-file", OptionKind::kText, "FILE", "", "",
     "clients must show a certificate of this authority", "serve", true},
    {"client-cert-auth", OptionKind::kSwitch, "", "", "",
     "as etcd's; --trusted-ca-file alone says the same", "serve", true},
    {"auth-token", OptionKind::kText, "simple", "simple", "",
     "as etcd's; tokens are signed by the cluster (cp)", "serve", true},
    {"auth-token-ttl", OptionKind::kNumber, "SECONDS", "300", "",
     "how long whoever logged in stays so without a word (cp)", "serve", true},
    {"bcrypt-cost", OptionKind::kText, "N", "", "", "as etcd's; changes nothing here", "serve",
     true},
    {"peer-cert-file", OptionKind::kText, "FILE", "", "",
     "makes the peer port TLS, and is shown when this node dials its peers", "serve", true},
    {"peer-key-file", OptionKind::kText, "FILE", "", "", "the key of --peer-cert-file", "serve",
     true},
    {"peer-trusted-ca-file", OptionKind::kText, "FILE", "", "",
     "peers must show a certificate of this authority", "serve", true},
    {"peer-client-cert-auth", OptionKind::kSwitch, "", "", "",
     "as etcd's; --peer-trusted-ca-file alone says the same", "serve", true},
    {"heartbeat-interval", OptionKind::kDuration, "MS", "50", "ms", "time between heartbeats",
     "serve", true},
    {"election-timeout", OptionKind::kDuration, "MS", "250", "ms",
     "silence after which an election starts; at least 5 heartbeats", "serve", true},
    {"auto-compaction-mode", OptionKind::kText, "periodic|revision", "periodic", "",
     "what --auto-compaction-retention counts (cp)", "serve", true},
    {"auto-compaction-retention", OptionKind::kText, "TIME|N", "0", "",
     "forget older history by itself: a time (a bare number is hours), or revisions; 0: never (cp)",
     "serve", true},
    {"quota-backend-bytes", OptionKind::kBytes, "BYTES", "0", "",
     "refuse puts once the keys take more than this; 0: no quota (cp)", "serve", true},
    {"wal-segment-bytes", OptionKind::kBytes, "BYTES", "64MiB", "", "size of a log segment",
     "serve"},
    {"free-bytes-min", OptionKind::kBytes, "BYTES", "", "",
     "refuse writes below this much free disk (default: the larger of 512 MiB and 5 %)", "serve"},
    {"log-level", OptionKind::kText, "debug|info|warn|error|off", "info", "",
     "least level of the lines on stderr", "serve", true},
    {"log-format", OptionKind::kText, "text|json", "text", "", "shape of these lines", "serve"},
    {"logger", OptionKind::kText, "NAME", "", "", "as etcd's; changes nothing here", "serve", true},
    {"log-outputs", OptionKind::kText, "NAME", "", "", "as etcd's; changes nothing here", "serve",
     true},
    {"snapshot-count", OptionKind::kText, "N", "", "", "as etcd's; changes nothing here", "serve",
     true},
    {"enable-v2", OptionKind::kSwitch, "", "", "", "as etcd's; changes nothing here", "serve",
     true},
    {"pre-vote", OptionKind::kSwitch, "", "", "", "as etcd's; always on here", "serve", true},
    {"strict-reconfig-check", OptionKind::kSwitch, "", "", "", "as etcd's; always on here", "serve",
     true},

    // put, get, del and those that ask
    {"prefix", OptionKind::kSwitch, "", "", "", "all keys that start with KEY", "get del role"},
    {"stale", OptionKind::kSwitch, "", "", "",
     "what this node has, without asking the others; says how old it may be", "get"},
    {"keys-only", OptionKind::kSwitch, "", "", "", "keys without their values", "get"},
    {"limit", OptionKind::kNumber, "N", "0", "", "at most N keys (0: all)", "get"},
    {"physical", OptionKind::kSwitch, "", "", "",
     "wait until what is forgotten has left this node's disk", "compact"},
    {"rev", OptionKind::kNumber, "REVISION", "0", "", "as of an earlier revision (cp)", "get"},
    {"request-id", OptionKind::kText, "ID", "", "",
     "your own id: a retry with the same one applies once", "put del compact lease"},
    {"of-request", OptionKind::kText, "ID", "", "",
     "in place of a write's id: what --request-id was", "outcome"},
    {"lease", OptionKind::kText, "ID", "", "", "the key lives as long as this lease (cp)", "put"},
    {"keys", OptionKind::kSwitch, "", "", "", "show: the keys under it too", "lease"},
    {"once", OptionKind::kSwitch, "", "", "", "keep-alive: one sign of life", "lease"},
    {"from-data-dir", OptionKind::kText, "DIR", "", "",
     "in place of a file: the data directory of a stopped member", "restore-backup"},
    {"learner", OptionKind::kSwitch, "", "", "", "add: it votes only once it is promoted",
     "members"},
    {"as-witness", OptionKind::kSwitch, "", "", "", "add: it is to vote, and to hold no data",
     "members"},
    {"no-password", OptionKind::kSwitch, "", "", "",
     "add, password: none; the user is known by a certificate", "user"},
    {"confirm", OptionKind::kText, "NAME", "", "", "remove: yes, this one", "members"},
    {"for", OptionKind::kDuration, "TIME", "60s", "s", "the cut ends by itself after this", "lab"},
    {"endpoints", OptionKind::kText, "HOST:PORT,...", "127.0.0.1:2379", "",
     "addresses of nodes, https:// before those with TLS; the first that answers is asked", kTalk},
    {"cacert", OptionKind::kText, "FILE", "", "",
     "for https://: whose certificates nodes must show, in PEM (default: the system's)", kTalk},
    {"cert", OptionKind::kText, "FILE", "", "", "for https://: the certificate to show", kTalk},
    {"key", OptionKind::kText, "FILE", "", "", "the key of --cert", kTalk},
    {"insecure-skip-tls-verify", OptionKind::kSwitch, "", "", "",
     "for https://: take any certificate; for tests only", kTalk},
    {"user", OptionKind::kText, "NAME[:PASSWORD]", "", "",
     "log in; without a password it is asked for (cp)", kLogIn},
    {"password", OptionKind::kText, "PASSWORD", "", "", "of --user", kLogIn},
    {"node", OptionKind::kText, "NAME", "", "", "ask this member (looked up in the members list)",
     "put get del compact lease outcome status auth user role"},
    {"timeout", OptionKind::kDuration, "TIME", "5s", "s",
     "give up waiting for an answer; longer than the server's own limit", kTalk},
    {"json", OptionKind::kSwitch, "", "", "", "one JSON object, its fields are stable", kTalk},
    {"plain", OptionKind::kSwitch, "", "", "", "tab-separated, no header, for awk", kTalk},
    {"quiet", OptionKind::kSwitch, "", "", "", "-q: nothing but errors", kTalk},
    {"verbose", OptionKind::kSwitch, "", "", "", "-v: ids, revisions, times", kTalk},
    {"no-color", OptionKind::kSwitch, "", "", "", "no colour; NO_COLOR says the same", kTalk},
    {"config", OptionKind::kText, "FILE", "", "",
     "take this configuration file; see capstan help config",
     "serve put get del compact lease outcome status members auth user role lab"},
};

bool takes(const Option& option, std::string_view command) {
  // It is told about a node as serve is.
  if (command == "restore-backup" && takes(option, "serve")) return true;
  std::string_view rest = option.commands;
  while (!rest.empty()) {
    const std::size_t space = rest.find(' ');
    if (rest.substr(0, space) == command) return true;
    if (space == std::string_view::npos) break;
    rest.remove_prefix(space + 1);
  }
  return false;
}

std::string environment_name(std::string_view prefix, std::string_view name) {
  std::string out{prefix};
  for (const char c : name) out += c == '-' ? '_' : static_cast<char>(c >= 'a' ? c - 32 : c);
  return out;
}

std::string_view long_name(std::string_view name) {
  if (name == "q") return "quiet";
  if (name == "v") return "verbose";
  return name;
}

// Optimal string alignment: insertions, deletions, substitutions and neighbours swapped.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before = last;
    last = row;
  }
  return last[b.size()];
}

UsageError unknown_flag(std::span<const Option> table, std::string_view command,
                        std::string_view written, std::string_view name) {
  const auto same = [&](const Option& o) { return o.name == name; };
  if (const auto other = std::ranges::find_if(table, same); other != table.end()) {
    std::string owners{other->commands};
    for (std::size_t at = 0; (at = owners.find(' ', at)) != std::string::npos; at += 2) {
      owners.replace(at, 1, ", ");
    }
    return {"--" + std::string(name) + " is a flag of " + owners + ", not of " +
            std::string(command) + "."};
  }
  std::vector<std::string_view> known;
  for (const Option& option : table) {
    if (takes(option, command)) known.push_back(option.name);
  }
  std::string sentence = "no flag " + std::string(written) + "; ";
  if (const auto near = nearest(name, known)) {
    sentence += "did you mean --" + *near + "?";
  } else {
    sentence += "see capstan help " + std::string(command) + ".";
  }
  return {sentence};
}

std::optional<bool> parse_switch(std::string_view text) {
  if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "0" || text == "no" || text == "off") return false;
  return std::nullopt;
}

std::int64_t unit_micros(std::string_view unit) { return unit == "ms" ? 1'000 : 1'000'000; }

// Checks a value against its kind and keeps the number; `where` names the flag or variable.
std::optional<UsageError> accept(const Option& option, const std::string& value,
                                 std::string_view where, Source source, Parsed& into) {
  const auto wrong = [&](std::string_view wanted) {
    return UsageError{std::string(where) + "=" + value + " is not " + std::string(wanted) + "."};
  };
  std::optional<std::int64_t> number;
  switch (option.kind) {
    case OptionKind::kText:
      break;
    case OptionKind::kSwitch: {
      const std::optional<bool> on = parse_switch(value);
      if (!on) return wrong("true or false");
      number = *on ? 1 : 0;
      break;
    }
    case OptionKind::kNumber: {
      std::int64_t n = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
      if (error != std::errc{} || end != value.data() + value.size()) return wrong("a number");
      number = n;
      break;
    }
    case OptionKind::kBytes:
      number = parse_bytes(value);
      if (!number) return wrong("a size such as 65536, 64KiB or 4MiB");
      break;
    case OptionKind::kDuration:
      number = parse_duration(value, unit_micros(option.unit));
      if (!number) return wrong("a time such as 250ms, 60s or 2m");
      break;
  }
  into.settings[std::string(option.name)] = {value, source};
  if (number) into.numbers[std::string(option.name)] = *number;
  return std::nullopt;
}

// What the environment and the defaults say, before any flag.
std::optional<UsageError> accept_background(std::span<const Option> table, std::string_view command,
                                            const Environment& environment,
                                            const FileSettings& file, Parsed& into) {
  for (const Option& option : table) {
    if (!takes(option, command)) continue;
    const std::string own = environment_name("CAPSTAN_", option.name);
    const std::string theirs = environment_name("ETCD_", option.name);
    std::optional<UsageError> error;
    if (const auto value = environment(own); value && !value->empty()) {
      error = accept(option, *value, own, Source::kEnvironment, into);
    } else if (const auto old = option.etcd ? environment(theirs) : std::nullopt;
               old && !old->empty()) {
      error = accept(option, *old, theirs, Source::kEtcdEnvironment, into);
    } else if (const auto row = file.values.find(option.name); row != file.values.end()) {
      error = accept(option, row->second, file.path + ": " + row->first, Source::kFile, into);
    } else if (!option.fallback.empty()) {
      error = accept(option, std::string(option.fallback), option.name, Source::kDefault, into);
      CAPSTAN_ASSERT(!error);
    }
    if (error) return error;
  }
  return std::nullopt;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width)
      lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
  }
  return lines;
}

}  // namespace

std::span<const Option> option_table() { return kOptions; }

bool Parsed::has(std::string_view name) const {
  const auto it = settings.find(name);
  return it != settings.end() && it->second.source != Source::kDefault;
}
bool Parsed::on(std::string_view name) const { return number(name) != 0; }
std::string Parsed::text(std::string_view name) const {
  const auto it = settings.find(name);
  return it == settings.end() ? std::string{} : it->second.value;
}
std::int64_t Parsed::number(std::string_view name) const {
  const auto it = numbers.find(name);
  return it == numbers.end() ? 0 : it->second;
}
std::int64_t Parsed::micros(std::string_view name) const { return number(name); }
Source Parsed::source(std::string_view name) const {
  const auto it = settings.find(name);
  return it == settings.end() ? Source::kDefault : it->second.source;
}

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

std::expected<Parsed, UsageError> parse(std::span<const Option> table, std::string_view command,
                                        std::span<const std::string> args,
                                        const Environment& environment, const FileSettings& file) {
  Parsed parsed;
  if (auto error = accept_background(table, command, environment, file, parsed)) {
    return std::unexpected(*error);
  }
  bool flags_ended = false;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    // "-" is stdin and "-5" a value, not a flag
    const bool is_flag = !flags_ended && arg.size() > 1 && arg[0] == '-' &&
                         !(arg[1] >= '0' && arg[1] <= '9') && arg[1] != '.';
    if (!is_flag) {
      parsed.words.push_back(arg);
      continue;
    }
    if (arg == "--") {
      flags_ended = true;
      continue;
    }
    std::string_view name = std::string_view(arg).substr(arg.starts_with("--") ? 2 : 1);
    std::optional<std::string> value;
    if (const std::size_t equals = name.find('='); equals != std::string_view::npos) {
      value = std::string(name.substr(equals + 1));
      name = name.substr(0, equals);
    }
    const std::string written = arg.substr(0, arg.find('='));
    name = long_name(name);
    const auto option = std::ranges::find_if(
        table, [&](const Option& o) { return o.name == name && takes(o, command); });
    if (option == table.end()) return std::unexpected(unknown_flag(table, command, written, name));
    if (!value && option->kind == OptionKind::kSwitch) value = "true";
    if (!value) {
      if (i + 1 == args.size()) {
        return std::unexpected(UsageError{"--" + std::string(name) + " needs a value: --" +
                                          std::string(name) + "=" + std::string(option->value)});
      }
      value = args[++i];
    }
    if (auto error = accept(*option, *value, "--" + std::string(name), Source::kFlag, parsed)) {
      return std::unexpected(*error);
    }
  }
  return parsed;
}

std::string options_help(std::span<const Option> table, std::string_view command) {
  constexpr std::size_t kColumn = 30, kWidth = 80;
  std::string out;
  for (const Option& option : table) {
    if (!takes(option, command)) continue;
    std::string left = "  --" + std::string(option.name);
    if (!option.value.empty()) left += "=" + std::string(option.value);
    std::string right{option.help};
    if (!option.fallback.empty()) {
      const bool bare = option.fallback.back() >= '0' && option.fallback.back() <= '9';
      right += " (default: " + std::string(option.fallback) +
               (bare && !option.unit.empty() ? " " + std::string(option.unit) : "") + ")";
    }
    bool first = true;
    if (left.size() + 2 > kColumn) {
      out += left + "\n";
      left.clear();
    }
    for (const std::string& line : wrapped(right, kWidth - kColumn)) {
      out += (first ? left : std::string{}) +
             std::string(kColumn - (first ? left.size() : 0), ' ') + line + "\n";
      first = false;
    }
  }
  return out;
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string_view> known) {
  std::size_t best = std::numeric_limits<std::size_t>::max();
  std::string_view found;
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  // a third of the word may be wrong, and at least one letter
  if (found.empty() || best > std::max<std::size_t>(1, found.size() / 3)) return std::nullopt;
  return std::string(found);
}

namespace {

// A decimal number such as 1.5 and what follows it, blanks between them skipped.
std::optional<std::pair<double, std::string_view>> number_and_unit(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || !(number >= 0)) return std::nullopt;
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  return std::pair{number, unit};
}

std::optional<std::int64_t> scaled(double number, std::int64_t factor) {
  const double result = number * static_cast<double>(factor);
  if (!(result < 9e18)) return std::nullopt;
  return static_cast<std::int64_t>(result);
}

}  // namespace

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  const auto parts = number_and_unit(text);
  if (!parts) return std::nullopt;
  std::string unit{parts->second};
  for (char& c : unit) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (unit.ends_with("ib")) unit.resize(unit.size() - 2);
  if (unit.ends_with('b')) unit.resize(unit.size() - 1);
  if (unit.empty()) return scaled(parts->first, 1);
  if (unit == "k") return scaled(parts->first, 1ll << 10);
  if (unit == "m") return scaled(parts->first, 1ll << 20);
  if (unit == "g") return scaled(parts->first, 1ll << 30);
  if (unit == "t") return scaled(parts->first, 1ll << 40);
  return std::nullopt;
}

std::optional<std::int64_t> parse_duration(std::string_view text, std::int64_t unit_micros) {
  const auto parts = number_and_unit(text);
  if (!parts) return std::nullopt;
  const auto [number, unit] = *parts;
  if (unit.empty()) return scaled(number, unit_micros);
  if (unit == "us") return scaled(number, 1);
  if (unit == "ms") return scaled(number, 1'000);
  if (unit == "s") return scaled(number, 1'000'000);
  if (unit == "m" || unit == "min") return scaled(number, 60'000'000);
  if (unit == "h") return scaled(number, 3'600'000'000);
  return std::nullopt;
}

}  // namespace capstan::node
