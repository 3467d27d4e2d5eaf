#include "node/join.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/data_dir.h"
#include "net/json_api.h"
#include "net/peer_ask.h"
#include "node/api_client.h"

namespace capstan::node {
namespace {

constexpr Micros kPatience = 10 * kSecond;
constexpr Micros kAskPatience = 2 * kSecond;
constexpr std::string_view kFormOne =
    " To form a new cluster instead, list every member, this one included.";

bool is_self(const ServeConfig& config, const HostPort& peer) {
  const auto self = std::ranges::find(config.members, config.name, &ConfiguredMember::name);
  return normal(self->peer) == normal(peer);
}

std::optional<std::string> name_taken(const ServeConfig& config,
                                      const std::vector<ConfiguredMember>& members) {
  for (const ConfiguredMember& member : members) {
    if (member.name != config.name || is_self(config, member.peer)) continue;
    return "the cluster has a member named " + config.name + " at " + to_text(member.peer) +
           " already; give this node a --name of its own";
  }
  return std::nullopt;
}

// What a member is was said when it was added.
std::optional<std::string> other_kind(const ServeConfig& config,
                                      const std::vector<ConfiguredMember>& members) {
  const auto flagged = std::ranges::find(config.members, true, &ConfiguredMember::witness);
  if (flagged == config.members.end() || !is_self(config, flagged->peer)) return std::nullopt;
  for (const ConfiguredMember& member : members) {
    if (!is_self(config, member.peer) || member.witness) continue;
    return "the cluster has " + config.name +
           " as a member with data: start it without --witness, or remove it and add it anew: "
           "capstan members add " +
           to_text(member.peer) + " --as-witness";
  }
  return std::nullopt;
}

// The members as the cluster knows them. False: this node is not among them.
bool adopt(ServeConfig& config, ClusterId cluster, std::vector<ConfiguredMember> members) {
  for (ConfiguredMember& member : members) {
    if (!is_self(config, member.peer)) continue;
    member.name = config.name;
    member.client_urls = config.advertise_client;
    config.self = member.id;
  }
  if (!config.self) return false;
  config.cluster = cluster;
  config.members = std::move(members);
  return true;
}

// ---- By peer addresses --------------------------------------------------------------------------

std::expected<void, std::string> ask_peers(net::Loop& loop, ServeConfig& config) {
  std::vector<net::ListenAddress> at;
  for (const ConfiguredMember& member : config.members) {
    if (!is_self(config, member.peer)) {
      at.push_back({member.peer.host, static_cast<std::uint16_t>(member.peer.port)});
    }
  }
  net::PeerOptions who;
  who.mode = config.mode;
  who.token_hash = config.token_hash();
  who.tls = config.peer_tls;
  std::expected<net::WhoIsThere, std::string> answer;
  {
    net::PeerAsk ask(loop, who, config.name, at, kPatience, [&](auto said) {
      answer = std::move(said);
      loop.stop();
    });
    loop.run();
  }
  if (!answer) {
    return std::unexpected("no member of --initial-cluster says what the cluster is: " +
                           answer.error() + ". Is one of them running?");
  }
  std::vector<ConfiguredMember> members;
  std::string known;
  for (const net::KnownMember& member : answer->members) {
    const std::optional<HostPort> peer = address_of(member.address);
    if (!peer) continue;
    known += (known.empty() ? "" : ", ") + member.name + " at " + member.address;
    members.push_back({.id = member.id,
                       .name = member.name,
                       .peer = *peer,
                       .client_urls = {},
                       .witness = member.witness});
  }
  if (auto taken = name_taken(config, members)) return std::unexpected(*taken);
  if (auto other = other_kind(config, members)) return std::unexpected(*other);
  if (adopt(config, answer->cluster, std::move(members))) return {};
  return std::unexpected("the cluster does not know the peer address of " + config.name +
                         "; its members are " + known +
                         ". Add this node first: etcdctl member add " + config.name +
                         " --peer-urls=URL, or capstan members add HOST:PORT.");
}

// ---- By client addresses ------------------------------------------------------------------------

// Nullopt: not a list of members.
std::optional<std::vector<ConfiguredMember>> listed(const ApiAnswer& answer) {
  const std::vector<PeerStatus>* list = nullptr;
  if (const auto* members = std::get_if<MembersResult>(&answer.reply.body))
    list = &members->members;
  if (const auto* after = std::get_if<MemberChangeResult>(&answer.reply.body))
    list = &after->members;
  if (list == nullptr || answer.reply.outcome != Outcome::kOk) return std::nullopt;
  std::vector<ConfiguredMember> out;
  for (const PeerStatus& member : *list) {
    const std::optional<HostPort> peer = address_of(member.peer_address);
    if (peer) {
      out.push_back({member.id, member.name, *peer, member.client_urls, member.witness});
    }
  }
  return out;
}

std::expected<void, std::string> ask_clients(ServeConfig& config) {
  // Nodes of one cluster have TLS alike.
  ApiClient client(kAskPatience, config.client_tls);
  std::string why = "nobody answers";
  Request add;
  add.body = MemberChangeRequest{.peer = to_text(config.members.front().peer),
                                 .witness = config.members.front().witness};
  const Micros until = net::Loop::clock().monotonic + kPatience;
  do {
    for (const HostPort& address : config.join_through) {
      const Endpoint at{address, config.client_tls != nullptr};
      // Added before, by an earlier start or by somebody: then it is that one.
      for (const ApiCall& call :
           {ApiCall{at, "GET", "/api/v1/members", ""},
            ApiCall{at, "POST", "/api/v1/kv", net::encode_api_request(add)}}) {
        const ApiAnswer answer = client.ask(call);
        if (answer.failure != ApiAnswer::Failure::kNone) {
          why = to_text(at) + ": " + answer.why;
          break;
        }
        auto members = listed(answer);
        if (members) {
          if (auto taken = name_taken(config, *members)) return std::unexpected(*taken);
          if (auto other = other_kind(config, *members)) return std::unexpected(*other);
        }
        if (!members) {
          why = to_text(at) + ": " + answer.reply.detail;
        } else if (adopt(config, answer.reply.header.cluster, *std::move(members))) {
          return {};
        }
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // then anew
  } while (net::Loop::clock().monotonic < until);
  return std::unexpected("no node of --join could be joined: " + why + std::string(kFormOne));
}

}  // namespace

std::expected<void, std::string> join_cluster(net::Loop& loop, ServeConfig& config) {
  const Result<bool> known = has_identity(config.data_dir);
  if (!known) return std::unexpected(known.error().context);
  if (*known) return {};
  return config.join_through.empty() ? ask_peers(loop, config) : ask_clients(config);
}

}  // namespace capstan::node
