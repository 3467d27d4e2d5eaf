#include "net/grpc_server.h"

#include <doctest/doctest.h>

#include "net/reasons.h"
#include "tests/net/h2_script.h"

namespace capstan::net {

using namespace test;

namespace {

constexpr std::string_view kPut = "/etcdserverpb.KV/Put";
constexpr std::string_view kRange = "/etcdserverpb.KV/Range";

std::string put_message(std::string_view key, std::string_view value) {
  return pb_bytes(1, key) + pb_bytes(2, value);
}

std::string header(const std::vector<H2Frame>& frames, std::uint32_t stream,
                   const std::string& name) {
  for (const H2Frame& frame : of_stream(frames, stream)) {
    if (const auto at = frame.headers.find(name); at != frame.headers.end()) return at->second;
  }
  return "";
}

std::size_t data_bytes(const std::vector<H2Frame>& frames, std::uint32_t stream) {
  std::size_t bytes = 0;
  for (const H2Frame& frame : of_stream(frames, stream)) {
    if (frame.type == kData) bytes += frame.payload.size();
  }
  return bytes;
}

}  // namespace

TEST_CASE("grpc: the server's SETTINGS come first, before the client has said a word") {
  H2Script script;
  const auto frames = script.hear();
  REQUIRE(!frames.empty());
  CHECK(frames[0].type == kSettings);
  CHECK(frames[0].flags == 0);
  const auto reply = script.say(std::string(kPreface) + h2_frame(kSettings, 0, 0, ""));
  REQUIRE(!reply.empty());
  CHECK(reply[0].type == kSettings);
  CHECK(reply[0].flags == kAck);
}

TEST_CASE("grpc: a put is answered with headers, one message and a status in the trailers") {
  H2Script script;
  script.greet();
  const auto frames = of_stream(script.say(h2_call(1, kPut, put_message("k", "v"))), 1);
  REQUIRE(frames.size() == 3);
  CHECK(frames[0].type == kHeaders);
  CHECK(frames[0].headers.at(":status") == "200");
  CHECK(frames[0].headers.at("content-type") == "application/grpc");
  CHECK(frames[0].headers.at("capstan-outcome") == "ok");
  CHECK(frames[0].headers.at("capstan-write-id") == "n1:3:1");
  CHECK(frames[0].headers.at("capstan-replicas") == "2/3");
  CHECK(frames[0].headers.at("capstan-durability") == "sync");
  CHECK(frames[0].headers.at("capstan-epoch") == "1");
  CHECK(frames[1].type == kData);
  // PutResponse{header: {cluster, member, revision 2, term 2}}
  CHECK(frames[1].payload == grpc_message(pb_bytes(1, pb_number(1, 0xcdf818194e3a8c32) +
                                                          pb_number(2, 0x8e9e05c52164694d) +
                                                          pb_number(3, 2) + pb_number(4, 2))));
  CHECK(frames[2].headers.at("grpc-status") == "0");
  CHECK((frames[2].flags & kEndStream) != 0);
  CHECK(script.session->requests_in_flight() == 0);
}

TEST_CASE("grpc: a message may come in single bytes and end with an empty DATA frame") {
  H2Script script;
  script.greet();
  script.say(h2_frame(kHeaders, kEndHeaders, 1, h2_headers(call_headers(kPut))));
  for (const char c : grpc_message(put_message("key", "value"))) {
    script.say(h2_frame(kData, 0, 1, std::string(1, c)));
  }
  CHECK(script.handler.handled == 0);
  CHECK(status_of(script.say(h2_frame(kData, kEndStream, 1, "")), 1) == "0");
  CHECK(script.handler.keys() == 1);
  CHECK(script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc: headers may be split over CONTINUATION frames") {
  H2Script script;
  script.greet();
  const std::string block = h2_headers(call_headers(kPut));
  const auto frames =
      script.say(h2_frame(kHeaders, 0, 1, block.substr(0, 20)) +
                 h2_frame(kContinuation, 0, 1, block.substr(20, 30)) +
                 h2_frame(kContinuation, kEndHeaders, 1, block.substr(50)) +
                 h2_frame(kData, kEndStream, 1, grpc_message(put_message("k", "v"))));
  CHECK(status_of(frames, 1) == "0");
}

TEST_CASE("grpc: a ping is answered with its own eight bytes, also with no stream open") {
  H2Script script;
  script.greet();
  const auto frames = script.say(h2_frame(kPing, 0, 0, "12345678"));
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].type == kPing);
  CHECK(frames[0].flags == kAck);
  CHECK(frames[0].payload == "12345678");
}

TEST_CASE("grpc: an unknown setting is ignored") {
  H2Script script;
  script.greet();
  const auto frames =
      script.say(h2_frame(kSettings, 0, 0, std::string("\xfe\x03", 2) + h2_number(1)));
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].flags == kAck);
  CHECK(status_of(script.say(h2_call(1, kPut, put_message("k", "v"))), 1) == "0");
}

TEST_CASE("grpc: a reply never outruns the client's window, and its trailers come last") {
  H2Script script;
  script.greet();
  script.say(h2_call(1, kPut, put_message("k", std::string(100'000, 'x'))));
  // SETTINGS_INITIAL_WINDOW_SIZE = 10
  script.say(h2_frame(kSettings, 0, 0, std::string("\0\4", 2) + h2_number(10)));
  auto frames = script.say(h2_call(3, kRange, pb_bytes(1, "k")));
  CHECK(data_bytes(frames, 3) == 10);
  CHECK(status_of(frames, 3) == "");
  std::size_t got = 10;
  for (int i = 0; i < 100 && status_of(frames, 3).empty(); ++i) {
    frames = script.say(h2_frame(kWindowUpdate, 0, 3, h2_number(5000)) +
                        h2_frame(kWindowUpdate, 0, 0, h2_number(5000)));
    CHECK(data_bytes(frames, 3) <= 5000);
    got += data_bytes(frames, 3);
  }
  CHECK(status_of(frames, 3) == "0");
  CHECK(got > 100'000);
}

TEST_CASE("grpc: two large replies share the connection's window") {
  H2Script script;
  script.greet();
  script.say(h2_call(1, kPut, put_message("k", std::string(60'000, 'x'))));
  auto frames =
      script.say(h2_call(3, kRange, pb_bytes(1, "k")) + h2_call(5, kRange, pb_bytes(1, "k")));
  CHECK(data_bytes(frames, 3) + data_bytes(frames, 5) <= 65535);
  CHECK(data_bytes(frames, 3) > 0);
  CHECK(data_bytes(frames, 5) > 0);
  frames = script.say(h2_frame(kWindowUpdate, 0, 0, h2_number(1'000'000)));
  CHECK(status_of(frames, 3) + status_of(frames, 5) == "00");
}

TEST_CASE("grpc: the window is given back, so that a put of 1.5 MiB gets through") {
  H2Script script;
  script.greet();
  const std::string wire = grpc_message(put_message("k", std::string(kRequestBytesMax - 100, 'x')));
  std::size_t stream_window = 1024 * 1024, connection_window = 4 * 1024 * 1024;
  script.say(h2_frame(kHeaders, kEndHeaders, 1, h2_headers(call_headers(kPut))));
  std::vector<H2Frame> frames;
  for (std::size_t at = 0; at < wire.size(); at += 16384) {
    const std::string piece = wire.substr(at, 16384);
    REQUIRE(piece.size() <= std::min(stream_window, connection_window));
    const bool last = at + 16384 >= wire.size();
    frames = script.say(h2_frame(kData, last ? kEndStream : 0, 1, piece));
    stream_window -= piece.size();
    connection_window -= piece.size();
    for (const H2Frame& frame : frames) {
      if (frame.type == kWindowUpdate) {
        (frame.stream == 0 ? connection_window : stream_window) += frame.number(0);
      }
    }
  }
  CHECK(status_of(frames, 1) == "0");
  CHECK(script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc: a refusal is one HEADERS frame with etcd's text and our sentence beside it") {
  H2Script script;
  script.greet();
  script.handler.forced = refused(Reason::kNoQuorum, "n1 reaches 1 of 3 voters (33 %).");
  const auto frames = of_stream(script.say(h2_call(1, kPut, put_message("k", "v"))), 1);
  REQUIRE(frames.size() == 1);
  CHECK((frames[0].flags & kEndStream) != 0);
  CHECK(frames[0].headers.at(":status") == "200");
  CHECK(frames[0].headers.at("content-type") == "application/grpc");
  CHECK(frames[0].headers.at("grpc-status") == "14");
  CHECK(frames[0].headers.at("grpc-message") == "etcdserver: no leader");
  CHECK(frames[0].headers.at("capstan-outcome") == "failed");
  CHECK(frames[0].headers.at("capstan-reason") == "no_quorum");
  CHECK(frames[0].headers.at("capstan-detail") == "n1 reaches 1 of 3 voters (33 %25).");
}

TEST_CASE("grpc: an unknown outcome says so, with the id of the write") {
  H2Script script;
  script.greet();
  Reply reply;
  reply.outcome = Outcome::kUnknown;
  reply.reason = Reason::kTimeout;
  reply.write_id = {.actor = {.node = {77}, .incarnation = 2}, .sequence = {9}};
  script.handler.forced = reply;
  const auto frames = script.say(h2_call(1, kPut, put_message("k", "v")));
  CHECK(status_of(frames, 1) == "14");
  CHECK(header(frames, 1, "grpc-message") == "etcdserver: request timed out");
  CHECK(header(frames, 1, "capstan-outcome") == "unknown");
  CHECK(header(frames, 1, "capstan-write-id") == "n1:2:9");
}

TEST_CASE("grpc: an unknown method is Unimplemented and the connection goes on") {
  H2Script script;
  script.greet();
  auto frames = script.say(h2_call(1, "/etcdserverpb.Watch/Watch", ""));
  CHECK(status_of(frames, 1) == "12");
  CHECK(header(frames, 1, "grpc-message") ==
        "watch is not in this build for AP mode; get the key again instead");
  CHECK(status_of(script.say(h2_call(3, "/etcdserverpb.Maintenance/Snapshot", "")), 3) == "12");
  frames = script.say(h2_call(5, "/nonsense/Method", ""));
  CHECK(status_of(frames, 5) == "12");
  CHECK(header(frames, 5, "grpc-message") == "unknown method Method for service nonsense");
  CHECK(status_of(script.say(h2_call(7, kPut, put_message("k", "v"))), 7) == "0");
}

TEST_CASE("grpc: a stream refused before its end gets its status first and a reset after") {
  H2Script script;
  script.greet();
  const auto frames =
      of_stream(script.say(h2_frame(kHeaders, kEndHeaders, 1,
                                    h2_headers(call_headers("/etcdserverpb.Watch/Watch")))),
                1);
  REQUIRE(frames.size() == 2);
  CHECK(frames[0].headers.at("grpc-status") == "12");
  CHECK(frames[1].type == kResetStream);
  CHECK(frames[1].number(0) == 0);  // NO_ERROR
  // What was on its way is ignored.
  CHECK(script.say(h2_frame(kData, kEndStream, 1, grpc_message(""))).empty());
  CHECK(status_of(script.say(h2_call(3, kPut, put_message("k", "v"))), 3) == "0");
}

TEST_CASE("grpc: a compressed request is refused with the text clients know") {
  H2Script script;
  script.greet();
  const auto frames =
      script.say(h2_call(1, kPut, put_message("k", "v"), {{"grpc-encoding", "gzip"}}));
  CHECK(status_of(frames, 1) == "12");
  CHECK(header(frames, 1, "grpc-message") ==
        "grpc: Decompressor is not installed for grpc-encoding \"gzip\"");
}

TEST_CASE("grpc: a message past the limit is refused at its length, before its bytes") {
  H2Script script;
  script.greet();
  script.say(h2_frame(kHeaders, kEndHeaders, 1, h2_headers(call_headers(kPut))));
  const auto frames =
      script.say(h2_frame(kData, 0, 1, std::string(1, '\0') + h2_number(3'000'000)));
  CHECK(status_of(frames, 1) == "8");
  CHECK(header(frames, 1, "grpc-message") ==
        "grpc: received message larger than max (3000000 vs. 2097152)");
  CHECK(script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc: what is not one whole message of the method is refused") {
  H2Script script;
  script.greet();
  const std::string whole = grpc_message(put_message("k", "v"));
  const std::string bad[] = {
      "",                                      // no message
      "\0\0\0",                                // not even a prefix
      whole.substr(0, whole.size() - 1),       // ends early
      whole + whole,                           // two
      grpc_message("\xff\xff\xff"),            // no protobuf
      std::string(1, '\1') + whole.substr(1),  // compressed, without saying how
  };
  std::uint32_t stream = 1;
  for (const std::string& body : bad) {
    CAPTURE(stream);
    const auto frames =
        script.say(h2_frame(kHeaders, kEndHeaders, stream, h2_headers(call_headers(kPut))) +
                   h2_frame(kData, kEndStream, stream, body));
    CHECK(status_of(frames, stream) == "13");
    CHECK(header(frames, stream, "capstan-outcome") == "failed");
    stream += 2;
  }
  CHECK(script.handler.handled == 0);
  CHECK(status_of(script.say(h2_call(stream, kPut, put_message("k", "v"))), stream) == "0");
}

TEST_CASE("grpc: what does not claim to be gRPC is reset") {
  H2Script script;
  script.greet();
  const Headers get{
      {":method", "GET"}, {":scheme", "http"}, {":path", "/health"}, {":authority", "x"}};
  const auto frames = script.say(h2_frame(kHeaders, kEndHeaders | kEndStream, 1, h2_headers(get)));
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].type == kResetStream);
  CHECK(status_of(script.say(h2_call(3, kPut, put_message("k", "v"))), 3) == "0");
}

TEST_CASE("grpc: timeout, request id and epoch reach the handler") {
  H2Script script;
  script.greet();
  script.say(h2_call(
      1, kPut, put_message("k", "v"),
      {{"grpc-timeout", "250m"}, {"capstan-request-id", "order-17"}, {"capstan-epoch", "5"}}));
  REQUIRE(script.handler.requests.size() == 1);
  CHECK(script.handler.requests[0].timeout == 250 * kMillisecond);
  CHECK(script.handler.requests[0].request_id == "order-17");
  CHECK(script.handler.requests[0].epoch == Epoch{5});
  CHECK(status_of(script.say(h2_call(3, kPut, "", {{"grpc-timeout", "soon"}})), 3) == "13");
}

TEST_CASE("grpc: past its deadline a write is unknown to the client and a read failed") {
  H2Script script;
  script.greet();
  script.handler.defer_answers = true;
  script.say(h2_call(1, kPut, put_message("k", "v"), {{"grpc-timeout", "100m"}}) +
             h2_call(3, kRange, pb_bytes(1, "k"), {{"grpc-timeout", "100m"}}));
  script.context.now += 99 * kMillisecond;
  script.session->tick();
  CHECK(script.hear().empty());
  script.context.now += 2 * kMillisecond;
  script.session->tick();
  const auto frames = script.hear();
  CHECK(status_of(frames, 1) == "4");
  CHECK(header(frames, 1, "capstan-outcome") == "unknown");
  CHECK(status_of(frames, 3) == "4");
  CHECK(header(frames, 3, "capstan-outcome") == "failed");
  script.handler.answer_waiting();  // too late, and no harm
  CHECK(script.hear().empty());
}

TEST_CASE("grpc: a cancelled call's late answer is dropped and the connection goes on") {
  H2Script script;
  script.greet();
  script.handler.defer_answers = true;
  script.say(h2_call(1, kPut, put_message("k", "v")));
  CHECK(script.session->requests_in_flight() == 1);
  script.say(h2_frame(kResetStream, 0, 1, h2_number(8)));
  CHECK(script.session->requests_in_flight() == 0);
  script.handler.answer_waiting();
  CHECK(script.hear().empty());
  script.handler.defer_answers = false;
  CHECK(status_of(script.say(h2_call(3, kPut, put_message("k", "v"))), 3) == "0");
}

TEST_CASE("grpc: an answer after the session has gone is dropped") {
  H2Script script;
  script.greet();
  script.handler.defer_answers = true;
  script.say(h2_call(1, kPut, put_message("k", "v")));
  script.session.reset();
  script.handler.answer_waiting();
  CHECK(script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc: a flood of resets ends the connection") {
  H2Script script;
  script.greet();
  script.handler.defer_answers = true;
  bool goaway = false;
  std::uint32_t stream = 1;
  for (; stream < 40'000 && !goaway; stream += 2) {
    const auto frames = script.say(h2_call(stream, kPut, put_message("k", "v")) +
                                   h2_frame(kResetStream, 0, stream, h2_number(8)));
    goaway = first_of(frames, kGoaway) != nullptr;
  }
  CHECK(goaway);
  CHECK(stream > 2000);  // what a client that cancels a lot may do is far below
}

TEST_CASE("grpc: at shut-down calls in flight finish behind a GOAWAY, then the session has ended") {
  H2Script script;
  script.greet();
  script.handler.defer_answers = true;
  script.say(h2_call(1, kPut, put_message("k", "v")));
  script.session->shut();
  const auto goodbye = script.hear();
  const H2Frame* goaway = first_of(goodbye, kGoaway);
  REQUIRE(goaway != nullptr);
  CHECK(goaway->number(0) == 1);  // the last stream that is served
  CHECK(goaway->number(4) == 0);  // NO_ERROR
  CHECK_FALSE(script.session->finished());
  script.handler.answer_waiting();
  CHECK(status_of(script.hear(), 1) == "0");
  CHECK(script.session->finished());
}

TEST_CASE("grpc: incomplete requests draw on one budget and are refused past it") {
  H2Script script;
  script.options.buffered_bytes_max = 1000;
  script.greet();
  const std::string half = std::string(1, '\0') + h2_number(5000) + std::string(600, 'x');
  for (const std::uint32_t stream : {1u, 3u}) {
    script.say(h2_frame(kHeaders, kEndHeaders, stream, h2_headers(call_headers(kPut))));
  }
  CHECK(status_of(script.say(h2_frame(kData, 0, 1, half)), 1) == "");
  const auto frames = script.say(h2_frame(kData, 0, 3, half));
  CHECK(status_of(frames, 3) == "8");
  CHECK(header(frames, 3, "grpc-message") == "etcdserver: too many requests");
  script.session.reset();
  CHECK(script.context.counts.buffered_bytes == 0);
}

TEST_CASE("grpc: replies nobody takes are bounded, and new calls are refused meanwhile") {
  H2Script script;
  script.options.waiting_out_bytes_max = 150'000;
  script.greet();
  script.say(h2_call(1, kPut, put_message("k", std::string(100'000, 'x'))));
  script.say(h2_call(3, kRange, pb_bytes(1, "k")));
  script.say(h2_call(5, kRange, pb_bytes(1, "k")));
  CHECK(script.context.counts.waiting_out_bytes > 130'000);
  script.say(h2_call(7, kRange, pb_bytes(1, "k")));
  CHECK(status_of(script.say(h2_call(9, kRange, pb_bytes(1, "k"))), 9) == "8");
  script.say(h2_frame(kWindowUpdate, 0, 0, h2_number(1'000'000)));
  for (const std::uint32_t stream : {3u, 5u, 7u}) {
    script.say(h2_frame(kWindowUpdate, 0, stream, h2_number(1'000'000)));
  }
  CHECK(script.context.counts.waiting_out_bytes == 0);
  script.say(h2_call(11, kRange, pb_bytes(1, "k")));
  script.session.reset();
  CHECK(script.context.counts.waiting_out_bytes == 0);
}

TEST_CASE("grpc: a silent client is asked for a sign of life, and let go without one") {
  H2Script script;
  script.greet();
  script.context.now += 121 * kSecond;
  script.session->tick();
  const auto asked = script.hear();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].type == kPing);
  CHECK(asked[0].flags == 0);
  script.say(h2_frame(kPing, kAck, 0, asked[0].payload));
  script.context.now += 100 * kSecond;
  script.session->tick();
  CHECK(script.hear().empty());
  script.context.now += 30 * kSecond;
  script.session->tick();
  CHECK(script.hear().size() == 1);
  CHECK_FALSE(script.session->finished());
  script.context.now += 20 * kSecond;
  script.session->tick();
  CHECK(script.session->finished());
}

TEST_CASE("grpc: bytes that are no HTTP/2 end the session") {
  H2Script script;
  script.hear();
  script.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n");
  CHECK(script.session->finished());
}

TEST_CASE("grpc: in AP mode a node stands as its own leader in term 1") {
  H2Script script;
  script.greet();
  script.handler.mode = Mode::kAp;
  const auto frames = script.say(h2_call(1, "/etcdserverpb.Maintenance/Status", ""));
  CHECK(status_of(frames, 1) == "0");
  const auto answer = of_stream(frames, 1);
  const H2Frame* data = first_of(answer, kData);
  REQUIRE(data != nullptr);
  CHECK(data->payload.find(pb_number(4, 0x8e9e05c52164694d)) != std::string::npos);  // leader
  CHECK(data->payload.find(pb_bytes(2, "3.4.23")) != std::string::npos);
  CHECK(data->payload.find("no leader") == std::string::npos);
}

TEST_CASE("grpc: transactions nested past the limit are refused, not followed") {
  H2Script script;
  script.greet();
  const auto nested = [](int levels) {
    std::string txn;
    for (int i = 1; i < levels; ++i) txn = pb_bytes(2, pb_bytes(4, txn));
    return txn;
  };
  const std::string path = "/etcdserverpb.KV/Txn";
  CHECK(status_of(script.say(h2_call(1, path, nested(8))), 1) == "0");
  CHECK(status_of(script.say(h2_call(3, path, nested(9))), 3) == "3");
  CHECK(status_of(script.say(h2_call(5, path, nested(2000))), 5) == "13");
}

TEST_CASE("grpc: the health protocol of load balancers, of the node as a whole") {
  H2Script script;
  script.greet();
  constexpr std::string_view kCheck = "/grpc.health.v1.Health/Check";
  const auto status_said = [&](std::uint32_t stream) {
    for (const H2Frame& frame : of_stream(script.say(h2_call(stream, kCheck, "")), stream)) {
      if (frame.type == kData) return frame.payload;
    }
    return std::string();
  };
  CHECK(status_said(1) == grpc_message(pb_number(1, 1)));
  script.handler.ready = false;
  CHECK(status_said(3) == grpc_message(pb_number(1, 2)));
  CHECK(status_of(script.say(h2_call(5, kCheck, pb_bytes(1, "etcdserverpb.KV"))), 5) == "5");
  CHECK(status_of(script.say(h2_call(7, kCheck, "\xff")), 7) == "13");
}

TEST_CASE("grpc: each call is counted once, by its method and how it ended") {
  H2Script script;
  script.greet();
  const auto ended = [&script](GrpcMethod method, GrpcCode code) {
    return script.context.counts
        .grpc_handled[static_cast<std::size_t>(method)][static_cast<std::size_t>(code)];
  };
  script.say(h2_call(1, "/etcdserverpb.KV/Put", pb_bytes(1, "k")));
  script.say(h2_call(3, "/etcdserverpb.KV/Put", ""));  // without a key
  script.say(h2_call(5, "/etcdserverpb.Lease/LeaseKeepAlive", pb_number(1, 7)));
  CHECK(ended(GrpcMethod::kPut, GrpcCode::kOk) == 1);
  CHECK(ended(GrpcMethod::kPut, GrpcCode::kInvalidArgument) == 1);
  CHECK(ended(GrpcMethod::kLeaseKeepAlive, GrpcCode::kOk) == 1);
  script.handler.defer_answers = true;
  for (const std::uint32_t stream : {7u, 9u, 11u}) {
    script.say(h2_call(stream, "/etcdserverpb.KV/Range", pb_bytes(1, "k")));
  }
  CHECK(ended(GrpcMethod::kRange, GrpcCode::kOk) == 0);
  script.say(h2_frame(kResetStream, 0, 7, h2_number(8)));
  CHECK(ended(GrpcMethod::kRange, GrpcCode::kCanceled) == 1);
  script.handler.answer_waiting();
  CHECK(ended(GrpcMethod::kRange, GrpcCode::kOk) == 2);
  script.say(h2_call(13, "/etcdserverpb.KV/Range", pb_bytes(1, "k")));
  script.session.reset();
  CHECK(ended(GrpcMethod::kRange, GrpcCode::kCanceled) == 2);
  CHECK(ended(GrpcMethod::kRange, GrpcCode::kOk) == 2);
}

}  // namespace capstan::net
