// A real node: the machine on a libuv loop, with its disk thread, links to peers and front door.
//
// The order of start is the order of trust: data directory and lock, identity, log, base, then the
// machine, then the ports. The order of one loop turn is: everything the sockets and the disk have
// to say, then the tick, then the answers. Stopping goes the other way round.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/result.h"
#include "node/serve_config.h"

namespace capstan::net {
class Loop;
}

namespace capstan::node {

class Node {
 public:
  // Opens everything; the ready line may be printed on return. Errors carry the sentence for
  // people; kMismatch and kInvalid mean exit 2, kBusy a port or a directory in use, kIo exit 1.
  static Result<std::unique_ptr<Node>> start(net::Loop& loop, ServeConfig config);
  ~Node();

  // `capstan 0.1.0 n1 cp ready: clients http://127.0.0.1:2379, peers http://..., data ./n1.capstan`
  std::string ready_line() const;

  // Leadership handed over, clean mark written, ports closed; then `done`, at most about 1.5 s
  // away.
  void stop(std::function<void()> done);

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace capstan::node
