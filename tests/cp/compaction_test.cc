#include <doctest/doctest.h>

#include <algorithm>

#include "cp/state_machine.h"
#include "tests/cp/mvcc_twin.h"

using namespace capstan;
using namespace capstan::cp;
using namespace capstan::test;

namespace {

void sweep_all(Store& store, std::size_t changes = 1024) {
  while (store.mvcc.sweep_state().under_way()) store.sweep({.changes = changes});
}
void compact(Store& store, std::int64_t revision) {
  REQUIRE(!store.mvcc.compact(revision));
  if (!store.mvcc.sweep_state().under_way()) store.begin_sweep();
  sweep_all(store);
  if (store.mvcc.facts().compacted > store.mvcc.sweep_state().swept) {
    store.begin_sweep();
    sweep_all(store);
  }
}

// "2+a 3-a" of what history still holds.
std::string history(const Store& store) {
  std::string out;
  store.mvcc.changes({1}, store.mvcc.revision(), [&](Place place, const ChangeView& change) {
    out += (out.empty() ? "" : " ") + std::to_string(place.revision) + (change.head ? "+" : "-") +
           std::string(change.key);
    return true;
  });
  return out;
}
std::size_t gone_rows(const Store& store) {
  std::size_t count = 0;
  store.table.scan(Space::kGone, {}, {}, [&](ByteView, ByteView) { return ++count > 0; });
  return count;
}

}  // namespace

TEST_CASE("compaction: of each key the newest version stays, and a delete at the revision itself") {
  Store store;
  store.put("a", "1");     // 2
  store.put("b", "1");     // 3
  store.put("a", "2");     // 4
  store.erase({"b", ""});  // 5
  store.put("c", "1");     // 6
  store.erase({"c", ""});  // 7
  store.put("a", "3");     // 8
  compact(store, 7);
  CHECK(history(store) == "4+a 7-c 8+a");
  CHECK(gone_rows(store) == 1);
  compact(store, 8);
  CHECK(history(store) == "8+a");
  CHECK(gone_rows(store) == 0);
}

TEST_CASE("compaction: what cannot be compacted is refused with the reason") {
  Store store;
  store.put("a", "1");
  store.put("a", "2");
  CHECK(store.mvcc.compact(4)->reason == Reason::kFutureRevision);
  CHECK(store.mvcc.compact(0)->reason == Reason::kCompacted);
  CHECK(store.mvcc.compact(-1)->reason == Reason::kCompacted);
  CHECK(!store.mvcc.compact(2));
  CHECK(store.mvcc.compact(2)->reason == Reason::kCompacted);
  CHECK(store.mvcc.check_revision(1)->reason == Reason::kCompacted);
  CHECK(!store.mvcc.check_revision(2));
}

TEST_CASE("compaction: a put over a delete that goes begins anew, whether that is gone or not") {
  const auto tip_depth = [](Store& store) {
    const std::string row = *store.table.get(Space::kNow, "a");
    Reader in(row);
    read_head(in);
    return read_tip(in).depth;
  };
  for (const bool swept : {true, false}) {
    Store store;
    store.put("a", "1");
    store.erase({"a", ""});
    store.put("b", "1");
    REQUIRE(!store.mvcc.compact(4));
    if (swept) {
      store.begin_sweep();
      sweep_all(store);
    }
    store.put("a", "2");
    CHECK(tip_depth(store) == 1);
  }
}

TEST_CASE("compaction: reads, digests and events do not depend on how far each has come") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    Store eager, lazy;
    Twin twin;
    const auto check_reads = [&](const Store& store) {
      const std::uint64_t from = std::max<std::uint64_t>(1, store.mvcc.facts().compacted.value);
      RangeRequest request;
      request.range = any_range(rng);
      const std::uint64_t at = from + rng.below(twin.revision() - from + 1);
      request.revision = static_cast<std::int64_t>(at);
      CHECK(store.mvcc.range(request).kvs == twin.range(KeyBounds(request.range), at));
    };
    // Every event from where history begins here, with what was before.
    const auto check_events = [&](const Store& store) {
      const Revision from = std::max(Revision{2}, store.mvcc.sweep_state().target);
      std::uint64_t next = from.value;
      store.mvcc.changes(from, store.mvcc.revision(), [&](Place place, const ChangeView& change) {
        const std::string key(change.key);
        CHECK((place.revision == next || place.revision + 1 == next));
        next = place.revision + 1;
        CHECK(change.head.has_value() == twin.at[place.revision].contains(key));
        const auto was = twin.at[place.revision - 1].find(key);
        const auto before = store.mvcc.before(place, change);
        if (place.revision <= store.mvcc.sweep_state().target.value) {
          CHECK(!before);
        } else {
          CHECK(before.has_value() == (was != twin.at[place.revision - 1].end()));
          if (before) CHECK(*before == was->second);
        }
        return true;
      });
      CHECK(next == twin.revision() + 1);
    };
    for (int step = 0; step < 400; ++step) {
      const auto dice = rng.below(20);
      if (dice < 9) {
        const std::string& key = kKeys[rng.below(std::size(kKeys))];
        const std::string value = std::to_string(step);
        twin.put(key, value);
        CHECK(eager.put(key, value) == lazy.put(key, value));
      } else if (dice < 13) {
        const KeyRange range = any_range(rng);
        const std::int64_t erased = twin.erase(KeyBounds(range));
        CHECK(eager.erase(range) == erased);
        CHECK(lazy.erase(range) == erased);
      } else if (dice < 14) {
        const std::uint64_t from = eager.mvcc.facts().compacted.value;
        if (from == twin.revision()) continue;
        const auto to = static_cast<std::int64_t>(from + 1 + rng.below(twin.revision() - from));
        compact(eager, to);
        REQUIRE(!lazy.mvcc.compact(to));
      } else if (dice < 15) {
        (rng.chance(0.5) ? eager : lazy).checkpoint();
      } else if (dice < 17) {
        if (lazy.mvcc.sweep_state().under_way()) {
          lazy.sweep({.changes = 1 + rng.below(5)});
        } else if (lazy.mvcc.facts().compacted > lazy.mvcc.sweep_state().swept) {
          lazy.begin_sweep();
        }
      } else {
        check_reads(eager);
        check_reads(lazy);
        check_events(eager);
        check_events(lazy);
      }
      CHECK(eager.mvcc.facts().digest == lazy.mvcc.facts().digest);
      CHECK(eager.mvcc.facts().keys == twin.at.back().size());
    }
    // In the end both hold the same, and of each key one version at most, bar the last revision.
    if (eager.mvcc.facts().compacted.value < twin.revision()) {
      compact(eager, static_cast<std::int64_t>(twin.revision()));
      REQUIRE(!lazy.mvcc.compact(static_cast<std::int64_t>(twin.revision())));
    }
    sweep_all(lazy, 3);
    if (lazy.mvcc.facts().compacted > lazy.mvcc.sweep_state().swept) {
      lazy.begin_sweep();
      sweep_all(lazy, 3);
    }
    twin.put("a", "last");
    CHECK(eager.put("a", "last") == lazy.put("a", "last"));
    compact(eager, static_cast<std::int64_t>(twin.revision()));
    compact(lazy, static_cast<std::int64_t>(twin.revision()));
    CHECK(history(eager) == history(lazy));
    std::size_t kept = 0;
    eager.mvcc.changes({1}, eager.mvcc.revision(), [&](Place, const ChangeView& change) {
      CHECK(change.head.has_value());
      return ++kept > 0;
    });
    CHECK(kept == twin.at.back().size());
    CHECK(gone_rows(eager) == 0);
    CHECK(gone_rows(lazy) == 0);
  }
}

TEST_CASE("compaction: a pass goes on where the base holds it") {
  test::MemoryBase base;
  Table table{base};
  StateMachine machine{table};
  std::uint64_t sequence = 0;
  const auto apply = [&](const RequestBody& body) {
    return machine.apply(encode_command({{NodeId{1}, 1}, {++sequence}}, "", body), {1});
  };
  for (int i = 0; i < 10; ++i) apply(PutRequest{.key = "k", .value = std::to_string(i)});
  const Applied done = apply(CompactRequest{.revision = 10});
  CHECK(!done.refusal);
  CHECK(std::holds_alternative<CompactResult>(done.body));
  CHECK(done.revision == Revision{11});
  CHECK(apply(CompactRequest{.revision = 10}).refusal->reason == Reason::kCompacted);
  machine.save({{{1}, {12}}, {{{1}}}});
  REQUIRE(base.commit(*table.freeze()).has_value());
  machine.begin_sweep({10});
  const auto amend = [&](const Mvcc::Sweep& from, std::size_t changes) {
    REQUIRE(base.amend([&](const BaseView& view) -> Result<std::vector<Change>> {
                  auto slice = Mvcc::sweep_slice(view, from, {.changes = changes});
                  REQUIRE(slice);
                  return std::move(slice->changes);
                })
                .has_value());
  };
  amend(machine.mvcc().sweep_state(), 4);
  Table again{base};
  StateMachine other{again};
  CHECK(other.facts().compacted == Revision{10});
  CHECK(other.mvcc().sweep_state().under_way());
  CHECK(other.mvcc().sweep_state().next == Place{6, 0});
  amend(other.mvcc().sweep_state(), 100);
  other.load();
  CHECK(!other.mvcc().sweep_state().under_way());
  std::size_t left = 0;
  other.mvcc().changes({1}, {11}, [&](Place, const ChangeView&) { return ++left > 0; });
  CHECK(left == 2);
}

TEST_CASE("compaction: a slice ends at its bytes, too") {
  Store store;
  for (int i = 0; i < 8; ++i) store.put("k", std::string(1000, 'x'));
  REQUIRE(!store.mvcc.compact(9));
  store.begin_sweep();
  store.sweep({.changes = 100, .bytes = 2000});
  CHECK(store.mvcc.sweep_state().next == Place{4, 0});
  CHECK(history(store) == "3+k 4+k 5+k 6+k 7+k 8+k 9+k");
}
