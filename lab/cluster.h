// One cluster of real nodes on this machine: child processes of `capstan serve --lab` on free
// loopback ports, data in a scratch directory; and the questions the lab asks them over /api/v1.
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/request.h"
#include "core/result.h"
#include "lab/child_process.h"
#include "lab/sides.h"
#include "net/handler.h"
#include "net/http_client.h"
#include "net/json_api.h"

namespace capstan::net {
class Loop;
}

namespace capstan::lab {

struct ClusterOptions {
  Mode mode = Mode::kCp;
  std::uint32_t nodes = 3;
  std::string executable;                  // of capstan
  std::string directory;                   // exists; each node gets one of its own in it
  std::vector<std::string> serve_flags{};  // more of them, for every node
  // What a node's command line begins with: a program that runs it. Empty: it runs by itself.
  std::function<std::vector<std::string>(std::uint32_t node)> under{};
};

class Cluster {
 public:
  Cluster(net::Loop& loop, ClusterOptions options);

  // Picks ports and starts the processes; they need a moment to be ready.
  Status start();
  // Kills a node, if it still runs, and starts it again on what it has.
  Status restart(std::uint32_t node);
  ChildProcess& process(std::uint32_t node) { return *nodes_[node].process; }
  std::string data_dir(std::uint32_t node) const;
  // Every node's last line at start has been printed.
  bool all_said_ready();
  // A sentence about the first node that has ended by itself, with the last of what it said.
  std::string trouble();
  // Kills and reaps every node.
  void end();

  Mode mode() const { return options_.mode; }
  std::uint32_t size() const { return options_.nodes; }
  const std::string& name(std::uint32_t node) const { return nodes_[node].name; }
  std::uint16_t port(std::uint32_t node) const { return nodes_[node].port; }

  using ReplyCallback = std::function<void(Result<net::ApiReply>)>;
  void get(std::uint32_t node, const std::string& path, ReplyCallback done);
  void status(std::uint32_t node, std::function<void(Result<StatusResult>)> done);
  // True when /readyz says so.
  void ready(std::uint32_t node, std::function<void(bool)> done);
  // Bytes of frames to and from the node's peers since it started; -1: not told.
  void peer_bytes(std::uint32_t node, std::function<void(std::int64_t)> done);
  // Everything in the node's conflict log, page by page.
  void conflicts(std::uint32_t node, std::function<void(Result<std::vector<Conflict>>)> done);

  // Parts the sides from each other: each node is told to drop all nodes of other sides. `done`
  // gets an empty string once every node has confirmed, else a sentence.
  void cut(const Sides& sides, Micros for_micros, std::function<void(std::string)> done);
  void heal(std::function<void(std::string)> done);

 private:
  struct Node {
    std::string name;
    std::uint16_t port = 0;
    std::string output;
    std::vector<std::string> command;
    std::unique_ptr<ChildProcess> process;
  };
  void call(std::uint32_t node, std::string method, std::string path, std::string body,
            net::HttpCallback done);
  void lab_all(std::function<net::LabCommand(std::uint32_t node)> command,
               std::function<void(std::string)> done);
  void conflicts_after(std::uint32_t node, std::uint64_t after,
                       std::shared_ptr<std::vector<Conflict>> found,
                       std::function<void(Result<std::vector<Conflict>>)> done);

  ClusterOptions options_;
  std::unique_ptr<net::HttpClient> http_;
  std::vector<Node> nodes_;
};

}  // namespace capstan::lab
