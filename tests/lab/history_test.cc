#include "lab/history.h"

#include <doctest/doctest.h>

#include "lab/convergence.h"

namespace capstan::lab {
namespace {

TEST_CASE("history: what is written as lines comes back the same") {
  const History history{
      {.client = 3,
       .node = 1,
       .kind = OpKind::kPut,
       .key = "k\"1\n",
       .value = "<v>",
       .start = 5,
       .end = 9,
       .outcome = Outcome::kOkLocal,
       .write_id = "n2:1:7",
       .revision = 12,
       .saw_previous = true,
       .previous = "old"},
      {.kind = OpKind::kPut,
       .key = "k",
       .value = "w",
       .start = 6,
       .outcome = Outcome::kUnknown,
       .reason = Reason::kTimeout},
      {.kind = OpKind::kGet,
       .key = "k",
       .start = 1,
       .end = 2,
       .outcome = Outcome::kOk,
       .read = "w"},
      {.kind = OpKind::kGet, .key = "k", .start = 1, .end = 2, .outcome = Outcome::kOk},
      {.kind = OpKind::kDelete,
       .key = "k",
       .start = 1,
       .end = 2,
       .outcome = Outcome::kFailed,
       .reason = Reason::kNoQuorum},
  };
  const Result<History> back = from_jsonl(to_jsonl(history));
  REQUIRE(back.has_value());
  CHECK(*back == history);
}

TEST_CASE("history: a line that is no operation is refused by its number") {
  for (const char* bad : {"{", "[]", "{\"op\":\"jump\",\"outcome\":\"ok\",\"start_us\":1}",
                          "{\"op\":\"get\",\"outcome\":7,\"start_us\":1}"}) {
    const Result<History> back = from_jsonl("\n" + std::string(bad));
    REQUIRE(!back.has_value());
    CHECK(back.error().context == "history line 2");
  }
}

FinalState node(std::string name, Dump dump) {
  return {.name = std::move(name), .dump = std::move(dump)};
}

TEST_CASE("convergence: the same everywhere is yes; a value, a key, a vector, a digest off is no") {
  FinalState a = node("n1", {{"x", {"1", 2}}, {"y", {"2", 3}}});
  a.vector_text = "n1:1=5";
  a.digest_text = "00ff";
  FinalState b = a;
  b.name = "n2";
  const auto verdict = [&](Mode mode) {
    const FinalState nodes[] = {a, b};
    return check_convergence(mode, nodes);
  };
  CHECK(verdict(Mode::kAp).verdict == Verdict::kYes);
  CHECK(verdict(Mode::kCp).verdict == Verdict::kYes);
  SUBCASE("another value") {
    b.dump["x"].value = "9";
    CHECK(verdict(Mode::kAp).verdict == Verdict::kNo);
    CHECK(verdict(Mode::kAp).differing_keys == 1);
    CHECK(verdict(Mode::kCp).detail == "key x is 1 @2 at n1 and 9 @2 at n2");
  }
  SUBCASE("a key that only one has") {
    b.dump["z"] = {"3", 4};
    CHECK(verdict(Mode::kAp).verdict == Verdict::kNo);
  }
  SUBCASE("another revision counts in CP alone") {
    b.dump["x"].mod_revision = 7;
    CHECK(verdict(Mode::kAp).verdict == Verdict::kYes);
    CHECK(verdict(Mode::kCp).verdict == Verdict::kNo);
  }
  SUBCASE("another vector") {
    b.vector_text = "n1:1=4";
    CHECK(verdict(Mode::kAp).verdict == Verdict::kNo);
  }
  SUBCASE("another digest under the same vector") {
    b.digest_text = "00fe";
    CHECK(verdict(Mode::kAp).verdict == Verdict::kNo);
  }
}

TEST_CASE("convergence: differing keys are counted from both sides") {
  const Dump a{{"a", {"1", 0}}, {"b", {"1", 0}}, {"d", {"1", 0}}};
  const Dump b{{"b", {"1", 5}}, {"c", {"1", 0}}, {"d", {"2", 0}}};
  CHECK(differing_keys(a, b) == 3);
  CHECK(differing_keys(b, a) == 3);
  CHECK(differing_keys(a, a) == 0);
  CHECK(differing_keys(a, {}) == 3);
}

}  // namespace
}  // namespace capstan::lab
