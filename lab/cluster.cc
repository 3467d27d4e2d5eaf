#include "lab/cluster.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <utility>

#include "net/uv_loop.h"

namespace capstan::lab {
namespace {

constexpr char kHost[] = "127.0.0.1";
// A lab's data live for seconds on whatever disk there is: small segments, and no floor of free
// space that a small machine could be below.
constexpr const char* kLabFlags[] = {"--lab", "--wal-segment-bytes=4MiB", "--free-bytes-min=64MiB",
                                     "--log-level=warn"};

// The end of a text, whole lines, for a sentence about why something died.
std::string last_lines(const std::string& text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  const std::size_t line = text.find('\n', text.size() - bytes_max);
  return line == std::string::npos ? "" : text.substr(line + 1);
}

// The sum of all samples of one metric family.
std::int64_t sum_of_family(std::string_view text, std::string_view family) {
  std::int64_t sum = -1;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(family) || line.size() == family.size()) continue;
    const char next = line[family.size()];
    if (next != '{' && next != ' ') continue;
    const std::string_view number = line.substr(line.rfind(' ') + 1);
    double value = 0;
    std::from_chars(number.data(), number.data() + number.size(), value);
    sum = std::max<std::int64_t>(sum, 0) + static_cast<std::int64_t>(value);
  }
  return sum;
}

}  // namespace

Cluster::Cluster(net::Loop& loop, ClusterOptions options)
    : options_(std::move(options)), http_(net::HttpClient::create(loop)) {}

Status Cluster::start() {
  std::string join;
  for (std::uint32_t i = 0; i < options_.nodes; ++i) {
    Result<std::uint16_t> port = free_port_pair();
    while (port && std::ranges::any_of(nodes_, [&](const Node& node) {
             return node.port + 1 >= *port && *port + 1 >= node.port;
           })) {
      port = free_port_pair();
    }
    if (!port) return std::unexpected(port.error());
    Node node{.name = node_name(i), .port = *port, .output = {}, .command = {}, .process = {}};
    node.output = options_.directory + '/' + node.name + ".out";
    join += (join.empty() ? "" : ",") + node.name + '=' + kHost + ':' + std::to_string(node.port);
    nodes_.push_back(std::move(node));
  }
  for (std::uint32_t i = 0; i < options_.nodes; ++i) {
    Node& node = nodes_[i];
    if (options_.under) node.command = options_.under(i);
    const std::string own[] = {options_.executable,
                               "serve",
                               "--mode=" + std::string(to_text(options_.mode)),
                               "--name=" + node.name,
                               "--data-dir=" + data_dir(i),
                               "--listen=" + std::string(kHost) + ':' + std::to_string(node.port),
                               "--join=" + join};
    node.command.insert(node.command.end(), std::begin(own), std::end(own));
    node.command.insert(node.command.end(), std::begin(kLabFlags), std::end(kLabFlags));
    node.command.insert(node.command.end(), options_.serve_flags.begin(),
                        options_.serve_flags.end());
    if (Status ok = restart(i); !ok) return ok;
  }
  return {};
}

Status Cluster::restart(std::uint32_t node) {
  Node& at = nodes_[node];
  at.process.reset();
  Result<std::unique_ptr<ChildProcess>> process = ChildProcess::start(at.command, at.output);
  if (!process) return std::unexpected(process.error());
  at.process = std::move(*process);
  return {};
}

std::string Cluster::data_dir(std::uint32_t node) const {
  return options_.directory + '/' + nodes_[node].name;
}

bool Cluster::all_said_ready() {
  return std::ranges::all_of(nodes_, [](const Node& node) {
    return file_text(node.output).find(" ready: ") != std::string::npos;
  });
}

std::string Cluster::trouble() {
  for (Node& node : nodes_) {
    const std::string ending = node.process ? node.process->ending() : "";
    if (ending.empty()) continue;
    return node.name + ' ' + ending + "; it last said:\n" + last_lines(file_text(node.output), 600);
  }
  return "";
}

void Cluster::end() {
  for (Node& node : nodes_) {
    if (node.process) node.process->signal(SIGKILL);
  }
  nodes_.clear();
}

void Cluster::call(std::uint32_t node, std::string method, std::string path, std::string body,
                   net::HttpCallback done) {
  net::HttpCall call;
  call.host = kHost;
  call.port = nodes_[node].port;
  call.method = std::move(method);
  call.path = std::move(path);
  call.body = std::move(body);
  call.timeout = 2 * kSecond;
  http_->call(std::move(call), std::move(done));
}

void Cluster::get(std::uint32_t node, const std::string& path, ReplyCallback done) {
  call(node, "GET", path, "", [done = std::move(done)](Result<net::HttpResponse> response) {
    if (!response) return done(std::unexpected(response.error()));
    done(net::decode_api_reply(response->body));
  });
}

void Cluster::status(std::uint32_t node, std::function<void(Result<StatusResult>)> done) {
  get(node, "/api/v1/status", [done = std::move(done)](Result<net::ApiReply> reply) {
    if (!reply) return done(std::unexpected(reply.error()));
    auto* status = std::get_if<StatusResult>(&reply->reply.body);
    if (status == nullptr) return done(fail(ErrorCode::kMalformed, "not a status"));
    done(std::move(*status));
  });
}

void Cluster::ready(std::uint32_t node, std::function<void(bool)> done) {
  call(node, "GET", "/readyz", "", [done = std::move(done)](Result<net::HttpResponse> response) {
    done(response.has_value() && response->status == 200);
  });
}

void Cluster::peer_bytes(std::uint32_t node, std::function<void(std::int64_t)> done) {
  call(node, "GET", "/metrics", "", [done = std::move(done)](Result<net::HttpResponse> response) {
    done(response ? sum_of_family(response->body, "capstan_peer_bytes_total") : -1);
  });
}

void Cluster::conflicts(std::uint32_t node,
                        std::function<void(Result<std::vector<Conflict>>)> done) {
  conflicts_after(node, 0, std::make_shared<std::vector<Conflict>>(), std::move(done));
}

void Cluster::conflicts_after(std::uint32_t node, std::uint64_t after,
                              std::shared_ptr<std::vector<Conflict>> found,
                              std::function<void(Result<std::vector<Conflict>>)> done) {
  get(node, "/api/v1/conflicts?limit=1000&after=" + std::to_string(after),
      [this, node, found, done = std::move(done)](Result<net::ApiReply> reply) {
        if (!reply) return done(std::unexpected(reply.error()));
        auto* page = std::get_if<ConflictsResult>(&reply->reply.body);
        if (page == nullptr) return done(fail(ErrorCode::kMalformed, "not a conflict log"));
        if (page->conflicts.empty()) return done(std::move(*found));
        const std::uint64_t last = page->conflicts.back().number;
        std::ranges::move(page->conflicts, std::back_inserter(*found));
        conflicts_after(node, last, found, done);
      });
}

void Cluster::lab_all(std::function<net::LabCommand(std::uint32_t node)> command,
                      std::function<void(std::string)> done) {
  struct Waiting {
    std::uint32_t left;
    std::string failure;
    std::function<void(std::string)> done;
  };
  auto waiting = std::make_shared<Waiting>(options_.nodes, "", std::move(done));
  for (std::uint32_t node = 0; node < options_.nodes; ++node) {
    call(node, "POST", "/api/v1/lab", net::encode_api_lab_command(command(node)),
         [waiting, name = nodes_[node].name](Result<net::HttpResponse> response) {
           std::string failure;
           if (!response) {
             failure = response.error().context;
           } else if (Result<net::LabReply> reply = net::decode_api_lab_reply(response->body);
                      !reply) {
             failure = reply.error().context;
           } else if (reply->outcome != Outcome::kOk) {
             failure = reply->detail;
           }
           if (!failure.empty()) waiting->failure = name + " did not take the order: " + failure;
           if (--waiting->left == 0) waiting->done(waiting->failure);
         });
  }
}

void Cluster::cut(const Sides& sides, Micros for_micros, std::function<void(std::string)> done) {
  lab_all(
      [&](std::uint32_t node) {
        net::LabCommand command;
        command.kind = net::LabCommand::Kind::kDrop;
        command.for_micros = for_micros;
        for (std::uint32_t peer = 0; peer < options_.nodes; ++peer) {
          if (side_of(sides, node) != side_of(sides, peer))
            command.drops.push_back({.peer = nodes_[peer].name});
        }
        return command;
      },
      std::move(done));
}

void Cluster::heal(std::function<void(std::string)> done) {
  net::LabCommand command;
  command.kind = net::LabCommand::Kind::kHeal;
  lab_all([command](std::uint32_t) { return command; }, std::move(done));
}

}  // namespace capstan::lab
