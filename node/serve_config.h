// What `capstan serve` was asked to be: read from options, completed, and checked for
// contradictions a node can see by itself, before anything is written.
//
// Two ways to say it. Short: --listen=HOST[:PORT] and --join=[NAME=]HOST[:PORT],... with every
// member, the same on every node; a member without a name is called n1, n2, ... by its place in the
// list; the peer port is the client port plus one. Long: etcd's flags. One run uses one of the two.
// A port is TLS if its certificate is given; URLs must say the same.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/trace.h"
#include "core/types.h"
#include "net/tls_context.h"
#include "node/addresses.h"
#include "node/options.h"

namespace capstan::node {

struct ConfiguredMember {
  MemberId id;
  std::string name;
  HostPort peer;
  std::vector<std::string> client_urls;  // known in the short form only
  bool witness = false;                  // CP
};

struct ServeConfig {
  Mode mode = Mode::kCp;
  std::string name;
  std::string data_dir;
  std::vector<HostPort> listen_client;
  std::vector<HostPort> listen_peer;
  std::vector<std::string> advertise_client;    // URLs
  std::shared_ptr<net::TlsContext> client_tls;  // of the client port; null: plaintext
  std::shared_ptr<net::TlsContext> peer_tls;    // of the peer port, and of dialling peers; likewise
  std::vector<ConfiguredMember> members;        // as listed, itself included
  std::string token;
  ClusterId cluster;  // of the token, the sorted names, and which is the witness
  MemberId self;
  // CP: the cluster exists already. Its id, and the ids of `members`, are asked of it at the first
  // start (node/join.h): at the peer addresses of `members`, or, where the short form brings other
  // nodes' client addresses alone, at those, which are asked to add this node, too.
  bool joins = false;
  std::vector<HostPort> join_through;
  std::string list_text;  // n1=127.0.0.1:2380,... sorted: equal on nodes that agree
  Micros heartbeat_interval = kHeartbeatInterval;
  Micros election_timeout = kElectionTimeout;
  Durability durability = Durability::kSync;
  std::size_t wal_segment_bytes = kWalSegmentBytes;
  std::optional<std::uint64_t> free_bytes_min;  // empty: the default floor
  CompactionRule auto_compaction;
  std::uint64_t quota_bytes = 0;      // 0: none
  Micros token_ttl = kTokenTtl;       // CP: of those who logged in
  bool users_by_certificate = false;  // a client's certificate names its user
  bool lab = false;
  Level log_level = Level::kInfo;
  TraceFormat log_format = TraceFormat::kText;
  std::uint64_t token_hash() const;
  std::vector<std::string> notes;  // sentences worth saying once: two voters, ...
};

std::expected<ServeConfig, UsageError> serve_config(const Parsed& parsed);

// The stable place of a member in its cluster.
MemberId member_id(std::string_view token, std::string_view name);
ClusterId cluster_id(std::string_view token, std::vector<std::string> names);

}  // namespace capstan::node
