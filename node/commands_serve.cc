// capstan serve: a node until SIGTERM.
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <memory>

#include "net/uv_loop.h"
#include "node/commands.h"
#include "node/exit_codes.h"
#include "node/join.h"
#include "node/node.h"

namespace capstan::node {
namespace {

int complain(const std::string& sentence, int code) {
  std::fprintf(stderr, "capstan serve: %s\n", sentence.c_str());
  return code;
}

// True unless another process listens there already. Asked before the data directory is touched, so
// that a second start by mistake writes nothing; the listeners themselves ask again.
bool looks_free(const HostPort& at) {
  if (at.port == 0) return true;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(at.host.c_str(), std::to_string(at.port).c_str(), &hints, &found) != 0) {
    return true;  // the listener has the better sentence
  }
  bool free = true;
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    free = bind(fd, found->ai_addr, found->ai_addrlen) == 0 || errno != EADDRINUSE;
    // bound but not listened on is fine for SO_REUSEADDR; only listening tells
    if (free) free = listen(fd, 1) == 0 || errno != EADDRINUSE;
    close(fd);
  }
  freeaddrinfo(found);
  return free;
}

int exit_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kMismatch:
    case ErrorCode::kInvalid:
    case ErrorCode::kBusy:
    case ErrorCode::kExists:
    case ErrorCode::kNotFound:
      return kExitUsage;
    default:
      return kExitNo;
  }
}

}  // namespace

int serve_command(Args args) {
  auto parsed = parse_command("serve", args);
  if (!parsed) return complain(parsed.error().sentence, kExitUsage);
  auto config = serve_config(*parsed);
  if (!config) return complain(config.error().sentence, kExitUsage);
  set_trace_level(config->log_level);
  set_trace_format(config->log_format);
  for (const std::string& note : config->notes) std::fprintf(stderr, "%s\n", note.c_str());

  for (const auto* list : {&config->listen_client, &config->listen_peer}) {
    for (const HostPort& at : *list) {
      if (looks_free(at)) continue;
      const bool client = list == &config->listen_client;
      return complain(to_text(at) + " is in use by another process" +
                          (client ? "" : " (the peer port is the client port + 1)") +
                          "; stop it, or choose another with --listen=HOST:PORT.",
                      kExitUsage);
    }
  }

  net::Loop loop;
  if (config->joins) {
    if (auto joined = join_cluster(loop, *config); !joined)
      return complain(joined.error(), kExitNo);
  }
  Result<std::unique_ptr<Node>> node = Node::start(loop, std::move(*config));
  if (!node) return complain(node.error().context, exit_of(node.error()));
  std::printf("%s\n", (*node)->ready_line().c_str());
  std::fflush(stdout);

  bool stopping = false;
  const auto on_stop = [&] {
    if (stopping) _exit(kExitInterrupted);  // asked twice: at once
    stopping = true;
    (*node)->stop([&] { loop.stop(); });
  };
  loop.on_signal(SIGTERM, on_stop);
  loop.on_signal(SIGINT, on_stop);
  loop.run();
  loop.on_signal(SIGTERM, nullptr);
  loop.on_signal(SIGINT, nullptr);
  node->reset();
  return kExitDone;
}

}  // namespace capstan::node
