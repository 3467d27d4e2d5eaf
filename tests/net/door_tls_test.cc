// The front door behind TLS: every protocol as without, and a sentence for who takes the wrong one.
#include <doctest/doctest.h>

#include "core/trace.h"
#include "net/door.h"
#include "net/grpc_client.h"
#include "net/http_client.h"
#include "net/tls_refusal.h"
#include "net/uv_tcp.h"
#include "tests/net/tls_files.h"
#include "tests/support/fake_handler.h"
#include "tests/support/loop_until.h"

namespace capstan::net {

using namespace test;
using namespace tls_test;

namespace {

struct Entrance {
  explicit Entrance(bool tls = true) {
    set_trace_sink([this](std::string_view line) { traced.emplace_back(line); });
    DoorOptions options;
    options.listen = {{"127.0.0.1", 0}};
    if (tls) {
      TlsOptions with = files.server();
      with.protocols = {"http/1.1", "h2"};
      options.tls = loaded(with);
    }
    auto opened = Door::open(loop, handler, std::move(options));
    REQUIRE(opened);
    door = std::move(*opened);
    port = door->ports()[0];
  }
  ~Entrance() { set_trace_sink(nullptr); }

  std::shared_ptr<TlsContext> caller(const std::string& protocol) const {
    TlsOptions with = files.client();
    with.protocols = {protocol};
    return loaded(with);
  }

  Files files;
  std::vector<std::string> traced;
  Loop loop;
  FakeHandler handler;
  std::unique_ptr<Door> door;
  std::uint16_t port = 0;
};

// A bare client that remembers what it heard.
struct RawClient : StreamEvents {
  RawClient(Loop& loop, std::uint16_t port, std::shared_ptr<TlsContext> tls = nullptr)
      : stream(TcpStream::connect(loop, "127.0.0.1", port, *this, std::move(tls))) {}
  void on_bytes(ByteView bytes) override { heard += bytes; }
  void on_close(CloseReason, const std::string& text) override {
    closed = true;
    why = text;
  }
  std::string heard, why;
  bool closed = false;
  std::unique_ptr<TcpStream> stream;
};

}  // namespace

TEST_CASE("door, tls: gRPC calls of every size are answered, many at once") {
  Entrance at;
  const auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port, nullptr, at.caller("h2"));
  int answered = 0;
  std::string back;
  for (int i = 0; i < 40; ++i) {
    PutRequest put;
    put.key = "k" + std::to_string(i);
    put.value = std::string(1'000'000, static_cast<char>('a' + i % 26));
    grpc->put(put, {}, [&](GrpcReply reply) { answered += reply.outcome == Outcome::kOk ? 1 : 0; });
  }
  REQUIRE(run_until(at.loop, [&] { return answered == 40; }));
  RangeRequest range;
  range.range = {"k", "l"};
  grpc->range(range, {}, [&](GrpcReply reply) {
    for (const KeyValue& kv : reply.kvs) back += kv.value;
  });
  REQUIRE(run_until(at.loop, [&] { return !back.empty(); }));
  CHECK(back.size() == 40'000'000);
  CHECK(at.door->counts().tls_refused == 0);
}

TEST_CASE("door, tls: HTTP/1.1 is answered, and its connection is kept") {
  Entrance at;
  const auto http = HttpClient::create(at.loop);
  const auto tls = at.caller("http/1.1");
  for (int i = 0; i < 3; ++i) {
    int status = 0;
    HttpCall call;
    call.host = "127.0.0.1";
    call.port = at.port;
    call.tls = tls;
    call.path = "/health";
    http->call(call,
               [&](Result<HttpResponse> response) { status = response ? response->status : -1; });
    REQUIRE(run_until(at.loop, [&] { return status != 0; }));
    CHECK(status == 200);
  }
  CHECK(at.door->counts().accepted == 1);
}

TEST_CASE("door, tls: plaintext HTTP/1.1 gets a 400 that says https://") {
  Entrance at;
  RawClient client(at.loop, at.port);
  client.stream->write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(run_until(at.loop, [&] { return client.closed; }));
  CHECK(client.heard.starts_with("HTTP/1.1 400 Bad Request\r\n"));
  CHECK(client.heard.ends_with(
      "this is a TLS port, and what came is not encrypted: use https://.\n"));
  CHECK(at.door->counts().tls_refused == 1);
  REQUIRE(at.traced.size() == 1);
  CHECK(at.traced[0].find("speaks plaintext, and this port takes TLS only: use https://") !=
        std::string::npos);
  REQUIRE(run_until(at.loop, [&] { return at.door->counts().open_unknown == 0; }));
}

TEST_CASE("door, tls: a plaintext gRPC client gets a GOAWAY that says https://") {
  Entrance at;
  RawClient client(at.loop, at.port);
  client.stream->write(ByteView("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33));
  REQUIRE(run_until(at.loop, [&] { return client.closed; }));
  CHECK(client.heard.starts_with(std::string("\0\0\0\4\0\0\0\0\0", 9)));
  CHECK(client.heard.find(std::string("\7\0\0\0\0\0\0\0\0\0\0\0\0\x0c", 14)) == 12);
  CHECK(client.heard.ends_with("use https://"));
  // Our own client reads it as any: the call was certainly not applied.
  const auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  std::optional<GrpcReply> reply;
  grpc->range(RangeRequest{}, {}, [&](GrpcReply r) { reply = std::move(r); });
  REQUIRE(run_until(at.loop, [&] { return reply.has_value(); }));
  CHECK(reply->outcome == Outcome::kFailed);
}

TEST_CASE("door: TLS where there is none gets an alert at once, and is traced") {
  Entrance at(false);
  RawClient raw(at.loop, at.port);
  raw.stream->write(ByteView("\x16", 1));  // the first byte tells
  REQUIRE(run_until(at.loop, [&] { return raw.closed; }));
  CHECK(raw.heard == tls_refusal_alert());
  CHECK(at.traced.size() == 1);
  CHECK(at.traced[0].find("speaks TLS, and this port takes none: use http://") !=
        std::string::npos);
  RawClient dialled(at.loop, at.port, at.caller("h2"));
  REQUIRE(run_until(at.loop, [&] { return dialled.closed; }));
  CHECK(dialled.why.ends_with(
      "it refused the handshake; a port without TLS does so, and one that demands a certificate"));
  CHECK(at.door->counts().tls_refused == 2);
  CHECK(at.traced.size() == 1);  // a crowd is one line every few seconds
}

TEST_CASE("door, tls: HttpClient says what is wrong, and that nothing was looked at") {
  Entrance at;
  const auto http = HttpClient::create(at.loop);
  const auto call = [&](std::shared_ptr<TlsContext> tls) {
    std::optional<Result<HttpResponse>> got;
    HttpCall call;
    call.host = "127.0.0.1";
    call.port = at.port;
    call.tls = std::move(tls);
    call.path = "/health";
    http->call(call, [&](Result<HttpResponse> response) { got = std::move(response); });
    REQUIRE(run_until(at.loop, [&] { return got.has_value(); }));
    return *got;
  };
  const auto plain = call(nullptr);
  REQUIRE(plain);
  CHECK(plain->status == 400);
  CHECK(plain->body.starts_with(kTlsPortText));
  Authority other("another authority");
  TlsOptions wrong = at.files.client();
  other.write(wrong.authority.path = at.files.path("other.pem"));
  const auto refused = call(loaded(wrong));
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::kMismatch);
  CHECK(refused.error().context.find("its certificate is not signed by --cacert=") !=
        std::string::npos);
}

}  // namespace capstan::net
