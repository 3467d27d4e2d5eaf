#include "cp/mvcc.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "core/check.h"
#include "core/coding.h"
#include "cp/lease.h"
#include "cp/mutants.h"

namespace capstan::cp {
namespace {

Mvcc::NowRow parse_now(ByteView bytes) {
  Reader in(bytes);
  Mvcc::NowRow row;
  row.head = read_head(in);
  row.tip = read_tip(in);
  CAPSTAN_ASSERT(in.ok());
  return row;
}
Tip parse_gone(ByteView bytes) {
  Reader in(bytes);
  const Tip tip = read_tip(in);
  CAPSTAN_ASSERT(in.ok());
  return tip;
}

// Of Space::kLeaseKey.
std::string lease_key_key(std::int64_t lease, ByteView key) {
  std::string out = lease_key(lease);
  out += key;
  return out;
}

// All but the value.
KeyValue key_value(ByteView key, const VersionHead& head, Place place) {
  KeyValue kv;
  kv.key = key;
  kv.create_revision = {head.create};
  kv.mod_revision = {place.revision};
  kv.version = head.version;
  kv.lease = head.lease;
  return kv;
}

}  // namespace

void Mvcc::begin() { changes_ = 0; }

Revision Mvcc::end() {
  facts_.revision = revision();
  changes_ = 0;
  return facts_.revision;
}

std::string Mvcc::append(ByteView key, const Tip& tip, std::optional<VersionHead> head,
                         ByteView value) {
  const Place at{facts_.revision.value + 1, changes_++};
  Step step = step_from(tip, at);
  table_.put(Space::kHistory, history_key(at),
             encode_change({step.prev, step.skip, key, head, value}, facts_.digest));
  return std::move(step.tip);
}

void Mvcc::hang(ByteView key, std::int64_t from, std::int64_t to) {
  if (from == to) return;
  if (from != 0) table_.erase(Space::kLeaseKey, lease_key_key(from, key));
  if (to != 0) table_.put(Space::kLeaseKey, lease_key_key(to, key), {});
}

PutResult Mvcc::put(const PutView& put) {
  const std::uint64_t revision = facts_.revision.value + 1;
  const auto now = table_.get(Space::kNow, put.key);
  VersionHead head{revision, 1, put.lease};
  std::int64_t lease_before = 0;
  Tip tip;
  PutResult result;
  ByteView value = put.value;
  std::string kept;
  std::optional<std::string> gone;
  if (now) {
    const NowRow was = parse_now(*now);
    tip = was.tip;
    head.create = was.head.create;
    head.version = was.head.version + 1;
    lease_before = was.head.lease;
    if (put.ignore_lease) head.lease = was.head.lease;
    if (put.prev_kv || put.ignore_value) {
      KeyValue old = read({put.key, was.head, tip.at, std::nullopt});
      if (put.ignore_value) value = kept = old.value;
      if (put.prev_kv) result.prev = std::move(old);
    }
  } else {
    ++facts_.keys;
    if ((gone = table_.get(Space::kGone, put.key))) {
      tip = parse_gone(*gone);
      // What a compaction may remove is no link of anything new, whether it is gone here already or
      // not: members must go on alike.
      if (tip.at.revision <= facts_.compacted.value) {
        keep_cut_link(put.key, *gone);
        tip = {};
      }
      table_.erase(Space::kGone, put.key);
    }
  }
  std::string row;
  put_head(row, head);
  row += append(put.key, tip, head, value);
  table_.put(Space::kNow, put.key, row);
  hang(put.key, lease_before, head.lease);
  return result;
}

void Mvcc::erase_row(ByteView key, const NowRow& was) {
  table_.put(Space::kGone, key, append(key, was.tip, std::nullopt, {}));
  table_.erase(Space::kNow, key);
  hang(key, was.head.lease, 0);
  --facts_.keys;
}

DeleteRangeResult Mvcc::erase(const DeleteRangeRequest& request) {
  const KeyBounds bounds(request.range);
  std::vector<std::pair<std::string, std::string>> rows;
  if (bounds.single) {
    if (auto row = table_.get(Space::kNow, bounds.from)) {
      rows.emplace_back(bounds.from, *std::move(row));
    }
  } else if (!bounds.empty()) {
    table_.scan(Space::kNow, bounds.from, bounds.to, [&](ByteView key, ByteView row) {
      rows.emplace_back(key, row);
      return true;
    });
  }
  DeleteRangeResult result;
  result.deleted = static_cast<std::int64_t>(rows.size());
  for (const auto& [key, bytes] : rows) {
    const NowRow was = parse_now(bytes);
    if (request.prev_kv) result.prevs.push_back(read({key, was.head, was.tip.at, std::nullopt}));
    erase_row(key, was);
  }
  return result;
}

void Mvcc::erase_keys_of(std::int64_t lease) {
  for (const std::string& key : keys_of(lease)) {
    const auto row = table_.get(Space::kNow, key);
    CAPSTAN_ASSERT(row.has_value());
    erase_row(key, parse_now(*row));
  }
}

std::optional<Refusal> Mvcc::check_revision(std::int64_t revision) const {
  if (revision <= 0) return std::nullopt;
  const auto wanted = static_cast<std::uint64_t>(revision);
  if (wanted > facts_.revision.value) {
    return Refusal{Reason::kFutureRevision, "revision " + std::to_string(revision) +
                                                " is in the future; the store is at " +
                                                std::to_string(facts_.revision.value)};
  }
  if (wanted < facts_.compacted.value) {
    return Refusal{Reason::kCompacted, "revision " + std::to_string(revision) +
                                           " has been compacted; history begins at " +
                                           std::to_string(facts_.compacted.value)};
  }
  return std::nullopt;
}

std::string Mvcc::change_bytes(Place place) const {
  std::optional<std::string> bytes = table_.get(Space::kHistory, history_key(place));
  CAPSTAN_ASSERT(bytes.has_value());  // tips and links name what was appended
  return *std::move(bytes);
}

std::optional<std::string> Mvcc::change_bytes_if_kept(Place place) const {
  std::optional<std::string> bytes = table_.get(Space::kHistory, history_key(place));
  CAPSTAN_ASSERT(bytes || place.revision < sweep_.target.value);
  return bytes;
}

std::string Mvcc::value_at(ByteView key, Place place) const {
  std::string bytes = change_bytes(place);
  const ChangeView change = decode_change(bytes);
  CAPSTAN_ASSERT(change.head && change.key == key);
  bytes.erase(0, bytes.size() - change.value.size());
  return bytes;
}

KeyValue Mvcc::read(const Version& version) const {
  KeyValue kv = key_value(version.key, version.head, version.place);
  kv.value = version.value ? std::string(*version.value) : value_at(version.key, version.place);
  return kv;
}

void Mvcc::changes(Revision from, Revision upto, const ChangeVisitor& visit) const {
  if (from > upto) return;
  table_.scan(Space::kHistory, history_key({from.value, 0}), history_key({upto.value + 1, 0}),
              [&](ByteView key, ByteView bytes) {
                return visit(read_history_key(key), decode_change(bytes));
              });
}

KeyValue Mvcc::key_value_of(Place place, const ChangeView& change) {
  KeyValue kv;
  if (!change.head) {
    kv.key = change.key;
    kv.mod_revision = {place.revision};
    return kv;
  }
  kv = key_value(change.key, *change.head, place);
  kv.value = change.value;
  return kv;
}

std::optional<KeyValue> Mvcc::before(Place place, const ChangeView& change) const {
  if (!change.prev || place.revision <= sweep_.target.value) return std::nullopt;
  const std::optional<std::string> bytes = change_bytes_if_kept(change.prev);
  if (!bytes) return std::nullopt;  // a delete
  const ChangeView older = decode_change(*bytes);
  if (!older.head) return std::nullopt;
  return key_value_of(change.prev, older);
}

std::optional<std::uint64_t> Mvcc::digest_at(Revision revision) const {
  CAPSTAN_ASSERT(revision <= facts_.revision && revision >= facts_.compacted);
  if (revision == facts_.revision) return facts_.digest;
  std::optional<std::uint64_t> digest = 0;  // before the first change
  table_.scan_back(Space::kHistory, {}, history_key({revision.value + 1, 0}),
                   [&](ByteView, ByteView bytes) {
                     digest = decode_change(bytes).digest;
                     return false;
                   });
  return digest;
}

std::optional<KeyValue> Mvcc::get(ByteView key) const {
  const auto bytes = table_.get(Space::kNow, key);
  if (!bytes) return std::nullopt;
  const NowRow row = parse_now(*bytes);
  return read({key, row.head, row.tip.at, std::nullopt});
}

std::vector<std::string> Mvcc::keys_of(std::int64_t lease) const {
  const std::string prefix = lease_key(lease);
  std::vector<std::string> keys;
  table_.scan(Space::kLeaseKey, prefix, {}, [&](ByteView key, ByteView) {
    if (!key.starts_with(prefix)) return false;
    keys.emplace_back(key.substr(prefix.size()));
    return true;
  });
  return keys;
}

void Mvcc::each(const KeyBounds& bounds, Values values,
                const std::function<bool(const KeyValue&)>& visit) const {
  each_now(bounds, [&](const Version& version) {
    return visit(values == Values::kRead ? read(version)
                                         : key_value(version.key, version.head, version.place));
  });
}

void Mvcc::each_now(const KeyBounds& bounds, const VersionVisitor& visit) const {
  const auto show = [&](ByteView key, ByteView bytes) {
    const NowRow row = parse_now(bytes);
    return visit({key, row.head, row.tip.at, std::nullopt});
  };
  if (bounds.single) {
    if (const auto bytes = table_.get(Space::kNow, bounds.from)) show(bounds.from, *bytes);
  } else if (!bounds.empty()) {
    table_.scan(Space::kNow, bounds.from, bounds.to, show);
  }
}

void Mvcc::keep_cut_links(bool on) {
  keeps_cut_links_ = on;
  if (on) return;
  cut_links_.clear();
  cut_links_count_ = 0;
  cut_links_lost_ = false;
}

void Mvcc::keep_cut_link(ByteView key, std::string tip) {
  if (!keeps_cut_links_ || cut_links_lost_) return;
  if (++cut_links_count_ > kCutLinksMax) {
    cut_links_.clear();
    cut_links_lost_ = true;
    return;
  }
  cut_links_[std::string(key)].push_back(std::move(tip));
}

bool Mvcc::show_at(ByteView key, const Tip& tip, Revision at, const VersionVisitor& visit) const {
  const auto links = [this](Place above) {
    const std::string bytes = change_bytes(above);
    const ChangeView change = decode_change(bytes);
    return std::pair(change.prev, change.skip);
  };
  Place place = place_at(tip, at.value, links);
  if (const auto cut = cut_links_.find(key); !place && cut != cut_links_.end()) {
    for (const std::string& bytes : cut->second | std::views::reverse) {
      const Tip before = parse_gone(bytes);
      if (before.at.revision <= at.value) return true;  // a delete
      if ((place = place_at(before, at.value, links))) break;
    }
  }
  if (!place) return true;
  const std::optional<std::string> bytes = change_bytes_if_kept(place);
  if (!bytes) return true;  // it was a delete: a key's newest put at or below a compaction stays
  const ChangeView change = decode_change(*bytes);
  return !change.head || visit({key, *change.head, place, change.value});
}

// Keys that are there now and keys that are gone, side by side in key order. Most have not changed
// since `at`: their rows say all.
std::optional<std::string> Mvcc::each_at(const KeyBounds& bounds, Revision at, std::size_t keys_max,
                                         const VersionVisitor& visit) const {
  const auto show_now = [&](ByteView key, ByteView bytes) {
    const NowRow row = parse_now(bytes);
    if (row.tip.at.revision > at.value) return show_at(key, row.tip, at, visit);
    return visit({key, row.head, row.tip.at, std::nullopt});
  };
  const auto show_gone = [&](ByteView key, ByteView bytes) {
    const Tip tip = parse_gone(bytes);
    return tip.at.revision <= at.value || show_at(key, tip, at, visit);
  };
  if (bounds.empty()) return std::nullopt;
  if (bounds.single) {
    if (const auto now = table_.get(Space::kNow, bounds.from)) {
      show_now(bounds.from, *now);
    } else if (const auto gone = table_.get(Space::kGone, bounds.from)) {
      show_gone(bounds.from, *gone);
    }
    return std::nullopt;
  }
  std::optional<std::string> go_on;
  std::vector<std::pair<std::string, std::string>> gone;  // keys and their tips
  table_.scan(Space::kGone, bounds.from, bounds.to, [&](ByteView key, ByteView tip) {
    if (gone.size() == keys_max)
      go_on = key;
    else
      gone.emplace_back(key, tip);
    return !go_on;
  });
  const std::string to = go_on.value_or(bounds.to);
  auto next = gone.begin();
  bool more = true;
  const auto shown = [&](ByteView key, bool goes_on) {
    if (!goes_on) go_on = std::string(key) + '\0';
    return more = goes_on;
  };
  const auto show_gone_below = [&](std::optional<ByteView> key) {
    for (; more && next != gone.end() && (!key || next->first < *key); ++next) {
      shown(next->first, show_gone(next->first, next->second));
    }
    return more;
  };
  std::size_t looked_at = 0;
  table_.scan(Space::kNow, bounds.from, to, [&](ByteView key, ByteView bytes) {
    if (!show_gone_below(key)) return false;
    if (looked_at++ < keys_max) return shown(key, show_now(key, bytes));
    go_on = key;
    return more = false;
  });
  show_gone_below(std::nullopt);
  return go_on;
}

RangeResult Mvcc::range(const RangeRequest& request) const {
  const KeyBounds bounds(request.range);
  RangeResult result;
  if (bounds.empty()) return result;
  const std::size_t keep_max = rows_to_keep(request);
  // Rows that are only counted are not copied, and a value is read only if it is returned.
  struct Row {
    KeyValue kv;
    std::optional<Place> unread;  // where the value is
  };
  std::vector<Row> kept;
  const auto take = [&](const Version& version) {
    ++result.count;
    if (request.count_only || kept.size() >= keep_max) return true;
    Row row{key_value(version.key, version.head, version.place), version.place};
    if (!passes_filters(request, row.kv)) return true;
    if (version.value && !request.keys_only) {
      row.kv.value = *version.value;
      row.unread.reset();
    }
    kept.push_back(std::move(row));
    return true;
  };
  const auto read_value = [this](Row& row) {
    if (row.unread) row.kv.value = value_at(row.kv.key, *row.unread);
    row.unread.reset();
  };
  const bool now =
      request.revision <= 0 || static_cast<std::uint64_t>(request.revision) >= revision().value;
  if (now) {
    each_now(bounds, take);
  } else {
    each_at(bounds, {static_cast<std::uint64_t>(request.revision)}, SIZE_MAX, take);
  }
  if (request.count_only) return result;
  if (request.sort_target == SortTarget::kValue) std::ranges::for_each(kept, read_value);
  result.more = sort_and_limit(request, kept, &Row::kv);
  result.kvs.reserve(kept.size());
  for (Row& row : kept) {
    if (!request.keys_only) read_value(row);
    if (request.keys_only) row.kv.value.clear();
    result.kvs.push_back(std::move(row.kv));
  }
  return result;
}

Mvcc::RangeWalk Mvcc::begin_range(const RangeRequest& request) const {
  RangeWalk walk;
  walk.at = request.revision > 0 ? Revision{static_cast<std::uint64_t>(request.revision)}
                                 : facts_.revision;
  const KeyBounds bounds(request.range);
  walk.next = bounds.from;
  walk.done = bounds.empty();
  return walk;
}

std::vector<KeyValue> Mvcc::range_slice(const RangeRequest& request, RangeWalk& walk,
                                        RangeBudget budget) const {
  std::vector<KeyValue> out;
  KeyBounds bounds(request.range);
  CAPSTAN_ASSERT(!walk.done && !bounds.single && !wants_sort(request));
  bounds.from = walk.next;
  const Revision at = Mutants::on(Mutant::kLongRangeReadsNow) ? facts_.revision : walk.at;
  std::optional<std::string> next = each_at(bounds, at, budget.keys, [&](const Version& version) {
    ++walk.count;
    if (request.count_only || walk.more) return true;
    KeyValue kv = key_value(version.key, version.head, version.place);
    if (!passes_filters(request, kv)) return true;
    if (request.limit > 0 && walk.listed == request.limit) return walk.more = true;
    ++walk.listed;
    if (!request.keys_only) {
      kv.value = version.value ? std::string(*version.value) : value_at(kv.key, version.place);
    }
    const std::size_t bytes = kv.key.size() + kv.value.size();
    out.push_back(std::move(kv));
    budget.bytes -= std::min(budget.bytes, bytes);
    return budget.bytes > 0;
  });
  walk.done = !next;
  if (next) walk.next = *std::move(next);
  return out;
}

}  // namespace capstan::cp
