#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "lab/bench_load.h"
#include "lab/commands.h"
#include "node/exit_codes.h"
#include "node/options.h"
#include "node/tls_flags.h"

namespace capstan::lab {
namespace {

using node::Option;
using node::OptionKind;
using node::UsageError;

constexpr Option kOptions[] = {
    {"endpoints", OptionKind::kText, "HOST:PORT,...", "127.0.0.1:2379", "",
     "etcd-v3 endpoints, https:// before those with TLS; connections are dealt over them", "bench"},
    {"cacert", OptionKind::kText, "FILE", "", "",
     "for https://: whose certificates nodes must show, in PEM (default: the system's)", "bench"},
    {"cert", OptionKind::kText, "FILE", "", "", "for https://: the certificate to show", "bench"},
    {"key", OptionKind::kText, "FILE", "", "", "the key of --cert", "bench"},
    {"insecure-skip-tls-verify", OptionKind::kSwitch, "", "", "",
     "for https://: take any certificate; for tests only", "bench"},
    {"leader", OptionKind::kSwitch, "", "", "", "send to the leader among them only", "bench"},
    {"op", OptionKind::kText, "put|get|mixed", "put", "", "what to send", "bench"},
    {"get-percent", OptionKind::kNumber, "N", "50", "", "share of gets when mixed", "bench"},
    {"consistency", OptionKind::kText, "l|s", "l", "",
     "gets: linearizable, or serializable (the node's own state)", "bench"},
    {"clients", OptionKind::kNumber, "N", "64", "", "connections", "bench"},
    {"inflight", OptionKind::kNumber, "N", "1", "", "requests open at once on each", "bench"},
    {"rate", OptionKind::kNumber, "N", "0", "",
     "requests a second in all, whatever comes back (0: closed loop)", "bench"},
    {"keys", OptionKind::kNumber, "N", "100000", "", "drawn at random from this many", "bench"},
    {"key-bytes", OptionKind::kNumber, "N", "16", "", "size of a key", "bench"},
    {"value-bytes", OptionKind::kNumber, "N", "256", "", "size of a value", "bench"},
    {"duration", OptionKind::kDuration, "TIME", "5s", "s", "measured time", "bench"},
    {"warmup", OptionKind::kDuration, "TIME", "1s", "s", "before it, not measured", "bench"},
    {"preload", OptionKind::kSwitch, "", "", "", "write every key once first", "bench"},
    {"seed", OptionKind::kNumber, "N", "1", "", "of keys and values", "bench"},
    {"json", OptionKind::kSwitch, "", "", "", "one JSON object", "bench"},
};

// `tls` where the text does not say.
std::optional<BenchEndpoint> endpoint_of(std::string_view text, bool tls) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!text.starts_with(scheme)) continue;
    tls = scheme == "https://";
    text.remove_prefix(scheme.size());
  }
  while (text.ends_with('/')) text.remove_suffix(1);
  const std::size_t colon = text.rfind(':');
  BenchEndpoint endpoint{.host = std::string(text.substr(0, colon)), .port = 2379, .tls = tls};
  if (colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  }
  if (endpoint.host.empty() || endpoint.port == 0) return std::nullopt;
  return endpoint;
}

struct Settings {
  BenchPlan plan;
  std::shared_ptr<net::TlsContext> gateway_tls;  // as the plan's, for HTTP/1.1
  bool leader = false;
  bool json = false;
};

std::expected<Settings, UsageError> settings_of(std::span<const std::string> args) {
  const auto parsed = node::parse(kOptions, "bench", args, node::process_environment());
  if (!parsed) return std::unexpected(parsed.error());
  const auto wrong = [](std::string text) { return std::unexpected(UsageError{std::move(text)}); };
  if (!parsed->words.empty()) return wrong("bench takes no words: " + parsed->words.front());
  Settings settings;
  BenchPlan& plan = settings.plan;
  std::string list = parsed->text("endpoints");
  for (std::size_t from = 0; from <= list.size();) {
    const std::size_t comma = std::min(list.find(',', from), list.size());
    const auto endpoint =
        endpoint_of(std::string_view(list).substr(from, comma - from), node::asks_for_tls(*parsed));
    if (!endpoint) return wrong("--endpoints lists HOST:PORT,...: " + list);
    plan.endpoints.push_back(*endpoint);
    from = comma + 1;
  }
  if (std::ranges::any_of(plan.endpoints, &BenchEndpoint::tls)) {
    auto grpc = node::client_tls(*parsed, "h2"), gateway = node::client_tls(*parsed);
    if (!grpc) return std::unexpected(grpc.error());
    if (!gateway) return std::unexpected(gateway.error());
    plan.tls = std::move(*grpc);
    settings.gateway_tls = std::move(*gateway);
  }
  const std::string op = parsed->text("op");
  if (op != "put" && op != "get" && op != "mixed") return wrong("--op is put, get or mixed.");
  plan.operation = op == "put"   ? BenchOperation::kPut
                   : op == "get" ? BenchOperation::kGet
                                 : BenchOperation::kMixed;
  const std::string consistency = parsed->text("consistency");
  if (consistency != "l" && consistency != "s") return wrong("--consistency is l or s.");
  plan.serializable = consistency == "s";

  struct Range {
    const char* name;
    std::int64_t low, high;
  };
  for (const Range& range :
       {Range{"get-percent", 0, 100}, Range{"clients", 1, 10'000}, Range{"inflight", 1, 10'000},
        Range{"rate", 0, 10'000'000}, Range{"keys", 1, 1'000'000'000},
        Range{"key-bytes", 1, 60'000}, Range{"value-bytes", 0, 1'500'000}}) {
    const std::int64_t number = parsed->number(range.name);
    if (number < range.low || number > range.high) {
      return wrong("--" + std::string(range.name) + " is from " + std::to_string(range.low) +
                   " to " + std::to_string(range.high) + '.');
    }
  }
  plan.get_percent = static_cast<int>(parsed->number("get-percent"));
  plan.clients = static_cast<std::uint32_t>(parsed->number("clients"));
  plan.inflight = static_cast<std::uint32_t>(parsed->number("inflight"));
  plan.rate = static_cast<std::uint64_t>(parsed->number("rate"));
  plan.keys = static_cast<std::uint64_t>(parsed->number("keys"));
  plan.key_bytes = static_cast<std::uint32_t>(parsed->number("key-bytes"));
  plan.value_bytes = static_cast<std::uint32_t>(parsed->number("value-bytes"));
  plan.duration = parsed->micros("duration");
  plan.warmup = parsed->micros("warmup");
  if (plan.duration <= 0) return wrong("--duration must be above 0.");
  plan.preload = parsed->on("preload");
  plan.seed = static_cast<std::uint64_t>(parsed->number("seed"));
  settings.leader = parsed->on("leader");
  settings.json = parsed->on("json");
  return settings;
}

std::string what(const BenchPlan& plan) {
  std::string text = plan.operation == BenchOperation::kPut   ? "put"
                     : plan.operation == BenchOperation::kGet ? "get"
                                                              : "mixed";
  if (plan.operation != BenchOperation::kPut) {
    text += plan.serializable ? " (serializable)" : " (linearizable)";
  }
  return text;
}

double per_second(const BenchResult& result) {
  return result.seconds > 0 ? static_cast<double>(result.ok) / result.seconds : 0;
}

nlohmann::ordered_json latency_json(const Histogram& h) {
  return {{"count", h.count()},        {"mean_us", h.mean()},        {"p50_us", h.quantile(0.5)},
          {"p90_us", h.quantile(0.9)}, {"p99_us", h.quantile(0.99)}, {"p999_us", h.quantile(0.999)},
          {"max_us", h.max()}};
}

std::string json_text(const BenchPlan& plan, const BenchResult& result) {
  nlohmann::ordered_json json{{"v", 1},
                              {"kind", "bench"},
                              {"op", what(plan)},
                              {"endpoints", plan.endpoints.size()},
                              {"clients", plan.clients},
                              {"inflight", plan.inflight},
                              {"rate", plan.rate},
                              {"keys", plan.keys},
                              {"key_bytes", plan.key_bytes},
                              {"value_bytes", plan.value_bytes},
                              {"seconds", result.seconds},
                              {"ok", result.ok},
                              {"failed", result.failed},
                              {"unknown", result.unknown},
                              {"never_sent", result.never_sent},
                              {"per_second", per_second(result)},
                              {"generator_cpu_seconds", result.cpu_seconds},
                              {"latency", latency_json(result.latency.all)},
                              {"latency_put", latency_json(result.latency.puts)},
                              {"latency_get", latency_json(result.latency.gets)},
                              {"errors", result.errors}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string line(const char* name, const Histogram& h) {
  if (h.count() == 0) return "";
  char text[200];
  const auto ms = [](std::uint64_t micros) { return static_cast<double>(micros) / 1000.0; };
  std::snprintf(text, sizeof text,
                "%-5s latency ms   p50 %.2f   p90 %.2f   p99 %.2f   p99.9 %.2f   max %.2f\n", name,
                ms(h.quantile(0.5)), ms(h.quantile(0.9)), ms(h.quantile(0.99)),
                ms(h.quantile(0.999)), ms(h.max()));
  return text;
}

std::string plain_text(const BenchPlan& plan, const BenchResult& result) {
  char text[400];
  const std::string pace =
      plan.rate == 0 ? "closed loop" : std::to_string(plan.rate) + "/s offered";
  std::snprintf(text, sizeof text, "%s   %u x %u, %s, %u B keys of %llu, %u B values, %.1f s\n",
                what(plan).c_str(), plan.clients, plan.inflight, pace.c_str(), plan.key_bytes,
                static_cast<unsigned long long>(plan.keys), plan.value_bytes, result.seconds);
  std::string out = text;
  std::snprintf(text, sizeof text,
                "%.0f/s ok   %llu ok, %llu failed, %llu unknown   generator %.0f %% of a core\n",
                per_second(result), static_cast<unsigned long long>(result.ok),
                static_cast<unsigned long long>(result.failed),
                static_cast<unsigned long long>(result.unknown),
                result.seconds > 0 ? 100 * result.cpu_seconds / result.seconds : 0.0);
  out += text;
  out += line("put", result.latency.puts) + line("get", result.latency.gets);
  if (result.never_sent > 0) {
    out += line("all", result.latency.all) + "behind: " + std::to_string(result.never_sent) +
           " requests were due and not even sent; \"all\" counts them as waiting to the end\n";
  }
  for (const auto& [message, count] : result.errors) {
    out += std::to_string(count) + " x " + message + '\n';
  }
  return out;
}

}  // namespace

std::string bench_help() {
  return "capstan bench [FLAGS]\n\n"
         "Loads any etcd-v3 endpoints, Capstan's or etcd's; prints throughput and latency.\n\n"
         "  capstan bench                             64 connections, one put each\n"
         "  capstan bench --clients 16 --inflight 64  16 connections, 64 puts open on each\n"
         "  capstan bench --op get --preload --leader --endpoints a:2379,b:2379,c:2379\n"
         "  capstan bench --rate 5000                 latency at an offered rate\n\n" +
         node::options_help(kOptions, "bench");
}

int bench_main(std::span<const std::string> args) {
  auto settings = settings_of(args);
  if (!settings) {
    std::fprintf(stderr, "capstan bench: %s\n", settings.error().sentence.c_str());
    return node::kExitUsage;
  }
  BenchPlan& plan = settings->plan;
  if (settings->leader) {
    const Result<BenchEndpoint> leader = find_leader(plan.endpoints, settings->gateway_tls);
    if (!leader) {
      std::fprintf(stderr, "capstan bench: %s\n", leader.error().context.c_str());
      return node::kExitUnreachable;
    }
    plan.endpoints = {*leader};
  }
  const Result<BenchResult> result = run_bench(plan);
  if (!result) {
    std::fprintf(stderr, "capstan bench: %s\n", result.error().context.c_str());
    return node::kExitUnreachable;
  }
  const std::string text = settings->json ? json_text(plan, *result) : plain_text(plan, *result);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return result->interrupted ? node::kExitInterrupted : node::kExitDone;
}

}  // namespace capstan::lab
