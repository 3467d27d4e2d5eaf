// /metrics: our own names, and those of etcd's that people alert on.
#include <dirent.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

#include "cp/engine.h"
#include "node/node_parts.h"
#include "node/version.h"

namespace capstan::node {
namespace {

std::string label(std::string_view name, std::string_view value) {
  return std::string(name) + "=\"" + std::string(value) + "\"";
}

double seconds(Micros t) { return static_cast<double>(t) / 1e6; }
double number(std::uint64_t n) { return static_cast<double>(n); }

// The standard names of Prometheus clients.
void process_metrics(MetricsText& out, Now started) {
  timespec cpu{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  out.counter("process_cpu_seconds_total", "CPU time of this process.", "",
              static_cast<double>(cpu.tv_sec) + static_cast<double>(cpu.tv_nsec) / 1e9);
  out.gauge("process_start_time_seconds", "When this process started, since 1970.", "",
            seconds(started.wall));
  if (std::FILE* statm = std::fopen("/proc/self/statm", "r")) {
    unsigned long long pages = 0, resident = 0;
    if (std::fscanf(statm, "%llu %llu", &pages, &resident) == 2) {
      const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
      out.gauge("process_resident_memory_bytes", "Memory in RAM.", "",
                static_cast<double>(resident) * page);
      out.gauge("process_virtual_memory_bytes", "Address space.", "",
                static_cast<double>(pages) * page);
    }
    std::fclose(statm);
  }
  if (DIR* fds = opendir("/proc/self/fd")) {
    double open = -1;  // the directory's own
    while (readdir(fds) != nullptr) ++open;
    closedir(fds);
    out.gauge("process_open_fds", "Open file descriptors.", "", open - 2);
  }
}

}  // namespace

RequestFigures::Op RequestFigures::op_of(const RequestBody& body) {
  if (std::holds_alternative<RangeRequest>(body)) return kGet;
  if (std::holds_alternative<PutRequest>(body)) return kPut;
  if (std::holds_alternative<DeleteRangeRequest>(body)) return kDelete;
  if (std::holds_alternative<TxnRequest>(body)) return kTxn;
  if (std::holds_alternative<CompactRequest>(body)) return kCompact;
  if (std::holds_alternative<LeaseGrantRequest>(body) ||
      std::holds_alternative<LeaseRevokeRequest>(body) ||
      std::holds_alternative<LeaseKeepAliveRequest>(body)) {
    return kLease;
  }
  return kOther;
}

std::string_view RequestFigures::to_text(Op op) {
  static constexpr std::string_view kNames[] = {"get",     "put",   "delete", "txn",
                                                "compact", "lease", "other"};
  return kNames[op];
}

void RequestFigures::record(Op op, Outcome outcome, Reason reason, Micros duration) {
  ++counts_[{op, outcome, reason}];
  if (outcome == Outcome::kUnknown) ++unknown_;
  micros_[op].record(duration < 0 ? 0 : static_cast<std::uint64_t>(duration));
}

void RequestFigures::write(MetricsText& out) const {
  for (const auto& [key, count] : counts_) {
    out.counter("capstan_requests_total", "Requests answered, by how they ended.",
                label("op", to_text(key.op)) + "," +
                    label("outcome", capstan::to_text(key.outcome)) + "," +
                    label("reason", capstan::to_text(key.reason)),
                number(count));
  }
  for (std::uint8_t op = 0; op < kOps; ++op) {
    if (micros_[op].count() == 0) continue;
    out.histogram_seconds("capstan_request_duration_seconds", "From arrival to answer.",
                          label("op", to_text(static_cast<Op>(op))), micros_[op]);
  }
  out.counter("capstan_unknown_outcomes_total", "Answers that could not say whether it happened.",
              "", number(unknown_));
}

namespace {

void cp_metrics(MetricsText& out, const StatusResult& status, Micros minority) {
  const bool leads = status.role == "leader";
  out.gauge("capstan_has_quorum", "This side has a majority of the voters.", "",
            status.reachable >= status.quorum ? 1 : 0);
  out.gauge("capstan_is_leader", "This node leads.", "", leads ? 1 : 0);
  out.gauge("capstan_term", "Raft's term.", "", number(status.term));
  out.gauge("capstan_committed_index", "Last committed entry.", "", number(status.committed));
  out.gauge("capstan_applied_index", "Last applied entry.", "", number(status.applied));
  out.gauge("capstan_log_unapplied", "Entries held and not yet applied.", "",
            number(status.index - std::min(status.index, status.applied)));
  out.gauge("capstan_commit_stall_seconds", "Age of the oldest entry that is not committed.", "",
            seconds(status.commit_stall));
  out.gauge("capstan_disk_stall_seconds", "Since the log's disk answered last, while it should.",
            "", seconds(status.disk_stall));
  out.counter("capstan_minority_seconds_total", "Time without a quorum.", "", seconds(minority));
  for (const PeerStatus& peer : status.peers) {
    if (peer.self) continue;
    out.gauge("capstan_peer_state_equal",
              "The peer's state was compared with ours, and is the same.", label("peer", peer.name),
              peer.state == "equal" ? 1 : 0);
  }
  out.gauge("capstan_compacted_revision", "Where history begins; 0: nothing was compacted.", "",
            number(status.compacted.value));
  // the names that people's alerts for etcd ask for
  out.gauge("etcd_server_has_leader", "As etcd's.", "", status.leader_name.empty() ? 0 : 1);
  out.gauge("etcd_server_is_leader", "As etcd's.", "", leads ? 1 : 0);
  out.gauge("etcd_server_proposals_committed_total", "As etcd's.", "", number(status.committed));
  out.gauge("etcd_server_proposals_applied_total", "As etcd's.", "", number(status.applied));
}

// The names that people's alerts for etcd ask for, where we have what they mean. Those of the disk
// and of the engine's indexes are beside our own.
void etcd_metrics(MetricsText& out, const StatusResult& status, const cp::Engine& engine,
                  std::uint64_t quota_bytes, std::uint64_t leader_changes,
                  const RequestFigures::Proposals& proposals) {
  out.counter("etcd_server_leader_changes_seen_total", "As etcd's.", "", number(leader_changes));
  out.gauge("etcd_server_proposals_pending", "Writes taken here and not yet answered.", "",
            number(proposals.pending));
  out.counter("etcd_server_proposals_failed_total",
              "Writes taken here that no leader or no time was there for.", "",
              number(proposals.failed));
  if (quota_bytes > 0) {
    out.gauge("etcd_server_quota_backend_bytes", "As etcd's.", "", number(quota_bytes));
  }
  out.gauge("etcd_debugging_mvcc_keys_total", "As etcd's.", "", number(status.keys));
  out.gauge("etcd_debugging_mvcc_watcher_total", "As etcd's.", "", number(engine.watches()));
  out.counter("etcd_debugging_lease_granted_total", "Leases granted through this node.", "",
              number(proposals.leases_granted));
}

std::string_view type_of(net::GrpcMethod method) {
  const bool talks =
      method == net::GrpcMethod::kWatch || method == net::GrpcMethod::kLeaseKeepAlive;
  return talks ? "bidi_stream" : method == net::GrpcMethod::kObserve ? "server_stream" : "unary";
}

// As go-grpc-prometheus names the codes.
constexpr std::array<std::string_view, net::kGrpcCodes> kCodes{
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

void grpc_metrics(MetricsText& out, const net::DoorCounts& front) {
  for (std::size_t i = 1; i < net::kGrpcMethods; ++i) {
    const auto method = static_cast<net::GrpcMethod>(i);
    const std::string_view path = net::grpc_path_of(method);
    const std::size_t slash = path.rfind('/');
    for (std::size_t code = 0; code < net::kGrpcCodes; ++code) {
      if (front.grpc_handled[i][code] == 0) continue;
      out.counter("grpc_server_handled_total", "gRPC calls that ended.",
                  label("grpc_code", kCodes[code]) + "," +
                      label("grpc_method", path.substr(slash + 1)) + "," +
                      label("grpc_service", path.substr(1, slash - 1)) + "," +
                      label("grpc_type", type_of(method)),
                  number(front.grpc_handled[i][code]));
    }
  }
  out.counter("etcd_network_client_grpc_received_bytes_total",
              "Bytes of gRPC connections, all of HTTP/2 included.", "",
              number(front.grpc_bytes_in));
  out.counter("etcd_network_client_grpc_sent_bytes_total",
              "Bytes of gRPC connections, all of HTTP/2 included.", "",
              number(front.grpc_bytes_out));
}

void ap_metrics(MetricsText& out, const StatusResult& status) {
  out.counter("capstan_conflicts_total", "Concurrent writes that lost, bodies kept.",
              label("rule", "lww"), number(status.conflicts));
  out.counter("capstan_antientropy_bytes_total", "Bytes of synchronisation messages.",
              label("direction", "in"), number(status.sync_bytes_in));
  out.counter("capstan_antientropy_bytes_total", "Bytes of synchronisation messages.",
              label("direction", "out"), number(status.sync_bytes_out));
}

void storage_metrics(MetricsText& out, const StatusResult& status,
                     const net::DiskThread::Figures& disk_figures) {
  out.gauge("capstan_keys", "Keys with a value.", "", number(status.keys));
  out.gauge("capstan_revision", "Revision of this node.", "", number(status.revision.value));
  out.gauge("capstan_base_bytes", "Bytes of checkpointed data.", "", number(status.base_bytes));
  out.gauge("capstan_base_live_bytes", "Of these, what is in use; the rest will be given back.", "",
            number(status.base_live_bytes));
  out.gauge("capstan_wal_bytes", "Bytes of live log segments.", "", number(status.wal_bytes));
  out.gauge("capstan_table_bytes", "Bytes in memory above the checkpoint.", "",
            number(status.table_bytes));
  out.histogram_seconds("capstan_fsync_duration_seconds", "Syncs of the log.", "",
                        disk_figures.sync_micros);
  out.histogram_seconds("capstan_checkpoint_duration_seconds", "Checkpoints into the base.", "",
                        disk_figures.checkpoint_micros);
  out.counter("capstan_wal_groups_total", "Groups written to the log.", "",
              number(disk_figures.groups));
  out.counter("capstan_wal_records_total", "Records written to the log.", "",
              number(disk_figures.records));
  out.counter("capstan_wal_written_bytes_total", "Bytes written to the log.", "",
              number(disk_figures.bytes));
  out.gauge("etcd_mvcc_db_total_size_in_bytes", "As etcd's.", "", number(status.base_bytes));
  out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "As etcd's.", "",
            number(status.base_live_bytes));
  out.histogram_seconds("etcd_disk_wal_fsync_duration_seconds", "As etcd's.", "",
                        disk_figures.sync_micros);
}

void peer_metrics(MetricsText& out, const StatusResult& status, const net::PeerCounts& links) {
  for (const PeerStatus& peer : status.peers) {
    if (peer.self) continue;
    out.gauge("capstan_peer_reachable", "The peer was heard lately.", label("peer", peer.name),
              peer.reachable ? 1 : 0);
  }
  for (const PeerStatus& peer : status.peers) {
    if (peer.self || peer.last_heard_ago < 0) continue;
    out.gauge("capstan_peer_last_heard_seconds", "Since the peer was heard.",
              label("peer", peer.name), seconds(peer.last_heard_ago));
  }
  for (const PeerStatus& peer : status.peers) {
    if (peer.self || peer.round_trip < 0) continue;
    out.gauge("capstan_peer_rtt_seconds", "Round trip to the peer.", label("peer", peer.name),
              seconds(peer.round_trip));
  }
  for (const net::FrameKind kind : {net::FrameKind::kCp, net::FrameKind::kAp}) {
    const net::KindCounts& counts = links.kinds[static_cast<std::size_t>(kind)];
    const std::string of = label("kind", net::to_text(kind)) + ",";
    out.counter("capstan_peer_bytes_total", "Bytes of frames between nodes.",
                of + label("direction", "in"), number(counts.bytes_in));
    out.counter("capstan_peer_bytes_total", "Bytes of frames between nodes.",
                of + label("direction", "out"), number(counts.bytes_out));
  }
  out.counter("capstan_peer_frames_dropped_total", "Frames that could not be queued.",
              label("why", "not_connected"), number(links.dropped_not_connected));
  out.counter("capstan_peer_frames_dropped_total", "Frames that could not be queued.",
              label("why", "queue_full"), number(links.dropped_queue_full));
}

}  // namespace

std::string Node::Parts::metrics_text() {
  MetricsText out;
  StatusResult status = machine->describe();
  add_links(status);
  Micros minority = not_ready_total;
  if (not_ready_since >= 0) minority += loop.now().monotonic - not_ready_since;

  out.gauge("capstan_build_info", "Version of this build.", label("version", kVersion), 1);
  out.gauge("capstan_node_info", "Who this node is.",
            label("node", config.name) + "," + label("mode", to_text(config.mode)), 1);
  figures.write(out);
  out.gauge("capstan_requests_pending", "Requests waiting for an answer.", "",
            static_cast<double>(machine->pending()));
  out.gauge("capstan_ready", "A write could be accepted now.", "", machine->ready() ? 1 : 0);
  out.gauge("capstan_members", "Configured members.", "", static_cast<double>(status.peers.size()));
  out.gauge("capstan_members_reachable", "Members reachable from here, itself included.", "",
            status.reachable);
  out.gauge("capstan_divergence_alarm", "Equal history with different contents was seen.", "",
            status.divergence_alarm ? 1 : 0);
  if (config.mode == Mode::kCp) {
    cp_metrics(out, status, minority);
    etcd_metrics(out, status, *machine->cp_engine(), config.quota_bytes, leader_changes,
                 figures.proposals);
  } else {
    ap_metrics(out, status);
  }
  out.gauge("capstan_writes_allowed", "The disk has room.", "", disk->writes_allowed() ? 1 : 0);
  storage_metrics(out, status, disk->figures());

  const net::PeerCounts links = peers->counts();
  peer_metrics(out, status, links);
  out.counter("capstan_peer_bad_frames_total", "Malformed or corrupt frames and messages.", "",
              number(links.bad_frames + bad_messages));
  out.gauge("capstan_lab_faults_active", "Links cut by the lab on this node.", "",
            static_cast<double>(faults_now().size()));
  const net::DoorCounts front = door->counts();
  out.gauge("capstan_client_connections", "Open client connections.", label("protocol", "grpc"),
            number(front.open_grpc));
  out.gauge("capstan_client_connections", "Open client connections.", label("protocol", "http"),
            number(front.open_http));
  out.counter("capstan_tls_refused_total",
              "Client connections ended because TLS failed, or one side had none.", "",
              number(front.tls_refused));
  grpc_metrics(out, front);
  process_metrics(out, started);
  return out.take();
}

}  // namespace capstan::node
