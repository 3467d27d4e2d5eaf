#include "core/request.h"

#include <doctest/doctest.h>

#include <set>

namespace capstan {
namespace {

TEST_CASE("request: a write is what can change data, however deep it hides") {
  CHECK(is_write(PutRequest{}));
  CHECK(is_write(DeleteRangeRequest{}));
  CHECK(!is_write(RangeRequest{}));
  CHECK(!is_write(StatusRequest{}));
  TxnRequest reads;
  reads.success.push_back({RangeRequest{}});
  CHECK(!is_write(reads));
  TxnRequest hidden = reads;
  hidden.failure.push_back({PutRequest{}});
  CHECK(is_write(hidden));
  TxnRequest outer;
  outer.success.push_back({hidden});
  CHECK(is_write(outer));
}

TEST_CASE("request: every outcome and reason has a word of its own") {
  std::set<std::string_view> words;
  for (int i = 0; i <= static_cast<int>(Outcome::kUnknown); ++i) {
    words.insert(to_text(static_cast<Outcome>(i)));
  }
  CHECK(words == std::set<std::string_view>{"ok", "ok-local", "failed", "unknown"});
  words.clear();
  const int last = static_cast<int>(Reason::kNotLab);
  for (int i = 0; i <= last; ++i) words.insert(to_text(static_cast<Reason>(i)));
  CHECK(words.size() == static_cast<std::size_t>(last) + 1);
}

TEST_CASE("request: a refusal says that nothing was applied") {
  const Reply reply = refused(Reason::kNoQuorum, "refused: n1 is alone");
  CHECK(reply.outcome == Outcome::kFailed);
  CHECK(reply.reason == Reason::kNoQuorum);
  CHECK(reply.detail == "refused: n1 is alone");
}

}  // namespace
}  // namespace capstan
