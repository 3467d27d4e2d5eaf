// TLS as it is asked for on the command line: etcd's flags for a port of `serve`, etcdctl's for the
// commands that talk to nodes. Read, checked against each other, and their files loaded.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "net/tls_context.h"
#include "node/options.h"

namespace capstan::node {

// The client port speaks HTTP/1.1 and gRPC, and leaves the choice to the client.
inline constexpr std::string_view kClientPort = "";
// Between nodes it is frames (net/frame.h); nobody else is to take that port for its own.
inline constexpr std::string_view kPeerPort = "peer-";

// The TLS of a port, whose flags begin with `port`: --cert-file or --peer-cert-file, and so on.
// Null: none was asked for. As etcd: --trusted-ca-file alone demands certificates of its authority,
// and nodes that dial each other verify with it.
std::expected<std::shared_ptr<net::TlsContext>, UsageError> port_tls(const Parsed& parsed,
                                                                     std::string_view port);

// How the command line dials https:// endpoints: --cacert (else the system's authorities), --cert
// and --key, --insecure-skip-tls-verify, as etcdctl's. `protocol` is what it speaks inside.
std::expected<std::shared_ptr<net::TlsContext>, UsageError> client_tls(
    const Parsed& parsed, const std::string& protocol = "http/1.1");
// True if one of these flags was given: an endpoint without a scheme then means https://.
bool asks_for_tls(const Parsed& parsed);

}  // namespace capstan::node
