#include "lab/accounts.h"

#include <doctest/doctest.h>

namespace capstan::lab {
namespace {

struct Wrote {
  std::string value;
  std::string id;
  std::uint64_t revision = 0;
  std::optional<std::optional<std::string>> replaced{};
  Outcome outcome = Outcome::kOk;
  std::uint32_t node = 0;
};
Operation put(Wrote wrote) {
  Operation op{.node = wrote.node,
               .kind = OpKind::kPut,
               .key = "k",
               .value = wrote.value,
               .start = 0,
               .end = 1,
               .outcome = wrote.outcome,
               .write_id = wrote.id,
               .revision = wrote.revision};
  if (wrote.replaced) {
    op.saw_previous = true;
    op.previous = *wrote.replaced;
  }
  return op;
}
FinalState node(std::string name, Dump dump) {
  FinalState state{.name = std::move(name), .dump = std::move(dump)};
  return state;
}
const std::optional<std::string> kNothing;

TEST_CASE("accounts ap: a race leaves one survivor, one lost, and the overwritten superseded") {
  // n1 wrote a then b; cut off, n2 wrote c onto a. b wins.
  const History history{put({.value = "a", .id = "n1:1:1", .replaced = kNothing}),
                        put({.value = "b", .id = "n1:1:2", .replaced = "a"}),
                        put({.value = "c", .id = "n2:1:1", .replaced = "a", .node = 1})};
  FinalState n1 = node("n1", {{"k", {"b", 0}}});
  n1.survived_ids = {"n1:1:2"};
  FinalState n2 = n1;
  n2.name = "n2";
  n2.lost_ids = {"n2:1:1"};
  const FinalState nodes[] = {n1, n2};
  const Accounts accounts = settle_accounts(Mode::kAp, history, nodes);
  INFO(accounts.detail);
  CHECK(accounts.verdict == Verdict::kYes);
  CHECK(accounts.acknowledged == 3);
  CHECK(accounts.survived == 1);
  CHECK(accounts.superseded == 1);
  CHECK(accounts.lost == 1);
  CHECK(accounts.accounted() == 3);
  REQUIRE(accounts.lost_writes.size() == 1);
  CHECK(accounts.lost_writes[0].value == "c");
}

TEST_CASE("accounts ap: a write gone without a trace is unaccounted, and the verdict is no") {
  const History history{put({.value = "a", .id = "n1:1:1", .replaced = kNothing}),
                        put({.value = "c", .id = "n2:1:1", .replaced = kNothing})};
  FinalState n1 = node("n1", {{"k", {"c", 0}}});
  n1.survived_ids = {"n2:1:1"};  // and a is in no conflict log
  const FinalState nodes[] = {n1};
  const Accounts accounts = settle_accounts(Mode::kAp, history, nodes);
  CHECK(accounts.verdict == Verdict::kNo);
  CHECK(accounts.unaccounted == 1);
  CHECK(accounts.accounted() + accounts.unaccounted == accounts.acknowledged);
  CHECK(accounts.detail.find("put k = a") != std::string::npos);
}

TEST_CASE("accounts ap: a later blind write of the same life of a node had seen the earlier one") {
  const History history{put({.value = "a", .id = "n1:1:7"}), put({.value = "b", .id = "n1:1:9"})};
  const FinalState nodes[] = {node("n1", {{"k", {"b", 0}}})};
  CHECK(settle_accounts(Mode::kAp, history, nodes).superseded == 1);
  // The log's word is stronger: it lost to a third write, which b then replaced.
  FinalState logged = nodes[0];
  logged.lost_ids = {"n1:1:7"};
  CHECK(settle_accounts(Mode::kAp, history, std::span(&logged, 1)).lost == 1);
  // And a later write that says what it replaced is no evidence for anything else.
  const History told{put({.value = "a", .id = "n1:1:7"}),
                     put({.value = "b", .id = "n1:1:9", .replaced = "z"}),
                     put({.value = "z", .id = "n2:1:1"})};
  CHECK(settle_accounts(Mode::kAp, told, nodes).unaccounted == 1);
  // Another life of the node may have lost the value: no evidence.
  const History lives{put({.value = "a", .id = "n1:1:7"}), put({.value = "b", .id = "n1:2:9"})};
  CHECK(settle_accounts(Mode::kAp, lives, nodes).unaccounted == 1);
}

TEST_CASE("accounts ap: what only an unknown write could have replaced is undecided, not yes") {
  const History history{put({.value = "a", .id = "n1:1:1"}),
                        put({.value = "b", .id = "", .outcome = Outcome::kUnknown})};
  const FinalState nodes[] = {node("n1", {{"k", {"b", 0}}})};
  const Accounts accounts = settle_accounts(Mode::kAp, history, nodes);
  CHECK(accounts.verdict == Verdict::kUnknown);
  CHECK(accounts.undecided == 1);
  CHECK(accounts.unknown_applied == 1);
}

TEST_CASE("accounts ap: books that contradict the data are a no") {
  const History history{put({.value = "a", .id = "n1:1:1"})};
  FinalState n1 = node("n1", {{"k", {"a", 0}}});
  n1.survived_ids = {"n1:1:1"};
  FinalState n2 = node("n2", {{"k", {"a", 0}}});
  SUBCASE("visible, but one node does not count it") {
    const FinalState nodes[] = {n1, n2};
    CHECK(settle_accounts(Mode::kAp, history, nodes).verdict == Verdict::kNo);
  }
  SUBCASE("visible and recorded as lost") {
    n2.survived_ids = n1.survived_ids;
    n2.lost_ids = {"n1:1:1"};
    const FinalState nodes[] = {n1, n2};
    CHECK(settle_accounts(Mode::kAp, history, nodes).verdict == Verdict::kNo);
  }
  SUBCASE("all agree") {
    n2.survived_ids = n1.survived_ids;
    const FinalState nodes[] = {n1, n2};
    CHECK(settle_accounts(Mode::kAp, history, nodes).verdict == Verdict::kYes);
  }
}

TEST_CASE("accounts cp: every acknowledged write stands or has a later revision above it") {
  const History history{put({.value = "a", .id = "n1:1:1", .revision = 2}),
                        put({.value = "b", .id = "n1:1:2", .revision = 3})};
  const FinalState nodes[] = {node("n1", {{"k", {"b", 3}}})};
  const Accounts accounts = settle_accounts(Mode::kCp, history, nodes);
  CHECK(accounts.verdict == Verdict::kYes);
  CHECK(accounts.survived == 1);
  CHECK(accounts.superseded == 1);
}

TEST_CASE("accounts cp: an acknowledged write that vanished is a no") {
  const History history{put({.value = "a", .id = "n1:1:1", .revision = 2}),
                        put({.value = "b", .id = "n1:1:2", .revision = 3})};
  SUBCASE("an older one is back") {
    const FinalState nodes[] = {node("n1", {{"k", {"a", 2}}})};
    const Accounts accounts = settle_accounts(Mode::kCp, history, nodes);
    CHECK(accounts.verdict == Verdict::kNo);
    CHECK(accounts.unaccounted == 1);
  }
  SUBCASE("the key is gone") {
    const FinalState nodes[] = {node("n1", {})};
    CHECK(settle_accounts(Mode::kCp, history, nodes).unaccounted == 1);
  }
  SUBCASE("it stands at another revision than was promised") {
    const FinalState nodes[] = {node("n1", {{"k", {"b", 9}}})};
    CHECK(settle_accounts(Mode::kCp, history, nodes).verdict == Verdict::kNo);
  }
}

TEST_CASE("accounts: a value that nobody wrote, or only a failed write, is a no in both modes") {
  const History history{put({.value = "a", .id = "", .outcome = Outcome::kFailed})};
  for (Mode mode : {Mode::kCp, Mode::kAp}) {
    const FinalState failed[] = {node("n1", {{"k", {"a", 2}}})};
    CHECK(settle_accounts(mode, history, failed).verdict == Verdict::kNo);
    const FinalState phantom[] = {node("n1", {{"z", {"?", 2}}})};
    CHECK(settle_accounts(mode, history, phantom).verdict == Verdict::kNo);
    const FinalState nothing[] = {node("n1", {})};
    CHECK(settle_accounts(mode, history, nothing).verdict == Verdict::kYes);
  }
}

TEST_CASE("accounts cp: unknown writes are told apart by who saw them") {
  const auto unknown = [](std::string value) {
    return put({.value = std::move(value), .id = "", .outcome = Outcome::kUnknown});
  };
  SUBCASE("replaced by an acknowledged one: applied; seen by none: not applied") {
    const History history{unknown("u"), unknown("w"),
                          put({.value = "a", .id = "n2:1:1", .revision = 3, .replaced = "u"})};
    const FinalState nodes[] = {node("n1", {{"k", {"a", 3}}})};
    const Accounts accounts = settle_accounts(Mode::kCp, history, nodes);
    CHECK(accounts.unknown == 2);
    CHECK(accounts.unknown_applied == 1);
    // w could hide under u, whose own reply never told what it replaced.
    CHECK(accounts.unknown_undecided == 1);
  }
  SUBCASE("nothing unknown was applied, and everybody told what it replaced") {
    const History history{unknown("w"),
                          put({.value = "a", .id = "n2:1:1", .revision = 2, .replaced = kNothing})};
    const FinalState nodes[] = {node("n1", {{"k", {"a", 2}}})};
    CHECK(settle_accounts(Mode::kCp, history, nodes).unknown_not_applied == 1);
  }
}

TEST_CASE("stale reads: older than a write acknowledged before the read began, and only those") {
  const auto write = [](std::string value, Micros start, Micros end) {
    return Operation{.kind = OpKind::kPut,
                     .key = "k",
                     .value = std::move(value),
                     .start = start,
                     .end = end,
                     .outcome = Outcome::kOk};
  };
  const auto read = [](std::optional<std::string> value, Micros start) {
    return Operation{.kind = OpKind::kGet,
                     .key = "k",
                     .start = start,
                     .end = start + 1,
                     .outcome = Outcome::kOk,
                     .read = std::move(value)};
  };
  struct Row {
    History history;
    std::uint64_t want;
  };
  const Row rows[] = {
      {{write("a", 0, 1), write("b", 2, 3), read("a", 4)}, 1},
      {{write("a", 0, 1), write("b", 2, 3), read("b", 4)}, 0},
      {{write("a", 0, 1), read(std::nullopt, 4)}, 1},
      {{write("a", 0, 1), write("b", 2, 9), read("a", 4)}, 0},   // b not acknowledged yet
      {{write("a", 0, 9), write("b", 2, 3), read("a", 10)}, 0},  // overlapping: either order
      {{write("b", 2, 3), read("unheard of", 4)}, 0},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    CHECK(count_stale_reads(row.history, 0, 100).stale == row.want);
  }
  CHECK(count_stale_reads(rows[0].history, 5, 100).reads == 0);  // outside the window
}

}  // namespace
}  // namespace capstan::lab
