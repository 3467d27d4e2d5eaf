#include "lab/linearizable.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "core/hash.h"
#include "core/random.h"

namespace capstan::lab {
namespace {

using ValueIndex = std::uint32_t;
constexpr ValueIndex kAbsent = 0;

// One operation as a step on a register: it may demand a value, and may leave another.
struct Step {
  const Operation* op = nullptr;
  bool demands = false, writes = false;
  ValueIndex demanded = kAbsent, written = kAbsent;
  bool must_happen = true;  // false: outcome unknown
};

// The operations of one key that say something, as steps.
class KeySteps {
 public:
  explicit KeySteps(const std::vector<const Operation*>& ops) {
    for (const Operation* op : ops) note_observed(*op);
    for (const Operation* op : ops) {
      if (op->outcome == Outcome::kFailed) continue;
      if (op->acknowledged()) {
        add_known(*op);
      } else if (op->is_write() && matters(*op)) {
        add_unknown(*op);
      }
    }
  }

  const std::vector<Step>& steps() const { return steps_; }
  const std::string& name_of(ValueIndex value) const { return names_[value]; }
  std::size_t values() const { return names_.size(); }

 private:
  void note_observed(const Operation& op) {
    if (!op.acknowledged()) return;
    const bool observes = op.kind == OpKind::kGet || op.saw_previous;
    if (!observes) return;
    const std::optional<std::string>& seen = op.kind == OpKind::kGet ? op.read : op.previous;
    const ValueIndex value = index_of(seen);
    if (value == kAbsent) {
      absent_seen_until_ = std::max(absent_seen_until_, op.end);
    } else {
      observed_.insert(value);
    }
  }

  // An unknown write nobody saw the effect of can be left out: any order that holds it still holds
  // without it.
  bool matters(const Operation& op) {
    if (op.kind == OpKind::kDelete) return absent_seen_until_ >= op.start;
    return observed_.contains(index_of(op.value));
  }

  void add_known(const Operation& op) {
    Step step{.op = &op};
    if (op.kind == OpKind::kGet) {
      step.demands = true;
      step.demanded = index_of(op.read);
    } else {
      step.writes = true;
      step.written = op.kind == OpKind::kPut ? index_of(op.value) : kAbsent;
      step.demands = op.saw_previous;
      if (op.saw_previous) step.demanded = index_of(op.previous);
    }
    steps_.push_back(step);
  }

  void add_unknown(const Operation& op) {
    steps_.push_back({.op = &op,
                      .writes = true,
                      .written = op.kind == OpKind::kPut ? index_of(op.value) : kAbsent,
                      .must_happen = false});
  }

  ValueIndex index_of(const std::optional<std::string>& value) {
    if (!value) return kAbsent;
    const auto [at, added] = indexes_.try_emplace(*value, static_cast<ValueIndex>(names_.size()));
    if (added) names_.push_back(*value);
    return at->second;
  }

  std::vector<Step> steps_;
  std::unordered_map<std::string, ValueIndex> indexes_;
  std::vector<std::string> names_{"(absent)"};
  std::unordered_set<ValueIndex> observed_;
  Micros absent_seen_until_ = INT64_MIN;
};

// Depth-first search over the orders of one key's steps.
//
// Events (a step's call, and its return if it must happen) stand in a doubly linked list in order
// of time. Walking from the head, every call met before the first return may go next. Placing a
// step takes its events out of the list; a return met at the walk means that this step had to be
// placed before and was not: go back.
class Search {
 public:
  Search(const std::vector<Step>& steps, std::size_t values, std::uint64_t steps_max)
      : steps_(steps), steps_left_(steps_max), writers_(values), demanders_(values) {
    for (const Step& step : steps) {
      if (step.writes) ++writers_[step.written];
      if (step.demands) ++demanders_[step.demanded];
    }
    Rng rng{0x6c696e};
    marks_.reserve(steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) marks_.push_back({rng.next(), rng.next()});
    link_events();
  }

  Verdict run();

  std::uint64_t used(std::uint64_t steps_max) const { return steps_max - steps_left_; }
  std::size_t stuck() const { return stuck_; }
  ValueIndex stuck_value() const { return stuck_value_; }
  std::size_t deepest() const { return deepest_; }

 private:
  struct Event {
    std::size_t step = 0;
    bool is_return = false;
    std::size_t before = 0, after = 0;
    std::size_t partner = 0;  // of a call: its return, or 0
  };
  struct Placed {
    std::size_t event;
    ValueIndex value_before;
    bool forced;
  };
  struct SeenHash {
    std::size_t operator()(const Hash128& h) const { return static_cast<std::size_t>(h.low); }
  };

  void link_events();
  void take_out(std::size_t event) {
    events_[events_[event].before].after = events_[event].after;
    events_[events_[event].after].before = events_[event].before;
  }
  void put_back(std::size_t event) {
    events_[events_[event].before].after = event;
    events_[events_[event].after].before = event;
  }
  bool try_place(std::size_t event);
  // A value written once never comes back: replacing it while someone still has to see it leads
  // nowhere. Found here, and not when that someone's time is over, it saves most of the search.
  bool still_awaited(const Step& replacing) const {
    if (value_ == kAbsent || writers_[value_] > 1) return false;
    const bool itself = replacing.demands && replacing.demanded == value_;
    return demanders_[value_] > (itself ? 1u : 0u);
  }
  // Undoes placements up to the last one that had an alternative; false when there is none.
  bool go_back(std::size_t& cursor);
  void note_stuck(std::size_t step) {
    if (stuck_ != kNone && placed_.size() <= deepest_) return;
    deepest_ = placed_.size();
    stuck_ = step;
    stuck_value_ = value_;
  }
  Hash128 state_key() const {
    const std::uint64_t salt = (value_ + 1ull) * 0x9e3779b97f4a7c15ull;
    return {set_.low ^ salt, set_.high + salt};
  }

  static constexpr std::size_t kNone = SIZE_MAX;
  static constexpr std::size_t kHead = 0;  // events_[0] is the list's sentinel
  const std::vector<Step>& steps_;
  std::uint64_t steps_left_;
  std::vector<Hash128> marks_;  // one random word a step: the placed set is their XOR
  std::vector<Event> events_;
  std::vector<Placed> placed_;
  std::unordered_set<Hash128, SeenHash> seen_;
  Hash128 set_;
  ValueIndex value_ = kAbsent;
  std::size_t returns_left_ = 0;
  std::vector<std::uint32_t> writers_;    // by value
  std::vector<std::uint32_t> demanders_;  // by value: steps not placed yet that must see it
  std::size_t stuck_ = kNone, deepest_ = 0;
  ValueIndex stuck_value_ = kAbsent;
};

void Search::link_events() {
  struct Moment {
    Micros time;
    bool is_return;
    std::size_t step;
  };
  std::vector<Moment> moments;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    moments.push_back({steps_[i].op->start, false, i});
    if (steps_[i].must_happen) moments.push_back({steps_[i].op->end, true, i});
  }
  // At the same microsecond calls come first: what may have overlapped is taken to overlap.
  std::stable_sort(moments.begin(), moments.end(), [](const Moment& a, const Moment& b) {
    return std::pair(a.time, a.is_return) < std::pair(b.time, b.is_return);
  });
  events_.resize(moments.size() + 1);
  std::vector<std::size_t> calls(steps_.size(), 0);
  for (std::size_t i = 0; i < moments.size(); ++i) {
    const std::size_t at = i + 1;
    events_[at] = {.step = moments[i].step, .is_return = moments[i].is_return};
    if (moments[i].is_return) {
      events_[calls[moments[i].step]].partner = at;
      ++returns_left_;
    } else {
      calls[moments[i].step] = at;
    }
  }
  for (std::size_t i = 0; i < events_.size(); ++i) {
    events_[i].before = i == 0 ? events_.size() - 1 : i - 1;
    events_[i].after = i + 1 == events_.size() ? 0 : i + 1;
  }
}

bool Search::try_place(std::size_t event) {
  const std::size_t index = events_[event].step;
  const Step& step = steps_[index];
  if (step.demands && step.demanded != value_) return false;
  if (step.writes && still_awaited(step)) return false;
  const ValueIndex before = value_;
  set_.low ^= marks_[index].low;
  set_.high ^= marks_[index].high;
  if (step.writes) value_ = step.written;
  if (!seen_.insert(state_key()).second) {
    set_.low ^= marks_[index].low;
    set_.high ^= marks_[index].high;
    value_ = before;
    return false;
  }
  // A read that fits now may always go now: it changes nothing and constrains nothing behind it.
  placed_.push_back({event, before, !step.writes});
  if (step.demands) --demanders_[step.demanded];
  take_out(event);
  if (events_[event].partner != 0) {
    take_out(events_[event].partner);
    --returns_left_;
  }
  return true;
}

bool Search::go_back(std::size_t& cursor) {
  while (!placed_.empty()) {
    const Placed last = placed_.back();
    placed_.pop_back();
    const Event& event = events_[last.event];
    if (event.partner != 0) {
      put_back(event.partner);
      ++returns_left_;
    }
    put_back(last.event);
    set_.low ^= marks_[event.step].low;
    set_.high ^= marks_[event.step].high;
    value_ = last.value_before;
    const Step& step = steps_[event.step];
    if (step.demands) ++demanders_[step.demanded];
    if (last.forced) continue;
    cursor = event.after;
    return true;
  }
  return false;
}

Verdict Search::run() {
  std::size_t cursor = events_[kHead].after;
  while (returns_left_ > 0) {
    if (steps_left_ == 0) return Verdict::kUnknown;
    --steps_left_;
    if (cursor == kHead || events_[cursor].is_return) {
      if (cursor != kHead) note_stuck(events_[cursor].step);
      if (!go_back(cursor)) return Verdict::kNo;
    } else if (try_place(cursor)) {
      cursor = events_[kHead].after;
    } else {
      cursor = events_[cursor].after;
    }
  }
  return Verdict::kYes;
}

// The story around the operation that fits nowhere: what it saw, what it should have seen, who
// wrote both, and the operations near it in time.
std::string tell(const std::string& key, const std::vector<const Operation*>& ops,
                 const KeySteps& key_steps, const Search& search) {
  Micros origin = INT64_MAX;
  for (const Operation* op : ops) origin = std::min(origin, op->start);
  const Step* misfit = &key_steps.steps()[search.stuck()];
  ValueIndex should_have_seen = search.stuck_value();
  if (misfit->writes && (!misfit->demands || misfit->demanded == search.stuck_value())) {
    // A write that had to come now, but for one that still wants to see what it replaces: the
    // latter is the one to show.
    should_have_seen = misfit->written;
    const Step* write = misfit;
    for (const Step& step : key_steps.steps()) {
      const bool awaits = &step != write && step.demands && step.demanded == search.stuck_value();
      if (awaits && (misfit == write || step.op->start > misfit->op->start)) misfit = &step;
    }
  }
  std::string text = "key " + key + ": no order of its " +
                     std::to_string(key_steps.steps().size()) + " operations fits what was read\n";
  text += "  this one fits nowhere:   " + describe(*misfit->op, origin) + '\n';
  const auto writer = [&](ValueIndex value) -> std::string {
    if (value == kAbsent) return "the key absent";
    for (const Operation* op : ops) {
      if (op->kind == OpKind::kPut && op->value == key_steps.name_of(value)) {
        return describe(*op, origin);
      }
    }
    return key_steps.name_of(value) + ", which no recorded operation wrote";
  };
  if (misfit->demands) text += "  it saw:                  " + writer(misfit->demanded) + '\n';
  text += "  it should have seen:     " + writer(should_have_seen) + " (in the best order, " +
          std::to_string(search.deepest()) + " operations long)\n";
  std::vector<const Operation*> near;
  for (const Operation* op : ops) {
    if (op != misfit->op && op->outcome != Outcome::kFailed && op->start <= misfit->op->end) {
      near.push_back(op);
    }
  }
  std::ranges::sort(near, {}, [](const Operation* op) { return op->start; });
  if (near.size() > 6) near.erase(near.begin(), near.end() - 6);
  for (const Operation* op : near)
    text += "  before or beside it:     " + describe(*op, origin) + '\n';
  return text;
}

}  // namespace

LinearizableResult check_linearizable(const History& history, LinearizableOptions options) {
  std::map<std::string, std::vector<const Operation*>> by_key;
  for (const Operation& op : history) by_key[op.key].push_back(&op);

  LinearizableResult result;
  result.keys = by_key.size();
  for (const auto& [key, ops] : by_key) {
    const KeySteps key_steps(ops);
    result.operations += key_steps.steps().size();
    Search search(key_steps.steps(), key_steps.values(), options.steps_max);
    const Verdict verdict = search.run();
    result.steps += search.used(options.steps_max);
    if (verdict == Verdict::kYes || result.verdict == Verdict::kNo) continue;
    if (verdict == Verdict::kUnknown && result.verdict == Verdict::kUnknown) continue;
    result.verdict = verdict;
    result.key = key;
    result.counterexample = verdict == Verdict::kNo
                                ? tell(key, ops, key_steps, search)
                                : "key " + key + ": not decided within " +
                                      std::to_string(options.steps_max) + " steps over " +
                                      std::to_string(key_steps.steps().size()) + " operations\n";
  }
  return result;
}

}  // namespace capstan::lab
