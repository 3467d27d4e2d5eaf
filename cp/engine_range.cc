// A range too long to be held: read in slices at one revision, as its client takes them.
//
// One slice is read a turn, for whoever has waited longest, so that a turn stays short however many
// and however long they are. What their revision needs is not swept away meanwhile; one whose
// client takes nothing loses that after a while.
#include <algorithm>
#include <utility>

#include "core/key_range.h"
#include "core/range_stream.h"
#include "cp/engine_state.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

// Between two slices, while a sweep waits for it.
constexpr Micros kPatience = 60 * kSecond;
// After this many slices what was read of the base leaves our memory.
constexpr std::uint64_t kSlicesHeld = 128;

}  // namespace

class Engine::State::LongRange final : public RangeStream {
 public:
  LongRange(Engine::State& engine, RangeRequest request, std::function<void()> ready)
      : engine_(engine),
        life_(engine.life),
        request_(std::move(request)),
        ready_(std::move(ready)),
        walk_(engine.machine.mvcc().begin_range(request_)),
        taken_at_(engine.now.monotonic) {
    engine_.ranges.push_back(this);
    engine_.machine.keep_cut_links(true);
  }
  ~LongRange() override {
    if (!life_.lock()) return;
    std::erase(engine_.ranges, this);
    std::erase(engine_.ranges_waiting, this);
    if (engine_.ranges.empty()) engine_.machine.keep_cut_links(false);
  }

  std::optional<std::expected<Slice, Refusal>> next() override {
    if (!life_.lock()) {
      return std::unexpected(
          Refusal{Reason::kShuttingDown, "refused: the node is stopping. Ask another."});
    }
    const bool looks = !Mutants::on(Mutant::kSweepUnderRange);
    const Mvcc& mvcc = engine_.machine.mvcc();
    const bool misses = mvcc.lost_cut_links() && at() < mvcc.facts().compacted;
    if (!refusal_ && looks && (misses || at() < mvcc.sweep_state().target)) {
      refusal_ = {Reason::kCompacted, "refused: revision " + std::to_string(at().value) +
                                          " was compacted while it was read. Ask again."};
    }
    if (refusal_) return std::unexpected(*refusal_);
    if (!engine_.may_read_slice(*this)) return std::nullopt;
    taken_at_ = engine_.now.monotonic;
    if (++engine_.slices_read % kSlicesHeld == 0) engine_.base.let_go();
    const Mvcc::RangeBudget budget{.keys = engine_.config.range_slice_keys};
    Slice slice;
    slice.kvs = engine_.machine.mvcc().range_slice(request_, walk_, budget);
    slice.last = walk_.done;
    slice.more = walk_.more;
    slice.count = walk_.count;
    return slice;
  }

  void rewind() override { walk_ = engine_.machine.mvcc().begin_range(request_); }

  Revision at() const { return walk_.at; }
  bool idle() const { return engine_.now.monotonic - taken_at_ >= kPatience; }
  void ready() const { ready_(); }
  bool ended() const { return refusal_.has_value(); }
  void end() {
    if (ended()) return;
    refusal_ = {Reason::kTimeout, "refused: nothing was taken for " + seconds_text(kPatience) +
                                      ", and a compaction waits. Ask again."};
    ready_();
  }

 private:
  Engine::State& engine_;
  std::weak_ptr<char> life_;
  const RangeRequest request_;
  const std::function<void()> ready_;
  Mvcc::RangeWalk walk_;
  Micros taken_at_;
  std::optional<Refusal> refusal_;
};

// What fits into one slice is an answer like any other.
std::optional<Refusal> Engine::State::read_range(const Read& read, Reply& out) {
  const auto& request = std::get<RangeRequest>(read.body);
  if (!read.more_ready || request.range.end.empty() || wants_sort(request)) {
    return machine.read(request, out.body.emplace<RangeResult>());
  }
  if (auto refusal = machine.mvcc().check_revision(request.revision)) return refusal;
  Mvcc::RangeWalk walk = machine.mvcc().begin_range(request);
  if (walk.done) return machine.read(request, out.body.emplace<RangeResult>());
  const Mvcc::RangeBudget budget{.keys = config.range_slice_keys};
  std::vector<KeyValue> first = machine.mvcc().range_slice(request, walk, budget);
  if (walk.done) {
    out.body = RangeResult{std::move(first), walk.more, walk.count};
    return std::nullopt;
  }
  // The revision is the same for every slice, also where "now" was asked for.
  RangeRequest fixed = request;
  fixed.revision = static_cast<std::int64_t>(walk.at.value);
  out.range = std::make_shared<LongRange>(*this, std::move(fixed), read.more_ready);
  return std::nullopt;
}

bool Engine::State::may_read_slice(LongRange& range) {
  const bool first = ranges_waiting.empty() || ranges_waiting.front() == &range;
  const bool mine = first && !slice_read_in_turn && !installing;
  if (mine) {
    std::erase(ranges_waiting, &range);
    slice_read_in_turn = true;
    range_woken = nullptr;
  } else if (std::ranges::find(ranges_waiting, &range) == ranges_waiting.end()) {
    ranges_waiting.push_back(&range);
  }
  if (config.wants_turn && !installing && !ranges_waiting.empty()) config.wants_turn();
  return mine;
}

// A turn begins: it is for the one that has waited longest. One that does not come for its slice
// goes to the end.
void Engine::State::wake_range() {
  slice_read_in_turn = false;
  if (ranges_waiting.empty() || installing) return;
  if (ranges_waiting.front() == range_woken) {
    std::ranges::rotate(ranges_waiting, ranges_waiting.begin() + 1);
  }
  range_woken = ranges_waiting.front();
  range_woken->ready();
}

// Does the removal of what is compacted up to there have to wait for somebody who reads it?
bool Engine::State::ranges_need(Revision target) {
  if (Mutants::on(Mutant::kSweepUnderRange)) return false;
  return std::ranges::any_of(ranges, [target](LongRange* range) {
    if (range->at() >= target) return false;
    if (range->idle()) range->end();
    return !range->ended();
  });
}

}  // namespace capstan::cp
