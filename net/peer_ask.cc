#include "net/peer_ask.h"

#include <utility>

#include "net/peer_link.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"

namespace capstan::net {
namespace {

constexpr Micros kAskEvery = 500 * kMillisecond;

}  // namespace

struct PeerAsk::State final : LinkUser {
  State(Loop& on, const PeerOptions& who, std::string own_name, std::vector<ListenAddress> where,
        Micros patience, Done then)
      : loop(on),
        tls(who.tls),
        addresses(std::move(where)),
        done(std::move(then)),
        until(on.now().monotonic + patience),
        ticker(on) {
    hello.mode = who.mode;
    hello.token_hash = who.token_hash;
    hello.name = std::move(own_name);
    hello.asks = true;
  }

  void ask() {
    const Micros now = loop.now().monotonic;
    if (over) return;
    if (now >= until) {
      over = true;
      return done(std::unexpected(refusal.empty() ? "nobody answers" : refusal));
    }
    for (std::unique_ptr<Link>& link : links) {
      if (link->stage != Link::Stage::kOver) link->end(false);
    }
    std::erase_if(links, [](const auto& link) { return link->done(); });
    for (const ListenAddress& at : addresses) {
      auto link = std::make_unique<Link>(*this, Link::Stage::kDialled, MemberId{}, now);
      link->dial(loop, at.host, at.port, tls);
      links.push_back(std::move(link));
    }
    ticker.start(kAskEvery, [this] { ask(); });
  }

  void link_connected(Link& link) override {
    link.send(FrameKind::kHello, {}, encode_hello(hello));
  }

  void link_frame(Link& link, const Frame& frame, std::size_t) override {
    if (over) return;
    if (frame.kind == FrameKind::kRefuse) {
      refusal = printable(frame.payload, 1000);
      return link.end(false);
    }
    Result<Hello> theirs = frame.kind == FrameKind::kHello
                               ? decode_hello(frame.payload)
                               : fail(ErrorCode::kMalformed, "no hello");
    if (!theirs) return link_bad(link, theirs.error());
    link.end(false);
    if (theirs->known.empty()) {
      refusal = theirs->name + " runs a build that cannot be joined";
      return;
    }
    over = true;
    done(WhoIsThere{theirs->cluster, std::move(theirs->known)});
  }

  void link_ended(Link& link, CloseReason, const std::string& text) override {
    if (refusal.empty()) refusal = text;
    link.end(false);
  }
  void link_plaintext(Link& link, ByteView) override {
    refusal = link.remote() + " has no TLS: leave out --peer-cert-file and --peer-key-file here";
    link.end(false);
  }
  void link_encrypted(Link& link) override {
    refusal = link.remote() + " speaks TLS: give this node --peer-cert-file and --peer-key-file";
    link.end(false);
  }
  void link_bad(Link& link, const Error& error) override {
    refusal = link.remote() + " does not answer as a node of Capstan (" + error.context + ")";
    link.end(false);
  }

  Loop& loop;
  Hello hello;
  std::shared_ptr<TlsContext> tls;
  std::vector<ListenAddress> addresses;
  Done done;
  Micros until;
  std::vector<std::unique_ptr<Link>> links;
  std::string refusal;
  bool over = false;
  Timer ticker;
};

PeerAsk::PeerAsk(Loop& loop, const PeerOptions& options, std::string name,
                 std::vector<ListenAddress> at, Micros patience, Done done)
    : state_(std::make_unique<State>(loop, options, std::move(name), std::move(at), patience,
                                     std::move(done))) {
  state_->ticker.start(0, [s = state_.get()] { s->ask(); });
}
PeerAsk::~PeerAsk() = default;

}  // namespace capstan::net
