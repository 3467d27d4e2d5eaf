#include "net/door.h"

#include <doctest/doctest.h>

#include "net/grpc_client.h"
#include "net/http_client.h"
#include "net/json_api.h"
#include "net/uv_tcp.h"
#include "tests/support/fake_handler.h"
#include "tests/support/loop_until.h"

namespace capstan::net {

using namespace test;

namespace {

// A door on a free port with the fake node behind it, on a real loop.
struct Entrance {
  explicit Entrance(DoorOptions options = {}) {
    options.listen = {{"127.0.0.1", 0}};
    auto opened = Door::open(loop, handler, std::move(options));
    REQUIRE(opened);
    door = std::move(*opened);
    port = door->ports()[0];
  }
  Loop loop;
  FakeHandler handler;
  std::unique_ptr<Door> door;
  std::uint16_t port = 0;
};

// A bare TCP client that remembers what it heard.
struct RawClient : StreamEvents {
  RawClient(Loop& loop, std::uint16_t port)
      : stream(TcpStream::connect(loop, "127.0.0.1", port, *this)) {}
  void on_bytes(ByteView bytes) override { heard += bytes; }
  void on_close(CloseReason, const std::string&) override { closed = true; }
  std::string heard;
  bool closed = false;
  std::unique_ptr<TcpStream> stream;
};

PutRequest put_of(std::string key, std::string value) {
  PutRequest put;
  put.key = std::move(key);
  put.value = std::move(value);
  return put;
}

HttpCall http_get(std::uint16_t port, std::string path) {
  HttpCall call;
  call.host = "127.0.0.1";
  call.port = port;
  call.path = std::move(path);
  return call;
}

}  // namespace

TEST_CASE("door: gRPC and HTTP share one port and see the same data") {
  Entrance at;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  auto http = HttpClient::create(at.loop);
  std::vector<GrpcReply> replies;
  grpc->put(put_of("k", "v"), {}, [&](GrpcReply r) { replies.push_back(std::move(r)); });
  REQUIRE(run_until(at.loop, [&] { return replies.size() == 1; }));
  CHECK(replies[0].outcome == Outcome::kOk);
  CHECK(replies[0].grpc_status == 0);
  CHECK(replies[0].write_id == "n1:3:1");
  CHECK(replies[0].revision == 2);
  CHECK(replies[0].member_id == 0x8e9e05c52164694d);
  CHECK(replies[0].replicas_have == 2);
  CHECK(replies[0].replicas_all == 3);

  HttpCall call = http_get(at.port, "/api/v1/kv");
  call.method = "POST";
  Request get;
  get.body = RangeRequest{.range = {.key = "k", .end = ""}};
  call.body = encode_api_request(get);
  std::string body;
  http->call(call, [&](Result<HttpResponse> r) {
    REQUIRE(r);
    CHECK(r->status == 200);
    CHECK(r->header("content-type") == "application/json");
    body = r->body;
  });
  REQUIRE(run_until(at.loop, [&] { return !body.empty(); }));
  const auto reply = decode_api_reply(body);
  REQUIRE(reply);
  CHECK(std::get<RangeResult>(reply->reply.body).kvs.at(0).value == "v");

  RangeRequest range;
  range.range.key = "k";
  grpc->range(range, {}, [&](GrpcReply r) { replies.push_back(std::move(r)); });
  DeleteRangeRequest erase;
  erase.range.key = "k";
  grpc->delete_range(erase, {}, [&](GrpcReply r) { replies.push_back(std::move(r)); });
  REQUIRE(run_until(at.loop, [&] { return replies.size() == 3; }));
  REQUIRE(replies[1].kvs.size() == 1);
  CHECK(replies[1].kvs[0].value == "v");
  CHECK(replies[1].kvs[0].mod_revision == Revision{2});
  CHECK(replies[2].count == 1);
  const DoorCounts counts = at.door->counts();
  CHECK(counts.grpc_requests == 3);
  CHECK(counts.http_requests == 1);
  CHECK(counts.open_grpc == 1);
  CHECK(counts.buffered_bytes == 0);
}

TEST_CASE("door: a thousand calls in flight on one connection are all answered") {
  Entrance at;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  int good = 0;
  for (int i = 0; i < 1000; ++i) {
    grpc->put(put_of("k" + std::to_string(i), std::string(300, 'x')),
              {.deadline = 10 * kSecond, .request_id = ""},
              [&](GrpcReply r) { good += r.outcome == Outcome::kOk; });
  }
  CHECK(grpc->in_flight() == 1000);
  REQUIRE(run_until(at.loop, [&] { return grpc->in_flight() == 0; }));
  CHECK(good == 1000);
  CHECK(at.handler.keys() == 1000);
}

TEST_CASE("door: a reply of 40 MB crosses, larger than any window or queue") {
  Entrance at;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  int puts = 0;
  for (int i = 0; i < 40; ++i) {
    grpc->put(put_of("big" + std::to_string(i), std::string(1'000'000, 'x')), {},
              [&](GrpcReply r) { puts += r.outcome == Outcome::kOk; });
  }
  REQUIRE(run_until(at.loop, [&] { return puts == 40; }));
  std::size_t bytes = 0;
  RangeRequest range;
  range.range = {"big", "bih"};
  grpc->range(range, {}, [&](GrpcReply r) {
    for (const KeyValue& kv : r.kvs) bytes += kv.value.size();
  });
  REQUIRE(run_until(at.loop, [&] { return bytes != 0; }));
  CHECK(bytes == 40'000'000);
}

TEST_CASE("door: what a client is told of each outcome") {
  Entrance at;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  std::optional<GrpcReply> got;
  const auto put = [&] {
    got.reset();
    grpc->put(put_of("k", "v"), {}, [&](GrpcReply r) { got = std::move(r); });
    REQUIRE(run_until(at.loop, [&] { return got.has_value(); }));
  };
  at.handler.forced = refused(Reason::kNoQuorum, "n1 reaches 1 of 3 (33 %).");
  put();
  CHECK(got->outcome == Outcome::kFailed);
  CHECK(got->reason == Reason::kNoQuorum);
  CHECK(got->grpc_status == 14);
  CHECK(got->message == "etcdserver: no leader");
  CHECK(got->detail == "n1 reaches 1 of 3 (33 %).");
  Reply reply;
  reply.outcome = Outcome::kUnknown;
  reply.reason = Reason::kLeaderLost;
  reply.write_id = {.actor = {.node = {77}, .incarnation = 1}, .sequence = {4}};
  at.handler.forced = reply;
  put();
  CHECK(got->outcome == Outcome::kUnknown);
  CHECK(got->reason == Reason::kLeaderLost);
  CHECK(got->write_id == "n1:1:4");
  reply.outcome = Outcome::kOkLocal;
  at.handler.forced = reply;
  put();
  CHECK(got->outcome == Outcome::kOkLocal);
}

TEST_CASE("door: a write without an answer is unknown, one that never left has failed") {
  Entrance at;
  at.handler.defer_answers = true;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  std::vector<GrpcReply> got;
  const auto note = [&](GrpcReply r) { got.push_back(std::move(r)); };
  grpc->put(put_of("a", "1"), {.deadline = 50 * kMillisecond, .request_id = ""}, note);
  REQUIRE(run_until(at.loop, [&] { return got.size() == 1; }));
  CHECK(got[0].outcome == Outcome::kUnknown);
  CHECK(got[0].reason == Reason::kTimeout);

  grpc->put(put_of("b", "1"), {}, note);
  REQUIRE(run_until(at.loop, [&] { return at.handler.waiting() == 2; }));
  grpc->close();
  REQUIRE(run_until(at.loop, [&] { return got.size() == 2; }));
  CHECK(got[1].outcome == Outcome::kUnknown);
  CHECK(grpc->state() == GrpcClient::State::kClosed);
  grpc->put(put_of("c", "1"), {}, note);
  REQUIRE(run_until(at.loop, [&] { return got.size() == 3; }));
  CHECK(got[2].outcome == Outcome::kFailed);
  CHECK(got[2].reason == Reason::kUnreachable);

  // Nobody listens there: a port that was just given back.
  const std::uint16_t gone = [&] {
    auto listener = TcpListener::listen(at.loop, "127.0.0.1", 0, [](auto) {});
    REQUIRE(listener);
    return (*listener)->port();
  }();
  std::string why;
  auto nobody = GrpcClient::connect(at.loop, "127.0.0.1", gone,
                                    [&](GrpcClient::State, const std::string& w) { why = w; });
  nobody->put(put_of("d", "1"), {}, note);
  REQUIRE(run_until(at.loop, [&] { return got.size() == 4 && !why.empty(); }));
  CHECK(got[3].outcome == Outcome::kFailed);
  CHECK(got[3].reason == Reason::kUnreachable);
}

TEST_CASE("door: a short deadline is kept behind a long one") {
  Entrance at;
  at.handler.defer_answers = true;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  std::vector<std::string> ended;
  grpc->put(put_of("slow", "1"), {.deadline = 3600 * kSecond, .request_id = ""},
            [&](GrpcReply) { ended.push_back("slow"); });
  grpc->put(put_of("fast", "1"), {.deadline = 20 * kMillisecond, .request_id = ""},
            [&](GrpcReply) { ended.push_back("fast"); });
  REQUIRE(run_until(at.loop, [&] { return !ended.empty(); }));
  CHECK(ended.front() == "fast");
  CHECK(grpc->in_flight() == 1);
}

TEST_CASE("door: a callback may destroy its own client") {
  Entrance at;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  bool called = false;
  grpc->put(put_of("a", "1"), {}, [&](GrpcReply) {
    grpc.reset();
    called = true;
  });
  grpc->put(put_of("b", "1"), {}, [&](GrpcReply) { FAIL("dropped with its client"); });
  REQUIRE(run_until(at.loop, [&] { return called; }));
  run_for(at.loop, 10 * kMillisecond);
}

TEST_CASE("door: what is neither HTTP/2 nor HTTP/1.1 is shown out") {
  Entrance at;
  RawClient client(at.loop, at.port);
  client.stream->write("\x05\x01\x00");  // SOCKS
  REQUIRE(run_until(at.loop, [&] { return client.closed; }));
  CHECK(client.heard.empty());
  CHECK(at.door->counts().protocol_errors == 1);
}

TEST_CASE("door: the preface may come in pieces; PRI alone does not decide") {
  Entrance at;
  RawClient client(at.loop, at.port);
  client.stream->write("PRI * HT");
  REQUIRE(run_until(at.loop, [&] { return at.door->counts().open_unknown == 1; }));
  run_for(at.loop, 10 * kMillisecond);
  CHECK(client.heard.empty());
  client.stream->write(ByteView("TP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 25));
  REQUIRE(run_until(at.loop, [&] { return !client.heard.empty(); }));
  CHECK(at.door->counts().open_grpc == 1);
  // POST begins like the preface does.
  RawClient other(at.loop, at.port);
  other.stream->write("P");
  run_for(at.loop, 10 * kMillisecond);
  other.stream->write("OST /api/v1/lab HTTP/1.1\r\nContent-Length: 13\r\n\r\n{\"op\":\"show\"}");
  REQUIRE(run_until(at.loop, [&] { return other.heard.find("faults") != std::string::npos; }));
}

TEST_CASE("door: who says nothing is shown out after a while") {
  DoorOptions options;
  options.first_word_timeout = 50 * kMillisecond;
  Entrance at(options);
  RawClient client(at.loop, at.port);
  REQUIRE(run_until(at.loop, [&] { return client.closed; }));
}

TEST_CASE("door: past its bound of connections the next is turned away at once") {
  DoorOptions options;
  options.connections_max = 2;
  Entrance at(options);
  RawClient a(at.loop, at.port), b(at.loop, at.port);
  REQUIRE(run_until(at.loop, [&] { return at.door->counts().accepted == 2; }));
  RawClient c(at.loop, at.port);
  REQUIRE(run_until(at.loop, [&] { return c.closed; }));
  CHECK(at.door->counts().turned_away == 1);
  CHECK_FALSE(a.closed);
}

TEST_CASE("door: at close, calls in flight are answered before it says it is done") {
  Entrance at;
  at.handler.defer_answers = true;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  std::optional<GrpcReply> got;
  grpc->put(put_of("k", "v"), {}, [&](GrpcReply r) { got = std::move(r); });
  RawClient idle(at.loop, at.port);
  REQUIRE(run_until(at.loop, [&] { return at.handler.waiting() == 1; }));
  bool done = false;
  at.door->close(20 * kSecond, [&] { done = true; });
  run_for(at.loop, 10 * kMillisecond);
  CHECK_FALSE(done);
  at.handler.answer_waiting();
  REQUIRE(run_until(at.loop, [&] { return done && got.has_value(); }));
  CHECK(got->outcome == Outcome::kOk);
  CHECK(idle.closed);
}

TEST_CASE("door: a call that is never answered does not hold up the close for ever") {
  Entrance at;
  at.handler.defer_answers = true;
  auto grpc = GrpcClient::connect(at.loop, "127.0.0.1", at.port);
  std::optional<GrpcReply> got;
  grpc->put(put_of("k", "v"), {}, [&](GrpcReply r) { got = std::move(r); });
  REQUIRE(run_until(at.loop, [&] { return at.handler.waiting() == 1; }));
  bool done = false;
  at.door->close(30 * kMillisecond, [&] { done = true; });
  REQUIRE(run_until(at.loop, [&] { return done && got.has_value(); }));
  CHECK(got->outcome == Outcome::kUnknown);
}

TEST_CASE("door: an address in use is an error with its name, and nothing is opened") {
  Entrance at;
  FakeHandler other;
  DoorOptions options;
  options.listen = {{"127.0.0.1", 0}, {"127.0.0.1", at.port}};
  const auto second = Door::open(at.loop, other, options);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::kExists);
  CHECK(second.error().context.find(std::to_string(at.port)) != std::string::npos);
}

TEST_CASE("door: an HTTP connection is kept for the next call, and nobody listening is told") {
  Entrance at;
  auto http = HttpClient::create(at.loop);
  int done = 0;
  for (int i = 0; i < 3; ++i) {
    http->call(http_get(at.port, "/livez"), [&](Result<HttpResponse> r) {
      REQUIRE(r);
      CHECK(r->body == "ok\n");
      ++done;
    });
    REQUIRE(run_until(at.loop, [&] { return done == i + 1; }));
  }
  CHECK(at.door->counts().accepted == 1);
  at.door->close(0, [] {});
  run_for(at.loop, 50 * kMillisecond);
  std::optional<ErrorCode> error;
  http->call(http_get(at.port, "/livez"), [&](Result<HttpResponse> r) {
    REQUIRE_FALSE(r);
    error = r.error().code;
  });
  REQUIRE(run_until(at.loop, [&] { return error.has_value(); }));
  CHECK(*error == ErrorCode::kNotFound);
}

TEST_CASE("door: an HTTP call that gets no answer ends at its timeout") {
  Entrance at;
  at.handler.defer_answers = true;
  auto http = HttpClient::create(at.loop);
  HttpCall call = http_get(at.port, "/api/v1/status");
  call.timeout = 50 * kMillisecond;
  std::optional<ErrorCode> error;
  http->call(call, [&](Result<HttpResponse> r) {
    REQUIRE_FALSE(r);
    error = r.error().code;
  });
  REQUIRE(run_until(at.loop, [&] { return error.has_value(); }));
  CHECK(*error == ErrorCode::kBusy);
}

}  // namespace capstan::net
