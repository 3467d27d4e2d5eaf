#include "lab/linearizable.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "core/random.h"

namespace capstan::lab {
namespace {

Operation put(std::string value, Micros start, Micros end, Outcome outcome = Outcome::kOk) {
  return {.kind = OpKind::kPut,
          .key = "k",
          .value = std::move(value),
          .start = start,
          .end = end,
          .outcome = outcome};
}
Operation got(std::optional<std::string> value, Micros start, Micros end) {
  return {.kind = OpKind::kGet,
          .key = "k",
          .start = start,
          .end = end,
          .outcome = Outcome::kOk,
          .read = std::move(value)};
}
Operation deleted(Micros start, Micros end, Outcome outcome = Outcome::kOk) {
  return {.kind = OpKind::kDelete, .key = "k", .start = start, .end = end, .outcome = outcome};
}
Operation swapped(std::string value, std::optional<std::string> previous, Micros start,
                  Micros end) {
  Operation op = put(std::move(value), start, end);
  op.saw_previous = true;
  op.previous = std::move(previous);
  return op;
}

TEST_CASE("linearizable: the table of small histories is judged right") {
  struct Row {
    const char* what;
    History history;
    Verdict want;
  };
  const Micros never = Operation::kNever;
  const Row rows[] = {
      {"nothing happened", {}, Verdict::kYes},
      {"a read of an absent key", {got(std::nullopt, 0, 1)}, Verdict::kYes},
      {"a value nobody wrote", {got("a", 0, 1)}, Verdict::kNo},
      {"read after write", {put("a", 0, 1), got("a", 2, 3)}, Verdict::kYes},
      {"stale read", {put("a", 0, 1), put("b", 2, 3), got("a", 4, 5)}, Verdict::kNo},
      {"a lost write", {put("a", 0, 1), got(std::nullopt, 2, 3)}, Verdict::kNo},
      {"a read from the future", {got("a", 0, 1), put("a", 2, 3)}, Verdict::kNo},
      {"overlapping reads may see either",
       {put("a", 0, 1), put("b", 2, 9), got("a", 3, 4), got("b", 5, 6)},
       Verdict::kYes},
      {"but not go back",
       {put("a", 0, 1), put("b", 2, 9), got("b", 3, 4), got("a", 5, 6)},
       Verdict::kNo},
      {"an unknown write may be seen late",
       {put("a", 0, 1), put("b", 2, never, Outcome::kUnknown), got("a", 9, 10), got("b", 11, 12)},
       Verdict::kYes},
      {"but not before it began",
       {got("b", 0, 1), put("b", 2, never, Outcome::kUnknown)},
       Verdict::kNo},
      {"nor be undone",
       {put("a", 0, 1), put("b", 2, never, Outcome::kUnknown), got("b", 3, 4), got("a", 5, 6)},
       Verdict::kNo},
      {"an unknown write with an answer takes effect after it too",
       {put("a", 0, 1), put("b", 2, 3, Outcome::kUnknown), got("a", 4, 5), got("b", 6, 7)},
       Verdict::kYes},
      {"a failed write never takes effect",
       {put("a", 0, 1, Outcome::kFailed), got("a", 2, 3)},
       Verdict::kNo},
      {"an unknown read says nothing",
       {put("a", 0, 1), {.kind = OpKind::kGet, .key = "k", .start = 2}},
       Verdict::kYes},
      {"deleted", {put("a", 0, 1), deleted(2, 3), got(std::nullopt, 4, 5)}, Verdict::kYes},
      {"deleted and back", {put("a", 0, 1), deleted(2, 3), got("a", 4, 5)}, Verdict::kNo},
      {"an unknown delete explains an absence",
       {put("a", 0, 1), deleted(2, never, Outcome::kUnknown), got("a", 4, 5),
        got(std::nullopt, 6, 7)},
       Verdict::kYes},
      {"but only once",
       {put("a", 0, 1), deleted(2, never, Outcome::kUnknown), got(std::nullopt, 4, 5),
        put("b", 6, 7), got(std::nullopt, 8, 9)},
       Verdict::kNo},
      {"two writes that replaced the same value",
       {put("a", 0, 1), swapped("b", "a", 2, 3), swapped("c", "a", 4, 5)},
       Verdict::kNo},
      {"a chain of replacements",
       {put("a", 0, 1), swapped("c", "b", 2, 5), swapped("b", "a", 2, 5)},
       Verdict::kYes},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const LinearizableResult result = check_linearizable(row.history);
    CHECK(result.verdict == row.want);
    CHECK(result.counterexample.empty() == (row.want == Verdict::kYes));
  }
}

TEST_CASE("linearizable: the counterexample names the key, the read and the write it missed") {
  History history{put("a", 1'000'000, 1'001'000), put("b", 1'002'000, 1'003'000),
                  got("a", 1'004'000, 1'005'000)};
  for (Operation& op : history) op.key = "k17";
  const LinearizableResult result = check_linearizable(history);
  CHECK(result.key == "k17");
  INFO(result.counterexample);
  CHECK(result.counterexample.find("get k17 -> a at n1, 0.0040 - 0.0050 s") != std::string::npos);
  CHECK(result.counterexample.find("put k17 = b") != std::string::npos);
}

// A true register driven by random clients: each operation takes effect at one instant inside it.
History valid_history(Rng& rng, std::size_t operations, std::uint32_t clients, bool with_deletes) {
  struct Open {
    Operation op;
    bool effective = false;
  };
  History history;
  std::vector<std::optional<Open>> open(clients);
  std::optional<std::string> value;
  Micros now = 0;
  std::size_t begun = 0;
  const auto take_effect = [&](Open& o) {
    o.effective = true;
    if (o.op.kind == OpKind::kGet) {
      o.op.read = value;
      return;
    }
    if (o.op.saw_previous) o.op.previous = value;
    value = o.op.kind == OpKind::kPut ? std::optional(o.op.value) : std::nullopt;
  };
  while (begun < operations || std::ranges::any_of(open, [](auto& o) { return o.has_value(); })) {
    now += static_cast<Micros>(rng.below(3));
    std::optional<Open>& slot = open[rng.below(clients)];
    if (!slot) {
      if (begun == operations) continue;
      Operation op{.client = 0, .key = "k", .start = now, .outcome = Outcome::kOk};
      const std::uint64_t dice = rng.below(10);
      op.kind = dice < 5                    ? OpKind::kGet
                : dice < 9 || !with_deletes ? OpKind::kPut
                                            : OpKind::kDelete;
      if (op.kind == OpKind::kPut) op.value = "v" + std::to_string(begun);
      op.saw_previous = op.kind != OpKind::kGet && rng.chance(0.3);
      ++begun;
      slot = Open{op};
    } else if (!slot->effective) {
      if (slot->op.is_write() && rng.chance(0.1)) {  // never takes effect, nobody knows
        slot->op.outcome = Outcome::kUnknown;
        slot->op.saw_previous = false;
        history.push_back(slot->op);
        slot.reset();
      } else {
        take_effect(*slot);
      }
    } else {
      slot->op.end = now;
      if (slot->op.is_write() && rng.chance(0.1)) {  // took effect, nobody knows
        slot->op.outcome = Outcome::kUnknown;
        slot->op.end = Operation::kNever;
        slot->op.saw_previous = false;
        slot->op.previous.reset();
      }
      history.push_back(slot->op);
      slot.reset();
    }
  }
  return history;
}

TEST_CASE("linearizable: what a true register did is always accepted") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    const History history =
        valid_history(rng, 60, 1 + static_cast<std::uint32_t>(seed % 6), seed % 2 == 0);
    const LinearizableResult result = check_linearizable(history);
    INFO(result.counterexample);
    CHECK(result.verdict == Verdict::kYes);
  }
}

// The definition itself: try every order of every choice of unknown writes.
bool slowly(const std::vector<const Operation*>& ops, std::vector<bool>& placed,
            const std::optional<std::string>& value) {
  Micros first_end = Operation::kNever;
  bool all = true;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (placed[i] || ops[i]->outcome == Outcome::kUnknown) continue;
    all = false;
    first_end = std::min(first_end, ops[i]->end);
  }
  if (all) return true;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Operation& op = *ops[i];
    if (placed[i] || op.start > first_end) continue;
    if (op.kind == OpKind::kGet && op.read != value) continue;
    if (op.saw_previous && op.previous != value) continue;
    placed[i] = true;
    const std::optional<std::string> after = op.kind == OpKind::kGet   ? value
                                             : op.kind == OpKind::kPut ? std::optional(op.value)
                                                                       : std::nullopt;
    const bool found = slowly(ops, placed, after);
    placed[i] = false;
    if (found) return true;
  }
  return false;
}

TEST_CASE("linearizable: agrees with trying every order, on broken histories as on whole ones") {
  int yes = 0, no = 0;
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    History history = valid_history(rng, 7, 3, true);
    // Break it: give one operation the answer of another.
    std::vector<Operation*> reads;
    for (Operation& op : history) {
      if (op.acknowledged() && (op.kind == OpKind::kGet || op.saw_previous)) reads.push_back(&op);
    }
    if (reads.size() >= 2 && rng.chance(0.7)) {
      Operation& broken = *reads[rng.below(reads.size())];
      const Operation& from = *reads[rng.below(reads.size())];
      const auto seen = from.kind == OpKind::kGet ? from.read : from.previous;
      (broken.kind == OpKind::kGet ? broken.read : broken.previous) = seen;
    }
    std::vector<const Operation*> ops;
    for (const Operation& op : history) {
      if (op.is_write() || op.acknowledged()) ops.push_back(&op);
    }
    std::vector<bool> placed(ops.size(), false);
    const bool want = slowly(ops, placed, std::nullopt);
    (want ? yes : no)++;
    CHECK(check_linearizable(history).verdict == (want ? Verdict::kYes : Verdict::kNo));
  }
  CHECK(yes > 500);
  CHECK(no > 400);
}

TEST_CASE("linearizable: a long history over many keys is judged in few steps") {
  Rng rng{7};
  History history;
  for (int key = 0; key < 50; ++key) {
    for (Operation& op : valid_history(rng, key == 0 ? 4000 : 200, 6, false)) {
      op.key = "k" + std::to_string(key);
      history.push_back(std::move(op));
    }
  }
  const LinearizableResult result = check_linearizable(history);
  CHECK(result.verdict == Verdict::kYes);
  CHECK(result.keys == 50);
  CHECK(result.steps < 40 * history.size());
}

TEST_CASE(
    "linearizable: a hot key with fifty operations open at once is still judged in few steps") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Rng rng{seed};
    History history = valid_history(rng, 800, 50, false);
    std::erase_if(history, [](const Operation& op) { return op.outcome == Outcome::kUnknown; });
    // What an erased write left behind would be a value nobody wrote: only its readers go too.
    std::set<std::string> written;
    for (const Operation& op : history) written.insert(op.value);
    std::erase_if(history,
                  [&](const Operation& op) { return op.read && !written.contains(*op.read); });
    for (Operation& op : history) {
      if (op.previous && !written.contains(*op.previous)) op.saw_previous = false;
    }
    const LinearizableResult result = check_linearizable(history);
    INFO(result.counterexample);
    CHECK(result.verdict == Verdict::kYes);
    CHECK(result.steps < 1000 * history.size());
  }
}

TEST_CASE("linearizable: past its budget it says unknown, and a broken key beats an unknown one") {
  // Many overlapping writes and a read that none explains: the search has to try them all.
  History history;
  for (int i = 0; i < 24; ++i) history.push_back(put("v" + std::to_string(i), 0, 100));
  for (int i = 0; i < 12; ++i) history.push_back(got("v" + std::to_string(i), 10, 90));
  history.push_back(got("v0", 200, 201));
  history.push_back(got("v1", 202, 203));
  CHECK(check_linearizable(history, {.steps_max = 2000}).verdict == Verdict::kUnknown);
  Operation phantom = got("nobody wrote this", 0, 1);
  phantom.key = "z";
  history.push_back(phantom);
  const LinearizableResult result = check_linearizable(history, {.steps_max = 2000});
  CHECK(result.verdict == Verdict::kNo);
  CHECK(result.key == "z");
}

}  // namespace
}  // namespace capstan::lab
