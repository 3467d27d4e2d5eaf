#include "cp/txn.h"

#include <doctest/doctest.h>

#include "core/random.h"
#include "tests/cp/machine_store.h"
#include "tests/support/request_ops.h"

using namespace capstan;
using namespace capstan::cp;
using namespace capstan::test;

namespace {

Compare compare(std::string key, CompareTarget target, CompareResult result, std::int64_t number,
                std::string value = "", std::string end = "") {
  return {result, target, {std::move(key), std::move(end)}, number, std::move(value)};
}

struct Store : test::MachineStore {
  void put(std::string key, std::string value) {
    run(PutRequest{std::move(key), std::move(value), 0, false, false, false});
  }
  bool holds(Compare c) {
    TxnRequest request;
    request.compare = {std::move(c)};
    return std::get<TxnResult>(run(request).body).succeeded;
  }
};

}  // namespace

TEST_CASE("txn: every compare target, on a key and on none") {
  using enum CompareTarget;
  using enum CompareResult;
  Store store;
  store.put("a", "1");
  store.put("k", "v1");
  store.put("k", "v2");  // create 3, mod 4, version 2
  struct Row {
    Compare compare;
    bool want;
  };
  const Row rows[] = {
      {compare("k", kVersion, kEqual, 2), true},
      {compare("k", kVersion, kGreater, 2), false},
      {compare("k", kVersion, kLess, 3), true},
      {compare("k", kVersion, kNotEqual, 2), false},
      {compare("k", kCreate, kEqual, 3), true},
      {compare("k", kMod, kEqual, 4), true},
      {compare("k", kMod, kGreater, 3), true},
      {compare("k", kLease, kEqual, 0), true},
      {compare("k", kValue, kEqual, 0, "v2"), true},
      {compare("k", kValue, kGreater, 0, "v1"), true},
      {compare("k", kValue, kNotEqual, 0, "v2"), false},
      // A missing key is all zeroes, and has no value at all.
      {compare("none", kVersion, kEqual, 0), true},
      {compare("none", kCreate, kEqual, 0), true},
      {compare("none", kMod, kLess, 1), true},
      {compare("none", kLease, kEqual, 0), true},
      {compare("none", kValue, kEqual, 0, ""), false},
      {compare("none", kValue, kNotEqual, 0, "x"), false},
      // A range: all keys in it; an empty one is one missing key.
      {compare("a", kVersion, kGreater, 0, "", "z"), true},
      {compare("a", kVersion, kEqual, 1, "", "z"), false},
      {compare("x", kVersion, kEqual, 0, "", "z"), true},
      {compare("x", kVersion, kGreater, 0, "", "z"), false},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    CHECK(store.holds(row.compare) == row.want);
  }
}

TEST_CASE("txn: what cannot be done on the chosen path leaves everything as it was") {
  Store store;
  store.put("k", "v");
  TxnRequest request;
  RangeRequest future;
  future.range.key = "k";
  future.revision = 99;
  request.success = {put("k", "w"), RequestOp{future}};
  Applied done = store.run(request);
  REQUIRE(done.refusal);
  CHECK(done.refusal->reason == Reason::kFutureRevision);
  CHECK(store.machine.revision() == Revision{2});
  // On the path not taken it is nobody's business.
  request.failure = request.success;
  request.success = {put("k", "w")};
  CHECK(!store.run(request).refusal);

  PutRequest keep;
  keep.key = "absent";
  keep.ignore_value = true;
  request.success = {put("l"), txn({RequestOp{keep}})};
  done = store.run(request);
  REQUIRE(done.refusal);
  CHECK(done.refusal->reason == Reason::kKeyNotFound);
  PutRequest leased;
  leased.key = "k";
  leased.lease = 5;
  CHECK(store.run(leased).refusal->reason == Reason::kLeaseNotFound);
}

TEST_CASE(
    "txn: one that writes nothing adds no revision, and nested compares see the state before") {
  Store store;
  store.put("k", "v");
  TxnRequest request;
  request.success = {get("k"), del("none")};
  CHECK(store.run(request).revision == Revision{2});
  TxnRequest inner;
  inner.compare = {compare("k", CompareTarget::kValue, CompareResult::kEqual, 0, "v")};
  inner.success = {put("inner", "yes")};
  inner.failure = {put("inner", "no")};
  request.success = {put("k", "changed"), RequestOp{inner}};
  store.run(request);
  RangeRequest read;
  read.range.key = "inner";
  RangeResult out;
  CHECK(!store.machine.read(read, out));
  CHECK(out.kvs[0].value == "yes");
}

TEST_CASE("txn: what is read-only and what may be served locally") {
  TxnRequest request;
  CHECK(is_read_only(request));
  CHECK(!is_serializable(request));  // its compares would be answered from old state
  RangeRequest range;
  range.range.key = "k";
  range.serializable = true;
  request.success = {RequestOp{range}};
  CHECK(is_serializable(request));
  request.failure = {get("k")};
  CHECK(!is_serializable(request));
  request.failure = {txn({del("k")})};
  CHECK(!is_read_only(request));
}

TEST_CASE("txn: operations run in order in one revision, and a get sees what came before it") {
  Store store;
  store.put("k", "old");
  TxnRequest request;
  request.success = {get("k"), put("k", "new"), get("k"), put("l"), del("k")};
  const Applied done = store.run(request);
  CHECK(done.revision == Revision{3});
  const auto& result = std::get<TxnResult>(done.body);
  // `k` is put and inside no deleted range but its own: etcd refuses that statically; here it is
  // only the order that is looked at.
  REQUIRE(result.responses.size() == 5);
  CHECK(std::get<RangeResult>(result.responses[0].result).kvs[0].value == "old");
  CHECK(result.responses[0].revision == Revision{2});
  CHECK(std::get<RangeResult>(result.responses[2].result).kvs[0].value == "new");
  CHECK(result.responses[2].revision == Revision{3});
  CHECK(std::get<DeleteRangeResult>(result.responses[4].result).deleted == 1);
  RangeRequest past;
  past.range.key = "k";
  past.revision = 2;
  RangeResult out;
  CHECK(!store.machine.read(past, out));
  REQUIRE(out.kvs.size() == 1);
  CHECK(out.kvs[0].value == "old");
  past.revision = 3;
  CHECK(!store.machine.read(past, out));
  CHECK(out.kvs.empty());
}

TEST_CASE("command: what is encoded is decoded, and no mutation crashes or reads past the end") {
  TxnRequest request;
  request.compare = {compare("k", CompareTarget::kValue, CompareResult::kLess, -3, "x", "z")};
  request.success = {put("a"), get("b", "c"), txn({del("d")}, {RequestOp{}})};
  const WriteId id{{NodeId{~0ull}, 0xffffffffu}, {12}};
  const std::string bytes = encode_command(id, "request", request);
  const auto decoded = decode_command(bytes);
  REQUIRE(decoded);
  CHECK(decoded->id == id);
  CHECK(decoded->request_id == "request");
  CHECK(encode_command(id, "request", std::get<TxnRequest>(decoded->body)) == bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK(!decode_command(ByteView(bytes).substr(0, size)));
  }
  Rng rng{3};
  for (int i = 0; i < 20'000; ++i) {
    std::string mutated = bytes;
    for (auto flips = 1 + rng.below(4); flips > 0; --flips) {
      mutated[rng.below(mutated.size())] = static_cast<char>(rng.next());
    }
    if (const auto command = decode_command(mutated)) {
      Store store;
      store.machine.apply(mutated, {1});  // decodes to something else: fine, if it can be applied
    }
  }
}
