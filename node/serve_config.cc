#include "node/serve_config.h"

#include <algorithm>
#include <set>

#include "core/hash.h"
#include "core/limits.h"
#include "node/tls_flags.h"

namespace capstan::node {
namespace {

constexpr int kDefaultClientPort = 2379;

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

std::string names_of(const std::vector<ConfiguredMember>& members) {
  std::string out;
  for (const ConfiguredMember& member : members) out += (out.empty() ? "" : ", ") + member.name;
  return out;
}

// ---- The list of members ------------------------------------------------------------------------

Checked<std::vector<ConfiguredMember>> parse_join(const std::string& text, const Scheme& clients) {
  std::vector<ConfiguredMember> members;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    const std::string address = equals == std::string::npos ? part : part.substr(equals + 1);
    ConfiguredMember member;
    member.name = equals == std::string::npos ? "n" + std::to_string(members.size() + 1)
                                              : part.substr(0, equals);
    Checked<HostPort> client = parse_address("join", address, kDefaultClientPort);
    if (!client) return std::unexpected(client.error());
    if (client->port == 0 || client->port == 65535) {
      return wrong("--join: \"" + part + "\" needs a client port between 1 and 65534.");
    }
    member.client_urls = {clients.text() + to_text(*client)};
    member.peer = {client->host, client->port + 1};
    members.push_back(std::move(member));
  }
  return members;
}

Checked<std::vector<ConfiguredMember>> parse_initial_cluster(const std::string& text,
                                                             const Scheme& peers) {
  std::vector<ConfiguredMember> members;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return wrong("--initial-cluster: \"" + part + "\" is not NAME=URL.");
    }
    Checked<HostPort> peer = parse_url("initial-cluster", part.substr(equals + 1), peers);
    if (!peer) return std::unexpected(peer.error());
    members.push_back({.id = {}, .name = part.substr(0, equals), .peer = *peer, .client_urls = {}});
  }
  return members;
}

// Nobody twice, no address twice, no name that cannot be said on a command line.
std::expected<void, UsageError> check_members(std::string_view flag, const std::string& written,
                                              const std::vector<ConfiguredMember>& members,
                                              int client_offset) {
  if (members.empty()) return wrong("--" + std::string(flag) + " names no member.");
  if (members.size() > kMembersMax) {
    return wrong("--" + std::string(flag) + " names " + std::to_string(members.size()) +
                 " members; at most " + std::to_string(kMembersMax) + " are supported.");
  }
  std::set<std::string> names;
  std::set<HostPort> addresses;
  for (const ConfiguredMember& member : members) {
    if (!valid_name(member.name)) {
      return wrong("--" + std::string(flag) + ": \"" + member.name +
                   "\" is no name; use up to 64 letters, digits, - _ and dots.");
    }
    if (!names.insert(member.name).second) {
      return wrong("--" + std::string(flag) + " names " + member.name +
                   " twice; give every member a name of its own.");
    }
    if (!addresses.insert(normal(member.peer)).second) {
      HostPort shown = normal(member.peer);
      shown.port += client_offset;
      return wrong("--" + std::string(flag) + " lists " + to_text(shown) + " twice" +
                   spelling_note(written) + "; every member needs an address of its own.");
    }
  }
  return {};
}

const ConfiguredMember* find_name(const ServeConfig& config, std::string_view name) {
  const auto it = std::ranges::find(config.members, name, &ConfiguredMember::name);
  return it == config.members.end() ? nullptr : &*it;
}

// ---- Short form ---------------------------------------------------------------------------------

// The list is of other nodes, which are to add this one.
Checked<const ConfiguredMember*> joining(ServeConfig& config, const std::string& name,
                                         const HostPort& listen) {
  if (!valid_name(name)) return wrong("--name=" + name + " is no name.");
  if (any_address(listen.host)) {
    return wrong("--listen=" + to_text(listen) +
                 " does not say where the others reach this node: give it an address of its own.");
  }
  config.joins = true;
  for (const ConfiguredMember& member : config.members) {
    config.join_through.push_back({member.peer.host, member.peer.port - 1});
  }
  config.members = {
      {.id = {},
       .name = name,
       .peer = {listen.host, listen.port + 1},
       .client_urls = {(config.client_tls ? "https://" : "http://") + to_text(listen)}}};
  return &config.members.front();
}

// Which member of the list --listen and --name mean. They must mean the same one.
Checked<const ConfiguredMember*> self_in_join(ServeConfig& config, const Parsed& parsed,
                                              const std::optional<HostPort>& listen) {
  const ConfiguredMember* by_address = nullptr;
  if (listen) {
    const HostPort peer = normal({listen->host, listen->port + 1});
    for (const ConfiguredMember& member : config.members) {
      if (normal(member.peer) == peer) by_address = &member;
    }
  }
  if (parsed.has("name")) {
    const std::string name = parsed.text("name");
    const ConfiguredMember* by_name = find_name(config, name);
    if (by_name == nullptr && by_address != nullptr) {
      return wrong("the list calls " + to_text(*listen) + " " + by_address->name + ", not " + name +
                   "; write " + name + "=" + to_text(*listen) + " in --join on every node.");
    }
    if (by_name == nullptr && listen && listen->port != 0 && config.mode == Mode::kCp) {
      return joining(config, name, *listen);
    }
    if (by_name == nullptr) {
      return wrong("--name=" + name + " is not in --join, which has " + names_of(config.members) +
                   "; add " + name + "=HOST:PORT on every node.");
    }
    if (by_address != nullptr && by_address != by_name) {
      return wrong("--listen is " + by_address->name + "'s address in --join, but --name is " +
                   name + "; correct one of them.");
    }
    return by_name;
  }
  if (by_address != nullptr) return by_address;
  if (config.members.size() == 1) return &config.members.front();
  if (listen) {
    return wrong("--listen=" + to_text(*listen) +
                 " is not in --join; add it there on every node, " +
                 "or say with --name which member this is." +
                 (config.mode == Mode::kCp ? " To join a cluster that is there, give this node a "
                                             "--name of its own."
                                           : ""));
  }
  return wrong("which member of --join is this node? Say --name=" + config.members.front().name +
               " or --listen=HOST:PORT.");
}

Scheme client_scheme(const ServeConfig& config) {
  return {config.client_tls != nullptr, kClientPort};
}
Scheme peer_scheme(const ServeConfig& config) { return {config.peer_tls != nullptr, kPeerPort}; }

std::expected<void, UsageError> short_form(const Parsed& parsed, ServeConfig& config) {
  const Scheme clients = client_scheme(config);
  for (const char* flag : {"listen-client-urls", "advertise-client-urls", "listen-peer-urls",
                           "initial-advertise-peer-urls", "initial-cluster"}) {
    if (parsed.source(flag) == Source::kFlag) {
      return wrong("--" + std::string(flag) + " and the short form (--listen, --join) say the " +
                   "same thing twice; use one of the two.");
    }
  }
  std::optional<HostPort> listen;
  if (parsed.has("listen")) {
    Checked<HostPort> address = parse_address("listen", parsed.text("listen"), kDefaultClientPort);
    if (!address) return std::unexpected(address.error());
    listen = *address;
  }
  if (parsed.has("join")) {
    const std::string text = parsed.text("join");
    Checked<std::vector<ConfiguredMember>> members = parse_join(text, clients);
    if (!members) return std::unexpected(members.error());
    config.members = std::move(*members);
    if (auto ok = check_members("join", text, config.members, -1); !ok) return ok;
  } else {
    const std::string name = parsed.has("name") ? parsed.text("name") : "n1";
    const HostPort own = any_address(listen->host) ? HostPort{"127.0.0.1", listen->port} : *listen;
    config.members = {{.id = {},
                       .name = name,
                       .peer = {own.host, own.port == 0 ? 0 : own.port + 1},
                       .client_urls = {clients.text() + to_text(own)}}};
    if (!valid_name(name)) return wrong("--name=" + name + " is no name.");
  }
  Checked<const ConfiguredMember*> self = self_in_join(config, parsed, listen);
  if (!self) return std::unexpected(self.error());
  config.name = (*self)->name;
  const HostPort own{(*self)->peer.host, (*self)->peer.port == 0 ? 0 : (*self)->peer.port - 1};
  if (!listen) listen = own;
  if (listen->port == 65535) return wrong("--listen: the peer port would be 65536; choose lower.");
  if (listen->port != own.port) {
    return wrong("--listen has port " + std::to_string(listen->port) + ", but the list has " +
                 config.name + " at " + to_text(own) + "; correct one of them.");
  }
  config.listen_client = {*listen};
  config.listen_peer = {{listen->host, listen->port == 0 ? 0 : listen->port + 1}};
  config.advertise_client = (*self)->client_urls;
  return {};
}

// ---- etcd's form --------------------------------------------------------------------------------

std::expected<void, UsageError> long_form(const Parsed& parsed, ServeConfig& config) {
  const Scheme client_urls = client_scheme(config), peer_urls = peer_scheme(config);
  auto clients = parse_urls("listen-client-urls", parsed, client_urls);
  if (!clients) return std::unexpected(clients.error());
  auto peers = parse_urls("listen-peer-urls", parsed, peer_urls);
  if (!peers) return std::unexpected(peers.error());
  config.listen_client = std::move(*clients);
  config.listen_peer = std::move(*peers);
  for (const HostPort& client : config.listen_client) {
    for (const HostPort& peer : config.listen_peer) {
      if (client.port != 0 && normal(client) == normal(peer)) {
        return wrong("clients and peers cannot share " + to_text(normal(client)) +
                     "; give --listen-peer-urls a port of its own.");
      }
    }
  }

  std::vector<HostPort> advertised = config.listen_client;
  if (parsed.has("advertise-client-urls")) {
    auto urls = parse_urls("advertise-client-urls", parsed, client_urls);
    if (!urls) return std::unexpected(urls.error());
    advertised = std::move(*urls);
  }
  for (const HostPort& url : advertised) {
    config.advertise_client.push_back(client_urls.text() + to_text(url));
  }

  std::vector<HostPort> advertise_peer = config.listen_peer;
  const bool advertises_peer = parsed.has("initial-advertise-peer-urls");
  if (advertises_peer) {
    auto urls = parse_urls("initial-advertise-peer-urls", parsed, peer_urls);
    if (!urls) return std::unexpected(urls.error());
    advertise_peer = std::move(*urls);
  }

  const std::string list = parsed.text("initial-cluster");
  config.name = parsed.has("name") ? parsed.text("name") : list.empty() ? "n1" : "default";
  if (list.empty()) {
    if (!valid_name(config.name)) return wrong("--name=" + config.name + " is no name.");
    if (config.joins) {
      return wrong(
          "--initial-cluster-state=existing needs --initial-cluster: the members that are "
          "there, and this one.");
    }
    config.members = {
        {.id = {}, .name = config.name, .peer = advertise_peer.front(), .client_urls = {}}};
    return {};
  }
  Checked<std::vector<ConfiguredMember>> members = parse_initial_cluster(list, peer_urls);
  if (!members) return std::unexpected(members.error());
  config.members = std::move(*members);
  if (auto ok = check_members("initial-cluster", list, config.members, 0); !ok) return ok;
  const ConfiguredMember* self = find_name(config, config.name);
  if (self == nullptr) {
    return wrong("--name=" + config.name + " is not in --initial-cluster, which has " +
                 names_of(config.members) + ".");
  }
  const auto same = [&](const HostPort& url) { return normal(url) == normal(self->peer); };
  if (std::ranges::none_of(advertise_peer, same)) {
    return wrong(
        "--initial-cluster has " + config.name + " at " + peer_urls.text() + to_text(self->peer) +
        ", but " + (advertises_peer ? "--initial-advertise-peer-urls" : "--listen-peer-urls") +
        " says " + peer_urls.text() + to_text(advertise_peer.front()) + "; make them equal.");
  }
  return {};
}

// ---- The rest -----------------------------------------------------------------------------------

std::expected<void, UsageError> read_choices(const Parsed& parsed, ServeConfig& config) {
  const auto choice = [&](const char* flag, std::initializer_list<std::string_view> allowed)
      -> std::expected<std::size_t, UsageError> {
    const std::string value = parsed.text(flag);
    std::size_t at = 0;
    std::string list;
    for (const std::string_view word : allowed) {
      if (value == word) return at;
      ++at;
      list += (list.empty() ? "" : at == allowed.size() ? " or " : ", ") + std::string(word);
    }
    return wrong("--" + std::string(flag) + "=" + value + " is not " + list + ".");
  };

  if (!parsed.has("mode")) {
    return wrong(
        "--mode is missing: --mode=cp refuses what it cannot guarantee during a cut, "
        "--mode=ap goes on and merges after it. Etcd's behaviour is --mode=cp.");
  }
  const auto mode = choice("mode", {"cp", "ap"});
  if (!mode) return std::unexpected(mode.error());
  config.mode = *mode == 0 ? Mode::kCp : Mode::kAp;
  const auto durability = choice("durability", {"sync", "interval", "none"});
  if (!durability) return std::unexpected(durability.error());
  config.durability = static_cast<Durability>(*durability);
  const auto level = choice("log-level", {"debug", "info", "warn", "error", "off"});
  if (!level) return std::unexpected(level.error());
  config.log_level = static_cast<Level>(*level);
  const auto format = choice("log-format", {"text", "json"});
  if (!format) return std::unexpected(format.error());
  config.log_format = *format == 0 ? TraceFormat::kText : TraceFormat::kJson;
  const auto state = choice("initial-cluster-state", {"new", "existing"});
  if (!state) return std::unexpected(state.error());
  config.joins = *state == 1 && config.mode == Mode::kCp;
  return {};
}

std::expected<void, UsageError> read_auto_compaction(const Parsed& parsed, ServeConfig& config) {
  constexpr Micros kHour = 3600 * kSecond;
  const std::string mode = parsed.text("auto-compaction-mode");
  const std::string retention = parsed.text("auto-compaction-retention");
  const std::string flag = "--auto-compaction-retention=" + retention;
  if (mode != "periodic" && mode != "revision") {
    return wrong("--auto-compaction-mode=" + mode + " is neither periodic nor revision.");
  }
  const bool by_revision = mode == "revision";
  const std::optional<std::int64_t> number = parse_duration(retention, by_revision ? 1 : kHour);
  const bool digits = retention.find_first_not_of("0123456789") == std::string::npos;
  if (!number || *number < 0 || (by_revision && !digits)) {
    return wrong(flag + (by_revision ? " is not a number of revisions; 0 never compacts."
                                     : " is not a time; 30m, 8h, or 0 for never."));
  }
  if (*number > 0 && config.mode == Mode::kAp) {
    return wrong(flag + " makes no sense with --mode=ap, which keeps one version of a key.");
  }
  if (by_revision) {
    config.auto_compaction.keep_revisions = static_cast<std::uint64_t>(*number);
  } else if (*number > 0 && *number < kSecond) {
    return wrong(flag + " is below a second.");
  } else {
    config.auto_compaction.keep_for = *number;
  }
  return {};
}

std::expected<void, UsageError> read_numbers(const Parsed& parsed, ServeConfig& config) {
  config.heartbeat_interval = parsed.micros("heartbeat-interval");
  config.election_timeout = parsed.micros("election-timeout");
  const auto ms = [](Micros t) { return std::to_string(t / kMillisecond) + " ms"; };
  if (config.heartbeat_interval < kTick) {
    return wrong("--heartbeat-interval=" + ms(config.heartbeat_interval) +
                 " is below a tick; at least 10 ms.");
  }
  if (config.election_timeout < 5 * config.heartbeat_interval) {
    return wrong("--election-timeout=" + ms(config.election_timeout) +
                 " is less than 5 heartbeats of " + ms(config.heartbeat_interval) +
                 ": one late heartbeat would unseat a leader. Raise it to " +
                 ms(5 * config.heartbeat_interval) + " or lower --heartbeat-interval.");
  }
  if (config.election_timeout > 50 * kSecond) {
    return wrong("--election-timeout=" + ms(config.election_timeout) + " is above 50000 ms.");
  }
  config.wal_segment_bytes = static_cast<std::size_t>(parsed.number("wal-segment-bytes"));
  if (config.wal_segment_bytes < kWalSegmentBytesMin) {
    return wrong("--wal-segment-bytes=" + parsed.text("wal-segment-bytes") +
                 " is too small: at least 1 MiB.");
  }
  if (config.wal_segment_bytes % 4096 != 0) {
    return wrong("--wal-segment-bytes=" + parsed.text("wal-segment-bytes") +
                 " is not a multiple of 4096.");
  }
  if (config.wal_segment_bytes > (std::size_t{1} << 31)) {
    return wrong("--wal-segment-bytes=" + parsed.text("wal-segment-bytes") +
                 " is too large: at most 2 GiB.");
  }
  if (parsed.has("free-bytes-min")) {
    config.free_bytes_min = static_cast<std::uint64_t>(parsed.number("free-bytes-min"));
  }
  config.quota_bytes = static_cast<std::uint64_t>(parsed.number("quota-backend-bytes"));
  if (config.quota_bytes > 0 && config.mode == Mode::kAp) {
    return wrong(
        "--quota-backend-bytes makes no sense with --mode=ap, where one node's puts cannot be "
        "stopped by another; --free-bytes-min keeps the disk from filling.");
  }
  if (parsed.text("auth-token") != "simple") {
    return wrong("--auth-token=" + parsed.text("auth-token") +
                 ": the cluster signs tokens with a key of its own; leave it out.");
  }
  const std::int64_t ttl = parsed.number("auth-token-ttl");
  if (ttl <= 0 || ttl > 366 * 24 * 3600) {
    return wrong("--auth-token-ttl=" + parsed.text("auth-token-ttl") +
                 ": from 1 second to a year.");
  }
  config.token_ttl = ttl * kSecond;
  config.users_by_certificate = parsed.on("client-cert-auth");
  config.lab = parsed.on("lab");
  return read_auto_compaction(parsed, config);
}

std::expected<void, UsageError> read_witness(const Parsed& parsed, ServeConfig& config) {
  if (!parsed.has("witness")) return {};
  const std::string name = parsed.text("witness");
  const std::string flag = "--witness=" + name;
  if (config.mode == Mode::kAp) {
    return wrong(flag + " makes no sense with --mode=ap, where nobody votes.");
  }
  const auto it = std::ranges::find(config.members, name, &ConfiguredMember::name);
  if (it == config.members.end()) {
    return wrong(flag + " is none of the members, which are " + names_of(config.members) + ".");
  }
  if (!config.joins && config.members.size() < 3) {
    return wrong(flag + ": a witness needs two members with data beside it; list them, too.");
  }
  it->witness = true;
  return {};
}

// To every other machine, localhost is that machine itself. On one machine a mixed list works.
void note_loopback(ServeConfig& config) {
  const auto loopback = [](const ConfiguredMember& member) {
    return normal(member.peer).host.starts_with("127.");
  };
  if (std::ranges::all_of(config.members, loopback)) return;
  for (const ConfiguredMember& member : config.members) {
    if (!loopback(member)) continue;
    config.notes.push_back("note: " + member.name + " is listed at " + to_text(member.peer) +
                           ", which on any other machine is that machine itself. Unless all run on "
                           "one, list it everywhere at an address the others reach.");
  }
}

void complete(const Parsed& parsed, ServeConfig& config) {
  config.token = parsed.text("initial-cluster-token");
  std::vector<std::string> names, places;
  for (ConfiguredMember& member : config.members) {
    member.id = member_id(config.token, member.name);
    // No name has a = in it.
    names.push_back(member.name + (member.witness ? "=witness" : ""));
    places.push_back(member.name + "=" + to_text(normal(member.peer)) +
                     (member.witness ? " (witness)" : ""));
    if (member.name == config.name) {
      config.self = member.id;
      member.client_urls = config.advertise_client;
    }
  }
  config.cluster = cluster_id(config.token, names);
  std::ranges::sort(places);
  for (const std::string& place : places) {
    config.list_text += (config.list_text.empty() ? "" : ",") + place;
  }
  config.data_dir =
      parsed.has("data-dir") ? parsed.text("data-dir") : "./" + config.name + ".capstan";
  if (config.joins) {
    config.self = {};
    config.cluster = {};
    return note_loopback(config);
  }
  if (config.mode == Mode::kCp && config.members.size() == 2) {
    config.notes.push_back(
        "note: 2 voters tolerate no failure: without either one, nothing is accepted. A third, "
        "or a --witness that holds no data, would tolerate one.");
  }
  if (parsed.has("initial-cluster") && config.members.size() == 1) {
    config.notes.push_back(
        "note: the list names this node alone, so it is a whole cluster: nothing is copied and no "
        "cut touches it. More nodes? List them all in --initial-cluster, the same on each.");
  }
  note_loopback(config);
  for (const char* flag : {"logger", "log-outputs", "snapshot-count", "enable-v2"}) {
    if (parsed.source(flag) == Source::kFlag) {
      config.notes.push_back("note: --" + std::string(flag) + " changes nothing here.");
    }
  }
}

}  // namespace

std::uint64_t ServeConfig::token_hash() const { return xxh3(token, 0x746f6b656e); }

MemberId member_id(std::string_view token, std::string_view name) {
  const std::uint64_t hash = xxh3(std::string(token) + '\0' + std::string(name), 0x6d656d626572);
  return {hash == 0 ? 1 : hash};
}

ClusterId cluster_id(std::string_view token, std::vector<std::string> names) {
  std::ranges::sort(names);
  std::string text{token};
  for (const std::string& name : names) text += '\0' + name;
  const std::uint64_t hash = xxh3(text, 0x636c7573746572);
  return {hash == 0 ? 1 : hash};
}

std::expected<ServeConfig, UsageError> serve_config(const Parsed& parsed) {
  ServeConfig config;
  if (!parsed.words.empty()) {
    return wrong("serve takes no words, only flags; what is \"" + parsed.words.front() + "\"?");
  }
  if (auto ok = read_choices(parsed, config); !ok) return std::unexpected(ok.error());
  if (auto ok = read_numbers(parsed, config); !ok) return std::unexpected(ok.error());
  auto client_tls = port_tls(parsed, kClientPort);
  if (!client_tls) return std::unexpected(client_tls.error());
  config.client_tls = std::move(*client_tls);
  auto peer_tls = port_tls(parsed, kPeerPort);
  if (!peer_tls) return std::unexpected(peer_tls.error());
  config.peer_tls = std::move(*peer_tls);
  const bool is_short = parsed.has("listen") || parsed.has("join");
  if (auto ok = is_short ? short_form(parsed, config) : long_form(parsed, config); !ok) {
    return std::unexpected(ok.error());
  }
  if (auto ok = read_witness(parsed, config); !ok) return std::unexpected(ok.error());
  complete(parsed, config);
  return config;
}

}  // namespace capstan::node
