#include "net/http_server.h"

#include <doctest/doctest.h>

#include "tests/net/http_script.h"
#include "tests/support/echo_watch.h"
#include "tests/support/scripted_watch.h"

namespace capstan::net {

using namespace test;

namespace {

std::size_t count_of(const std::string& text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("http: probes say in etcd's shape and in Kubernetes' what the node can do") {
  HttpScript script;
  CHECK(body_in(script.get("/health")) == R"({"health":"true"})");
  CHECK(body_in(script.get("/livez")) == "ok\n");
  CHECK(body_in(script.get("/readyz?verbose")) ==
        "[+]loop ok\n[+]quorum ok\nreadyz check passed\n");
  script.handler.ready = false;
  const std::string health = script.get("/health");
  CHECK(status_in(health) == 503);
  CHECK(body_in(health) == R"({"health":"false"})");
  const std::string ready = script.get("/readyz");
  CHECK(status_in(ready) == 503);
  CHECK(body_in(ready) ==
        "[-]quorum failed: n1 reaches 1 of 3 voters (needs 2)\nreadyz check failed\n");
  // A node without quorum must not be restarted.
  CHECK(status_in(script.get("/livez")) == 200);
}

TEST_CASE("http: version and metrics") {
  HttpScript script;
  CHECK(body_in(script.get("/version")) ==
        R"({"etcdserver":"3.4.23","etcdcluster":"3.4.0","capstan":"0.1.0"})");
  const std::string metrics = script.get("/metrics");
  CHECK(metrics.find("Content-Type: text/plain; version=0.0.4") != std::string::npos);
  CHECK(body_in(metrics).find("capstan_up 1\n") != std::string::npos);
}

TEST_CASE("http: what is not there is 404, what is not meant so is 405") {
  HttpScript script;
  CHECK(status_in(script.get("/")) == 404);
  CHECK(status_in(script.get("/api/v1/nonsense")) == 404);
  CHECK(status_in(script.post("/health", "")) == 405);
  CHECK(status_in(script.get("/v3/kv/put")) == 405);
  CHECK(status_in(script.get("/api/v1/kv")) == 405);
  CHECK(status_in(script.post("/api/v1/status", "")) == 405);
}

TEST_CASE("http: etcd's gateway, request and reply to the letter") {
  HttpScript script;
  const std::string header =
      R"("header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437",)";
  CHECK(body_in(script.post("/v3/kv/put", R"({"key":"Zm9v","value":"YmFy"})")) ==
        "{" + header + R"("revision":"2","raft_term":"2"}})");
  CHECK(body_in(script.post("/v3/kv/range", R"({"key":"Zm9v"})")) ==
        "{" + header + R"("revision":"2","raft_term":"2"},"kvs":[{"key":"Zm9v",)" +
            R"("create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}],)" +
            R"("count":"1"})");
  // Numbers as strings or not, enums by name or number, names in either spelling.
  for (const char* body :
       {R"({"key":"Zg==","range_end":"Zw==","limit":"1","sort_order":"DESCEND"})",
        R"({"key":"Zg==","rangeEnd":"Zw==","limit":1,"sortOrder":2})"}) {
    CAPTURE(body);
    CHECK(status_in(script.post("/v3/kv/range", body)) == 200);
    const auto& asked = std::get<RangeRequest>(script.handler.requests.back().body);
    CHECK(asked.range.end == "g");
    CHECK(asked.limit == 1);
    CHECK(asked.sort_order == SortOrder::kDescend);
  }
  CHECK(body_in(script.post("/v3beta/kv/deleterange", R"({"key":"Zm9v"})"))
            .ends_with(R"("deleted":"1"})"));
  const std::string txn = body_in(
      script.post("/v3/kv/txn", R"({"compare":[{"target":"VERSION","key":"Zm9v","version":"0"}],)"
                                R"("success":[{"request_put":{"key":"Zm9v","value":"MQ=="}}]})"));
  CHECK(txn.ends_with(
      R"("succeeded":true,"responses":[{"response_put":{"header":{"revision":"4"}}}]})"));
  CHECK(body_in(script.post("/v3/maintenance/status", "")).find(R"("version":"3.4.23")") !=
        std::string::npos);
  CHECK(body_in(script.post("/v3/cluster/member/list", "{}")).find(R"("name":"n2")") !=
        std::string::npos);
}

TEST_CASE("http: the gateway's errors carry etcd's text, gRPC's code and HTTP's") {
  HttpScript script;
  const std::string missing = script.post("/v3/kv/put", "{}");
  CHECK(status_in(missing) == 400);
  CHECK(body_in(missing) == R"({"error":"etcdserver: key is not provided",)"
                            R"("message":"etcdserver: key is not provided","code":3})");
  CHECK(status_in(script.post("/v3/kv/put", "not json")) == 400);
  CHECK(status_in(script.post("/v3/kv/put", R"({"kay":"Zm9v"})")) == 400);
  CHECK(status_in(script.post("/v3/maintenance/snapshot", "{}")) == 501);
  script.handler.forced = refused(Reason::kNoQuorum, "n1 is alone.");
  const std::string alone = script.post("/v3/kv/put", R"({"key":"Zm9v"})");
  CHECK(status_in(alone) == 503);
  CHECK(alone.find("Capstan-Outcome: failed\r\nCapstan-Reason: no_quorum\r\n") !=
        std::string::npos);
  script.handler.forced = refused(Reason::kNotInAp, "Compares are lies in AP mode.");
  CHECK(status_in(script.post("/v3/kv/txn", "{}")) == 412);
}

TEST_CASE("http: pipelined requests are answered in their order, whatever the order of answers") {
  HttpScript script;
  script.handler.defer_answers = true;
  const std::string early = script.say(
      "POST /api/v1/kv HTTP/1.1\r\nContent-Length: 34\r\n\r\n"
      R"({"op":"put","key":"a","value":"b"})"
      "GET /livez HTTP/1.1\r\n\r\n");
  CHECK(early.empty());  // the probe is ready and waits for its turn
  CHECK(script.session->requests_in_flight() == 2);
  script.handler.answer_waiting();
  const std::string both = script.hear();
  CHECK(both.find(R"("type":"put")") < both.find("ok\n"));
  CHECK(count_of(both, "HTTP/1.1 200 OK") == 2);
}

TEST_CASE("http: more in the pipe than its bound waits, and is answered in the end") {
  HttpScript script;
  std::string many;
  for (int i = 0; i < 500; ++i) many += "GET /livez HTTP/1.1\r\n\r\n";
  script.session->receive(many);
  CHECK(script.session->requests_in_flight() == kHttpPipelineMax);
  CHECK(count_of(script.hear(), "HTTP/1.1 200 OK") == 500);
}

TEST_CASE("http: a request may come in single bytes") {
  HttpScript script;
  std::string got;
  for (const char c : std::string("POST /api/v1/kv HTTP/1.1\r\nContent-Length: 34\r\n\r\n"
                                  R"({"op":"put","key":"a","value":"b"})")) {
    CHECK(got.empty());
    got = script.say(std::string(1, c));
  }
  CHECK(status_in(got) == 200);
}

TEST_CASE("http: a chunked body is a body") {
  HttpScript script;
  const std::string got = script.say(
      "POST /api/v1/kv HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      "11\r\n{\"op\":\"put\",\"key\"\r\n13\r\n:\"a\",\"value\":\"b\"}  \r\n0\r\n\r\n");
  CHECK(status_in(got) == 200);
}

TEST_CASE("http: a connection is kept or closed as the client asks") {
  HttpScript script;
  script.get("/livez");
  CHECK_FALSE(script.session->finished());
  const std::string last = script.say("GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(last.find("Connection: close\r\n") != std::string::npos);
  CHECK(script.session->finished());
  HttpScript old;
  old.say("GET /livez HTTP/1.0\r\n\r\n");
  CHECK(old.session->finished());
}

TEST_CASE("http: HEAD gets the headers alone") {
  HttpScript script;
  const std::string got = script.say("HEAD /livez HTTP/1.1\r\n\r\n");
  CHECK(got.find("Content-Length: 3\r\n") != std::string::npos);
  CHECK(body_in(got).empty());
}

TEST_CASE("http: an offer to upgrade is declined by answering in HTTP/1.1") {
  HttpScript script;
  const std::string got = script.say(
      "GET /livez HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAMAAABk\r\n\r\n");
  CHECK(status_in(got) == 200);
  CHECK(status_in(script.get("/livez")) == 200);
}

TEST_CASE("http: a client that asks first whether to go on is told so") {
  HttpScript script;
  CHECK(script.say("POST /api/v1/kv HTTP/1.1\r\nExpect: 100-continue\r\n"
                   "Content-Length: 34\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(status_in(script.say(R"({"op":"put","key":"a","value":"b"})")) == 200);
}

TEST_CASE("http: past each bound there is a clear error and the end of the connection") {
  struct Row {
    std::string request;
    int status;
  };
  const Row rows[] = {
      {"GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n\r\n", 414},
      {"GET / HTTP/1.1\r\nA: " + std::string(70'000, 'x') + "\r\n\r\n", 431},
      {"GET / HTTP/1.1\r\n" + std::string(90'000, 'x'), 431},
      {"POST / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n400001\r\n" +
           std::string(4'194'305, 'x'),
       413},
      {"HELLO\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    HttpScript script;
    CHECK(status_in(script.say(row.request)) == row.status);
    CHECK(script.session->finished());
    CHECK(script.context.counts.protocol_errors == 1);
    CHECK(script.context.counts.buffered_bytes == 0);
  }
}

TEST_CASE("http: a request that trickles in for too long is cut off") {
  HttpScript script;
  script.say("GET /livez HTTP/1.1\r\nHost:");
  script.context.now += script.options.http_request_timeout - kSecond;
  script.session->tick();
  CHECK(script.hear().empty());
  script.say(" x");  // a byte now and then does not buy more time
  script.context.now += 2 * kSecond;
  script.session->tick();
  CHECK(status_in(script.hear()) == 408);
  CHECK(script.session->finished());
}

TEST_CASE("http: an idle connection is closed, one that waits for its answer is not") {
  HttpScript script;
  script.handler.defer_answers = true;
  script.get("/api/v1/status");
  script.context.now += 2 * script.options.http_idle_timeout;
  script.session->tick();
  CHECK_FALSE(script.session->finished());
  script.handler.answer_waiting();
  CHECK(status_in(script.hear()) == 200);
  script.context.now += script.options.http_idle_timeout + 1;
  script.session->tick();
  CHECK(script.session->finished());
}

TEST_CASE("http: at shut-down the request in flight is still answered") {
  HttpScript script;
  script.handler.defer_answers = true;
  script.get("/api/v1/status");
  script.session->shut();
  CHECK_FALSE(script.session->finished());
  script.handler.answer_waiting();
  const std::string last = script.hear();
  CHECK(status_in(last) == 200);
  CHECK(last.find("Connection: close") != std::string::npos);
  CHECK(script.session->finished());
}

namespace {

const std::string kWatch = R"({"create_request":{"key":"YQ==","range_end":"Yg==","watch_id":"7"}})";

std::string chunk(const std::string& text) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx", text.size());
  return size + ("\r\n" + text) + "\r\n";
}

}  // namespace

TEST_CASE("http: a watch is an answer that goes on, a line a message") {
  HttpScript script;
  EchoWatch* echo = nullptr;
  script.handler.open_watch = [&](WatchOptions options) {
    auto made = std::make_unique<EchoWatch>(std::move(options));
    echo = made.get();
    return made;
  };
  const std::string began = script.post("/v3/watch", kWatch);
  CHECK(status_in(began) == 200);
  CHECK(began.find("Transfer-Encoding: chunked\r\n") != std::string::npos);
  CHECK(began.find("Content-Length") == std::string::npos);
  CHECK(body_in(began) ==
        chunk("{\"result\":{\"header\":{},\"watch_id\":\"7\",\"created\":true}}\n") +
            chunk("{\"result\":{\"header\":{},\"watch_id\":\"7\",\"events\":[{\"kv\":{\"key\":"
                  "\"YQ==\"}},{\"kv\":{\"value\":\"Yg==\"}}]}}\n"));
  CHECK(script.hear().empty());
  // The next request waits; nothing is closed for being quiet.
  script.context.now += 2 * script.options.http_idle_timeout;
  script.session->tick();
  CHECK(script.get("/livez").empty());
  echo->cancel(7);
  const std::string ended = script.hear();
  CHECK(ended.starts_with(
      chunk("{\"result\":{\"header\":{},\"watch_id\":\"7\",\"canceled\":true}}\n").substr(0, 40)));
  CHECK(ended.find("\r\n0\r\n\r\nHTTP/1.1 200 OK") != std::string::npos);
  CHECK(script.context.counts.waiting_out_bytes == 0);
}

TEST_CASE("http: a watch that cannot be is refused, one of a node that stops ends with a line") {
  HttpScript script;
  CHECK(status_in(script.post("/v3/watch", kWatch)) == 501);  // this node has none
  script.handler.open_watch = [](WatchOptions options) {
    return std::make_unique<EchoWatch>(std::move(options));
  };
  CHECK(status_in(script.post("/v3/watch", "{}")) == 400);
  CHECK(status_in(script.post("/v3/watch", R"({"cancel_request":{}})")) == 400);
  CHECK(status_in(script.post("/v3/watch", "{")) == 400);
  CHECK(status_in(script.post("/v3/watch", kWatch)) == 200);
  script.session->shut();
  const std::string last = script.hear();
  CHECK(
      last.find(
          R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: server stopped"}})") !=
      std::string::npos);
  CHECK(last.ends_with("\r\n0\r\n\r\n"));
  CHECK(script.session->finished());
}

TEST_CASE("http: a client that leaves takes its watch along") {
  int open = 0;
  struct Counted final : WatchStream {
    explicit Counted(int& open) : open_(open) { ++open_; }
    ~Counted() override { --open_; }
    void create(WatchRequest) override {}
    void cancel(std::int64_t) override {}
    void ask_progress() override {}
    std::optional<WatchMessage> next() override { return std::nullopt; }
    int& open_;
  };
  HttpScript script;
  script.handler.open_watch = [&](WatchOptions) { return std::make_unique<Counted>(open); };
  script.post("/v3/watch", kWatch);
  CHECK(open == 1);
  script.session.reset();
  CHECK(open == 0);
}

// ---- Locks and elections ------------------------------------------------------------------------

namespace {

const std::string kLock = R"({"name":"bA==","lease":"7"})";
const std::string kLockAfter = R"({"name":"bA==","lease":"8"})";

}  // namespace

TEST_CASE("http: a lock that is free comes at once, one that is held when it is let go") {
  HttpScript script;
  WatchScript watches;
  script.handler.open_watch = watches.opener();
  const std::string held = script.post("/v3/lock/lock", kLock);
  CHECK(status_in(held) == 200);
  CHECK(body_in(held).find(R"("key":"bC83"})") != std::string::npos);
  CHECK(script.post("/v3/lock/lock", kLockAfter).empty());
  CHECK(script.get("/livez").empty());  // in its turn
  script.context.now += 2 * script.options.http_idle_timeout;
  script.session->tick();
  CHECK(!script.session->finished());
  script.handler.ask(DeleteRangeRequest{.range = {"l/7", ""}});
  WatchMessage gone;
  gone.events.resize(1);
  gone.events[0].deleted = true;
  gone.events[0].kv.key = "l/7";
  watches.say.push_back(gone);
  watches.ready();
  const std::string both = script.hear();
  CHECK(status_in(both) == 200);
  CHECK(both.find(R"("key":"bC84"})") != std::string::npos);
  CHECK(both.ends_with("ok\n"));
  CHECK(script.context.counts.waiting_out_bytes == 0);
}

TEST_CASE("http: a client that leaves while it waits for a lock takes its claim along") {
  HttpScript script;
  WatchScript watches;
  script.handler.open_watch = watches.opener();
  script.post("/v3/lock/lock", kLock);
  script.post("/v3/lock/lock", kLockAfter);
  CHECK(script.handler.keys() == 2);
  CHECK(watches.open == 1);
  script.session.reset();
  CHECK(script.handler.keys() == 1);
  CHECK(watches.open == 0);
}

TEST_CASE("http: a node that stops says so to who waits for a lock or observes an election") {
  HttpScript waiting;
  WatchScript watches;
  waiting.handler.open_watch = watches.opener();
  waiting.post("/v3/lock/lock", kLock);
  waiting.post("/v3/lock/lock", kLockAfter);
  waiting.session->shut();
  const std::string last = waiting.hear();
  CHECK(status_in(last) == 503);
  CHECK(body_in(last).find("etcdserver: server stopped") != std::string::npos);
  CHECK(waiting.session->finished());

  HttpScript observing;
  observing.handler.open_watch = watches.opener();
  observing.post("/v3/election/campaign", kLock);
  const std::string began = observing.post("/v3/election/observe", kLock.substr(0, 14) + "}");
  CHECK(began.find(R"({"result":{"header":{)") != std::string::npos);
  CHECK(began.find(R"("kv":{"key":"bC83",)") != std::string::npos);
  observing.session->shut();
  CHECK(observing.hear().find(R"({"error":{"grpc_code":14,)") != std::string::npos);
  CHECK(observing.session->finished());
}

TEST_CASE(
    "http: locks and elections are refused with etcd's text, and in AP mode with the reason") {
  HttpScript script;
  const std::string none = script.post("/v3/election/leader", R"({"name":"bA=="})");
  CHECK(status_in(none) == 500);
  CHECK(none.find("Capstan-Reason: key_not_found\r\n") != std::string::npos);
  CHECK(body_in(none) ==
        R"({"error":"election: no leader","message":"election: no leader","code":2})");
  CHECK(status_in(script.post("/v3/lock/lock", R"({"no":1})")) == 400);
  CHECK(status_in(script.post("/v3beta/lock/unlock", R"({"key":"bC83"})")) == 200);
  script.options.mode = Mode::kAp;
  const std::string refused = script.post("/v3/lock/lock", kLock);
  CHECK(status_in(refused) == 412);
  CHECK(body_in(refused).find("both sides of a cut would be granted the same lock") !=
        std::string::npos);
  CHECK(status_in(script.post("/v3/election/observe", "{}")) == 412);
  CHECK(script.handler.keys() == 0);
}

}  // namespace capstan::net
