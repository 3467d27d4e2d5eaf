// Our own gRPC client against a real etcd: what the load generator rests on when both stores are
// measured alike. Skipped, with the reason, where etcd is not installed.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>

#include "net/grpc_client.h"
#include "net/uv_loop.h"
#include "net/uv_timer.h"
#include "tests/support/free_ports.h"
#include "tests/support/loop_until.h"
#include "tests/support/temp_dir.h"

namespace capstan::net {

using test::run_until;

namespace {

constexpr const char* kEtcd = "/usr/bin/etcd";

// One etcd of its own, killed with the test.
class Etcd {
 public:
  Etcd(const std::string& directory, std::uint16_t client, std::uint16_t peer) {
    const std::string c = "http://127.0.0.1:" + std::to_string(client);
    const std::string p = "http://127.0.0.1:" + std::to_string(peer);
    const std::string cluster = "default=" + p;
    child_ = fork();
    if (child_ != 0) return;
    std::freopen("/dev/null", "w", stderr);
    std::freopen("/dev/null", "w", stdout);
    execl(kEtcd, kEtcd, "--data-dir", directory.c_str(), "--listen-client-urls", c.c_str(),
          "--advertise-client-urls", c.c_str(), "--listen-peer-urls", p.c_str(),
          "--initial-advertise-peer-urls", p.c_str(), "--initial-cluster", cluster.c_str(),
          nullptr);
    _exit(127);
  }
  ~Etcd() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }

 private:
  pid_t child_ = -1;
};

}  // namespace

TEST_CASE("clients: our client puts, gets, deletes and understands errors of a real etcd") {
  if (!std::filesystem::exists(kEtcd)) {
    MESSAGE("skipped: " << kEtcd << " is not installed");
    return;
  }
  Loop loop;
  const test::TempDir directory;
  const std::uint16_t port = test::free_ports(1, 2)[0];
  const Etcd etcd(directory.path(), port, static_cast<std::uint16_t>(port + 1));

  // Connects again until it listens and has elected itself.
  std::unique_ptr<GrpcClient> client;
  bool up = false;
  PutRequest put;
  put.key = "k";
  put.value = "v";
  std::optional<GrpcReply> got;
  Timer retry(loop);
  retry.every(50 * kMillisecond, [&] {
    if (client && client->state() != GrpcClient::State::kClosed) return;
    client = GrpcClient::connect(loop, "127.0.0.1", port);
    client->put(put, {.deadline = 10 * kSecond, .request_id = ""}, [&](GrpcReply reply) {
      got = std::move(reply);
      up = got->outcome == Outcome::kOk;
      if (!up) client->close();
    });
  });
  REQUIRE(run_until(loop, [&] { return up; }));
  retry.cancel();
  CHECK(got->revision == 2);
  CHECK(got->member_id != 0);
  CHECK(got->write_id.empty());

  const auto answered = [&] { return got.has_value(); };
  const auto note = [&](GrpcReply reply) { got = std::move(reply); };
  got.reset();
  RangeRequest range;
  range.range.key = "k";
  client->range(range, {}, note);
  REQUIRE(run_until(loop, answered));
  REQUIRE(got->kvs.size() == 1);
  CHECK(got->kvs[0].value == "v");

  got.reset();
  range.revision = 99;
  client->range(range, {}, note);
  REQUIRE(run_until(loop, answered));
  CHECK(got->outcome == Outcome::kFailed);
  CHECK(got->reason == Reason::kFutureRevision);

  got.reset();
  PutRequest nameless;
  client->put(nameless, {}, note);
  REQUIRE(run_until(loop, answered));
  CHECK(got->outcome == Outcome::kFailed);
  CHECK(got->reason == Reason::kKeyMissing);

  got.reset();
  PutRequest large = put;
  large.value.assign(1'600'000, 'x');
  client->put(large, {}, note);
  REQUIRE(run_until(loop, answered));
  CHECK(got->outcome == Outcome::kFailed);
  CHECK(got->reason == Reason::kTooLarge);

  got.reset();
  DeleteRangeRequest erase;
  erase.range.key = "k";
  client->delete_range(erase, {}, note);
  REQUIRE(run_until(loop, answered));
  CHECK(got->count == 1);

  int many = 0;
  for (int i = 0; i < 500; ++i) {
    put.key = "k" + std::to_string(i);
    client->put(put, {.deadline = 10 * kSecond, .request_id = ""},
                [&](GrpcReply reply) { many += reply.outcome == Outcome::kOk; });
  }
  REQUIRE(run_until(loop, [&] { return client->in_flight() == 0; }));
  CHECK(many == 500);
}

}  // namespace capstan::net
