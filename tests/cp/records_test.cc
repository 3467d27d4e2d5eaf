// Replay: what the WAL holds and what the base holds, put together.
#include "cp/records.h"

#include <doctest/doctest.h>

#include <initializer_list>

using namespace capstan;
using namespace capstan::cp;

namespace {

class Wal {
 public:
  Wal& hard(Standing standing) {
    HardState state;
    state.term = {1};
    state.standing = standing;
    return add(hard_state_record(state));
  }
  Wal& entries(std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t i = from; i <= to; ++i) {
      add(entry_record({{1}, {i}, EntryKind::kCommands, shared_bytes("e")}));
    }
    return *this;
  }
  Replayed with_base_at(std::uint64_t index) const {
    Recovered recovered;
    recovered.records = records_;
    const Config config{.voters = {MemberId{1}, MemberId{2}, MemberId{3}}};
    return replay(recovered, {{index == 0 ? 0u : 1u}, {index}}, config);
  }

 private:
  Wal& add(Record record) {
    records_.push_back({record.type, record.head, record.body, ++position_});
    return *this;
  }
  std::vector<RecoveredRecord> records_;
  std::uint64_t position_ = 0;
};

}  // namespace

TEST_CASE("replay: a gap between entries is damage, and nothing behind it is kept") {
  const Replayed got = Wal().hard(Standing::kNormal).entries(1, 5).entries(8, 9).with_base_at(3);
  CHECK(got.state.impaired);
  REQUIRE(!got.state.entries.empty());
  CHECK(got.state.entries.back().index == Index{5});
}

TEST_CASE("replay: a gap that the base covers is none, and the log goes on behind it") {
  // Installed up to 19, killed before the mark was written; went on behind 19 in the next life.
  const Replayed got =
      Wal().hard(Standing::kNormal).entries(1, 15).entries(20, 22).with_base_at(19);
  CHECK(!got.state.impaired);
  CHECK(got.state.base.index == Index{19});
  REQUIRE(got.state.entries.size() == 3);
  CHECK(got.state.entries.front().index == Index{20});
  CHECK(got.positions.size() == 3);
  // One entry short of that it is damage.
  CHECK(
      Wal().hard(Standing::kNormal).entries(1, 15).entries(21, 22).with_base_at(19).state.impaired);
}
