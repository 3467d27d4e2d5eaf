// A load generator for any etcd-v3 endpoint, ours or etcd's: so that both are measured by the same
// code. One thread, one loop.
//
// Closed loop   every connection keeps `inflight` requests open; latency is from send to answer.
// Fixed rate    request i is due at i / rate. Latency counts from when it was due, so that a stall
//               of the store is charged to every request that had to wait for it, sent or not
//               (coordinated omission).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "core/result.h"
#include "core/time.h"

namespace capstan::net {
class TlsContext;
}

namespace capstan::lab {

struct BenchEndpoint {
  std::string host;
  std::uint16_t port = 0;
  bool tls = false;  // https://
};

enum class BenchOperation : std::uint8_t { kPut, kGet, kMixed };

struct BenchPlan {
  std::vector<BenchEndpoint> endpoints;    // connections are dealt over them in turn
  std::shared_ptr<net::TlsContext> tls{};  // of those with TLS; offers h2
  BenchOperation operation = BenchOperation::kPut;
  int get_percent = 50;        // kMixed
  bool serializable = false;   // gets: of the node's own state
  std::uint32_t clients = 64;  // connections
  std::uint32_t inflight = 1;  // a connection; at a fixed rate the most that may be open on one
  std::uint64_t rate = 0;      // requests a second in all; 0: closed loop
  std::uint64_t keys = 100'000;
  std::uint32_t key_bytes = 16;
  std::uint32_t value_bytes = 256;
  Micros warmup = kSecond;
  Micros duration = 5 * kSecond;
  Micros deadline = 5 * kSecond;  // of one request
  bool preload = false;           // write every key once before the clock starts
  std::uint64_t seed = 1;
};

struct BenchLatency {
  Histogram all, puts, gets;  // microseconds, of requests answered ok
};

struct BenchResult {
  double seconds = 0;  // measured
  std::uint64_t ok = 0, failed = 0, unknown = 0;
  std::uint64_t never_sent = 0;  // fixed rate: due in the window, not even sent by its end
  BenchLatency latency;
  std::map<std::string, std::uint64_t> errors;  // by message, of those not ok
  double cpu_seconds = 0;                       // of this process, during the window
  bool interrupted = false;
};

// errors  kNotFound  nobody answered at an endpoint
Result<BenchResult> run_bench(const BenchPlan& plan);

// Which of the endpoints leads, asked over etcd's JSON gateway, which both stores serve; `tls`, of
// those with TLS, offers http/1.1.
//   errors  kNotFound  none could be told
Result<BenchEndpoint> find_leader(const std::vector<BenchEndpoint>& endpoints,
                                  const std::shared_ptr<net::TlsContext>& tls);

// The key of number `n`: the decimal number behind as many zeros as make `bytes`.
std::string bench_key(std::uint64_t n, std::uint32_t bytes);

}  // namespace capstan::lab
