// A client as it asks: the node behind the door, in the name of whoever the client says it is.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "net/handler.h"

namespace capstan::net {

struct Asker {
  Handler& handler;
  Caller caller = {};

  void ask(RequestBody body, Answer answer) const {
    Request request;
    request.body = std::move(body);
    request.caller = caller;
    handler.handle(std::move(request), std::move(answer));
  }
  std::unique_ptr<WatchStream> watch(WatchOptions options) const {
    options.caller = caller;
    return handler.watch(std::move(options));
  }
  std::unique_ptr<BackupStream> backup(std::function<void()> ready) const {
    return handler.backup(caller, std::move(ready));
  }
};

}  // namespace capstan::net
