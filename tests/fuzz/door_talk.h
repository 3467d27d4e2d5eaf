// One connection of a client, from its first byte to its end, before a handler that is a map.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/check.h"
#include "net/session.h"
#include "tests/support/echo_watch.h"
#include "tests/support/fake_handler.h"

namespace capstan::test {

// Hands `stream` to the session that `make` makes, in pieces; `defer`: requests are answered after
// the last. Memory stays bounded meanwhile, and nothing is owed or kept when the session is gone.
template <class Make>
void talk(Make make, ByteView stream, std::size_t piece, bool defer) {
  FakeHandler handler;
  handler.keep_requests = false;
  handler.defer_answers = defer;
  handler.open_watch = [](WatchOptions options) {
    return std::make_unique<EchoWatch>(std::move(options));
  };
  const net::DoorOptions options;
  net::DoorContext context{handler, options, {}, 1};
  auto session = make(context, [] {});
  while (!stream.empty() && !session->finished()) {
    session->receive(stream.substr(0, piece));
    stream.remove_prefix(std::min(piece, stream.size()));
    std::string out;
    session->produce(out, 64 * 1024);
    CAPSTAN_ASSERT(out.size() <= 128 * 1024);
  }
  handler.answer_waiting();
  std::string out;
  session->produce(out, 64 * 1024);
  session.reset();
  CAPSTAN_ASSERT(context.counts.buffered_bytes == 0);
  CAPSTAN_ASSERT(context.counts.waiting_out_bytes == 0);
}

}  // namespace capstan::test
