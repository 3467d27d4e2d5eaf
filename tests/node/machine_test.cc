// The machine alone: what the router answers before an engine is asked, and that an engine is.
#include "node/machine.h"

#include <doctest/doctest.h>

#include <deque>
#include <optional>

#include "core/limits.h"
#include "node/version.h"
#include "tests/support/memory_base.h"

namespace capstan::node {
namespace {

// A disk that is done when it is told to be.
class ManualDisk final : public Disk {
 public:
  void append(std::vector<Record>, std::move_only_function<void(std::uint64_t)> done) override {
    waiting_.push_back([this, done = std::move(done)]() mutable { done(++position_); });
  }
  void checkpoint(Table::Frozen, std::move_only_function<void()> done) override {
    waiting_.push_back(std::move(done));
  }
  void amend(Amendment, std::move_only_function<void()> done) override {
    waiting_.push_back(std::move(done));
  }
  void release(std::uint64_t) override {}
  void stage(std::vector<Change>, std::move_only_function<void()> done) override {
    waiting_.push_back(std::move(done));
  }
  void install(std::move_only_function<void()> done) override {
    waiting_.push_back(std::move(done));
  }
  void drop_staged() override {}
  Durability durability() const override { return Durability::kSync; }
  bool writes_allowed() const override { return true; }
  std::uint64_t wal_bytes() const override { return 0; }

  void finish_all() {
    for (; !waiting_.empty(); waiting_.pop_front()) waiting_.front()();
  }

 private:
  std::deque<std::move_only_function<void()>> waiting_;
  std::uint64_t position_ = 0;
};

// Stands in for the end of the process.
struct BaseFailed {
  ErrorCode code;
};

struct Nowhere final : PeerSender {
  void send(MemberId, PeerMessage) override {}
};

// A cluster of one in the given mode, driven turn by turn; or one of several, the others silent.
struct Alone {
  explicit Alone(Mode mode, std::size_t members = 1, test::MemoryBase with = {})
      : base(std::move(with)) {
    MachineConfig config;
    config.mode = mode;
    config.engine.cluster = {7};
    config.engine.self = {11};
    config.engine.name = "n1";
    config.engine.node = {13};
    config.engine.base_failed = [](const Error& error) { throw BaseFailed{error.code}; };
    for (std::size_t i = 0; i < members; ++i) {
      config.engine.members.push_back({{11 + i}, "n" + std::to_string(i + 1)});
    }
    config.engine.members[0].peer = "127.0.0.1:2380";
    config.engine.members[0].client_urls = {"http://127.0.0.1:2379"};
    machine.emplace(std::move(config), base, disk, peers, Recovered{});
  }
  void turn(std::vector<std::pair<Request, std::optional<Reply>*>> requests = {}) {
    now.monotonic += kTick;
    now.wall += kTick;
    machine->begin_turn(now);
    disk.finish_all();
    for (auto& [request, reply] : requests) {
      machine->submit(std::move(request), [into = reply](Reply r) { *into = std::move(r); });
    }
    machine->tick();
    machine->end_turn();
  }
  // Submits and turns until the answer is there, for at most ten simulated seconds.
  Reply ask(RequestBody body, Epoch epoch = {}) {
    std::optional<Reply> reply;
    Request request;
    request.body = std::move(body);
    request.epoch = epoch;
    turn({{std::move(request), &reply}});
    for (int i = 0; i < 1000 && !reply; ++i) turn();
    REQUIRE(reply);
    return *reply;
  }
  void settle() {
    for (int i = 0; i < 1000 && !machine->ready(); ++i) turn();
    REQUIRE(machine->ready());
  }

  test::MemoryBase base;
  ManualDisk disk;
  Nowhere peers;
  Now now{kSecond, 1'700'000'000 * kSecond};
  std::optional<Machine> machine;
};

PutRequest put(std::string key, std::string value) {
  PutRequest request;
  request.key = std::move(key);
  request.value = std::move(value);
  return request;
}
RangeRequest get(std::string key) {
  RangeRequest request;
  request.range.key = std::move(key);
  return request;
}

}  // namespace

TEST_CASE("machine: in both modes a put is acknowledged after the disk, and then read") {
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    CAPTURE(to_text(mode));
    Alone node(mode);
    node.settle();
    const Reply written = node.ask(put("k", "v"));
    CHECK(written.outcome == Outcome::kOk);
    CHECK(written.write_id.actor.node == NodeId{13});
    CHECK(written.header.cluster == ClusterId{7});
    CHECK(written.header.member == MemberId{11});
    CHECK(written.epoch == Epoch{1});
    const Reply read = node.ask(get("k"));
    REQUIRE(std::holds_alternative<RangeResult>(read.body));
    const auto& kvs = std::get<RangeResult>(read.body).kvs;
    REQUIRE(kvs.size() == 1);
    CHECK(kvs[0].value == "v");
    CHECK(node.machine->pending() == 0);
  }
}

TEST_CASE("machine: a base that cannot be read ends the node in both modes, already at its start") {
  struct Row {
    Mode mode;
    Space space;
    const char* key;  // read while a node starts
  };
  for (const Row& row :
       {Row{Mode::kCp, Space::kMeta, "cp/state"}, Row{Mode::kAp, Space::kMeta, "ap.n"}}) {
    CAPTURE(to_text(row.mode));
    test::MemoryBase base;
    base.rot(row.space, row.key);
    CHECK_THROWS_AS(Alone(row.mode, 1, std::move(base)), BaseFailed);
  }
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    CAPTURE(to_text(mode));
    Alone node(mode);
    node.settle();
    node.base.rot(mode == Mode::kCp ? Space::kNow : Space::kCell, "k");
    CHECK_THROWS_AS(node.ask(get("k")), BaseFailed);
  }
}

TEST_CASE("machine: nothing is acknowledged while the disk is silent, and it counts as pending") {
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    CAPTURE(to_text(mode));
    Alone node(mode);
    node.settle();
    std::optional<Reply> reply;
    Request request;
    request.body = put("k", "v");
    node.machine->begin_turn(node.now);
    node.machine->submit(std::move(request), [&](Reply r) { reply = std::move(r); });
    node.machine->end_turn();
    CHECK(!reply);
    CHECK(node.machine->pending() == 1);
    for (int i = 0; i < 5 && !reply; ++i) node.turn();
    REQUIRE(reply);
    CHECK(reply->outcome == Outcome::kOk);
    CHECK(node.machine->pending() == 0);
  }
}

TEST_CASE("machine: what makes no sense is refused before an engine sees it, and says so") {
  Alone node(Mode::kCp);
  node.settle();
  const Reply missing = node.ask(put("", "v"));
  CHECK(missing.outcome == Outcome::kFailed);
  CHECK(missing.reason == Reason::kKeyMissing);
  CHECK(missing.detail.starts_with("refused: "));
  CHECK(!missing.write_id);
  CHECK(node.ask(put("k", std::string(kRequestBytesMax, 'v'))).reason == Reason::kTooLarge);
  CHECK(node.ask(get("k"), Epoch{2}).reason == Reason::kWrongEpoch);
  CHECK(node.ask(get("k"), Epoch{1}).outcome == Outcome::kOk);
}

TEST_CASE("machine: without a quorum a stale read is served, also when a tick is due in its turn") {
  Alone node(Mode::kCp, 3);
  for (int i = 0; i < 300; ++i) node.turn();
  CHECK(node.ask(get("k")).reason == Reason::kRecovering);  // never formed
  RangeRequest stale = get("k");
  stale.serializable = true;
  const Reply reply = node.ask(stale);
  CHECK(reply.outcome == Outcome::kOk);
  CHECK(reply.age_at_least > 0);
}

TEST_CASE("machine: status and members are answered, ready or not") {
  Alone node(Mode::kAp);
  const Reply reply = node.ask(StatusRequest{});
  REQUIRE(std::holds_alternative<StatusResult>(reply.body));
  const auto& status = std::get<StatusResult>(reply.body);
  CHECK(status.name == "n1");
  CHECK(status.mode == Mode::kAp);
  CHECK(status.version == kVersion);
  REQUIRE(status.peers.size() == 1);
  CHECK(status.peers[0].self);
  node.machine->describes_itself({11}, "n1", {"http://10.0.0.1:2379"});
  const Reply members = node.ask(MembersRequest{});
  REQUIRE(std::holds_alternative<MembersResult>(members.body));
  CHECK(std::get<MembersResult>(members.body).members.at(0).client_urls ==
        std::vector<std::string>{"http://10.0.0.1:2379"});
}

TEST_CASE("machine: after stop() requests are refused, the status still answers, and stop ends") {
  for (const Mode mode : {Mode::kCp, Mode::kAp}) {
    Alone node(mode);
    node.settle();
    bool stopped = false;
    node.machine->begin_turn(node.now);
    node.machine->stop([&] { stopped = true; });
    node.machine->end_turn();
    CHECK(node.ask(put("k", "v")).reason == Reason::kShuttingDown);
    CHECK(std::holds_alternative<StatusResult>(node.ask(StatusRequest{}).body));
    CHECK(!node.machine->ready());
    for (int i = 0; i < 200 && !stopped; ++i) node.turn();
    CHECK(stopped);
  }
}

}  // namespace capstan::node
