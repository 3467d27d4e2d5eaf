#include "cp/mvcc.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "core/random.h"
#include "cp/state_machine.h"
#include "cp/txn.h"
#include "tests/cp/mvcc_twin.h"

using namespace capstan;
using namespace capstan::cp;
using namespace capstan::test;

TEST_CASE("mvcc: every read at every revision agrees with a store that copies everything") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    Store store;
    Twin twin;
    for (int step = 0; step < 300; ++step) {
      const auto dice = rng.below(20);
      if (dice < 11) {
        const std::string& key = kKeys[rng.below(std::size(kKeys))];
        const std::string value = std::to_string(rng.below(100));
        twin.put(key, value);
        CHECK(store.put(key, value).value == twin.revision());
      } else if (dice < 14) {
        const KeyRange range = any_range(rng);
        CHECK(store.erase(range) == twin.erase(KeyBounds(range)));
      } else if (dice < 15) {
        store.checkpoint();
      } else {
        RangeRequest request;
        request.range = any_range(rng);
        request.revision = static_cast<std::int64_t>(rng.below(twin.revision() + 1));
        const std::uint64_t at =
            request.revision > 0 ? static_cast<std::uint64_t>(request.revision) : twin.revision();
        const RangeResult got = store.mvcc.range(request);
        CHECK(got.kvs == twin.range(KeyBounds(request.range), at));
        CHECK(got.count == static_cast<std::int64_t>(got.kvs.size()));
      }
      CHECK(store.mvcc.revision().value == twin.revision());
      CHECK(store.mvcc.facts().keys == twin.at.back().size());
    }
  }
}

TEST_CASE("mvcc: slices of any size put together are the range, whatever is written between them") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    Store store;
    const auto write = [&] {
      const std::string& key = kKeys[rng.below(std::size(kKeys))];
      if (rng.chance(0.7)) {
        store.put(key, std::to_string(rng.below(1000)));
      } else {
        store.erase({key, ""});
      }
    };
    for (int i = 0; i < 60; ++i) write();
    RangeRequest request;
    do {
      request.range = any_range(rng);
    } while (request.range.end.empty());
    if (rng.chance(0.5)) request.limit = 1 + static_cast<std::int64_t>(rng.below(6));
    if (rng.chance(0.3)) request.min_mod_revision = 1 + static_cast<std::int64_t>(rng.below(40));
    if (rng.chance(0.3))
      request.max_create_revision = 20 + static_cast<std::int64_t>(rng.below(40));
    request.keys_only = rng.chance(0.2);
    request.count_only = rng.chance(0.2);
    const std::uint64_t now = store.mvcc.revision().value;
    request.revision = static_cast<std::int64_t>(rng.chance(0.5) ? now : 1 + rng.below(now));
    const RangeResult whole = store.mvcc.range(request);
    if (rng.chance(0.5)) request.revision = 0;
    const RangeResult& want = request.revision > 0 ? whole : store.mvcc.range(request);

    Mvcc::RangeWalk walk = store.mvcc.begin_range(request);
    std::vector<KeyValue> got;
    int slices = 0;
    while (!walk.done) {
      REQUIRE(++slices < 100);
      const std::size_t keys = 1 + rng.below(4), bytes = 1 + rng.below(20);
      const std::size_t before = got.size();
      for (KeyValue& kv : store.mvcc.range_slice(request, walk, {keys, bytes})) {
        got.push_back(std::move(kv));
      }
      CHECK(got.size() - before <= 2 * keys);
      if (rng.chance(0.5)) write();
      if (rng.chance(0.1)) store.checkpoint();
    }
    CHECK(got == want.kvs);
    CHECK(walk.count == want.count);
    CHECK(walk.more == want.more);
  }
}

TEST_CASE("mvcc: two stores that do the same have the same digest, and others do not") {
  Store a, b, c;
  for (Store* store : {&a, &b, &c}) {
    store->put("k", "v");
    store->put("l", "w");
  }
  b.checkpoint();
  for (Store* store : {&a, &b}) store->erase({"k", ""});
  c.erase({"l", ""});
  CHECK(a.mvcc.facts().digest == b.mvcc.facts().digest);
  CHECK(a.mvcc.facts().digest != c.mvcc.facts().digest);
}

TEST_CASE("mvcc: the digest of any revision is what it was then") {
  Store store;
  std::vector<std::uint64_t> then{0, store.mvcc.facts().digest};
  for (int i = 0; i < 20; ++i) {
    store.mvcc.begin();
    store.mvcc.put({"a", std::to_string(i), 0, false, false, false});
    if (i % 3 == 0) store.mvcc.put({"b", "x", 0, false, false, false});
    store.mvcc.end();
    if (i % 5 == 4) store.checkpoint();
    then.push_back(store.mvcc.facts().digest);
  }
  for (std::uint64_t revision = 1; revision < then.size(); ++revision) {
    CHECK(store.mvcc.digest_at({revision}) == then[revision]);
  }
}

TEST_CASE("mvcc: limit, more, count, filters and sorts are etcd's") {
  Store store;
  store.put("a", "3");
  store.put("b", "1");
  store.put("c", "2");
  store.put("a", "3");  // version 2, mod 5
  RangeRequest all;
  all.range = {"a", "z"};
  const auto keys = [&](const RangeRequest& request) {
    std::string out;
    for (const KeyValue& kv : store.mvcc.range(request).kvs) out += kv.key;
    return out;
  };
  RangeRequest r = all;
  r.limit = 2;
  CHECK(keys(r) == "ab");
  CHECK(store.mvcc.range(r).more);
  CHECK(store.mvcc.range(r).count == 3);  // before the limit
  r.limit = 3;
  CHECK(!store.mvcc.range(r).more);

  r = all;
  r.count_only = true;
  CHECK(keys(r).empty());
  CHECK(store.mvcc.range(r).count == 3);

  r = all;
  r.keys_only = true;
  CHECK(store.mvcc.range(r).kvs[0].value.empty());
  CHECK(store.mvcc.range(r).kvs[0].version == 2);

  r = all;
  r.sort_order = SortOrder::kDescend;
  CHECK(keys(r) == "cba");
  r.limit = 1;  // after sorting
  CHECK(keys(r) == "c");
  r = all;
  r.sort_target = SortTarget::kValue;  // no order means ascending
  CHECK(keys(r) == "bca");
  r.sort_order = SortOrder::kDescend;
  CHECK(keys(r) == "acb");
  r.sort_target = SortTarget::kMod;
  CHECK(keys(r) == "acb");
  r.sort_target = SortTarget::kCreate;
  CHECK(keys(r) == "cba");
  r.sort_target = SortTarget::kVersion;
  CHECK(keys(r)[0] == 'a');

  r = all;
  r.min_mod_revision = 4;
  CHECK(keys(r) == "ac");
  CHECK(store.mvcc.range(r).count == 3);  // before the filters
  r.max_mod_revision = 4;
  CHECK(keys(r) == "c");
  r = all;
  r.max_create_revision = 3;
  CHECK(keys(r) == "ab");
  r.min_create_revision = 3;
  r.limit = 1;  // after the filters
  CHECK(keys(r) == "b");
  CHECK(!store.mvcc.range(r).more);
}

TEST_CASE("mvcc: a range that ends before it begins is empty, and zero bytes mean what etcd says") {
  Store store;
  store.put("a", "1");
  store.put("b", "2");
  const auto count = [&](KeyRange range) {
    RangeRequest request;
    request.range = std::move(range);
    return store.mvcc.range(request).count;
  };
  CHECK(count({"b", "a"}) == 0);
  CHECK(count({"b", "b"}) == 0);
  CHECK(count({"a", std::string(1, '\0')}) == 2);
  CHECK(count({std::string(1, '\0'), std::string(1, '\0')}) == 2);
  CHECK(count({"a", ""}) == 1);
}

TEST_CASE("mvcc: delete resets version and creation") {
  Store store;
  store.put("k", "1");
  store.put("k", "2");
  CHECK(store.mvcc.get("k")->version == 2);
  store.erase({"k", ""});
  CHECK(!store.mvcc.get("k"));
  store.put("k", "3");
  CHECK(store.mvcc.get("k")->version == 1);
  CHECK(store.mvcc.get("k")->create_revision == Revision{5});
}

TEST_CASE("mvcc: an old version of a key with a long history takes few reads of the base") {
  Store store;
  constexpr int kVersions = 4000;
  for (int i = 0; i < kVersions; ++i) {
    if (i % 100 == 99) {
      store.erase({"k", ""});
    } else {
      store.put("k", std::to_string(i));
    }
  }
  store.checkpoint();
  RangeRequest request;
  request.range = {"k", ""};
  std::uint64_t most = 0;
  for (int i = 0; i < kVersions; i += 7) {
    request.revision = i + 2;
    const std::uint64_t before = store.base.gets();
    const RangeResult got = store.mvcc.range(request);
    most = std::max(most, store.base.gets() - before);
    CAPTURE(i);
    if (i % 100 == 99) {
      CHECK(got.kvs.empty());
    } else {
      REQUIRE(got.kvs.size() == 1);
      CHECK(got.kvs[0].value == std::to_string(i));
      CHECK(got.kvs[0].version == static_cast<std::uint64_t>(i % 100 + 1));
    }
  }
  CHECK(most > 3);
  CHECK(most < 80);  // 12 * 12 / 2 links, the tip, the version; not 4,000
}

TEST_CASE("mvcc: counting and keys alone read no values") {
  Store store;
  for (int i = 0; i < 100; ++i) store.put("k" + std::to_string(i), "v");
  store.checkpoint();
  RangeRequest request;
  request.range = {"k", "l"};
  request.count_only = true;
  CHECK(store.mvcc.range(request).count == 100);
  request.count_only = false;
  request.keys_only = true;
  CHECK(store.mvcc.range(request).kvs.size() == 100);
  CHECK(store.base.gets() == 200);  // those of the puts: present, and gone
  request.keys_only = false;
  request.limit = 3;
  CHECK(store.mvcc.range(request).kvs.size() == 3);
  CHECK(store.base.gets() == 203);
}

TEST_CASE("mvcc: a future revision and a compacted one are told apart") {
  Store store;
  store.put("k", "1");
  Mvcc::Facts facts = store.mvcc.facts();
  facts.revision = {10};
  facts.compacted = {5};
  store.mvcc.set_facts(facts);
  CHECK(store.mvcc.check_revision(11)->reason == Reason::kFutureRevision);
  CHECK(store.mvcc.check_revision(4)->reason == Reason::kCompacted);
  CHECK(!store.mvcc.check_revision(5));
  CHECK(!store.mvcc.check_revision(0));
  CHECK(!store.mvcc.check_revision(10));
}

TEST_CASE("state machine: the request window forgets the oldest and nothing else") {
  test::MemoryBase base;
  Table table{base};
  StateMachine machine{table};
  const auto apply = [&](std::uint64_t n, const std::string& request_id) {
    PutRequest put;
    put.key = "k";
    put.value = std::to_string(n);
    return machine.apply(encode_command({{NodeId{1}, 1}, {n}}, request_id, put), {1});
  };
  apply(1, "first");
  for (std::uint64_t n = 2; n <= kRequestWindow; ++n) apply(n, "r" + std::to_string(n));
  CHECK(apply(100'001, "first").first == WriteId{{NodeId{1}, 1}, {1}});
  apply(100'002, "one more");  // pushes out the first
  CHECK(!apply(100'003, "first").first);
  CHECK(apply(100'004, "one more").first == WriteId{{NodeId{1}, 1}, {100'002}});
}

TEST_CASE("state machine: what is no command changes nothing") {
  test::MemoryBase base;
  Table table{base};
  StateMachine machine{table};
  CHECK(machine.apply("nonsense", {1}).refusal.has_value());
  CHECK(machine.apply("", {1}).refusal.has_value());
  CHECK(machine.revision() == Revision{1});
}

TEST_CASE("state machine: its position and facts come back from a checkpoint") {
  test::MemoryBase base;
  Table table{base};
  StateMachine machine{table};
  PutRequest put;
  put.key = "k";
  machine.apply(encode_command({{NodeId{1}, 1}, {1}}, "id", put), {1});
  machine.save({{{3}, {17}}, {{{1}, {2}}}});
  REQUIRE(base.commit(*table.freeze()).has_value());
  Table fresh{base};
  StateMachine other{fresh};
  const StateMachine::Position position = other.load();
  CHECK(position.applied == EntryId{{3}, {17}});
  CHECK(position.config.voters == std::vector<MemberId>{{1}, {2}});
  CHECK(other.revision() == Revision{2});
  CHECK(other.facts().digest == machine.facts().digest);
  CHECK(other.apply(encode_command({{NodeId{1}, 1}, {2}}, "id", put), {1}).first.sequence ==
        Sequence{1});
}
