#include "lab/bench_load.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/random.h"
#include "net/grpc_client.h"
#include "net/http_client.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"

namespace capstan::lab {
namespace {

constexpr Micros kConnectPatience = 5 * kSecond;
constexpr Micros kDrainPatience = 2 * kSecond;
constexpr std::uint32_t kPreloadInflight = 256;

Micros clock_micros() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<Micros>(t.tv_sec) * kSecond + t.tv_nsec / 1000;
}

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Bench {
 public:
  explicit Bench(const BenchPlan& plan) : plan_(plan), rng_(plan.seed), timer_(loop_) {
    put_.value.resize(plan.value_bytes);
    for (char& c : put_.value) c = static_cast<char>('!' + rng_.below(90));
    get_.serializable = plan.serializable;
  }
  Result<BenchResult> run();

 private:
  enum class Phase { kConnecting, kPreloading, kRunning, kDraining };
  struct Connection {
    std::unique_ptr<net::GrpcClient> client;
    std::uint32_t open = 0;
  };
  // One request that may be open; kept and reused, so that a callback is one pointer.
  struct Slot {
    Bench* bench = nullptr;
    std::uint32_t connection = 0;
    Micros from = 0;
    bool is_put = false;
  };

  void on_ready();
  void begin_preload();
  void preload_next(std::uint32_t connection);
  void begin_load();
  void on_tick();
  void issue(Slot& slot, Micros from);
  void answered(Slot& slot, const net::GrpcReply& reply);
  void count(const Slot& slot, const net::GrpcReply& reply, Micros now);
  void begin_drain();
  void finish() { loop_.stop(); }
  bool measured(Micros at) const { return at >= window_begin_ && at < window_end_; }
  void set_key(std::string& key, std::uint64_t n) const { key = bench_key(n, plan_.key_bytes); }

  const BenchPlan& plan_;
  Rng rng_;
  net::Loop loop_;
  net::Timer timer_;
  std::vector<Connection> connections_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;  // fixed rate
  PutRequest put_;
  RangeRequest get_;
  Phase phase_ = Phase::kConnecting;
  std::uint32_t ready_ = 0;
  std::uint64_t preloaded_ = 0, preload_begun_ = 0;
  std::uint64_t open_ = 0;
  Micros begin_ = 0, window_begin_ = 0, window_end_ = 0;
  std::uint64_t due_ = 0;  // fixed rate: requests begun
  double cpu_begin_ = -1;
  std::string failure_;
  BenchResult result_;
};

Result<BenchResult> Bench::run() {
  loop_.on_signal(SIGINT, [this] {
    result_.interrupted = true;
    finish();
  });
  connections_.resize(plan_.clients);
  for (std::uint32_t i = 0; i < plan_.clients; ++i) {
    const BenchEndpoint& at = plan_.endpoints[i % plan_.endpoints.size()];
    const std::string name = at.host + ':' + std::to_string(at.port);
    connections_[i].client = net::GrpcClient::connect(
        loop_, at.host, at.port,
        [this, name](net::GrpcClient::State state, const std::string& why) {
          if (state == net::GrpcClient::State::kReady) return on_ready();
          if (phase_ != Phase::kConnecting) return;
          failure_ = name + ": " + why;
          finish();
        },
        at.tls ? plan_.tls : nullptr);
  }
  timer_.start(kConnectPatience, [this] {
    failure_ = "not all connections stood within 5 s";
    finish();
  });
  loop_.run();
  timer_.cancel();
  loop_.on_signal(SIGINT, nullptr);
  connections_.clear();
  if (!failure_.empty()) return fail(ErrorCode::kNotFound, failure_);
  return std::move(result_);
}

void Bench::on_ready() {
  if (phase_ != Phase::kConnecting || ++ready_ < plan_.clients) return;
  timer_.cancel();
  plan_.preload ? begin_preload() : begin_load();
}

void Bench::begin_preload() {
  phase_ = Phase::kPreloading;
  const std::uint64_t each = std::max<std::uint64_t>(1, kPreloadInflight / plan_.clients);
  for (std::uint64_t round = 0; round < each; ++round) {
    for (std::uint32_t i = 0; i < plan_.clients; ++i) preload_next(i);
  }
}

void Bench::preload_next(std::uint32_t connection) {
  if (preload_begun_ == plan_.keys) return;
  set_key(put_.key, preload_begun_++);
  connections_[connection].client->put(
      put_, {.deadline = plan_.deadline, .request_id = {}},
      [this, connection](net::GrpcReply reply) {
        if (phase_ != Phase::kPreloading) return;
        if (reply.outcome != Outcome::kOk && reply.outcome != Outcome::kOkLocal) {
          failure_ = "preload: " + reply.message;
          return finish();
        }
        if (++preloaded_ == plan_.keys) return begin_load();
        preload_next(connection);
      });
}

void Bench::begin_load() {
  phase_ = Phase::kRunning;
  begin_ = clock_micros();
  window_begin_ = begin_ + plan_.warmup;
  window_end_ = window_begin_ + plan_.duration;
  const std::uint64_t slots = static_cast<std::uint64_t>(plan_.clients) * plan_.inflight;
  for (std::uint64_t i = 0; i < slots; ++i) {
    auto slot = std::make_unique<Slot>();
    slot->bench = this;
    slot->connection = static_cast<std::uint32_t>(i % plan_.clients);
    slots_.push_back(std::move(slot));
  }
  timer_.every(kMillisecond, [this] { on_tick(); });
  if (plan_.rate == 0) {
    for (const auto& slot : slots_) issue(*slot, clock_micros());
  } else {
    for (auto slot = slots_.rbegin(); slot != slots_.rend(); ++slot) idle_.push_back(slot->get());
  }
}

void Bench::on_tick() {
  const Micros now = clock_micros();
  if (cpu_begin_ < 0 && now >= window_begin_) cpu_begin_ = cpu_seconds();
  if (phase_ == Phase::kDraining) {
    if (open_ == 0 || now > window_end_ + kDrainPatience) finish();
    return;
  }
  if (now >= window_end_) return begin_drain();
  if (plan_.rate == 0) return;
  while (!idle_.empty()) {
    const Micros due = begin_ + static_cast<Micros>(due_ * 1'000'000 / plan_.rate);
    if (due > now) return;
    ++due_;
    Slot& slot = *idle_.back();
    idle_.pop_back();
    issue(slot, due);
  }
}

void Bench::issue(Slot& slot, Micros from) {
  slot.from = from;
  slot.is_put = plan_.operation == BenchOperation::kPut ||
                (plan_.operation == BenchOperation::kMixed &&
                 rng_.below(100) >= static_cast<std::uint64_t>(plan_.get_percent));
  ++open_;
  Connection& connection = connections_[slot.connection];
  const net::GrpcCallOptions options{.deadline = plan_.deadline, .request_id = {}};
  auto done = [&slot](net::GrpcReply reply) { slot.bench->answered(slot, reply); };
  if (slot.is_put) {
    set_key(put_.key, rng_.below(plan_.keys));
    connection.client->put(put_, options, std::move(done));
  } else {
    set_key(get_.range.key, rng_.below(plan_.keys));
    connection.client->range(get_, options, std::move(done));
  }
}

void Bench::answered(Slot& slot, const net::GrpcReply& reply) {
  const Micros now = clock_micros();
  --open_;
  count(slot, reply, now);
  if (phase_ != Phase::kRunning) return;
  if (plan_.rate != 0) {
    idle_.push_back(&slot);
  } else if (now < window_end_) {
    if (connections_[slot.connection].client->state() == net::GrpcClient::State::kReady) {
      issue(slot, now);
    }
  }
}

// Closed loop: what was answered in the window. Fixed rate: what was due in it.
void Bench::count(const Slot& slot, const net::GrpcReply& reply, Micros now) {
  if (!measured(plan_.rate == 0 ? now : slot.from)) return;
  if (reply.outcome == Outcome::kOk || reply.outcome == Outcome::kOkLocal) {
    ++result_.ok;
    const auto took = static_cast<std::uint64_t>(std::max<Micros>(0, now - slot.from));
    (slot.is_put ? result_.latency.puts : result_.latency.gets).record(took);
    return;
  }
  ++(reply.outcome == Outcome::kFailed ? result_.failed : result_.unknown);
  if (result_.errors.size() < 20 || result_.errors.contains(reply.message)) {
    ++result_.errors[reply.message];
  }
}

void Bench::begin_drain() {
  phase_ = Phase::kDraining;
  result_.cpu_seconds = cpu_seconds() - cpu_begin_;
  result_.seconds = static_cast<double>(plan_.duration) / kSecond;
  if (plan_.rate == 0) return finish();
  const auto elapsed = static_cast<std::uint64_t>(window_end_ - begin_);
  const std::uint64_t all_due = elapsed * plan_.rate / 1'000'000;
  // What was due and never left has waited until now at the least; leaving it out would flatter.
  for (; due_ < all_due; ++due_) {
    const Micros due = begin_ + static_cast<Micros>(due_ * 1'000'000 / plan_.rate);
    if (!measured(due)) continue;
    ++result_.never_sent;
    result_.latency.all.record(static_cast<std::uint64_t>(window_end_ - due));
  }
}

}  // namespace

std::string bench_key(std::uint64_t n, std::uint32_t bytes) {
  std::string key(bytes, '0');
  for (std::size_t at = bytes; at > 0 && n > 0; n /= 10)
    key[--at] = static_cast<char>('0' + n % 10);
  return key;
}

Result<BenchResult> run_bench(const BenchPlan& plan) {
  Result<BenchResult> result = Bench(plan).run();
  if (result) {
    result->latency.all.merge(result->latency.puts);
    result->latency.all.merge(result->latency.gets);
  }
  return result;
}

Result<BenchEndpoint> find_leader(const std::vector<BenchEndpoint>& endpoints,
                                  const std::shared_ptr<net::TlsContext>& tls) {
  net::Loop loop;
  const auto http = net::HttpClient::create(loop);
  std::size_t left = endpoints.size();
  std::optional<BenchEndpoint> leader;
  for (const BenchEndpoint& at : endpoints) {
    net::HttpCall call;
    call.host = at.host;
    call.port = at.port;
    if (at.tls) call.tls = tls;
    call.method = "POST";
    call.path = "/v3/maintenance/status";
    call.body = "{}";
    http->call(std::move(call), [&, at](Result<net::HttpResponse> response) {
      if (response) {
        const auto json = nlohmann::json::parse(response->body, nullptr, false);
        if (json.is_object() && json.contains("leader") && json.contains("header") &&
            json["header"].is_object() && json["header"].contains("member_id") &&
            json["header"]["member_id"] == json["leader"]) {
          leader = at;
        }
      }
      if (--left == 0) loop.stop();
    });
  }
  loop.run();
  if (!leader) return fail(ErrorCode::kNotFound, "no endpoint says that it leads");
  return *leader;
}

}  // namespace capstan::lab
